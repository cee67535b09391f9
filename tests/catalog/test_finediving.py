from __future__ import annotations

from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest

from aqa import catalog
from aqa.catalog.check import check
from aqa.catalog.frames import images
from aqa.catalog.phases import transitions
from aqa.errors import AnnotationError, SplitError

# The files are under an agreement. These are made up in their layout, with the label runs that are documented.
WORLD_CUP = "FINADivingWorldCup2021_Men3m_final_r1"


def runs(*pairs: tuple[int, int]) -> np.ndarray:
    """(label, how many frames) -> one label per frame."""
    return np.array(list(chain.from_iterable(repeat(label, n) for label, n in pairs)))


ROWS = {
    ("01", 1): ["407c", 88.0, 3.2, np.array([2, 34]), runs((4, 3), (25, 32), (36, 50))],
    ("01", 2): ["407c", 86.4, np.float64(3.2), np.array([11, 47]), runs((4, 12), (25, 36), (36, 41))],
    (WORLD_CUP, 8): ["5253b", 75.2, 3.2, np.array([1, 32, 47]), runs((5, 2), (13, 31), (33, 15), (36, 36))],
}
JUDGES = {
    ("01", 1): [9.5, 9.0, 9.5, 9.0, 8.5, 9.5, 8.5],
    ("01", 2): [9.0, 8.5, 9.0, 9.0, 9.0, 9.0, 9.0],
    (WORLD_CUP, 8): [8.0, 8.0, 7.5, 8.0, 7.5, 7.5, 8.0],
}


@pytest.fixture
def tiny(dump):
    def write(folder: Path, rows: dict | None = None) -> None:
        rows = ROWS if rows is None else rows
        dump(folder / "fine-grained_annotation_aqa.pkl", rows)
        coarse = {
            key: {"action_type": "x", "start_frame": 1, "end_frame": 9, "judge_scores": marks}
            for key, marks in JUDGES.items()
        }
        dump(folder / "FineDiving_coarse_annotation.pkl", coarse)
        dump(folder / "train_split.pkl", [("01", 2), (WORLD_CUP, 8)])
        dump(folder / "test_split.pkl", [("01", 1)])

    return write


@pytest.mark.parametrize("place", ["Annotations", "FineDiving/Annotations", "."])
def test_labels(tmp_path: Path, tiny, place: str):
    tiny(tmp_path / place)
    dataset = catalog.read("finediving", tmp_path)
    sample = dataset.by_id["01_1"]
    assert (sample.targets, sample.difficulty, sample.kind, sample.event) == ({"score": 88.0}, 3.2, "407c", "01")
    assert sample.judges == tuple(JUDGES["01", 1])
    assert len(sample.phases) == 85
    assert transitions(sample.phases) == (4, 40)
    assert {type(label) for label in sample.phases} == {int}
    assert dataset.by_id[f"{WORLD_CUP}_8"].media is None
    (fold,) = dataset.protocol().folds
    assert (fold.train, fold.test) == (("01_2", f"{WORLD_CUP}_8"), ("01_1",))
    assert dataset.protocol("paper").ranges == {"": (0, 104.4)}
    assert dataset.plans == {"*": "9x16of96"}
    assert dataset.problems == ()


def test_judges_are_compared_with_the_score(tmp_path: Path, tiny):
    rows = {**ROWS, ("01", 1): ["407c", 57.6, 3.2, np.array([2, 34]), ROWS["01", 1][4]]}
    tiny(tmp_path, rows)
    (problem,) = catalog.read("finediving", tmp_path).problems
    assert (problem.sample, problem.field) == ("01_1", "score")
    assert "88.00" in problem.message


@pytest.mark.parametrize("frames", ["FINADiving_MTL_256s", "FineDiving/FINADiving_MTL_256s", "."])
def test_all_images_of_the_dive(tmp_path: Path, tiny, touch, frames: str):
    tiny(tmp_path / "Annotations")
    touch(tmp_path / frames / "01/1", [f"{n:08d}.jpg" for n in range(7378, 7463)])
    touch(tmp_path / frames / WORLD_CUP / "8", [f"{n:05d}.jpg" for n in range(489, 573)])
    dataset = catalog.read("finediving", tmp_path)
    media = dataset.by_id["01_1"].media
    assert media is not None
    assert (media.start, media.stop, len(images(media.path))) == (0, None, 85)
    assert dataset.by_id["01_2"].media is not None
    findings = check(dataset, lambda media: len(images(media.path)))
    assert [(f.sample, f.field, f.severity) for f in findings] == [("01_2", "media", "error")]


def test_labels_must_be_as_many_as_images(tmp_path: Path, tiny, touch):
    tiny(tmp_path / "Annotations")
    touch(tmp_path / "FINADiving_MTL_256s/01/1", [f"{n:08d}.jpg" for n in range(7378, 7459)])
    dataset = catalog.read("finediving", tmp_path)
    findings = check(dataset, lambda media: len(images(media.path)), limit=1)
    assert [(f.sample, f.field) for f in findings] == [("01_1", "phases")]
    assert "85 frame labels for 81 frames" in findings[0].message


def test_videos(tmp_path: Path, tiny, touch):
    tiny(tmp_path / "Annotations")
    touch(tmp_path / "FINADiving_MTL_256s/01", ["1.mp4", "2.mp4"])
    media = catalog.read("finediving", tmp_path).by_id["01_2"].media
    assert media is not None
    assert (media.path.name, media.start, media.stop) == ("2.mp4", 0, None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (["407c", 88.0, 3.2], "wanted a list"),
        (["407c", "high", 3.2, [], []], "no number"),
        (["407c", 88.0, 3.2, [], 5], "no number"),
        (["407c", float("nan"), 3.2, [], []], "nan"),
    ],
)
def test_bad_rows_name_the_sample(tmp_path: Path, tiny, row: list, said: str):
    tiny(tmp_path, {**ROWS, ("01", 1): row})
    with pytest.raises(AnnotationError, match=f"{said}.*sample 01_1"):
        catalog.read("finediving", tmp_path)


def test_bad_splits(tmp_path: Path, tiny, dump):
    tiny(tmp_path)
    dump(tmp_path / "test_split.pkl", [("01", 2)])
    with pytest.raises(SplitError, match="01_2"):
        catalog.read("finediving", tmp_path)
    dump(tmp_path / "test_split.pkl", ["01_2"])
    with pytest.raises(SplitError, match="not a list"):
        catalog.read("finediving", tmp_path)
