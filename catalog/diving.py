"""How judges' marks make the score of a dive, for the sets that carry both.

World Aquatics' rules: of seven marks the middle three are added, of three all, and the five that remain of a
synchronised dive are added and weighed with .6 (again the worth of three); the sum times the difficulty is the score.
"""

from __future__ import annotations

from collections.abc import Sequence

from .base import Problem

HIGHEST_MARK = 10.0
TOLERANCE = 0.06  # scores are printed to two decimals, some sets round to one


def counted_marks(judges: Sequence[float]) -> float | None:
    """The execution mark, 0..30, that 3, 5 or 7 judges give; None for any other number of judges."""
    if len(judges) == 7:
        return sum(sorted(judges)[2:5])
    if len(judges) == 5:
        return 0.6 * sum(judges)
    return sum(judges) if len(judges) == 3 else None


def usable_judges(sample: str, judges: Sequence[float], file: str) -> tuple[tuple[float, ...], list[Problem]]:
    """The marks, with what is outside of 0..10 put right or all of them dropped, and what there is to say about it.

    A slipped decimal point (45.0 for 4.5) is put right: a tenth of the mark is then a possible mark, in halves.
    """
    usable, problems = list(judges), []
    for i, mark in enumerate(judges):
        if 0 <= mark <= HIGHEST_MARK:
            continue
        tenth = mark / 10
        slipped = 0 <= tenth <= HIGHEST_MARK and float(2 * tenth).is_integer()
        usable[i] = tenth
        done = f"{tenth:g} is used" if slipped else "no judge of this sample is used"
        problems.append(Problem(sample, f"judge_{i + 1}", f"{mark} in {file} is outside of 0..10: {done}"))
        if not slipped:
            return (), problems
    return tuple(usable), problems


def disagreement(sample: str, judges: Sequence[float], difficulty: float, score: float) -> list[Problem]:
    """A problem if the marks and the difficulty do not give the score, which stays the truth."""
    marks = counted_marks(judges)
    if marks is None or abs(marks * difficulty - score) <= TOLERANCE:
        return []
    message = f"judges and difficulty give {marks * difficulty:.2f}, the annotated score is {score:.2f} and is kept"
    return [Problem(sample, "score", message)]
