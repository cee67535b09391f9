"""From videos to a table and a prediction, as a user goes it; docs/json.md is the contract."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest


def test_extract_says_what_it_did(extracted, own_videos: Path, aqa, value):
    cache, said = extracted
    assert {"dataset", "store", "done", "skipped", "failed", "clips", "frames_decoded", "seconds"} <= said.keys()
    assert (said["dataset"], said["done"], said["skipped"], said["failed"]) == ("csv", 16, 0, [])
    assert said["clips"] == 32  # 20 frames: clips at 0 and at 4
    assert said["frames_decoded"] == 16 * 20  # each frame once, though the clips overlap
    again = value(aqa("extract", "csv", "--root", own_videos, "--cache", cache, "--backbone", "c3d", "--json"))
    assert (again["done"], again["skipped"], again["frames_decoded"]) == (0, 16, 0)


def test_fit_leaderboard_predict(extracted, own_videos: Path, aqa, value):
    cache, _ = extracted
    heads = [w for h in ("mean", "difficulty", "ridge", "lightgbm", "dae") for w in ("--head", h)]
    fit = ("fit", "csv", "--cache", cache, *heads, "--seeds", 2, "--set", "dae.epochs=2", "--json")
    rows = value(aqa(*fit))
    assert {row["head"] for row in rows} == {"mean", "difficulty", "ridge", "lightgbm", "dae"}
    keys = {
        "run_id", "dataset", "protocol", "group", "target", "features", "head", "config", "seed", "fold", "metrics",
        "selected_on", "fit_seconds", "run",
    }  # fmt: skip
    for row in rows:
        assert keys <= row.keys()
        assert {"spearman", "kendall", "pearson", "mae", "rmse", "r_l2", "n"} <= row["metrics"].keys()
        assert row["metrics"]["n"] == 6
        folder = Path(row["run"])
        assert {"run.json", "predictions.csv", "history.csv"} <= {file.name for file in folder.iterdir()}
    mean = next(row for row in rows if row["head"] == "mean")
    assert mean["metrics"]["spearman"] is None
    assert mean["features"] == ""
    dae = [row for row in rows if row["head"] == "dae"]
    assert [row["seed"] for row in dae] == [0, 1]
    assert dae[0]["config"] == {"epochs": 2}
    stamps = {row["run"]: (Path(row["run"]) / "run.json").stat().st_mtime_ns for row in rows}
    assert [row["run_id"] for row in value(aqa(*fit))] == [row["run_id"] for row in rows]  # nothing is trained twice
    assert {run: (Path(run) / "run.json").stat().st_mtime_ns for run in stamps} == stamps

    table = value(aqa("leaderboard", "csv", "--json", "--resamples", 200))["rows"]
    keys = {
        "dataset", "protocol", "group", "target", "features", "head", "config", "seeds", "spearman", "spearman_sd",
        "ci_low", "ci_high", "mae", "r_l2", "floor", "flags",
    }  # fmt: skip
    assert all(keys <= row.keys() for row in table)
    assert len(table) == 5
    known = [row["spearman"] for row in table if row["spearman"] is not None]
    assert known == sorted(known, reverse=True)
    assert next(row for row in table if row["head"] == "ridge")["flags"][0] == "random-backbone"
    assert value(aqa("leaderboard", "csv", "--format", "json", "--resamples", 200))["rows"] == table
    for form in ("md", "csv", "text", "latex", "html"):
        shown = aqa("leaderboard", "csv", "--format", form, "--resamples", 200)
        assert shown.exit_code == 0
        assert "lightgbm" in shown.stdout

    video = own_videos / "clip 12.mp4"
    ridge = next(row for row in rows if row["head"] == "ridge")
    (judged,) = value(aqa("predict", video, "--run", ridge["run_id"], "--json"))
    kept = (Path(ridge["run"]) / "predictions.csv").read_text().splitlines()
    test = next(line.split(",") for line in kept if line.startswith("v12,test"))
    assert judged["score"] == pytest.approx(float(test[3]), rel=1e-6)  # the same as when it was in the test part
    assert judged["clips"] == 2
    low, high = judged["interval"]
    assert low < judged["score"] < high
    assert judged["interval_from"] == "oof"
    assert any("random" in sentence for sentence in judged["warnings"])
    both = value(aqa("predict", video, "--run", Path(dae[0]["run"]).parent, "--json"))[0]
    assert both["run_ids"] == [row["run_id"] for row in dae]
    part = value(aqa("predict", video, "--run", ridge["run_id"], "--start", 2, "--end", 18, "--json"))[0]
    assert part["clips"] == 1

    listed = value(aqa("runs", "ls", "csv", "--json"))
    assert {row["run_id"] for row in listed} == {row["run_id"] for row in rows}
    assert aqa("runs", "rm", ridge["run_id"], "--yes").exit_code == 0
    assert ridge["run_id"] not in {row["run_id"] for row in value(aqa("runs", "ls", "--json"))}


def test_a_folder_of_videos_is_judged_one_by_one_and_a_bad_one_is_listed(
    extracted, own_videos: Path, aqa, value, tmp_path
):
    cache, _ = extracted
    (row,) = value(aqa("fit", "csv", "--cache", cache, "--head", "knn", "--json"))
    folder = tmp_path / "new"
    folder.mkdir()
    for k in (1, 2):
        shutil.copy(own_videos / f"clip {k}.mp4", folder)
    (folder / "broken.mp4").write_bytes(b"no video")
    done = aqa("predict", folder, "--run", row["run_id"], "--json")
    assert done.exit_code == 1
    assert [Path(r["media"]).name for r in json.loads(done.stdout)] == ["clip 1.mp4", "clip 2.mp4"]
    assert "broken.mp4" in done.stderr


def test_one_bad_video_stops_nothing(own_videos: Path, aqa, tmp_path: Path):
    root = tmp_path / "set"
    root.mkdir()
    shutil.copy(own_videos / "clip 0.mp4", root / "good.mp4")
    (root / "empty.mp4").write_bytes(b"")
    (root / "samples.csv").write_text("id,media,score\na,good.mp4,1\nb,empty.mp4,2\nc,gone.mp4,3\n")
    done = aqa("extract", "csv", "--root", root, "--backbone", "c3d", "--workers", "0", "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["done"] == 1
    assert {row["id"] for row in said["failed"]} == {"b", "c"}
    assert "2 videos failed: " in done.stderr
    assert all(row["error"] == "VideoError" and row["message"] for row in said["failed"])
    checked = aqa("catalog", "check", "csv", "--root", root, "--json")
    assert checked.exit_code == 3
    assert {f["sample"] for f in json.loads(checked.stdout)["findings"]} == {"b", "c"}


def test_cache_verbs(extracted, aqa, value, tmp_path: Path):
    cache, said = extracted
    (row,) = value(aqa("cache", "ls", "--cache", cache, "--json"))
    assert (row["dataset"], row["samples"], row["shape"]) == ("csv", 16, [4096])
    shown = value(aqa("cache", "show", "csv", "--cache", cache, "--sample", "v03", "--json"))
    assert shown["sample"]["starts"] == [0, 4]
    assert value(aqa("cache", "verify", "--cache", cache, "--json")) == []
    assert value(aqa("cache", "pack", "csv", "--cache", cache, "--json")) == [str(Path(said["store"]) / "features.h5")]
    assert aqa("cache", "export", "csv", tmp_path / "out", "--cache", cache).exit_code == 0
    assert np.load(tmp_path / "out" / "v03.npy").shape == (2, 4096)


def test_export_and_import_give_the_same_features(extracted, own_videos: Path, aqa, value, tmp_path: Path):
    cache, _ = extracted
    assert aqa("cache", "export", "csv", tmp_path / "out", "--cache", cache).exit_code == 0
    words = ("cache", "import", "csv", tmp_path / "out", "--root", own_videos, "--as", "mine", "--cache", "other")
    assert value(aqa(*words, "--json"))["done"] == 16
    same = [value(aqa("fit", "csv", "--cache", c, "--head", "ridge", "--json"))[0] for c in (cache, "other")]
    assert same[0]["metrics"] == same[1]["metrics"]
    assert same[1]["features"] == "mine"
    refused = aqa("predict", own_videos / "clip 1.mp4", "--run", same[1]["run_id"])
    assert refused.exit_code == 2
    assert "imported" in refused.stderr


def test_folds_made_here_are_one_row_and_streams_are_fused(aqa, value, tmp_path: Path):
    """No split in samples.csv and no stated range: five grouped folds, each with the range of its train part."""
    rng = np.random.default_rng(0)
    root = tmp_path / "set"
    root.mkdir()
    lines = [f"s{k:02d},s{k:02d}.mp4,{rng.uniform(0, 50):.2f}" for k in range(30)]
    (root / "samples.csv").write_text("\n".join(["id,media,score", *lines]) + "\n")
    for stream, width in (("a", 8), ("b", 5)):
        (tmp_path / stream).mkdir()
        for k in range(30):
            np.save(tmp_path / stream / f"s{k:02d}.npy", rng.normal(size=(2, width)).astype(np.float32))
        value(aqa("cache", "import", "csv", tmp_path / stream, "--root", root, "--as", stream, "--json"))
    heads = ("--head", "ridge", "--head", "dae", "--head", "mean", "--set", "dae.epochs=2")
    rows = value(aqa("fit", "csv", "--features", "a+b", *heads, "--seeds", 1, "--json"))
    assert len(rows) == 15
    table = value(aqa("leaderboard", "csv", "--json", "--resamples", 100))["rows"]
    assert {row["head"]: row["features"] for row in table} == {"ridge": "a+b", "dae": "a+b", "mean": ""}
    assert not [flag for row in table for flag in row["flags"] if "folds" in flag]
    every = ("--head", "all", "--set", "epochs=1", "--seeds", 1, "--fold", "1")
    whole = value(aqa("fit", "csv", "--features", "a+b", *every, "--json"))
    assert {"ridge", "svr", "lightgbm", "dae", "mlp", "gdlt", "mean"} <= {row["head"] for row in whole}
    assert not {"difficulty", "dae-mt"} & {row["head"] for row in whole}  # no difficulty here
