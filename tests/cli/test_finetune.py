"""`aqa finetune` as a user goes: a run, its weights back in extraction, prediction, signals, two processes."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

SMALL = ("--backbone", "c3d_small", "--plan", "2x8@16", "--precision", "fp32", "--workers", "0")
MLP = ("--head", "mlp", "--set", "hidden=8", "--set", "batch=4", "--set", "scale=none")


def words(root: Path, *more: object) -> list[str]:
    return [str(word) for word in ("finetune", "csv", "--root", root, *SMALL, *MLP, *more)]


def finished(command: Sequence[str], folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "user-cache")}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, **options)


def test_a_run_its_weights_and_a_prediction(own_videos: Path, aqa, value, film, tmp_path: Path):
    command = words(
        own_videos, "--set", "epochs=3", "--flip", "0.5", "--crop", "random", "--shift", "-1", "1", "--json"
    )
    (row,) = value(aqa(*command))
    assert (row["head"], row["features"], row["metrics"]["n"]) == ("mlp", "c3d_small.tuned", 6)
    folder = Path(row["run"])
    names = {"run.json", "predictions.csv", "history.csv", "head.json", "head.safetensors", "backbone.safetensors"}
    names.add("nearness.safetensors")
    assert {file.name for file in folder.iterdir()} == names
    info = json.loads((folder / "run.json").read_text())
    assert info["finetune"]["flip"] == 0.5
    assert info["finetune"]["start"] == {"c3d_small.tuned": "c3d_small.random"}
    assert info["flags"] == ["random-backbone"]
    assert info["selected_on"] == "val"
    stamp = (folder / "run.json").stat().st_mtime_ns
    (again,) = value(aqa(*command))
    assert again["run_id"] == row["run_id"]
    assert (folder / "run.json").stat().st_mtime_ns == stamp

    # the same video, judged by the run, gets the score of predictions.csv
    judged = value(aqa("predict", own_videos / "clip 12.mp4", "--run", row["run_id"], "--json"))
    lines = (folder / "predictions.csv").read_text().splitlines()
    header = lines[0].split(",")
    wanted = next(line.split(",") for line in lines if line.startswith("v12,"))
    assert judged[0]["score"] == pytest.approx(float(wanted[header.index("score")]), abs=1e-3)

    assert 0 <= judged[0]["farther_than"] <= 100
    noise = tmp_path / "noise.mp4"
    film(noise, np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), dtype=np.uint8))
    strange = aqa("predict", noise, "--run", row["run_id"], "--json")
    assert value(strange)[0]["farther_than"] == 100
    assert "doubt the score" in strange.stderr

    # the tuned network fills a cache of its own, and a head there says what it was tuned on
    extract = ("extract", "csv", "--root", own_videos, "--backbone", "c3d_small", "--plan", "2x8@16", "--workers", "0")
    weights = folder / "backbone.safetensors"
    said = aqa(*extract, "--weights", weights, "--precision", "fp32", "--json")
    assert "was fine-tuned on 10 train samples of csv" in said.stderr
    fitted = value(aqa("fit", "csv", "--head", "ridge", "--seeds", 1, "--json"))
    flags = json.loads((Path(fitted[0]["run"]) / "run.json").read_text())["flags"]
    assert "fine-tuned-on-train" in flags
    assert value(aqa("cite", "csv", "--json"))["unknown"] == ["data set csv"]  # what the weights began with is cited
    with safe_open(weights, framework="pt") as file:
        note = json.loads(file.metadata()["aqa.backbone"])
    assert note["trained_on"]["ids"] == [f"v{k:02d}" for k in range(10)]
    assert str(own_videos) not in json.dumps(note)


def test_exemplars_are_named_with_their_scores(own_videos: Path, aqa, value):
    core = ("--head", "core", "--set", "votes=3", "--set", "epochs=1", "--set", "batch=4")
    (row,) = value(aqa("finetune", "csv", "--root", own_videos, *SMALL, *core, "--json"))
    judged = aqa("predict", own_videos / "clip 12.mp4", "--run", row["run_id"], "--difficulty", 2, "--json")
    found = value(judged)[0]["exemplars"]
    assert len(found) == 3
    table = (own_videos / "samples.csv").read_text().splitlines()
    truth = {line.split(",")[0]: float(line.split(",")[2]) for line in table[1:]}
    assert all(one["score"] == pytest.approx(truth[one["id"]], abs=1e-4) for one in found)
    said = aqa("predict", own_videos / "clip 12.mp4", "--run", row["run_id"], "--difficulty", 2).stdout
    assert "compared with v0" in said


def test_told_to_stop_it_keeps_what_it_has_and_goes_on(own_videos: Path, tmp_path: Path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command = [sys.executable, "-m", "aqa", *words(own_videos, "--set", "epochs=20")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    begin = [*command, "--runs", str(cut)]
    with subprocess.Popen(begin, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 2"):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stderr.read()
        assert process.wait(60) == 143
    assert "the same command goes on" in rest
    (partial,) = cut.rglob("*.partial")
    with safe_open(partial / "last.safetensors", framework="pt") as file:
        assert 2 <= json.loads(file.metadata()["progress"])["epoch"] < 20
    for runs in (cut, whole):
        assert finished([*command, "--runs", str(runs)], tmp_path).returncode == 0
    one, other = (next(runs.rglob("backbone.safetensors")).read_bytes() for runs in (cut, whole))
    assert one == other
    assert not list(cut.rglob("*.partial"))


def test_killed_at_any_moment_it_goes_on(own_videos: Path, tmp_path: Path):
    command = [sys.executable, "-m", "aqa", *words(own_videos, "--set", "epochs=6", "--runs", tmp_path / "runs")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for seconds in (3.0, 4.0, 5.0):
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        process.kill()
        process.wait()
    done = finished(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").rglob("run.json"))) == 1


def test_two_processes_make_what_one_makes(own_videos: Path, tmp_path: Path):
    command = words(
        own_videos, "--set", "epochs=2", "--set", "optimiser=sgd", "--batch", "2", "--flip", "0.5", "--json"
    )
    alone = finished([sys.executable, "-m", "aqa", *command, "--runs", str(tmp_path / "one")], tmp_path)
    both = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "aqa"]
    together = finished([*both, *command, "--runs", str(tmp_path / "two")], tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert together.returncode == 0, together.stderr
    one, two = (json.loads(done.stdout)[0]["metrics"] for done in (alone, together))
    assert one["spearman"] == pytest.approx(two["spearman"], abs=1e-9)
    assert one["rmse"] == pytest.approx(two["rmse"], rel=1e-5)
    assert len(list((tmp_path / "two").rglob("run.json"))) == 1


def test_a_bad_video_is_listed_and_the_rest_is_done(own_videos: Path, aqa, tmp_path: Path):
    import shutil

    root = tmp_path / "videos"
    shutil.copytree(own_videos, root)
    (root / "clip 3.mp4").write_bytes((root / "clip 3.mp4").read_bytes()[:1500])
    (root / "clip 13.mp4").write_bytes(b"no film")
    result = aqa(*words(root, "--set", "epochs=1"))
    assert result.exit_code != 0
    error = str(result.exception) + result.stderr
    assert "2 videos could not be read" in error
    (folder,) = (path.parent for path in Path("runs").rglob("run.json"))
    info = json.loads((folder / "run.json").read_text())
    assert set(info["fitted"]["failed"]) == {"v03", "v13"}
    assert "2-samples-missing" in info["flags"]
    assert info["metrics"]["n"] == 5


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--plan", "1x8@8"), "do not fit the backbones"),
        (("--backbone", "pose"), "backbones"),
        (("--precision", "fp16"), "for GPUs"),
        (("--batch", "many"), "--batch many"),
        (("--set", "nonsense=1"), "nonsense"),
        (("--recipe", "none-such"), "none-such"),
        (("--freeze", "fc9"), "fc9"),
        (("--fold", "7"), "fold"),
        (("--features", "i3d"), "i3d"),
    ],
)
def test_what_cannot_be_done_is_said(more: Sequence[str], says: str, own_videos: Path, aqa):
    result = aqa(*words(own_videos, "--set", "epochs=1", *more))
    assert result.exit_code in (2, 3)
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_heads_and_plans_that_do_not_fit(own_videos: Path, aqa):
    plain = ("finetune", "csv", "--root", own_videos, "--backbone", "c3d_small")
    result = aqa(*plain, "--head", "svr")
    assert "svr is not trained by gradients" in result.stderr
    assert result.exit_code == 2
    result = aqa(*plain, "--head", "mlp", "--plan", "dense:8:8")
    assert "as many clips as the video is long" in result.stderr
    assert result.exit_code == 2
    assert "what is to be trained" in aqa("finetune", "csv", "--root", own_videos).stderr


def test_features_that_have_seen_the_test_samples_are_refused(own_videos: Path, aqa, value, tmp_path: Path):
    (row,) = value(aqa(*words(own_videos, "--set", "epochs=1", "--json")))
    table = (own_videos / "samples.csv").read_text().replace("train", "TEST").replace("test", "train")
    other = tmp_path / "turned"
    other.mkdir()
    for film in own_videos.glob("*.mp4"):
        (other / film.name).symlink_to(film)
    (other / "samples.csv").write_text(table.replace("TEST", "test"), encoding="utf-8")
    weights = Path(row["run"]) / "backbone.safetensors"
    extract = ("extract", "csv", "--root", other, "--cache", "turned-cache", "--workers", "0", "--plan", "2x8@16")
    assert aqa(*extract, "--backbone", "c3d_small", "--weights", weights).exit_code == 0
    fit = ("fit", "csv", "--cache", "turned-cache", "--head", "ridge")
    go_on = words(other, "--weights", weights, "--set", "epochs=1")
    beside = words(other, "--cache", "turned-cache", "--features", "c3d_small", "--set", "epochs=1")
    for command in (fit, go_on, beside):
        result = aqa(*command)
        assert result.exit_code == 3, command
        assert "was trained on 10 test samples" in result.stderr, command
    (row,) = value(aqa(*words(own_videos, "--weights", weights, "--set", "epochs=1", "--json")))
    with safe_open(Path(row["run"]) / "backbone.safetensors", framework="pt") as file:
        (before,) = json.loads(file.metadata()["aqa.backbone"])["trained_on"]["earlier"]
    assert before["start"] == "c3d_small.random"


def test_several_seeds_judge_with_their_own_networks(own_videos: Path, aqa, value):
    rows = value(aqa(*words(own_videos, "--set", "epochs=1", "--seed", 0, "--seed", 1, "--json")))
    film = own_videos / "clip 12.mp4"
    alone = [value(aqa("predict", film, "--run", row["run_id"], "--json"))[0]["score"] for row in rows]
    both = value(aqa("predict", film, "--run", Path(rows[0]["run"]).parent, "--json"))[0]["score"]
    assert alone[0] != alone[1]
    assert both == pytest.approx(sum(alone) / 2, abs=1e-5)


def test_event_files_are_written_where_asked(own_videos: Path, aqa, value):
    command = words(own_videos, "--set", "epochs=2", "--tensorboard", "--keep", 1, "--json")
    if importlib.util.find_spec("tensorboard") is None:
        result = aqa(*command)
        assert result.exit_code == 4
        assert "aqa[tensorboard]" in result.stderr
        return
    folder = Path(value(aqa(*command))[0]["run"])
    assert list((folder / "events").iterdir())
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        "epoch-001.safetensors", "epoch-002.safetensors",
    }  # fmt: skip


def test_a_network_that_gives_a_row_per_frame(own_videos: Path, aqa, value, tmp_path: Path):
    """By a recipe with small frames: a run, the same score in prediction, and its weights in extraction."""
    recipe = tmp_path / "frames.toml"
    recipe.write_text(
        'backbones = ["regnet_y_400mf_gsm.random"]\nhead = "mlp"\nplans = ["1x6of6"]\nrates = [1e-4]\n'
        "resize = [36, 48]\nsize = [32, 32]\n[settings]\nhidden = 8\nbatch = 4\nepochs = 1\n"
    )
    words = ("finetune", "csv", "--root", own_videos, "--recipe", recipe, "--workers", "0", "--precision", "fp32")
    (row,) = value(aqa(*words, "--json"))
    folder = Path(row["run"])
    made = json.loads((folder / "run.json").read_text())["streams"]["regnet_y_400mf_gsm.tuned"]["fingerprint"]
    assert (made["shape"], made["plan"], made["backbone"]) == ([440], "1x6of6", "regnet_y_400mf_gsm.tuned")
    (judged,) = value(aqa("predict", own_videos / "clip 12.mp4", "--run", row["run_id"], "--json"))
    lines = [line.split(",") for line in (folder / "predictions.csv").read_text().splitlines()]
    wanted = next(float(line[lines[0].index("score")]) for line in lines if line[0] == "v12")
    assert judged["score"] == pytest.approx(wanted, abs=1e-3)
    assert judged["clips"] == 6

    weights = ("--backbone", "regnet_y_400mf_gsm", "--weights", folder / "backbone.safetensors")
    extract = ("extract", "csv", "--root", own_videos, *weights, "--workers", "0", "--precision", "fp32", "--json")
    (planned,) = value(aqa(*extract, "--dry-run"))["stores"]
    assert (planned["clips"], planned["bytes"], planned["fingerprint"]["plan"]) == (
        16 * 96,
        16 * 96 * 440 * 4,
        "1x96of96",
    )
    done = value(aqa(*extract, "--plan", "1x6of6"))
    assert (done["done"], done["clips"], done["frames_used"]) == (16, 16 * 6, 16 * 6)
    fitted = value(aqa("fit", "csv", "--head", "attention", "--set", "epochs=1", "--seeds", 1, "--json"))
    assert fitted[0]["features"] == "regnet_y_400mf_gsm"
