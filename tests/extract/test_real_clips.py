"""Real videos: what is counted, and what is decoded of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aqa.catalog.base import Media
from aqa.extract.container import cut_short
from aqa.extract.decode import Begin, Chunk, End, Wanted, probe, read_clips, read_frames
from aqa.extract.plan import parse_plan

# name -> frames shown, by the header, height, width, fps
CLIPS = {
    "aqa7_diving_054.avi": (103, 103, 240, 320, 30.0),
    "cisc452_climb_test.mp4": (24, 24, 1080, 1920, 25.0),
    "fineparser_image29.gif": (96, 96, 369, 369, 20.0),
    "jigsaws_Suturing_I001_34_frame.gif": (32, 32, 112, 112, 2.0),
    "mmaction2_structuralize.mp4": (300, 300, 240, 426, 29.97),
    "mmaction2_test.mp4": (300, 300, 256, 340, 30.0),
    "mtl-aqa_diving_sample.gif": (21, 21, 281, 500, 10.0),
    "sample1.mp4": (109, 200, 720, 1280, 29.97),
    "sample2.mp4": (87, 119, 720, 1280, 29.77),
    "torchcodec_nasa_13013.mp4": (325, 325, 180, 320, 25.0),
    "vf_v_GGSY1Qvo990.mp4": (355, 355, 240, 320, 19.62),
}


@pytest.mark.parametrize("name", CLIPS)
def test_counts(name: str, shared_data: Path) -> None:
    path = shared_data / "clips" / name
    frames, stated, height, width, fps = CLIPS[name]
    info = probe(Media(path))
    assert (info.frames, info.stated, info.height, info.width) == (frames, stated, height, width)
    assert info.fps == pytest.approx(fps, abs=0.01)
    assert info.timed
    assert cut_short(path) is None
    begin, *parts, end = read_clips(Media(path), {"a": Wanted(parse_plan("dense:16:16"))})
    assert isinstance(begin, Begin)
    assert begin.clips["a"][-1, -1] == frames - 1
    assert end == End(decoded=frames, used=frames)
    times = np.concatenate([part.times for part in parts if isinstance(part, Chunk)])
    assert len(times) == frames
    assert (np.diff(times) > 0).all()


def test_a_sample_in_the_middle_is_reached_through_a_keyframe(shared_data: Path) -> None:
    path = shared_data / "clips" / "vf_v_GGSY1Qvo990.mp4"  # six keyframes in 355 frames
    wanted = np.arange(200, 216)
    [near], [all_] = (list(read_frames(Media(path), wanted, seek=seek)) for seek in (True, False))
    assert all(np.array_equal(a, b) for a, b in zip(near.planes, all_.planes, strict=True))
    *_, end = read_clips(Media(path, 200, 216), {"a": Wanted(parse_plan("1x16@16"))})
    assert isinstance(end, End)
    assert end.used == 16
    assert end.decoded < 100


def test_the_judged_dive_has_its_103_frames_without_padding(shared_data: Path) -> None:
    plans = {name: Wanted(parse_plan(name, "refuse")) for name in ("10x16@103", "8x16@103", "20x8@103", "16of103")}
    *_, end = read_clips(Media(shared_data / "clips" / "aqa7_diving_054.avi"), plans)
    assert end == End(decoded=103, used=103)
