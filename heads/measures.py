"""What the pose of a diver says by simple rules: angles, lengths, and the frames that decided.

Every measure is defined by an equation in docs/measures.md. A measure that the pose cannot tell is not measured and
says why; nothing is guessed. Only NumPy is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..catalog.skeletons import Skeleton, of_joints, to_mpii
from ..errors import BadParameter
from . import joint_angles as joints
from .dive_phases import Phases, Span, find_phases
from .free_fall import falls

VERSION = 1  # raised by hand when the numbers change: references of another version are refused
CONFIDENCE = 0.3  # below it a joint counts as not seen
FEWEST = 3  # frames that a measure over a phase needs, and
SHARE = 0.5  # the part of the phase's frames that it needs
DECIDING = 0.25  # the part of a phase's measured frames that decides
SIDEWAYS = 45.0  # degrees by which the body may be turned away from its side view

DEGREES, TORSOS = "degrees", "torso lengths"


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure of one dive. `value` is None where it is not measured, and `reason` then says why.

    `frames`: rows of the pose that decided; the value is the median over them, or their difference (height, distance).
    `phases`: how these frames were known: "labels", "given", "pose".
    """

    name: str
    title: str
    unit: str
    value: float | None
    frames: tuple[int, ...] = ()
    phases: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Dive:
    """What measures are made of: joints [T, 16, 2] in the picture, NaN where unseen, and the phases."""

    xy: np.ndarray
    phases: Phases
    fps: float | None = None

    @cached_property
    def torso(self) -> float:
        return joints.torso_length(self.xy)

    @cached_property
    def from_the_side(self) -> np.ndarray:
        """[T]: where the body is seen from its side, so that hips and knees bend in the picture."""
        return joints.turned_away(self.xy, self.torso) <= SIDEWAYS


class NotMeasured(Exception):
    """Why a measure has no value. Never leaves this module."""


Found = tuple[float, tuple[int, ...], str]  # value, frames, how the phase was known


def somersault_hip(dive: Dive) -> Found:
    """The smaller, the tighter the tuck or the pike."""
    return _extreme(joints.hip_angle(dive.xy), _tight(dive), smallest=True, clear=dive.from_the_side)


def somersault_knee(dive: Dive) -> Found:
    """The smaller, the tighter the tuck. Of a pike `knee_bend` says how straight the legs are."""
    if dive.phases.position == "pike":
        raise NotMeasured("the somersault is a pike: see the bend of the knees")
    return _extreme(joints.knee_angle(dive.xy), _tight(dive), smallest=True, clear=dive.from_the_side)


def knee_bend(dive: Dive) -> Found:
    """0 where the knees are straight all the time that they should be."""
    bend = 180.0 - joints.knee_angle(dive.xy)
    return _extreme(bend, dive.phases.straight_legs, smallest=False, clear=dive.from_the_side)


def twist_bend(dive: Dive) -> Found:
    """0 for a straight line from the thorax over the pelvis to the feet. The body turns, so the bend is seen from its
    side now and then, and the largest bends that are seen count."""
    return _extreme(180.0 - joints.body_line_angle(dive.xy), dive.phases.twists, smallest=False)


def entry_tilt(dive: Dive) -> Found:
    """0 for a vertical entry, whichever way it is missed."""
    at = _known(dive.phases.entry)[0]
    tilt = joints.from_vertical(dive.xy)[at]
    if not np.isfinite(tilt):
        raise NotMeasured("thorax or ankles are not seen in the frame of the entry")
    if not dive.from_the_side[at]:
        raise NotMeasured("the body is not seen from its side at the entry")
    return float(tilt), (at,), dive.phases.entry.source


def feet_apart(dive: Dive) -> Found:
    """As they are seen: a gap towards the camera is not. Never more than the true distance."""
    span = dive.phases.flight
    gap = joints.ankle_distance(dive.xy) / dive.torso
    return _extreme(gap, span, smallest=False)


def height(dive: Dive) -> Found:
    """How far the centre of mass rises above where it is when the flight begins. The pelvis circles around it."""
    path, frames = _path(dive)
    top = int(np.nanargmin(path[:, 1]))
    return float(path[0, 1] - path[top, 1]), tuple(sorted({frames[0], frames[top]})), dive.phases.flight.source


def distance(dive: Dive) -> Found:
    """How far the centre of mass moves sideways from the begin of the flight to its end."""
    path, frames = _path(dive)
    return float(abs(path[-1, 0] - path[0, 0])), (frames[0], frames[-1]), dive.phases.flight.source


@dataclass(frozen=True, slots=True)
class Measure:
    title: str
    unit: str
    of: Callable[[Dive], Found]


MEASURES: dict[str, Measure] = {
    "somersault_hip": Measure("hip angle in the somersault", DEGREES, somersault_hip),
    "somersault_knee": Measure("knee angle in the somersault", DEGREES, somersault_knee),
    "knee_bend": Measure("bend of the knees where they should be straight", DEGREES, knee_bend),
    "twist_bend": Measure("bend of the body line in the twists", DEGREES, twist_bend),
    "entry_tilt": Measure("body line against the vertical at the entry", DEGREES, entry_tilt),
    "feet_apart": Measure("feet apart in the flight", TORSOS, feet_apart),
    "height": Measure("rise of the body above the take-off", TORSOS, height),
    "distance": Measure("way of the body from take-off to entry, sideways", TORSOS, distance),
}


def measure(dive: Dive) -> list[Measured]:
    """All of `MEASURES`, in their order, measured or not."""
    found = []
    for name, one in MEASURES.items():
        try:
            if not np.isfinite(dive.torso):
                raise NotMeasured(_no_torso(dive.xy))
            value, frames, phases = one.of(dive)
            found.append(Measured(name, one.title, one.unit, value, frames, phases))
        except NotMeasured as why:
            found.append(Measured(name, one.title, one.unit, None, reason=str(why)))
    return found


def dive_of(
    pose: np.ndarray,
    *,
    labels: Sequence[int] = (),
    take_off: int | None = None,
    entry: int | None = None,
    kind: str = "",
    fps: float | None = None,
    confidence: float = CONFIDENCE,
    first: int = 0,
) -> Dive:
    """A pose [T, J, 3] of any layout with confidences, and what is known of it, ready to be measured.

    x and y have one unit (pixels). `labels`: FineDiving's sub-action of every frame; other labels are not understood
    and ignored. `take_off`, `entry`: the first frame of the flight and of the entry, in place of labels. `kind`: dive
    number. `fps`: rows in a second. `first`: number of the pose's first row, from which frames count.

    Raises BadParameter for another shape, a layout without confidences, frames that are not there.
    """
    if pose.ndim != 3 or len(pose) == 0:
        raise BadParameter(f"a pose is [T, joints, 3] with at least one frame, got {list(pose.shape)}")
    layout: Skeleton = of_joints(pose.shape[1])
    if layout.third != "confidence":
        raise BadParameter(f"poses of {layout.name} have no confidences", hint="measures are for poses in a picture")
    last = first + len(pose) - 1
    for name, frame in (("take-off", take_off), ("entry", entry)):
        if frame is not None and not first <= frame <= last:
            raise BadParameter(f"the {name} at frame {frame}, and the pose has frames {first} to {last}")
    if take_off is not None and entry is not None and take_off >= entry:
        raise BadParameter(f"the take-off at frame {take_off} is not before the entry at frame {entry}")
    sixteen = to_mpii(pose, layout)
    seen = sixteen[..., 2] >= max(confidence, np.finfo(np.float32).tiny)
    xy = np.where(seen[..., None], sixteen[..., :2].astype(np.float64), np.nan)
    begin, end = (None if frame is None else frame - first for frame in (take_off, entry))
    phases = find_phases(xy, labels=labels, take_off=begin, entry=end, kind=kind, fps=fps, first=first)
    return Dive(xy, phases, fps)


def _extreme(values: np.ndarray, span: Span, *, smallest: bool, clear: np.ndarray | None = None) -> Found:
    """The median of the quarter of a phase's frames with the smallest or the largest values [T], where they are seen
    and (`clear` [T]) seen from the side."""
    frames = np.array(_known(span), np.int64)
    seen = frames[np.isfinite(values[frames])]
    needed = max(FEWEST, int(np.ceil(SHARE * len(frames))))
    if len(seen) < needed:
        raise NotMeasured(f"the joints are seen in {len(seen)} of {len(frames)} frames, {needed} are needed")
    usable = seen if clear is None else seen[clear[seen]]
    if len(usable) < needed:
        raise NotMeasured(
            f"the body is seen from its side in {len(usable)} of {len(frames)} frames, {needed} are needed"
        )
    order = usable[np.argsort(values[usable] if smallest else -values[usable], kind="stable")]
    deciding = np.sort(order[: max(FEWEST, round(DECIDING * len(usable)))])
    return float(np.median(values[deciding])), tuple(int(i) for i in deciding), span.source


def _known(span: Span) -> tuple[int, ...]:
    if span.missing:
        raise NotMeasured(span.missing)
    return span.frames


def _tight(dive: Dive) -> Span:
    if dive.phases.position == "straight":
        raise NotMeasured("the somersault is in the straight position")
    return dive.phases.somersault


def _path(dive: Dive) -> tuple[np.ndarray, tuple[int, ...]]:
    """The centre of mass in the flight, [F, 2] in torso lengths, and its frames: where the camera stands still."""
    frames = _known(dive.phases.flight)
    flight = slice(frames[0], frames[-1] + 1)
    centre = joints.centre_of_mass(dive.xy)
    fall = falls(centre, dive.torso, dive.fps, flight.start, flight.stop)
    if isinstance(fall, str):
        raise NotMeasured(fall)
    path = centre[flight] / dive.torso
    if not np.isfinite(path[[0, -1]]).all():
        raise NotMeasured("a joint is not seen where the flight begins or ends")
    return path, tuple(range(flight.start, flight.stop))


def _no_torso(xy: np.ndarray) -> str:
    return "no joint is seen in any frame" if np.isnan(xy).all() else "pelvis and thorax are never seen in two places"
