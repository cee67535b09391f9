"""What is wrong is said in one line that names it and says what to do, with the exit code that belongs to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from aqa.extract.backbones import resolve


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("fit", "demo", "--head", "daee"), 2, "unknown head 'daee'. Did you mean dae"),
        (("extract", "demo", "--backbone", "c3dd"), 2, "unknown backbone 'c3dd'. Did you mean c3d"),
        (("fit", "dmeo", "--head", "dae"), 2, "unknown data set 'dmeo'. Did you mean demo"),
        (("extract", "csv", "--backbone", "c3d", "--root", "nowhere"), 3, "no such folder"),
        (("extract", "demo", "--backbone", "c3d", "--shard", "3/2"), 2, "1 <= i <= n"),
        (("extract", "demo", "--backbone", "c3d", "--plan", "5x8@40"), 2, "c3d cannot take the clips of plan 5x8@40"),
        (("predict", "x.mp4", "--run", "0123456789"), 2, "unknown run '0123456789'"),
        (("fit", "demo", "--head", "svr", "--set", "C=many"), 2, "'many' does not fit C of svr"),
        (("fit", "demo", "--head", "svr", "--set", "D=1"), 2, "unknown parameter of svr 'D'"),
        (("leaderboard", "demo", "--format", "xls"), 2, "xls"),
    ],
)
def test_wrong_words(aqa, words: tuple[str, ...], code: int, said: str, tmp_path: Path):
    done = aqa(*words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_features_of_another_fingerprint_are_named_by_the_field(extracted, own_videos: Path, aqa, tmp_path: Path):
    cache, _ = extracted
    shutil.copytree(cache, tmp_path / "two")
    more = ("--backbone", "c3d", "--plan", "dense:16:8", "--workers", "0", "--limit", "2")
    assert aqa("extract", "csv", "--root", own_videos, "--cache", "two", *more).exit_code == 0
    done = aqa("fit", "csv", "--cache", "two", "--features", "c3d", "--head", "ridge")
    assert done.exit_code == 2
    assert "2 stores of csv are called 'c3d'" in done.stderr
    assert "plan" in done.stderr
    one = aqa("fit", "csv", "--cache", "two", "--features", "c3d@nothing", "--head", "ridge")
    assert "no features 'c3d@nothing'" in one.stderr


def test_a_run_is_not_applied_to_other_features(own_videos: Path, aqa, value, tmp_path: Path):
    """The weight file has changed since the run was trained, or has gone."""
    file = tmp_path / "tuned.safetensors"
    weights = {k: v.contiguous() for k, v in resolve("c3d.random").net.state_dict().items()}
    save_file(weights, file)
    extract = ("extract", "csv", "--root", own_videos, "--backbone", "c3d", "--weights", file, "--plan", "dense:16:16")
    value(aqa(*extract, "--workers", "0", "--json"))
    (row,) = value(aqa("fit", "csv", "--head", "ridge", "--json"))
    judge = ("predict", own_videos / "clip 3.mp4", "--run", row["run_id"], "--json")
    assert len(value(aqa(*judge))) == 1
    first = next(iter(weights))
    save_file({**weights, first: weights[first] + 0.5}, file)
    other = aqa(*judge)
    assert other.exit_code == 3
    assert "weights" in other.stderr
    save_file({"layer.weight": torch.zeros(3)}, file)
    wrong = aqa(*judge)
    assert wrong.exit_code == 3
    assert "layer.weight" in wrong.stderr
    file.unlink()
    assert "tuned.safetensors" in aqa(*judge).stderr
