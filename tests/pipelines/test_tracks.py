"""Which frame of the video, and which label, belongs to a row of a pose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aqa.cache.fingerprint import Fingerprint
from aqa.cache.store import FeatureStore
from aqa.cache.stores import create_store
from aqa.catalog.base import Dataset, Fold, Media, Protocol, Sample, Target
from aqa.errors import UsageError
from aqa.pipelines.tracks import EVENLY, Track, in_pixels, placed, track_of_sample

LABELS = (4,) * 20 + (25,) * 80 + (36,) * 50


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A stream of poses of five samples with 150 labelled frames, that begin at frame 1000 of their videos."""
    media = Media(Path("x.mp4"), 1000, 1150)
    samples = tuple(Sample(i, {"score": 1.0}, media=media, phases=LABELS, kind="407c") for i in "abcde")
    folds = (Fold("", ("a", "b", "c"), ("d", "e")),)
    data = Dataset("some", samples, (Target("score"),), (Protocol("official", folds),))
    prints = Fingerprint(
        backbone="import", layer="pose", shape=(16, 3), weights="0" * 64, pixels={}, plan="as given",
        short="as given", precision="as given", extractor=1,
    )  # fmt: skip
    store = create_store(tmp_path, data, "pose", prints, {})

    def write(
        sample: str, rows: int, starts: np.ndarray | None = None, fps: float | None = None, **source: bool
    ) -> None:
        values = np.ones((rows, 16, 3), np.float32)
        nowhere = np.full(rows, -1)
        times = np.arange(rows) / fps if fps else np.full(rows, np.nan)
        store.write(sample, values, nowhere if starts is None else starts, times, source)

    write("a", 150)
    write("b", EVENLY)
    write("c", 100)
    write("d", 96, aligned=False)
    write("e", 75, np.arange(0, 150, 2), fps=12.5)
    return store


def test_a_row_for_every_frame(store: FeatureStore):
    track = track_of_sample(store, "a")
    assert track.labels == LABELS
    assert track.frames is not None
    assert (track.frames[0], track.frames[-1], track.fps, track.kind) == (1000, 1149, None, "407c")
    part = track.part(10, 30)
    assert part.frames is not None
    assert (part.labels, part.first, part.frames[0]) == (LABELS[10:30], 10, 1010)


def test_96_rows_are_taken_evenly(store: FeatureStore):
    track = track_of_sample(store, "b")
    rows = np.floor(np.linspace(0, 149, 96)).astype(int)
    assert track.labels == tuple(LABELS[i] for i in rows)
    np.testing.assert_array_equal(track.frames, rows + 1000)


@pytest.mark.parametrize("sample", ["c", "d"])
def test_rows_of_which_nobody_knows_the_frame(store: FeatureStore, sample: str):
    track = track_of_sample(store, sample)
    assert track.frames is None
    assert track.labels == ()


def test_rows_that_extraction_wrote(store: FeatureStore):
    track = track_of_sample(store, "e")
    assert track.labels == LABELS[::2]
    assert track.fps == pytest.approx(12.5)
    np.testing.assert_array_equal(track.frames, np.arange(1000, 1150, 2))


def track_of(rows: int, frames: np.ndarray | None = None) -> Track:
    return Track("x", np.ones((rows, 16, 3)), frames)


def test_rows_on_a_video():
    np.testing.assert_array_equal(placed(track_of(7), 7).frames, np.arange(7))
    np.testing.assert_array_equal(placed(track_of(96), 200).frames, np.floor(np.linspace(0, 199, 96)))
    np.testing.assert_array_equal(placed(track_of(3, np.array([5, 6, 7])), 8).frames, [5, 6, 7])
    for track, count in ((track_of(7), 8), (track_of(7), 6), (track_of(3, np.array([5, 6, 7])), 7)):
        with pytest.raises(UsageError, match="which row is which frame is not known"):
            placed(track, count)


def test_parts_of_a_picture_become_pixels():
    pose = np.full((4, 16, 3), 0.5)
    np.testing.assert_array_equal(in_pixels(Track("x", pose, None), (640, 360)).pose[0, 0], [320, 180, 0.5])
    with pytest.raises(UsageError, match="parts of the picture"):
        in_pixels(Track("x", pose, None), None)
    pose[0, 0, 0] = 30
    assert in_pixels(Track("x", pose, None), None).pose is pose
    nobody = np.zeros((4, 16, 3))
    assert in_pixels(Track("x", nobody, None), None).pose is nobody
