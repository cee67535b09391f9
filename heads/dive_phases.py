"""Phases of a dive: from frame labels, from the frames of take-off and entry, or from the pose where that can tell.

What cannot be told stays unknown, with the reason. docs/measures.md has the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..catalog.sub_actions import ENTRY, SOMERSAULTS, TWISTS, are_sub_actions
from .free_fall import free_fall
from .joint_angles import THORAX, centre_of_mass, feet, torso_length, trunk_turns

POSITIONS = {"A": "straight", "B": "pike", "C": "tuck"}  # by the letter of a dive number; D is free
MARGIN = 45.0  # degrees of the trunk's turn at the begin and at the end of a somersault that are left out
MOST_TURN = 90.0  # degrees from one frame to the next: beyond, which way it turned cannot be told
LONGEST_GAP = 3  # frames without the trunk, in which it may turn by as much
NO_TWISTS = "this dive has no twists"
AROUND = 2  # frames before and after the first of the entry in which the body should be stretched


@dataclass(frozen=True, slots=True)
class Span:
    """Frames of a phase, and what they were told from ("labels", "given", "pose"); or what is `missing` to tell."""

    frames: tuple[int, ...] = ()
    source: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Phases:
    """`entry` is its first frame alone. `straight_legs`: where knees should be straight. `position`: tuck, pike,
    straight, or "" where it is not known."""

    flight: Span
    entry: Span
    somersault: Span
    twists: Span
    straight_legs: Span
    position: str


def find_phases(
    xy: np.ndarray,
    *,
    labels: Sequence[int] = (),
    take_off: int | None = None,
    entry: int | None = None,
    kind: str = "",
    fps: float | None = None,
    first: int = 0,
) -> Phases:
    """Of joints [T, 16, 2], NaN where unseen. `labels`: FineDiving's sub-action of every frame. `take_off`, `entry`:
    first row of each, which win over labels. `kind`: dive number. `fps`: rows in a second. `first`: number of the first
    row, for the words of what is missing."""
    if are_sub_actions(labels) and len(labels) == len(xy) and take_off is None and entry is None:
        return _of_labels(labels, len(xy))
    position = POSITIONS.get(kind[-1:].upper(), "")
    fall = free_fall(centre_of_mass(xy), torso_length(xy), fps)
    turns = trunk_turns(xy)
    begin, end = Span(missing="where the flight begins is not known"), _end_of_track(xy, turns, kind, first)
    if not isinstance(fall, str):
        begin, end = Span((fall.start,), "pose"), Span((fall.stop,), "pose") if fall.stop < len(xy) else end
    begin = begin if take_off is None else Span((take_off,), "given")
    end = end if entry is None else Span((entry,), "given")
    start, stop = begin.frames[0] if begin.frames else 0, end.frames[0] if end.frames else len(xy)
    source = "given" if {begin.source, end.source} == {"given"} else "pose"
    flight = Span(tuple(range(start, stop)), source)
    if begin.missing or end.missing or stop <= start:
        flight = Span(missing=begin.missing or end.missing or "no frame lies between take-off and entry")
    somersault = _turning(turns, start, stop, first)
    if end.missing and len(xy) - 1 - _last_seen(xy) > LONGEST_GAP:
        somersault = Span(missing=end.missing)  # it may go on where nobody is seen
    twists = Span(missing=NO_TWISTS if _without_twists(kind) else "where the twists are is told by frame labels alone")
    return _phases(flight, end, somersault, twists, position, len(xy))


def _of_labels(labels: Sequence[int], count: int) -> Phases:
    def where(kinds: frozenset[int] | set[int], missing: str) -> Span:
        found = tuple(i for i, label in enumerate(labels) if label in kinds)
        return Span(found, "labels") if found else Span(missing=missing)

    entry = where({ENTRY}, "no frame is labelled as the entry")
    flight = where(SOMERSAULTS.keys() | TWISTS, "no frame is labelled as flight")
    somersault = where(set(SOMERSAULTS), "no frame is labelled as a somersault")
    position = Counter(SOMERSAULTS[label] for label in labels if label in SOMERSAULTS).most_common(1)
    first = Span(entry.frames[:1], entry.source, entry.missing)
    twists = where(TWISTS, NO_TWISTS)
    return _phases(flight, first, somersault, twists, position[0][0] if position else "", count)


def _phases(flight: Span, entry: Span, somersault: Span, twists: Span, position: str, count: int) -> Phases:
    legs = {i for at in entry.frames for i in range(at - AROUND, at + AROUND + 1) if 0 <= i < count}
    if position in ("pike", "straight"):
        legs |= set(somersault.frames)
    straight = Span(tuple(sorted(legs)), entry.source or somersault.source)
    if not legs:
        straight = Span(missing=entry.missing)
    return Phases(flight, entry, somersault, twists, straight, position)


def _without_twists(kind: str) -> bool:
    """Groups 1 to 4, and armstands without the fourth digit of the twists."""
    digits = kind[:-1]
    return digits.isdigit() and (digits[0] in "1234" or (digits[0] == "6" and len(digits) == 3))


def _half_somersaults(kind: str) -> int | None:
    """By the third digit of a dive number; None of armstands, which begin upside down, and where there is none."""
    digits = kind[:-1]
    return int(digits[2]) if digits.isdigit() and len(digits) in (3, 4) and digits[0] in "12345" else None


def _last_seen(xy: np.ndarray) -> int:
    """The last frame with thorax and feet, -1 for none."""
    seen = np.flatnonzero(np.isfinite(xy[:, THORAX, 1] - feet(xy)[:, 1]))
    return int(seen[-1]) if len(seen) else -1


def _end_of_track(xy: np.ndarray, turns: np.ndarray, kind: str, first: int) -> Span:
    """The last frame in which the body is seen, if it goes head first, nobody is seen behind it, and the trunk has
    turned as often as the dive number says: else the body may have been lost in the middle of the dive."""
    last, halves = _last_seen(xy), _half_somersaults(kind)
    unknown = Span(missing="where the entry begins is not known")
    if last < 0 or len(xy) - 1 - last <= LONGEST_GAP or xy[last, THORAX, 1] <= feet(xy)[last, 1]:
        return unknown
    if halves is None:
        return Span(missing=f"nobody is seen behind frame {last + first}, at the entry or before it")
    steps = _steps(turns, 0, last + 1, first)
    if isinstance(steps, Span):
        return Span(missing=f"{unknown.missing}, since {steps.missing}")
    total = abs(turns[steps[-1]] - turns[steps[0]])
    if abs(total - 180.0 * halves) > MOST_TURN:
        return Span(missing=f"nobody is seen behind frame {last + first}, after {total:.0f} of {180 * halves} degrees")
    return Span((last,), "pose")


def _turning(turns: np.ndarray, start: int, stop: int, first: int) -> Span:
    """Frames from `start` to before `stop` in which the trunk is `MARGIN` away from where its turn begins and ends."""
    seen = _steps(turns, start, stop, first)
    if isinstance(seen, Span):
        return seen
    turned = turns - turns[seen[0]]
    total = turned[seen[-1]]
    if abs(total) < 180.0:
        return Span(missing=f"the trunk turns by {abs(total):.0f} degrees: no somersault")
    turned = turned[seen] * np.sign(total)
    return Span(tuple(seen[(turned > MARGIN) & (turned < abs(total) - MARGIN)].tolist()), "pose")


def _steps(turns: np.ndarray, start: int, stop: int, first: int) -> np.ndarray | Span:
    """Frames from `start` to before `stop` in which the trunk is seen; a Span that says why, where its turn cannot be
    followed through them."""
    seen = start + np.flatnonzero(np.isfinite(turns[start:stop]))
    if len(seen) < 2:
        return Span(missing=f"the trunk is seen in {len(seen)} frames")
    gaps, steps = np.diff(seen), np.abs(np.diff(turns[seen]))
    if gaps.max() > LONGEST_GAP + 1:
        at = int(seen[gaps.argmax()]) + first
        return Span(missing=f"the trunk is not seen for {gaps.max() - 1} frames after frame {at}")
    if steps.max() > MOST_TURN:
        at = int(seen[steps.argmax()]) + first
        return Span(missing=f"the trunk turns by {steps.max():.0f} degrees after frame {at}: a cut, or too few frames")
    return seen
