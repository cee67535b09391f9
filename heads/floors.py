"""Floors: what the labels and the metadata alone give away. A head that does not beat them has seen nothing.

None of them looks at a feature. For a binary target their scores are probabilities, so they work there too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..catalog.phases import transitions_of
from ..errors import UnmetNeeds
from .base import FeatureSet, Fitted, Judgement, Log, Needs
from .needs import FittedOn, ready_to_fit, some
from .saving import read_head, write_head

State = dict[str, Any]  # plain values: what a floor has learned


@dataclass(frozen=True)
class Floor:
    """Has no parameters. `learn` gives what it knows after train, `judge` scores by that.

    Floors that give phases say where they begin in train: `_medians`.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs]

    def learn(self, train: FeatureSet, seed: int) -> State:
        raise NotImplementedError

    def judge(self, state: State, data: FeatureSet) -> np.ndarray:
        raise NotImplementedError

    def fit(
        self,
        train: FeatureSet,
        val: FeatureSet | None = None,  # noqa: ARG002
        *,
        seeds: Sequence[int],
        device: str = "cpu",  # noqa: ARG002
        log: Log | None = None,  # noqa: ARG002
    ) -> list[Fitted]:
        """One fitted floor per seed; the same one for every seed where the seed does not matter."""
        ready_to_fit(self, train)
        fitted_on = FittedOn.of(self, train)
        phases = _medians(train, by_kind=self.needs.kind) if "phases" in self.needs.gives else {}
        states = [{**self.learn(train, seed), **phases} for seed in (seeds if self.needs.seeded else [0])]
        fitted: list[Fitted] = [
            FittedFloor(self, state, fitted_on, {"selected_on": "none", "parameters": _count(state)})
            for state in states
        ]
        return fitted if self.needs.seeded else fitted * len(seeds)

    def load(self, folder: Path, device: str = "cpu") -> Fitted:  # noqa: ARG002
        plain = read_head(folder)
        return FittedFloor(self, plain["state"], FittedOn.from_json(plain["fitted_on"]), plain["info"])


@dataclass
class FittedFloor:
    head: Floor
    state: State
    fitted_on: FittedOn
    info: Mapping[str, Any]

    def predict(self, data: FeatureSet) -> Judgement:
        score = self.head.judge(self.state, data)
        score = np.clip(score, 0.0, 1.0) if self.fitted_on.target_kind == "binary" else score
        return Judgement(score, phases=_transitions(self.state, data))

    def save(self, folder: Path) -> None:
        write_head(folder, self.head, self.fitted_on, self.info, self.state)


def _floor(**more: Any) -> Needs:
    return Needs(0, None, **{"targets": ("score", "binary"), "seeded": False, "floor": True, **more})


@dataclass(frozen=True)
class Mean(Floor):
    """The mean of the train scores and the median transitions of train for everybody."""

    name = "mean"
    needs = _floor(gives=("phases",))

    def learn(self, train: FeatureSet, seed: int) -> State:  # noqa: ARG002
        return {"mean": float(train.score.mean())}

    def judge(self, state: State, data: FeatureSet) -> np.ndarray:
        return np.full(len(data), state["mean"])


@dataclass(frozen=True)
class Difficulty(Floor):
    """The least-squares line of the score over the difficulty, so its ranking is the difficulty's."""

    name = "difficulty"
    needs = _floor(difficulty=True)

    def learn(self, train: FeatureSet, seed: int) -> State:  # noqa: ARG002
        centre, mean = train.difficulty.mean(), train.score.mean()
        offset = train.difficulty - centre
        spread = offset @ offset
        slope = float(offset @ (train.score - mean) / spread) if np.ptp(train.difficulty) > 0 else 0.0
        return {"slope": slope, "intercept": float(mean - slope * centre)}

    def judge(self, state: State, data: FeatureSet) -> np.ndarray:
        unknown = ~np.isfinite(data.difficulty)
        if unknown.any():
            raise UnmetNeeds(f"the difficulty is unknown for {some(data.ids, unknown)}", field="difficulty")
        return state["intercept"] + state["slope"] * data.difficulty


@dataclass(frozen=True)
class GroupMean(Floor):
    """The mean of the train samples of the same group and kind, else of the group, else of all. Phases: the median
    transitions of the same kind, else of all."""

    name = "group-mean"
    needs = _floor(kind=True, gives=("phases",))

    def learn(self, train: FeatureSet, seed: int) -> State:  # noqa: ARG002
        keys = (_pairs(train.group, train.kind), train.group)
        return {"tables": [_means(one, train.score) for one in keys], "mean": float(train.score.mean())}

    def judge(self, state: State, data: FeatureSet) -> np.ndarray:
        return _looked_up(state, (_pairs(data.group, data.kind), data.group))


@dataclass(frozen=True)
class Metadata(Floor):
    """The mean of the train samples of the same event and kind, else of the kind, else of all.

    On MTL-AQA (event = source video, kind = dive number) rho .6496 without having seen a frame: specs, mtl-aqa 1.3.6.
    Phases: as `group-mean`.
    """

    name = "metadata"
    needs = _floor(kind=True, gives=("phases",))

    def learn(self, train: FeatureSet, seed: int) -> State:  # noqa: ARG002
        keys = (_pairs(train.event, train.kind), train.kind)
        return {"tables": [_means(one, train.score) for one in keys], "mean": float(train.score.mean())}

    def judge(self, state: State, data: FeatureSet) -> np.ndarray:
        return _looked_up(state, (_pairs(data.event, data.kind), data.kind))


@dataclass(frozen=True)
class Random(Floor):
    """A draw from the normal distribution of the train scores, by the seed and the id of the sample alone."""

    name = "random"
    needs = _floor(seeded=True)

    def learn(self, train: FeatureSet, seed: int) -> State:
        return {"mean": float(train.score.mean()), "sd": float(train.score.std()), "seed": int(seed)}

    def judge(self, state: State, data: FeatureSet) -> np.ndarray:
        draws = np.array([_draw(state["seed"], i) for i in data.ids])
        return state["mean"] + state["sd"] * draws


def _count(state: State) -> int:
    """Numbers that a floor has learned."""
    alone = [name for name in ("mean", "sd", "slope", "intercept") if name in state]
    phases = 2 * (1 + len(state["phases"]["kinds"])) if "phases" in state else 0
    return len(alone) + sum(len(table) for table in state.get("tables", ())) + phases


def _draw(seed: int, sample: str) -> float:
    of_the_id = int.from_bytes(hashlib.sha256(sample.encode()).digest()[:8], "little")
    return float(np.random.default_rng([seed, of_the_id]).standard_normal())


def _pairs(first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(first, second, strict=True))


def _means(keys: Sequence[Hashable], score: np.ndarray) -> list[list[Any]]:
    """[key, mean score] of every key, as rows that JSON can hold (tuples come back as lists)."""
    rows: dict[Hashable, list[float]] = {}
    for key, value in zip(keys, score, strict=True):
        rows.setdefault(key, []).append(float(value))
    # Exact sums: equal means must stay ties for a rank correlation, whatever the order of the samples.
    return [[key, math.fsum(values) / len(values)] for key, values in rows.items()]


def _looked_up(state: State, keys: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """For every sample the mean of the first table that has its key, else the mean of all."""
    score = np.full(len(keys[0]), float(state["mean"]))
    for table, of_samples in reversed(list(zip(state["tables"], keys, strict=True))):
        means = {tuple(key) if isinstance(key, list) else key: mean for key, mean in table}
        score = np.array([means.get(key, other) for key, other in zip(of_samples, score, strict=True)])
    return score


def _medians(train: FeatureSet, *, by_kind: bool) -> State:
    """{"phases": the median transitions [st, ed] of all of train, and of every kind}; {} where none are known.

    Of an even number the lower of the two in the middle, so a median is a frame at which a phase did begin; st and ed
    each have their own, and st < ed holds for medians where it holds for every sample.
    """
    found = transitions_of(train.phases)
    known = found[:, 0] >= 0
    if not known.any():
        return {}
    kinds = np.array(train.kind)
    named = sorted(set(kinds[known].tolist()) - {""}) if by_kind else []
    tables = [[kind, _median(found[known & (kinds == kind)])] for kind in named]
    return {"phases": {"all": _median(found[known]), "kinds": tables}}


def _median(found: np.ndarray) -> list[int]:
    return np.quantile(found, 0.5, axis=0, method="lower").astype(np.int64).tolist()


def _transitions(state: State, data: FeatureSet) -> np.ndarray | None:
    """int64 [N, 2]: for every sample the median of its kind, else of all; None where train had no phases."""
    if "phases" not in state:
        return None
    kinds = dict(state["phases"]["kinds"])
    found = [kinds.get(kind, state["phases"]["all"]) for kind in data.kind]
    return np.array(found, dtype=np.int64).reshape(-1, 2)
