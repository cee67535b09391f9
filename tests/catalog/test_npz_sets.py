"""UNLV-Dive and UI-PRMD: sets whose own files are the features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from aqa import catalog
from aqa.errors import AnnotationError

# --- UNLV-Dive


def test_facts_of_unlv_dive(shared_data: Path):
    dataset = catalog.read("unlv-dive", shared_data / "unlv-dive")
    (fold,) = dataset.protocol().folds
    assert (len(fold.train), len(fold.test)) == (300, 70)
    assert [sample.id for sample in dataset.samples] == [f"unlv-{row:03d}" for row in range(370)]
    assert dataset.stream_flags == {"p3d": ("fine-tuned-on-train",)}
    assert dataset.target().times_difficulty
    assert max(30 * float(sample.difficulty or 0) for sample in dataset.samples) == pytest.approx(123)
    assert dataset.score_range(dataset.target(), dataset.protocol(), "", fold.train) == ((0, 123), "rules")
    test = [dataset.by_id[i] for i in fold.test]
    alone = spearmanr([s.difficulty for s in test], [s.targets["score"] for s in test]).statistic
    assert alone == pytest.approx(0.29, abs=0.005)


def test_unlv_features_are_p3d_and_nothing_fitted_on_train(shared_data: Path):
    root = shared_data / "unlv-dive"
    streams = catalog.streams("unlv-dive")
    assert list(streams) == ["p3d"]
    p3d = streams["p3d"](root)
    with np.load(root / "unlv_dive_p3d.npz") as stored:
        np.testing.assert_array_equal(p3d["unlv-007"], stored["x"][7:8])
    assert {x.shape for x in p3d.values()} == {(1, 2048)}
    assert set(p3d) == set(catalog.read("unlv-dive", root).by_id)


def test_bad_unlv_files(tmp_path: Path):
    file = tmp_path / "unlv_dive_p3d.npz"
    np.savez(file, score=np.ones(3), split=np.array([0, 0, 1]))
    with pytest.raises(AnnotationError, match="difficulty"):
        catalog.read("unlv-dive", tmp_path)
    np.savez(file, score=np.ones(3), split=np.array([0, 1]), difficulty=np.ones(3))
    with pytest.raises(AnnotationError, match="2 rows for 3 scores"):
        catalog.read("unlv-dive", tmp_path)
    np.savez(file, score=np.ones(3), x=np.ones(3))
    with pytest.raises(AnnotationError, match="one vector per dive"):
        catalog.streams("unlv-dive")["p3d"](tmp_path)
    np.savez(file, score=np.array([None, 1]), split=np.zeros(2), difficulty=np.ones(2))
    with pytest.raises(AnnotationError, match="npz of numbers"):
        catalog.read("unlv-dive", tmp_path)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(AnnotationError, match=r"unlv_dive_p3d\.npz"):
        catalog.read("unlv-dive", tmp_path)


# --- UI-PRMD


@pytest.fixture(scope="module")
def prmd(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("shared_data") / "ui-prmd"


def test_facts_of_ui_prmd(prmd: Path):
    dataset = catalog.read("ui-prmd", prmd)
    assert (dataset.target().name, dataset.target().kind) == ("correct", "binary")
    assert [protocol.name for protocol in dataset.protocols] == ["leave-one-subject-out", "random"]
    assert len(dataset.samples) == 400
    for group in ("m01", "m02"):
        members = [sample for sample in dataset.samples if sample.group == group]
        assert sum(sample.targets["correct"] for sample in members) == 100
        assert {sample.subject for sample in members} == {f"s{n:02d}" for n in range(1, 11)}
    assert dataset.by_id["m01_s01_e01"].targets == {"correct": 1.0}
    assert dataset.by_id["m01_s01_e01_inc"].targets == {"correct": 0.0}


def test_only_the_random_protocol_shares_subjects_and_says_so(prmd: Path):
    dataset = catalog.read("ui-prmd", prmd)
    one_out, random = dataset.protocols
    assert dataset.shared_subjects(one_out) == ()
    assert len(dataset.shared_subjects(random)) == 10
    assert (one_out.flags, random.flags) == ((), ("subjects-split-at-random",))
    assert one_out.pooled
    assert random.pooled
    for protocol in (one_out, random):
        assert [(len(fold.train), len(fold.test)) for fold in protocol.folds] == [(180, 20)] * 20


def test_the_packed_streams(prmd: Path):
    streams = catalog.streams("ui-prmd")
    angles, positions = (streams[name](prmd) for name in ("angles", "positions"))
    assert set(angles) == set(positions) == set(catalog.read("ui-prmd", prmd).by_id)
    with np.load(prmd / "uiprmd_kinect_m01_m02.npz") as stored:
        first = slice(*stored["offsets"][:2])  # the first row is an incorrect one
        np.testing.assert_array_equal(angles["m01_s01_e01_inc"], stored["angles"][first])
        np.testing.assert_array_equal(positions["m01_s01_e01_inc"], stored["positions"][first])
        assert sum(len(x) for x in angles.values()) == len(stored["angles"])


def release(root: Path, kinds: tuple[str, ...] = ("Angles", "Positions")) -> None:
    """The release's folders of text files, for one movement, two subjects, two repetitions."""
    for kind in kinds:
        for part, end in (("Segmented Movements", ""), ("Incorrect Segmented Movements", "_inc")):
            folder = root / part / "Kinect" / kind
            folder.mkdir(parents=True)
            for subject in (1, 10):
                for episode in (1, 2):
                    name = f"m07_s{subject:02d}_e{episode:02d}_{kind.lower()}{end}.txt"
                    rows = [f"{subject}.5, {n}.25,-3e-2" + ",0" * 63 for n in range(episode + 2)]
                    (folder / name).write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("place", [".", "UI-PRMD"])
def test_the_release(tmp_path: Path, place: str):
    release(tmp_path / place)
    dataset = catalog.read("ui-prmd", tmp_path)
    assert len(dataset.samples) == 8
    assert {sample.group for sample in dataset.samples} == {"m07"}
    assert [fold.name for fold in dataset.protocol().folds] == ["s01", "s10"]
    angles = catalog.streams("ui-prmd")["angles"](tmp_path)
    assert set(angles) == set(dataset.by_id)
    np.testing.assert_allclose(angles["m07_s10_e02_inc"], [[10.5, n + 0.25, -0.03] + [0] * 63 for n in range(4)])


def test_the_release_with_positions_only(tmp_path: Path):
    release(tmp_path, ("Positions",))
    assert len(catalog.read("ui-prmd", tmp_path).samples) == 8
    with pytest.raises(AnnotationError, match="Kinect/Angles"):
        catalog.streams("ui-prmd")["angles"](tmp_path)


def test_bad_ui_prmd_files(tmp_path: Path):
    release(tmp_path)
    (tmp_path / "Segmented Movements/Kinect/Angles/m07_s01_e01_angles.txt").write_text("1,2\n3\n")
    with pytest.raises(AnnotationError, match="m07_s01_e01_angles"):
        catalog.streams("ui-prmd")["angles"](tmp_path)
    with pytest.raises(AnnotationError, match=r"not a table.*sample m07_s01_e01"):
        catalog.streams("ui-prmd")["joints"](tmp_path)
    np.savez(tmp_path / "uiprmd_kinect_m01_m02.npz", movement=np.ones(2), subject=np.ones(2), episode=np.ones(2))
    with pytest.raises(AnnotationError, match="correct"):
        catalog.read("ui-prmd", tmp_path)
