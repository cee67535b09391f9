"""A sentence on every dive, as a commentator might say it; it follows from the dive and its faults alone."""

from __future__ import annotations

from .programme import Dive
from .rules import DiveNumber, Faults

COUNTS = ("no", "half", "one", "one and a half", "two", "two and a half", "three", "three and a half")
TWISTS = ("no", "half a twist", "one twist", "one and a half twists", "two twists", "two and a half twists")
POSITIONS = {"pike": "in the pike position", "tuck": "in the tuck position", "free": "in the free position"}

SAID_FROM = 0.35  # a fault below this goes unsaid


def caption(dive: Dive) -> str:
    """For example "round two, a reverse one and a half somersaults in the tuck position. legs apart, a big splash."."""
    faults = said(dive.faults)
    words = " and ".join((", ".join(faults[:-1]), faults[-1])) if len(faults) > 1 else "".join(faults)
    verdict = ("what a dive", "a good dive", "a fair dive", "a weak dive", "a poor dive")
    steps = (8.0, 6.5, 5.0, 3.5)
    middle = sum(sorted(dive.judges)[2:5]) / 3
    return (
        f"round {COUNTS[2 * dive.round] if dive.round < 4 else ('four', 'five', 'six')[dive.round - 4]}, "
        f"{described(dive.number)}. {words or 'nothing to fault'}. {verdict[sum(middle < step for step in steps)]}."
    )


def described(number: DiveNumber) -> str:
    """A dive number in words: 5253B is "a back two and a half somersaults with one and a half twists in ..."."""
    start = f"an armstand {number.direction}" if number.armstand else f"{_article(number.direction)} {number.direction}"
    somersaults = f"{COUNTS[number.somersaults]} somersault{'s' if number.somersaults > 2 else ''}"
    twists = f" with {TWISTS[number.twists]}" if number.twists else ""
    return f"{start} {somersaults}{twists} {POSITIONS[number.position]}"


def said(faults: Faults) -> list[str]:
    """The faults that a commentator would mention, the worst first, three at most."""
    words = {
        "height": "little height off the platform",
        "distance": "too far out" if faults.distance > 0 else "too close to the platform",
        "knees": "bent knees",
        "apart": "legs apart",
        "loose": "a loose shape",
        "late": "opened late",
        "entry": "over the vertical" if faults.entry > 0 else "short of the vertical",
        "splash": "a big splash",
    }
    worst = sorted(words, key=lambda name: -abs(getattr(faults, name)))
    return [words[name] for name in worst if abs(getattr(faults, name)) >= SAID_FROM][:3]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
