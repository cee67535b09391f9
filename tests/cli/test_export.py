"""`aqa export`: a run as one file, for another machine or another program."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from aqa.pipelines.cli import app

SMALL = ("--backbone", "c3d_small", "--plan", "2x8@16", "--precision", "fp32", "--workers", "0")


@pytest.fixture(scope="module")
def tuned_once(own_videos: Path, value, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder of runs, and a row of `aqa finetune --json`: usdl, which gives a spread, on standardised features."""
    folder = tmp_path_factory.mktemp("tuned")
    head = ("--head", "usdl", "--set", "epochs=1", "--set", "batch=4", "--runs", str(folder))
    words = ["finetune", "csv", "--root", str(own_videos), *SMALL, *head, "--json"]
    return folder, value(CliRunner().invoke(app, words, catch_exceptions=False))[0]


@pytest.fixture
def tuned(tuned_once: tuple[Path, dict[str, Any]], aqa) -> dict[str, Any]:
    """The row, of a copy of the run in the working directory."""
    folder, row = tuned_once
    shutil.copytree(folder, "runs")
    return {**row, "run": str(Path("runs", Path(row["run"]).relative_to(folder)))}


def judged(aqa, value, video: Path, run: object) -> dict[str, Any]:
    return value(aqa("predict", video, "--run", run, "--difficulty", 2, "--json"))[0]


def test_a_bundle_judges_elsewhere(tuned: dict[str, Any], own_videos: Path, aqa, value, tmp_path: Path):
    here = judged(aqa, value, own_videos / "clip 12.mp4", tuned["run_id"])
    said = value(aqa("export", tuned["run_id"], "-o", "dive.zip", "--json"))
    assert said["runs"] == [tuned["run_id"]]
    with zipfile.ZipFile("dive.zip") as archive:
        assert str(own_videos) not in archive.read("run-0/run.json").decode()
    shutil.rmtree("runs")
    there = judged(aqa, value, own_videos / "clip 12.mp4", "dive.zip")
    assert {**there, "run_ids": 0} == {**here, "run_ids": 0}
    assert there["interval"] is None or len(there["interval"]) == 2


def test_a_bundle_of_cached_features_takes_the_same_weights_alone(own_videos: Path, aqa, value, tuned: dict[str, Any]):
    weights = Path("other") / "backbone.safetensors"
    weights.parent.mkdir()
    shutil.copy(Path(tuned["run"]) / "backbone.safetensors", weights)
    extract = ("extract", "csv", "--root", own_videos, "--backbone", "c3d_small", "--plan", "2x8@16", "--workers", "0")
    assert aqa(*extract, "--weights", weights.absolute(), "--precision", "fp32").exit_code == 0
    (row,) = value(aqa("fit", "csv", "--head", "ridge", "--seeds", 1, "--json"))
    here = judged(aqa, value, own_videos / "clip 12.mp4", row["run_id"])
    assert aqa("export", row["run_id"], "-o", "without.zip").exit_code == 0
    assert aqa("export", row["run_id"], "-o", "with.zip", "--with-weights").exit_code == 0
    given = weights.read_bytes()
    weights.unlink()
    video = own_videos / "clip 12.mp4"
    assert judged(aqa, value, video, "with.zip")["score"] == here["score"]
    result = aqa("predict", video, "--run", "without.zip", "--difficulty", 2)
    assert result.exit_code == 3
    assert "weights" in result.stderr
    Path("again.safetensors").write_bytes(given)
    again = aqa("predict", video, "--run", "without.zip", "--weights", "again.safetensors", "--difficulty", 2, "--json")
    assert value(again)[0]["score"] == here["score"]
    wrong = aqa("predict", video, "--run", "without.zip", "--weights", Path(tuned["run"]) / "head.safetensors")
    assert wrong.exit_code == 3


def test_a_run_on_imported_features_is_no_bundle(own_videos: Path, aqa, value):
    Path("x").mkdir()
    for k in range(16):
        np.save(f"x/v{k:02d}.npy", np.full((1, 3), k, np.float32))
    assert aqa("cache", "import", "csv", "x", "--root", own_videos, "--as", "x").exit_code == 0
    (row,) = value(aqa("fit", "csv", "--features", "x", "--head", "ridge", "--seeds", 1, "--json"))
    result = aqa("export", row["run_id"], "-o", "x.zip")
    assert result.exit_code == 2
    assert "features x of this run were imported" in result.stderr
    assert not Path("x.zip").exists()


def test_broken_and_strange_bundles_are_refused(tuned: dict[str, Any], own_videos: Path, aqa, tmp_path: Path):
    assert aqa("export", tuned["run_id"], "-o", "dive.zip").exit_code == 0
    whole = Path("dive.zip").read_bytes()
    video = own_videos / "clip 12.mp4"
    Path("cut.zip").write_bytes(whole[: len(whole) // 2])
    Path("turned.zip").write_bytes(bytes(b ^ 255 if i == len(whole) // 3 else b for i, b in enumerate(whole)))
    with zipfile.ZipFile("dive.zip") as source, zipfile.ZipFile("slip.zip", "w") as archive:
        index = json.loads(source.read("bundle.json"))
        index["files"]["../../evil.txt"] = ""
        archive.writestr("bundle.json", json.dumps(index))
        for name in [*(n for n in index["files"] if n != "../../evil.txt"), "../../evil.txt"]:
            archive.writestr(name, b"")
    for name in ("cut", "turned", "slip"):
        result = aqa("predict", video, "--run", f"{name}.zip", "--difficulty", 2)
        assert result.exit_code == 3, name
        assert "Traceback" not in result.stderr
    assert not (tmp_path.parent / "evil.txt").exists()
    assert not (tmp_path / "evil.txt").exists()
    assert aqa("export", tuned["run_id"], "-o", "dive.txt").exit_code == 2
    assert aqa("export", tuned["run_id"], "-o", "no/dive.zip").exit_code == 3
    assert aqa("export", "none-such", "-o", "dive.zip").exit_code == 2


@pytest.mark.filterwarnings("ignore")  # torch's own, while it exports
@pytest.mark.parametrize("form", ["torch.export", "onnx"])
def test_a_function_computes_what_the_run_does(form: str, tuned: dict[str, Any], own_videos: Path, aqa, value):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    said = value(aqa("export", tuned["run_id"], "-o", "dive.bin", "--format", form, "--json"))
    assert max(said["differs_by"].values()) < 0.01
    made = json.loads(Path("dive.bin.json").read_text())
    assert made["inputs"]["clips"]["shape"] == [1, 2, 8, 56, 56, 3]
    assert np.array(made["frames"]).shape == (2, 8)

    # a program without aqa: decode, resize, crop, ask
    import av
    from PIL import Image

    height, width = made["resize_and_crop"]["resize"]
    crop = made["resize_and_crop"]["crop"]
    with av.open(str(own_videos / "clip 12.mp4")) as container:
        frames = [
            np.asarray(frame.to_image().resize((width, height), Image.Resampling.BILINEAR))
            for frame in container.decode(video=0)
        ]
    top, left = round((height - crop[0]) / 2), round((width - crop[1]) / 2)
    clips = np.stack(frames)[np.array(made["frames"])][None, :, :, top : top + crop[0], left : left + crop[1]]
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession("dive.bin", providers=["CPUExecutionProvider"])
        given = {"clips": clips, "difficulty": np.array([2.0], np.float32)}
        score = session.run(None, {one.name: given[one.name] for one in session.get_inputs()})[0]
    else:
        program = torch.export.load("dive.bin").module()
        score = program(torch.from_numpy(clips), torch.tensor([2.0]))[0].detach().numpy()
    here = judged(aqa, value, own_videos / "clip 12.mp4", tuned["run_id"])
    low, high = made["range"]
    assert float(score[0]) == pytest.approx(here["score"], abs=0.02 * (high - low))
    assert not list(Path().glob(".dive*"))


def test_heads_that_are_no_function_say_so(own_videos: Path, aqa, value):
    core = ("--head", "core", "--set", "votes=3", "--set", "epochs=1", "--set", "batch=4")
    (row,) = value(aqa("finetune", "csv", "--root", own_videos, *SMALL, *core, "--json"))
    result = aqa("export", row["run_id"], "-o", "dive.onnx", "--format", "onnx")
    assert result.exit_code == 2
    assert "compares with train samples" in result.stderr
    assert aqa("export", row["run_id"], "-o", "dive.zip").exit_code == 0
    assert len(judged(aqa, value, own_videos / "clip 12.mp4", "dive.zip")["exemplars"]) == 3
