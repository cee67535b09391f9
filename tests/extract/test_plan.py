"""Clip plans against the start frames of the released codes (ERRATA 10; section 1.2 of the DAE/USDL/CoRe spec)."""

from __future__ import annotations

import numpy as np
import pytest

from aqa.errors import BadParameter, VideoError
from aqa.extract.plan import parse_plan

STARTS = {
    "10x16@103": [0, 10, 20, 30, 40, 50, 60, 70, 80, 87],
    "10x16@103-86": [0, 10, 20, 30, 40, 50, 60, 70, 80, 86],
    "8x16@103": [0, 12, 24, 36, 48, 60, 72, 84],
    "6x16@103": [0, 16, 32, 48, 64, 80],
    "20x8@103": list(range(0, 96, 5)),
    "9x16@96": list(range(0, 81, 10)),
    "1x103@103": [0],
}


@pytest.mark.parametrize("name", STARTS)
def test_clips_start_where_the_papers_let_them_start(name: str) -> None:
    plan = parse_plan(name)
    clips = plan.indexes(200)
    assert clips[:, 0].tolist() == STARTS[name]
    assert (np.diff(clips, axis=1) == 1).all()
    assert clips.shape == (len(STARTS[name]), plan.length)
    assert clips.max() < plan.needs
    assert (plan.name, plan.short) == (name, "edge")
    assert np.array_equal(clips, plan.indexes(plan.needs)), "a longer sample uses the window's frames"


def test_mscadc_takes_every_6_5th_of_103_frames() -> None:
    clip = parse_plan("16of103").indexes(103)
    assert clip.tolist() == [[0, 6, 13, 19, 26, 32, 39, 45, 52, 58, 65, 71, 78, 84, 91, 97]]


@pytest.mark.parametrize("n", [21, 96, 159, 160, 161, 1000])
def test_resampling_covers_the_whole_range_without_overlap(n: int) -> None:
    clips = parse_plan("10x16of160").indexes(n)
    assert clips.shape == (10, 16)
    assert clips.reshape(-1).tolist() == [int(x) for x in np.linspace(0, n - 1, 160)]
    assert (clips[0, 0], clips[-1, -1]) == (0, n - 1)


def test_resampling_to_96_frames_overlaps_by_six() -> None:
    clips = parse_plan("9x16of96").indexes(191)
    assert clips[:, 0].tolist() == [20 * i for i in range(9)]
    assert clips[0].tolist() == list(range(0, 32, 2))


@pytest.mark.parametrize("n", [1, 2, 61, 95, 96, 97, 134, 400])
def test_96_frames_over_the_sample_are_those_of_tsa_and_hp_mcore(n: int) -> None:
    """Section 0.3 of the specification: floor(linspace(first, last, 96)); short samples repeat frames."""
    clips = parse_plan("96x1of96").indexes(n)
    assert clips.shape == (96, 1)
    assert clips[:, 0].tolist() == [int(x) for x in np.linspace(0, n - 1, 96)]
    assert (clips[0, 0], clips[-1, 0]) == (0, n - 1)


@pytest.mark.parametrize(
    ("name", "n", "starts"),
    [
        ("dense:16:8", 16, [0]),
        ("dense:16:8", 32, [0, 8, 16]),
        ("dense:16:8", 33, [0, 8, 16, 17]),
        ("dense:16:16", 47, [0, 16, 31]),
        ("dense:16:16", 48, [0, 16, 32]),
        ("dense:64:64", 325, [0, 64, 128, 192, 256, 261]),
        ("dense:1:1", 3, [0, 1, 2]),
    ],
)
def test_dense_clips_end_with_the_last_frame(name: str, n: int, starts: list[int]) -> None:
    clips = parse_plan(name).indexes(n)
    assert clips[:, 0].tolist() == starts
    assert clips[-1, -1] == n - 1


def test_short_samples() -> None:
    edge, loop, zero = (parse_plan("2x4@8", short).indexes(6) for short in ("edge", "loop", "zero"))
    assert edge.tolist() == [[0, 1, 2, 3], [4, 5, 5, 5]]
    assert loop.tolist() == [[0, 1, 2, 3], [4, 5, 0, 1]]
    assert zero.tolist() == [[0, 1, 2, 3], [4, 5, -1, -1]]
    assert parse_plan("2x4@8", "zero").indexes(3).tolist() == [[0, 1, 2, -1], [-1] * 4]
    assert parse_plan("dense:4:2", "loop").indexes(3).tolist() == [[0, 1, 2, 0]]


@pytest.mark.parametrize("name", ["10x16@103", "dense:16:8", "10x16of160", "16of103"])
def test_refusing_short_samples_says_how_many_frames_there_are(name: str) -> None:
    plan = parse_plan(name, "refuse")
    with pytest.raises(VideoError, match=f"15 frames, and {name} needs {plan.needs}"):
        plan.indexes(15)
    assert plan.indexes(plan.needs).min() == 0


def test_no_frames_are_refused() -> None:
    with pytest.raises(VideoError, match="no frames"):
        parse_plan("dense:16:8").indexes(0)


def test_only_open_ended_plans_depend_on_the_length() -> None:
    assert [parse_plan(name).open_ended for name in ("10x16@103", "16of103", "10x16of160", "dense:16:8")] == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "10x16",
        "10x16@",
        "0x16@103",
        "10x0@103",
        "2x104@103",
        "50x16@20",  # not so many different clips
        "10x16@103-88",  # ends behind the window
        "10x16@103-79",  # before the clip before it
        "16of15",
        "1of10",
        "dense:16",
        "dense:0:8",
        "dense:16:0",
        "dense:-16:8",
        "10X16@103",
        "10x16@103 ",
        "1e3x16@103",
        "9999999999x16@103",
    ],
)
def test_nonsense_is_refused(name: str) -> None:
    with pytest.raises(BadParameter):
        parse_plan(name)


def test_unknown_short_policy_is_refused() -> None:
    with pytest.raises(BadParameter, match="edge, loop, zero, refuse"):
        parse_plan("dense:16:8", "repeat")
