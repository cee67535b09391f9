"""`stack`: several heads on every stream, added up with weights learned on out-of-fold judgements (Wolpert, Neural
Networks 5, 1992; convex weights: Breiman, Machine Learning 24, 1996)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import StoreError, UnmetNeeds
from .base import FeatureSet, Fitted, Head, Judgement, Log, Needs
from .config import demand
from .folds import inner_folds, out_of_fold
from .needs import FittedOn, ready_to_fit, unmet
from .saving import read_head, write_head

MOST_STREAMS = 16


@dataclass(frozen=True)
class Part:
    """One head on some of the streams."""

    name: str  # "ridge (i3d)"
    head: Head
    streams: tuple[str, ...]

    def seen(self, data: FeatureSet) -> FeatureSet:
        """`data` with the streams of this part."""
        return replace(data, streams={name: data.streams[name] for name in self.streams})


@dataclass(frozen=True)
class Stack:
    """The weighted mean of `members` (heads with + between), each on every stream, with weights that are not negative
    and add up to 1: `learned` ones have the least squared error over judgements of train samples that a part has not
    seen, in `folds` parts by subject. `equal` ones learn nothing, which is right where features were fine-tuned on
    train and know its scores. The parts have their default parameters.
    """

    name: ClassVar[str] = "stack"
    needs: ClassVar[Needs] = Needs(
        shape=None,
        further_streams=MOST_STREAMS - 1,
        unlike_streams=True,
        targets=("score", "binary"),
        out_of_fold=True,
    )

    members: str = "ridge+svr+random-forest+lightgbm"
    weights: Literal["learned", "equal"] = "learned"
    folds: int = 5

    def __post_init__(self) -> None:
        from . import head_class

        demand(self, "folds", self.folds >= 2, "2 or more")
        names = self.members.split("+")
        demand(self, "members", all(names) and len(set(names)) == len(names), "different heads with + between")
        demand(self, "members", self.name not in names, "heads other than stack itself")
        for name in names:
            head_class(name)  # raises UnknownName before the work starts
        if self.weights == "equal":
            object.__setattr__(self, "needs", replace(self.needs, out_of_fold=False))

    def parts(self, streams: Sequence[str]) -> list[Part]:
        """Every head on every one of `streams`, or on all at once if it takes more than one.

        Raises UnknownName for a head that there is not.
        """
        from . import make_head

        found = []
        for head in map(make_head, self.members.split("+")):
            if head.needs.streams == 0:
                found.append(Part(head.name, head, ()))
            elif head.needs.streams == 1 and not head.needs.further_streams:
                found += [Part(f"{head.name} ({stream})", head, (stream,)) for stream in streams]
            else:
                found.append(Part(f"{head.name} ({'+'.join(streams)})", head, tuple(streams)))
        return found

    def fit(
        self,
        train: FeatureSet,
        val: FeatureSet | None = None,  # noqa: ARG002
        *,
        seeds: Sequence[int],
        device: str = "cpu",
        log: Log | None = None,
    ) -> list[Fitted]:
        """One stack per seed. `log` is told the weight and the out-of-fold error of every part.

        Raises UnmetNeeds if `train` lacks what a part needs.
        """
        ready_to_fit(self, train)
        fitted_on, parts = FittedOn.of(self, train), self.parts(list(train.streams))
        for part in parts:
            if lacks := unmet(part.head, part.seen(train)):
                raise UnmetNeeds(f"stack cannot use {part.name}: {'; '.join(lacks)}", hint="leave it out of members")
        said = self._unseen(parts, train, seeds, device)
        fitted = [part.head.fit(part.seen(train), None, seeds=seeds, device=device) for part in parts]
        stacks: list[Fitted] = []
        for k, seed in enumerate(seeds):
            weights = np.full(len(parts), 1 / len(parts)) if said is None else convex(said[k], train.score)
            named = {part.name: float(weight) for part, weight in zip(parts, weights, strict=True)}
            errors = {} if said is None else dict(zip(named, np.abs(said[k] - train.score).mean(axis=1), strict=True))
            for name, weight in named.items() if log is not None else ():
                row = {"seed": seed, "part": name, "weight": weight}
                log(row | ({"out_of_fold_mae": float(errors[name])} if errors else {}))  # pyright: ignore[reportOptionalCall]
            stacks.append(FittedStack(self, parts, [one[k] for one in fitted], named, fitted_on))
        return stacks

    def _unseen(
        self, parts: Sequence[Part], train: FeatureSet, seeds: Sequence[int], device: str
    ) -> list[np.ndarray] | None:
        """Per seed the out-of-fold scores [parts, N]; None where the weights are equal or there is but one fold."""
        folds = inner_folds(train, self.folds)
        if self.weights == "equal" or len(parts) == 1 or len(np.unique(folds)) < 2:
            return None
        judged = [out_of_fold(part.head, part.seen(train), folds=folds, seeds=seeds, device=device) for part in parts]
        return [np.stack([one[k].score for one in judged]) for k in range(len(seeds))]

    def load(self, folder: Path, device: str = "cpu") -> Fitted:
        """The inverse of `FittedStack.save`. Raises StoreError for files that are missing or damaged."""
        from . import load_head

        plain = read_head(folder)
        try:
            fitted_on, weights = FittedOn.from_json(plain["fitted_on"]), dict(plain["state"]["weights"])
            parts = self.parts(list(fitted_on.streams))
            if list(weights) != [part.name for part in parts]:
                raise ValueError("its weights are not of its parts")
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"cannot read: {error}", file=folder, hint="fit the head again") from error
        fitted = [load_head(folder / f"part-{k}", device) for k in range(len(parts))]
        return FittedStack(self, parts, fitted, weights, fitted_on)


@dataclass(frozen=True)
class FittedStack:
    """`weights`: name of a part -> its weight."""

    head: Stack
    parts: Sequence[Part]
    fitted: Sequence[Fitted]
    weights: Mapping[str, float]
    fitted_on: FittedOn

    @property
    def info(self) -> Mapping[str, Any]:
        counts = [one.info.get("parameters") for one in self.fitted]
        known = [count for count in counts if count is not None]
        whole = len(known) == len(counts)
        return {
            "selected_on": "none",
            "weights": dict(self.weights),
            "parameters": sum(known) + len(self.weights) if whole else None,
        }

    def predict(self, data: FeatureSet) -> Judgement:
        self.fitted_on.check(self.head, data)
        score = np.zeros(len(data))
        for part, one in zip(self.parts, self.fitted, strict=True):
            if self.weights[part.name] > 0:
                score += self.weights[part.name] * one.predict(part.seen(data)).score
        return Judgement(score)

    def save(self, folder: Path) -> None:
        """A folder per part, then `head.json`, which has the weights."""
        for k, one in enumerate(self.fitted):
            (folder / f"part-{k}").mkdir(parents=True, exist_ok=True)
            one.save(folder / f"part-{k}")
        write_head(folder, self.head, self.fitted_on, self.info, {"weights": dict(self.weights)})


def convex(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Weights [K], not negative and of sum 1, whose mean of `scores` [K, N] has the least squared error."""
    from scipy.optimize import nnls

    errors = scores - truth  # with weights of sum 1, the error of the mean is the mean of the errors
    scale = np.sqrt(np.mean(errors**2)) or 1.0
    heavy = 1e4 * np.sqrt(len(truth))  # one more row that asks for the sum, and all but gets it
    weights, _ = nnls(np.vstack([errors.T / scale, np.full(len(scores), heavy)]), np.r_[np.zeros(len(truth)), heavy])
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(scores), 1 / len(scores))
