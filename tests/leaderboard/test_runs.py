from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aqa.errors import StoreError, UnknownName, UsageError
from aqa.leaderboard.runs import Prediction, RunKey, find_runs, iter_runs, read_run, write_run


def key(**change) -> RunKey:
    values = {
        "dataset": "mtl-aqa",
        "protocol": "official",
        "target": "score",
        "group": "",
        "features": ("i3d", "c3d:pool5"),
        "head": "dae",
        "identity": {"lr": 0.1},
        "fold": 0,
        "seed": 3,
    }
    return RunKey(**{**values, **change})


def test_the_folder_says_what_the_run_is():
    folder = key().folder
    assert folder.parts[:5] == ("mtl-aqa", "official", "score", "all", "i3d+c3d:pool5")
    assert folder.parts[5] == f"dae-{key().digest}"
    assert folder.parts[6:] == ("fold-0", "seed-3")


def test_other_parameters_are_another_run_and_the_same_are_the_same():
    assert key().folder == key().folder
    assert key(identity={"lr": 0.2}).digest != key().digest
    assert key(seed=4).run_id != key().run_id
    assert len(key().run_id) == 10


def test_names_cannot_leave_the_root():
    assert ".." not in key(group="../../etc", dataset="a/b").folder.parts
    for name in ("..", ".", ".hidden"):
        parts = key(dataset=name, group=name, features=(name,), head=name).folder.parts
        assert len(parts) == 8
        assert not [part for part in parts if part.startswith(".")]  # such folders are not looked into


def test_predictions_come_back_to_the_last_bit(tmp_path: Path):
    truth, score = np.random.default_rng(0).normal(size=(2, 5))
    names = ("",) * 5
    ids = ("01", "ä b", "3", "None", "nan")
    spread = np.array([0.1, 0.2, np.nan, 1e-300, 3.0])
    row = Prediction("test", ids, truth, score, spread, np.full(5, np.nan), ("g",) * 5, names)
    run = write_run(tmp_path, key(), {}, [row], [], lambda folder: None)
    back = run.predictions
    assert tuple(back["id"]) == ids
    assert np.array_equal(back["truth"], truth)
    assert np.array_equal(back["score"], score)
    assert np.array_equal(back["spread"], spread, equal_nan=True)


def test_an_existing_run_is_kept(make_run):
    first = make_run(noise=1.0)
    stamp = (first.folder / "run.json").stat().st_mtime_ns
    again = make_run(noise=9.0)
    assert again.folder == first.folder
    assert (again.folder / "run.json").stat().st_mtime_ns == stamp
    assert np.array_equal(again.predictions["score"], first.predictions["score"])


def test_a_run_that_fails_while_it_is_saved_leaves_nothing(tmp_path: Path):
    def broken(folder: Path) -> None:
        (folder / "head.json").write_text("{}")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        write_run(tmp_path, key(), {}, [], [], broken)
    assert list(iter_runs(tmp_path)) == []
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_full_disk_is_a_store_error_and_leaves_nothing(tmp_path: Path):
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left"):
        write_run(tmp_path, key(), {}, [], [], full)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_find_by_id_prefix_and_folder(make_run, tmp_path: Path):
    a, b = make_run(seed=0), make_run(seed=1)
    root = tmp_path / "runs"
    assert [r.folder for r in find_runs(root, a.info["run_id"][:6])] == [a.folder]
    assert [r.folder for r in find_runs(root, str(a.folder))] == [a.folder]
    assert {r.folder for r in find_runs(root, str(a.folder.parent))} == {a.folder, b.folder}
    with pytest.raises(UnknownName, match="unknown run"):
        find_runs(root, "zzzz")


def test_an_ambiguous_start_lists_the_candidates(make_run, tmp_path: Path, monkeypatch):
    make_run(seed=0), make_run(seed=1)
    for i, path in enumerate(sorted((tmp_path / "runs").rglob("run.json"))):
        path.write_text(json.dumps({**json.loads(path.read_text()), "run_id": f"abcd{i}"}))
    with pytest.raises(UsageError, match="2 runs"):
        find_runs(tmp_path / "runs", "abcd")


def test_damaged_and_newer_runs_are_named(make_run):
    run = make_run()
    path = run.folder / "run.json"
    text = path.read_text()
    path.write_text(text[:20])
    with pytest.raises(StoreError, match="damaged"):
        read_run(run.folder)
    path.write_text(json.dumps({**json.loads(text), "format": 99}))
    with pytest.raises(StoreError, match="newer"):
        read_run(run.folder)
    (run.folder / "predictions.csv").unlink()
    path.write_text(text)
    with pytest.raises(StoreError, match=r"predictions\.csv"):
        _ = read_run(run.folder).predictions
