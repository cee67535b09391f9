"""Transitions of the documented dives of FineDiving, of labels that recur or lack, and the overlap of two answers."""

from __future__ import annotations

import sys
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest

from aqa.catalog.phases import FRAMES, UNKNOWN, overlap, sampled, transitions, transitions_of


def runs(*pairs: tuple[int, int]) -> tuple[int, ...]:
    """(label, how many frames) -> one label per frame."""
    return tuple(chain.from_iterable(repeat(label, n) for label, n in pairs))


DIVE = runs((4, 3), (25, 32), (36, 50))  # ('01', 1) of FineDiving: 85 frames, fewer than 96


@pytest.mark.parametrize("count", [1, 2, 85, 95, 96, 97, 101, 273])
def test_96_frames_are_taken_evenly(count: int):
    taken = sampled(count)
    assert taken.dtype == np.int64
    assert len(taken) == FRAMES == 96
    assert (taken[0], taken[-1]) == (0, count - 1)
    assert np.abs(taken - np.arange(96) * (count - 1) / 95).max() < 1
    assert (np.diff(taken) >= 0).all()
    if count == 96:
        assert taken.tolist() == list(range(96))
    if count < 96:
        assert set(taken.tolist()) == set(range(count))


@pytest.mark.parametrize(
    ("labels", "st", "ed"),
    [
        (DIVE, 4, 40),
        (np.array(DIVE), 4, 40),
        (list(DIVE), 4, 40),
        (runs((4, 12), (25, 36), (36, 41)), 13, 52),  # ('01', 2): 89 frames
        (runs((1, 10), (2, 10), (1, 10), (3, 66)), 10, 30),  # a label that recurs counts where it first appears
        (runs((1, 10), (3, 10), (2, 10), (3, 66)), 10, 20),  # also the last one: 2 is the last to appear
        (runs((5, 2), (13, 31), (33, 15), (36, 36)), 3, 55),  # four labels: the second and the last
        (runs((1, 1), (2, 1), (3, 1)), 48, 95),  # three frames: index int(i * 2 / 95) is 1 from i = 48, 2 at 95
    ],
)
def test_transitions(labels: Any, st: int, ed: int):
    assert transitions(labels) == (st, ed)


def test_transitions_among_other_numbers_of_frames():
    assert transitions(DIVE, frames=85) == (3, 35)
    assert transitions(DIVE, frames=17) == (1, 7)


@pytest.mark.parametrize(
    "labels",
    [
        (),
        None,
        3,
        "334",
        ("take-off", "flight", "entry"),
        (3, 3, 3),
        (7, 7, 9, 9),
        (1, None, 2, 3),
        (1.0, 2.0, float("nan")),
        ((1, 2), (3,)),
        ((1, 2), (3, 4)),
        (1, -1, 2, 3),
        (1, 2, 10**30),
        runs((1, 94), (2, 1), (3, 200)),  # the only frame with a 2 is not among the 96
    ],
)
def test_what_has_no_three_phases_is_unknown(labels: Any):
    assert transitions(labels) == UNKNOWN == (-1, -1)


def test_transitions_of_many():
    found = transitions_of([DIVE, (), (1, 1)])
    assert found.dtype == np.int64
    assert found.tolist() == [[4, 40], [-1, -1], [-1, -1]]
    assert transitions_of([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("said", "truth", "wanted"),
    [
        ((20, 60), (20, 60), 1.0),
        ((20, 60), (30, 70), 30 / 50),
        ((30, 40), (20, 60), 10 / 40),
        ((20, 50), (20, 60), 0.75),  # exactly: no frame is added to a length
        ((0, 10), (50, 60), 0.0),
        ((20, 20), (20, 20), 0.0),
        ((10, 40), (40, 60), 0.0),
    ],
)
def test_overlap(said: tuple[int, int], truth: tuple[int, int], wanted: float):
    for a, b in ((said, truth), (truth, said)):
        found = float(overlap(np.array(a), np.array(b)))
        common = max(min(a[1], b[1]) - max(a[0], b[0]), 0)
        union = (a[1] - a[0]) + (b[1] - b[0]) - common
        assert found == common / (union + sys.float_info.epsilon)
        assert found == pytest.approx(wanted, abs=1e-15)
        assert (found >= 0.75) == (wanted >= 0.75)


def test_overlaps_of_many():
    said, truth = np.array([[[20, 60], [30, 70]], [[1, 2], [20, 60]]]), np.array([20, 60])
    assert overlap(said, truth) == pytest.approx(np.array([[1, 0.6], [0, 1]]))
