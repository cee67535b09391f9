"""Phases of a performance, from one label per frame: where its second and its last phase begin, and how far two such
answers agree. Frames are counted among 96 that are taken evenly, whatever the length of the video (TSA, MCoRe and
HP-MCoRe do the same)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import float_info

import numpy as np

FRAMES = 96
UNKNOWN = (-1, -1)


def sampled(count: int, frames: int = FRAMES) -> np.ndarray:
    """int64 [frames]: the frames that are taken of `count`, evenly from the first to the last; fewer are repeated."""
    return np.linspace(0, count - 1, frames).astype(np.int64)


def transitions(labels: Sequence[int], frames: int = FRAMES) -> tuple[int, int]:
    """Where flight and entry begin (st, ed) among `frames` taken evenly from the `labels` of all frames.

    st is the first of them with the second label to appear, ed the first with the last label to appear, so 0 < st < ed;
    labels that recur count where they first appear. (-1, -1), unknown, where fewer than three labels appear, one is
    negative, or `labels` is no sequence of whole numbers.
    """
    try:
        whole = np.asarray(labels)
    except ValueError:  # lists of unlike lengths
        return UNKNOWN
    if whole.ndim != 1 or not len(whole) or whole.dtype.kind not in "iu":
        return UNKNOWN
    seen, first = np.unique(whole[sampled(len(whole), frames)], return_index=True)
    if len(seen) < 3 or seen[0] < 0:
        return UNKNOWN
    order = np.sort(first)
    return int(order[1]), int(order[-1])


def transitions_of(phases: Iterable[Sequence[int]]) -> np.ndarray:
    """int64 [N, 2]: the `transitions` of N samples."""
    return np.array([transitions(labels) for labels in phases], dtype=np.int64).reshape(-1, 2)


def overlap(said: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """tIoU [...] of transitions [..., 2]: the intersection over the union of the spans from st to ed.

    As in the released codes a span is ed - st long (no frame is added), an intersection is at least 0, and the smallest
    number eps with 1 + eps > 1 is added to the union, so two empty spans have 0.
    """
    common = np.minimum(said[..., 1], truth[..., 1]) - np.maximum(said[..., 0], truth[..., 0])
    common = np.maximum(common, 0)
    union = said[..., 1] - said[..., 0] + truth[..., 1] - truth[..., 0] - common
    return common / (union + float_info.epsilon)
