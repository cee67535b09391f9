"""Who dives what and how well: 240 synthetic dives as a pure function of the frozen seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from . import rules
from .draws import Draws
from .rules import DiveNumber, Faults

SEED = 20240811

EVENTS = 8
DIVERS = 5  # of an event, each in that event alone
TRAIN_DIVERS = 3  # of an event; the others are in test
ROUNDS = 6
JUDGES = 7

GRAVITY = 9.81  # m / s^2
RATE = 25  # frames per second
PLATFORM = 3.0  # height over the water in m: low, so that a dive fits into 48 frames
TWISTING = 0.45  # of the flight, where there are twists
MARK_NOISE = 0.35  # points, of one judge on one dive
JUDGE_BIAS = 0.15  # points, of one judge over an event

# Keys of the streams of draws. Those of the pictures lie apart, so that a change of looks leaves the labels alone.
PROGRAMME, SUBJECT, PANEL, DIVE, LOOKS = range(5)


@dataclass(frozen=True, slots=True)
class Dive:
    """One dive before it is drawn. `frames`: of take-off, flight, entry."""

    index: int
    number: DiveNumber
    event: int
    subject: int
    round: int
    test: bool
    faults: Faults
    judges: tuple[float, ...]
    frames: tuple[int, int, int]

    @property
    def id(self) -> str:
        return f"demo-{self.index + 1:03d}"

    @property
    def difficulty(self) -> float:
        return rules.DIFFICULTY[self.number.text]

    @property
    def score(self) -> float:
        return rules.score(self.difficulty, self.judges)

    @property
    def phases(self) -> tuple[int, ...]:
        """FineDiving's sub-action id of every frame. With twists these take the first 45% of the flight."""
        take_off, flight, entry = self.frames
        ids = rules.flight_phases(self.number)
        twisting = (flight * 45 + 50) // 100 if len(ids) == 2 else 0
        runs = ((rules.take_off_phase(self.number), take_off), (ids[0], twisting), (ids[-1], flight - twisting))
        return tuple(phase for phase, n in (*runs, (rules.ENTRY_PHASE, entry)) for _ in range(n))


def jump_speed(dive_height_fault: float) -> float:
    """Upward speed on leaving the platform in m/s: 3.3 for a good jump, 1.9 for the lowest."""
    return 3.3 - 1.4 * dive_height_fault


@cache
def dives() -> tuple[Dive, ...]:
    """All dives, in the order event, round, diver."""
    programme = _programme()
    found: list[Dive] = []
    for event in range(EVENTS):
        panel = Draws(SEED, PANEL, event)
        bias = [JUDGE_BIAS * panel.normal() for _ in range(JUDGES)]
        for number_of_round in range(ROUNDS):
            for diver in range(DIVERS):
                subject = event * DIVERS + diver
                number = rules.parse(programme[subject][number_of_round])
                found.append(_dive(len(found), number, event, subject, number_of_round, diver >= TRAIN_DIVERS, bias))
    return tuple(found)


def _dive(
    index: int, number: DiveNumber, event: int, subject: int, number_of_round: int, test: bool, bias: list[float]
) -> Dive:
    draws = Draws(SEED, DIVE, index)
    faults = _faults(number, subject, draws)
    execution = rules.execution(faults)
    judges = tuple(rules.mark(execution + b + MARK_NOISE * draws.normal()) for b in bias)
    return Dive(
        index, number, event, subject, number_of_round + 1, test, faults, judges, _frames(number, faults, draws)
    )


def _faults(number: DiveNumber, subject: int, draws: Draws) -> Faults:
    """A diver's level, the day's form and the difficulty shift all faults of a dive; each has its own luck as well."""
    level = Draws(SEED, SUBJECT, subject).uniform()
    hard = rules.DIFFICULTY[number.text] - 2.4
    form = 0.35 * level + 0.6 * draws.uniform() + 0.1 * hard

    def fault() -> float:
        luck = draws.uniform()
        return _hundredths(form * (0.45 + 0.75 * luck * luck))

    def sign() -> float:
        return 1.0 if draws.uniform() < 0.5 else -1.0

    entry = fault()
    # A crooked entry splashes; a straight one may splash too, when the hands are not flat.
    splash = _hundredths(0.55 * entry + 0.55 * fault())
    return Faults(
        height=0.0 if number.armstand else fault(),
        distance=sign() * fault(),
        knees=fault(),
        apart=fault(),
        loose=fault(),
        late=fault(),
        entry=sign() * entry,
        splash=splash,
    )


def _hundredths(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 2)


def _frames(number: DiveNumber, faults: Faults, draws: Draws) -> tuple[int, int, int]:
    """Frames of take-off, flight and entry: 32 to 48 in all.

    The flight lasts as long as the centre of mass, 1.2 m over the platform at the start, takes to fall to where the
    hands of a stretched body touch the water (1.15 m). Square roots are exact to the last bit, so the count is too.
    """
    speed = 0.0 if number.armstand else jump_speed(faults.height)
    drop = PLATFORM + (0.0 if number.armstand else 0.05)
    seconds = (speed + (speed * speed + 2 * GRAVITY * drop) ** 0.5) / GRAVITY
    flight = int(seconds * RATE + 0.5)
    brief = number.armstand and draws.uniform() < 0.6  # cut to exactly two clips of 16
    take_off, entry = (5, 8) if brief else (draws.integer(5, 7), draws.integer(8, 9))
    if brief:
        entry = 32 - take_off - flight
    return take_off, flight, entry


def _programme() -> list[list[str]]:
    """Six different dive numbers for each diver; train and test have every number equally often (9 and 6 times)."""
    numbers = list(rules.DIFFICULTY)
    draws = Draws(SEED, PROGRAMME)
    programme: list[list[str]] = [[] for _ in range(EVENTS * DIVERS)]
    for test in (False, True):
        subjects = [s for s in range(EVENTS * DIVERS) if (s % DIVERS >= TRAIN_DIVERS) == test]
        while True:
            decks = len(subjects) * ROUNDS // len(numbers)
            dealt = [number for _ in range(decks) for number in draws.shuffled(numbers)]
            hands = [dealt[i * ROUNDS : (i + 1) * ROUNDS] for i in range(len(subjects))]
            if all(len(set(hand)) == ROUNDS for hand in hands):
                break
        for subject, hand in zip(subjects, hands, strict=True):
            programme[subject] = hand
    return programme
