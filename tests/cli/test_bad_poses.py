"""Nobody, one frame, a person who leaves, NaN: from the file of a pose to the table of a head, recorded all the way."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from aqa.cache import select_store

FRAMES = 12


def places(seed: int) -> np.ndarray:
    """[FRAMES, 16, 2]: a body that moves."""
    draw = np.random.default_rng(seed)
    return 100 + 20 * draw.normal(size=(16, 2)) + np.arange(FRAMES)[:, None, None]


def annotated(file: Path, at: np.ndarray, seen: np.ndarray, numbers: list[int]) -> None:
    joints = np.where(seen[..., None], at, None).tolist()
    rows = [
        {"joints": xy, "joints_vis": vis.tolist(), "image": f"{n}.jpg"}
        for xy, vis, n in zip(joints, seen.astype(int), numbers, strict=True)
    ]
    file.write_text(json.dumps(rows))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """16 samples of 12 frames, 10 to train; the first of train and of test are bad, each in another way."""
    folder = tmp_path / "own"
    (folder / "poses").mkdir(parents=True)
    names = ["nobody", "single", "leaves", "nan", "half", *(f"train{k}" for k in range(5))]
    tests = ["nobody2", "nan2", "single2", *(f"test{k}" for k in range(3))]
    rows = [
        f"{name},,{10 * (k % 4) + k / 16},{'train' if name in names else 'test'}"
        for k, name in enumerate(names + tests)
    ]
    (folder / "samples.csv").write_text("\n".join(["id,media,score,split", *rows]) + "\n")
    everybody = np.ones((FRAMES, 16), bool)
    for k, name in enumerate(names + tests):
        at, file = places(k), folder / "poses" / f"{name}.json"
        match name.rstrip("2"):
            case "nobody":
                annotated(file, at, ~everybody, list(range(FRAMES)))
            case "single":
                annotated(file, at[:1], everybody[:1], [7])
            case "leaves":  # the last frame alone is there again
                annotated(file, at[[0, 1, 2, 11]], everybody[:4], [0, 1, 2, 11])
            case "nan":
                np.savez(file.with_suffix(".npz"), pred=np.full_like(at, np.nan))
            case "half":
                at[::2, :8] = np.nan
                np.savez(file.with_suffix(".npz"), pred=at)
            case _:
                annotated(file, at, everybody, list(range(FRAMES)))
    return folder


def test_from_the_file_to_the_table(aqa, value, own: Path):
    said = value(
        aqa("cache", "import", "csv", own / "poses", "--root", own, "--as", "pose", "--cache", "cache", "--json")
    )
    assert (said["done"], said["shape"], said["missing"], said["unaligned"]) == (16, [16, 3], [], [])
    store = select_store(Path("cache"), "csv", "pose")
    seen = {}
    for name in ("nobody", "single", "leaves", "nan", "half"):
        pose, _ = store.read([name])
        assert np.isfinite(pose).all()
        seen[name] = (pose[..., 2] > 0).mean(axis=1).tolist()
        measured = value(aqa("measure", f"csv:{name}", "--cache", "cache", "--draw", f"{name}.png", "--json"))
        assert measured["without"] == seen[name].count(0)
        assert all(row["value"] is not None or row["reason"] for row in measured["measures"])
    assert seen == {
        "nobody": [0.0] * 12,
        "single": [1.0],
        "leaves": [1.0] * 3 + [0.0] * 8 + [1.0],
        "nan": [0.0] * 12,
        "half": [0.5, 1.0] * 6,
    }
    pose, _ = store.read(["leaves"])
    np.testing.assert_allclose(pose[:, :, :2], places(2), rtol=1e-5)  # who moves evenly is where he was, but marked

    small = ("--set", "epochs=1", "--set", "hidden=8", "--set", "frames=6", "--held-out", 0.2, "--seeds", 1)
    done = aqa("fit", "csv", "--features", "pose", "--head", "gcn", *small, "--cache", "cache", "--runs", "runs")
    assert done.exit_code == 0, done.stderr
    (file,) = Path("runs").rglob("predictions.csv")
    with file.open() as lines:
        judged = {row["id"]: float(row["score"]) for row in csv.DictReader(lines) if row["id"].endswith("2")}
    assert judged.keys() == {"nobody2", "nan2", "single2", "test2"}
    assert np.isfinite(list(judged.values())).all()
    assert judged["nobody2"] == pytest.approx(judged["nan2"], abs=1e-4)


@pytest.mark.parametrize("name", ["nobody.json", "single.json", "leaves.json", "nan.npz", "half.npz"])
def test_files_are_measured_as_they_are(aqa, value, own: Path, name: str):
    said = value(aqa("measure", own / "poses" / name, "--draw", "x.png", "--json"))
    assert all(row["value"] is not None or row["reason"] for row in said["measures"])
    assert said["without"] == {"nobody.json": 12, "leaves.json": 8, "nan.npz": 12}.get(name, 0)
    if said["without"] == said["frames"]:
        assert {row["reason"] for row in said["measures"]} == {"no joint is seen in any frame"}
        assert "nobody is seen in any of 12 frames" in aqa("measure", own / "poses" / name).stdout


def test_several_persons_and_arrays_with_gaps_are_refused_by_name(aqa, own: Path):
    for folder, arrays, said in (
        ("several", {"pred": np.ones((4, 2, 16, 2))}, "wanted numbers of [frames, joints, 2 or 3]"),
        ("plain", np.full((4, 16, 3), np.nan), "there are numbers that are NaN or infinite"),
    ):
        (own / folder).mkdir()
        if isinstance(arrays, dict):
            np.savez(own / folder / "half.npz", **arrays)
        else:
            np.save(own / folder / "half.npy", arrays)
        done = aqa("cache", "import", "csv", own / folder, "--root", own, "--as", "pose", "--cache", "other")
        assert (done.exit_code, done.stdout) == (3, "")
        assert said in done.stderr
        assert "sample half" in done.stderr
