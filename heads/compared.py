"""What heads share that compare a sample with train samples whose scores are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .base import FeatureSet
from .config import demand
from .exemplars import Bank, By, choose_by
from .torch_head import MarkHead


@dataclass(frozen=True)
class Compared(MarkHead):
    """A sample is compared with `votes` train samples; in training it is paired with one, another in every epoch.

    Where the score is a mark times a known difficulty, marks are compared and the result is multiplied back
    (`use_difficulty`). `by`: exemplars of the same difficulty, of the same kind, or any; auto takes the first for which
    all labels are there.
    """

    votes: int = 10
    by: Literal["auto", "difficulty", "kind", "any"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "votes", self.votes >= 1, "1 or more")

    def bank(self, train: FeatureSet) -> Bank:
        return Bank.of(train, self.grouping(train), self.votes)

    def grouping(self, train: FeatureSet) -> By:
        if self.by != "auto":
            return self.by
        return choose_by(train) if self.use_difficulty else "any"
