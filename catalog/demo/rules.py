"""The sport's rules, as far as the synthetic dives follow them: dive numbers, difficulty, deductions, judging.

Everything here is plain arithmetic on the frozen draws (additions, products, comparisons), so that the labels are the
same numbers on every machine. Class indices are MTL-AQA's, sub-action ids FineDiving's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import BadParameter

# What the 10 m lists give for the numbers that the demo uses.
DIFFICULTY = {
    "107B": 3.0, "107C": 2.7, "205B": 2.9, "205C": 2.8, "207C": 3.3, "305C": 2.8, "307C": 3.4, "405B": 2.8,
    "405C": 2.7, "407C": 3.2, "5152B": 2.9, "5233D": 2.4, "5253B": 3.2, "614B": 2.4, "626C": 3.3, "6243D": 3.2,
}  # fmt: skip

DIRECTIONS = ("forward", "back", "reverse", "inward")  # digit 1..4 of a dive number
POSITIONS = {"B": "pike", "C": "tuck", "D": "free"}  # no straight dives here
MTL_ROTATION = {"back": 0, "forward": 1, "inward": 2, "reverse": 3}
MTL_POSITION = {"free": 0, "pike": 1, "tuck": 2}

ENTRY_PHASE = 36
TAKE_OFF_PHASE = {"forward": 1, "back": 2, "reverse": 3, "inward": 4}
ARMSTAND_PHASE = {"forward": 5, "back": 6, "reverse": 7}


@dataclass(frozen=True, slots=True)
class DiveNumber:
    """A dive number taken apart. `somersaults` and `twists` count half turns; `armstand` begins in a handstand."""

    text: str
    direction: str
    somersaults: int
    twists: int
    position: str
    armstand: bool

    @property
    def forward(self) -> bool:
        """Whether the diver somersaults to their own front (forward and inward dives)."""
        return self.direction in ("forward", "inward")

    @property
    def faces_water(self) -> bool:
        """Whether the diver's front, upright and before any twist, is turned away from the platform."""
        return self.direction in ("forward", "reverse")


def parse(text: str) -> DiveNumber:
    """Take a dive number apart: ``407C`` is an inward dive of 7 half somersaults in the tuck position.

    Groups 1 to 4: direction, flying (0), half somersaults. Group 5: direction, half somersaults, half twists.
    Group 6 (armstand): direction, half somersaults and, with four digits, half twists. Raises BadParameter.
    """
    digits, letter = text[:-1], text[-1:].upper()
    if letter in POSITIONS and digits.isdigit() and digits.isascii():
        group, rest = int(digits[0]), [int(d) for d in digits[1:]]
        if 1 <= group <= 4 and len(rest) == 2 and rest[0] == 0:
            return DiveNumber(text.upper(), DIRECTIONS[group - 1], rest[1], 0, POSITIONS[letter], False)
        if group in (5, 6) and len(rest) in ((3,) if group == 5 else (2, 3)) and 1 <= rest[0] <= 4:
            twists = rest[2] if len(rest) == 3 else 0
            return DiveNumber(text.upper(), DIRECTIONS[rest[0] - 1], rest[1], twists, POSITIONS[letter], group == 6)
    raise BadParameter(f"'{text}' is not a dive number", hint="give one like 407C, 5253B or 614B")


def attributes(dive: DiveNumber) -> dict[str, int]:
    """MTL-AQA's class indices: position 3, armstand 2, rotation 4, half somersaults 10, half twists 8."""
    return {
        "position": MTL_POSITION[dive.position],
        "armstand": int(dive.armstand),
        "rotation": MTL_ROTATION[dive.direction],
        "somersaults": dive.somersaults,
        "twists": dive.twists,
    }


def take_off_phase(dive: DiveNumber) -> int:
    """FineDiving's sub-action id of the take-off."""
    return (ARMSTAND_PHASE if dive.armstand else TAKE_OFF_PHASE)[dive.direction]


def flight_phases(dive: DiveNumber) -> tuple[int, ...]:
    """FineDiving's sub-action ids of the flight: the twists, if any, then the somersaults (free ones are piked)."""
    somersaults = (18 if dive.position == "tuck" else 10) + dive.somersaults
    return (28 + dive.twists, somersaults) if dive.twists else (somersaults,)


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with a dive, each from 0 (nothing) to 1 (as bad as it gets), to two decimals.

    `entry` and `distance` are signed: over-rotated and too far are positive, short and too close are negative.
    """

    height: float  # too little height off the platform
    distance: float  # from the platform
    knees: float  # bent knees, feet not pointed
    apart: float  # legs apart
    loose: float  # open tuck or pike
    late: float  # opened too late for the entry
    entry: float  # away from the vertical
    splash: float


# Points out of ten that the worst of each fault costs.
DEDUCTIONS = Faults(
    height=1.0, distance=0.5, knees=1.4, apart=1.4, loose=1.3, late=0.6, entry=2.6, splash=2.6
)  # fmt: skip


def execution(faults: Faults) -> float:
    """The mark that a judge without error would give, 0 to 10, not yet rounded to half points."""
    lost = sum(getattr(DEDUCTIONS, name) * abs(getattr(faults, name)) for name in Faults.__slots__)
    return min(10.0, max(0.0, 10.0 - lost))


def mark(value: float) -> float:
    """The nearest mark that a judge may show: half points from 0 to 10."""
    return min(20, max(0, int(2.0 * value + 0.5 if value > 0 else 0))) / 2


def score(difficulty: float, judges: Sequence[float]) -> float:
    """Difficulty times the sum of the three middle marks of seven, to two decimals."""
    return round(difficulty * sum(sorted(judges)[2:5]), 2)
