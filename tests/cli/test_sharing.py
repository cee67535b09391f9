"""Two groups with the same data set, each with heads of its own, get one table."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TIMES = ("fit_seconds", "predict_ms")


@pytest.fixture
def imported(aqa, value, tmp_path: Path) -> Callable[..., None]:
    """Import features of a data set of 30 samples; `change`: of the text of its samples.csv."""
    rng = np.random.default_rng(0)
    lines = [
        f"läufer {k:02d},v{k}.mp4,{rng.uniform(0, 50):.3f},{'train' if k < 20 else 'test'},anna{k},spin {k % 3}"
        for k in range(30)
    ]
    text = "\n".join(["id,media,score,split,subject,caption", *lines]) + "\n"
    features = tmp_path / "features"
    features.mkdir()
    for line in lines:
        np.save(features / f"{line.split(',')[0]}.npy", rng.normal(size=(2, 6)).astype(np.float32))

    def make(cache: str, change: Callable[[str], str] = lambda text: text) -> None:
        root = tmp_path / f"set of {cache}"
        root.mkdir()
        (root / "samples.csv").write_text(change(text), encoding="utf-8")
        value(aqa("cache", "import", "csv", features, "--root", root, "--as", "mine", "--cache", cache, "--json"))

    return make


@pytest.fixture
def fit(aqa, value) -> Callable[..., list[dict[str, Any]]]:
    def run(cache: str, runs: str, *heads: str) -> list[dict[str, Any]]:
        words = [word for head in heads for word in ("--head", head)]
        words += ["--set", "dae.epochs=2"] if "dae" in heads else []
        place = ("--cache", cache, "--runs", runs)
        return value(aqa("fit", "csv", *place, *words, "--seeds", 2, "--json"))

    return run


def table(aqa, value, runs: str) -> list[dict[str, Any]]:
    rows = value(aqa("leaderboard", "csv", "--runs", runs, "--json", "--resamples", 100))["rows"]
    return [{name: cell for name, cell in row.items() if name not in TIMES} for row in rows]


def test_two_groups_get_one_table(aqa, value, imported, fit, tmp_path: Path):
    imported("cache")
    fit("cache", "ours", "mean", "ridge", "dae")
    theirs = fit("cache", "theirs", "svr", "knn")
    fit("cache", "all", "mean", "ridge", "dae", "svr", "knn")
    said = aqa("runs", "export", "ours.zip", "--runs", "ours")
    assert (said.exit_code, said.stdout) == (0, "4 runs in ours.zip\n")
    assert "30 samples, the names of 30 subjects" in said.stderr
    made = value(aqa("runs", "export", "their runs", "--runs", "theirs", "--json"))
    assert made == {"file": "their runs", "runs": 2, "samples": 30, "subjects": 30, "captions": False}

    done = value(aqa("runs", "merge", "ours.zip", "their runs", "--runs", "both", "--json"))
    assert (len(done["merged"]), done["skipped"], done["conflicts"]) == (6, [], [])
    assert table(aqa, value, "both") == table(aqa, value, "all")
    again = value(aqa("runs", "merge", "their runs", "ours.zip", "--runs", "both", "--json"))
    assert (again["merged"], sorted(again["skipped"])) == ([], sorted(done["merged"]))
    text = aqa("runs", "merge", "ours.zip", "--runs", "both")
    assert text.stdout == "merged 0 runs into both, 4 were here already\n"
    assert len(value(aqa("runs", "ls", "--runs", "both", "--json"))) == 6
    assert [row["run_id"] for row in fit("cache", "both", "svr", "knn")] == [row["run_id"] for row in theirs]
    for form in ("md", "csv", "text"):
        assert aqa("leaderboard", "csv", "--runs", "both", "--format", form).exit_code == 0


def test_a_merged_run_says_that_it_has_no_head(aqa, value, imported, fit, tmp_path: Path):
    imported("cache")
    rows = fit("cache", "ours", "dae")
    value(aqa("runs", "export", "ours.zip", "--runs", "ours", "--json"))
    value(aqa("runs", "merge", "ours.zip", "--runs", "merged", "--json"))
    for name in (rows[0]["run_id"], Path(rows[0]["run"].replace("ours", "merged")).parent):
        judged = aqa("predict", "no such video.mp4", "--runs", "merged", "--run", name)
        assert (judged.exit_code, judged.stdout) == (3, "")
        assert "this run was shared without its head" in judged.stderr
        assert f"`aqa runs rm {rows[0]['run_id']}` and the same `aqa fit`" in judged.stderr
    assert "imported" in aqa("predict", "no.mp4", "--runs", "ours", "--run", rows[0]["run_id"]).stderr
    assert aqa("runs", "rm", rows[0]["run_id"], "--yes", "--runs", "merged").exit_code == 0
    fit("cache", "merged", "dae")
    assert "imported" in aqa("predict", "no.mp4", "--runs", "merged", "--run", rows[0]["run_id"]).stderr


def test_another_test_set_is_refused(aqa, value, imported, fit, tmp_path: Path):
    """The other group has corrected a score, and has a test sample in train."""
    imported("cache")
    imported("other", lambda text: text.replace(",test,anna28,", ",train,anna28,").replace("v29.mp4,", "v29.mp4,1"))
    fit("cache", "ours", "ridge", "mean")
    fit("other", "theirs", "knn")
    value(aqa("runs", "export", "theirs.zip", "--runs", "theirs", "--json"))
    before = sorted(tmp_path.joinpath("ours").rglob("*"))
    done = aqa("runs", "merge", "theirs.zip", "--runs", "ours", "--json")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "differ in test samples: 1 only in the first: läufer 28; 1 with another truth: läufer 29 (" in done.stderr
    assert "theirs.zip/csv/" in done.stderr
    assert sorted(tmp_path.joinpath("ours").rglob("*")) == before


def test_a_run_with_other_predictions_is_kept_and_the_exit_code_is_one(aqa, value, imported, fit, tmp_path: Path):
    imported("cache")
    rows = fit("cache", "ours", "mean", "ridge")
    value(aqa("runs", "export", "ours.zip", "--runs", "ours", "--json"))
    kept = tmp_path / rows[0]["run"] / "predictions.csv"
    theirs = kept.read_text(encoding="utf-8").splitlines()
    cells = theirs[1].split(",")
    theirs[1] = ",".join([*cells[:3], "7.25", *cells[4:]])
    kept.write_text("\n".join(theirs) + "\n", encoding="utf-8")
    assert aqa("runs", "rm", rows[1]["run_id"], "--yes", "--runs", "ours").exit_code == 0
    done = aqa("runs", "merge", "ours.zip", "--runs", "ours", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"merged": [rows[1]["run"]], "skipped": [], "conflicts": [rows[0]["run"]]}
    assert f"warning: {rows[0]['run']} is here with other predictions" in done.stderr
    assert "7.25" in kept.read_text(encoding="utf-8")


def test_selections(aqa, value, imported, fit):
    imported("cache")
    rows = fit("cache", "runs", "mean", "ridge", "dae")
    dae = [row for row in rows if row["head"] == "dae"]

    def heads(file: str) -> list[str]:
        with zipfile.ZipFile(file) as archive:
            infos = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("run.json")]
        return sorted(info["head"] for info in infos)

    for words, found in (
        ((rows[0]["run_id"],), ["mean"]),
        ((rows[0]["run_id"][:6], rows[1]["run"]), ["mean", "ridge"]),
        ((Path(dae[0]["run"]).parent, dae[1]["run_id"]), ["dae", "dae"]),
        (("csv",), ["dae", "dae", "mean", "ridge"]),
        (("--dataset", "csv"), ["dae", "dae", "mean", "ridge"]),
    ):
        assert value(aqa("runs", "export", "a.zip", *words, "--force", "--json"))["runs"] == len(found)
        assert heads("a.zip") == found
    there = aqa("runs", "export", "a.zip")
    assert there.exit_code == 3
    assert "is there already" in there.stderr
    assert "--force" in there.stderr
    inside = aqa("runs", "export", "runs/csv/shared")
    assert inside.exit_code == 2
    assert "would be taken for runs" in inside.stderr
    for words, code, text in (
        (("--dataset", "demo"), 3, "no runs on demo to export"),
        ((rows[0]["run_id"], "--dataset", "demo"), 3, "no runs on demo to export"),
        (("--runs", "nowhere"), 3, "no runs to export (file nowhere)"),
        (("0123456789",), 2, "unknown run '0123456789'"),
    ):
        done = aqa("runs", "export", "b.zip", *words)
        assert (done.exit_code, done.stdout) == (code, "")
        assert text in done.stderr
        assert not Path("b.zip").exists()
    none = aqa("runs", "merge", "b.zip")
    assert none.exit_code == 3
    assert "no such file or folder (file b.zip)" in none.stderr
