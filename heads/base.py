"""What heads are given and what they give back: the contract between cached features and judgements.

A head is a frozen dataclass: its fields are its parameters (`--set NAME=VALUE`), its class attributes say what it is
and what it needs. `fit` returns one fitted head per seed; a fitted head predicts and saves itself. Heads know neither
HDF5 nor video. Torch heads add `build`, `loss` and `judge` (see `torch_head.py`); whoever runs heads need not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

Log = Callable[[Mapping[str, Any]], None]  # takes one row of history: {"seed": 0, "epoch": 3, "loss": 0.2}


@dataclass(frozen=True)
class Ragged:
    """N sequences stored end to end: sequence i is ``values[offsets[i]:offsets[i + 1]]``, of shape [T_i, *shape]."""

    values: np.ndarray  # [sum T, *shape]
    offsets: np.ndarray  # int64 [N + 1]

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape[1:])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def take(self, index: np.ndarray) -> Ragged:
        """The sequences at `index`, in that order."""
        lengths = self.lengths[index]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[:-1][index], lengths)
        return Ragged(self.values[rows], offsets)


@dataclass(frozen=True)
class FeatureSet:
    """N samples: their streams, the truth, and what else is known of them. Unknown numbers are NaN, strings "".

    `range`: lowest and highest possible score. `target_kind` "binary": scores are 0 or 1 and a judgement's score is
    the probability of 1. `times_difficulty`: score = execution mark x difficulty.
    """

    ids: tuple[str, ...]
    streams: Mapping[str, Ragged]
    score: np.ndarray  # float64 [N]
    range: tuple[float, float]
    target_kind: Literal["score", "binary"] = "score"
    times_difficulty: bool = False
    difficulty: np.ndarray = field(default_factory=lambda: np.zeros(0))  # float64 [N]
    judges: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  # float64 [N, J]
    group: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> int64 [N], -1 unknown
    phases: tuple[tuple[int, ...], ...] = ()  # per sample one label per frame, () unknown

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.difficulty.size == 0:
            object.__setattr__(self, "difficulty", np.full(n, np.nan))
        if self.judges.size == 0:
            object.__setattr__(self, "judges", np.zeros((n, 0)))
        for name in ("group", "kind", "event", "subject", "caption"):
            if not getattr(self, name):
                object.__setattr__(self, name, ("",) * n)
        if not self.phases:
            object.__setattr__(self, "phases", ((),) * n)

    def __len__(self) -> int:
        return len(self.ids)

    def without_labels(self, unlabelled: np.ndarray) -> FeatureSet:
        """The same samples, of which those where `unlabelled` [N] is true have lost all that judges and annotators said
        of them: score, marks, classes, caption, phases. What is known before the performance stays (difficulty, kind,
        event, subject)."""
        kept = ~unlabelled
        return replace(
            self,
            score=np.where(kept, self.score, np.nan),
            judges=np.where(kept[:, None], self.judges, np.nan),
            caption=tuple(text if k else "" for text, k in zip(self.caption, kept, strict=True)),
            attributes={name: np.where(kept, values, -1) for name, values in self.attributes.items()},
            phases=tuple(labels if k else () for labels, k in zip(self.phases, kept, strict=True)),
        )

    def take(self, index: Sequence[int] | np.ndarray) -> FeatureSet:
        """The samples at `index` (integers), in that order."""
        index = np.asarray(index, dtype=np.int64)
        pick = {
            name: tuple(getattr(self, name)[i] for i in index)
            for name in ("ids", "group", "kind", "event", "subject", "caption", "phases")
        }
        return replace(
            self,
            **pick,
            streams={name: stream.take(index) for name, stream in self.streams.items()},
            score=self.score[index],
            difficulty=self.difficulty[index],
            judges=self.judges[index],
            attributes={name: values[index] for name, values in self.attributes.items()},
        )


@dataclass(frozen=True)
class Judgement:
    """What a head says of N samples. `spread`: standard deviation of the score, where the head gives one."""

    score: np.ndarray  # float64 [N]
    spread: np.ndarray | None = None  # float64 [N]
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> probabilities [N, classes]
    captions: tuple[str, ...] = ()
    phases: np.ndarray | None = None  # int64 [N, 2]: transitions among 96 frames, see catalog/phases.py
    exemplars: tuple[tuple[str, ...], ...] = ()  # per sample the ids compared with
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)  # stage -> points above the exemplars', float64 [N]


@dataclass(frozen=True)
class Needs:
    """Capabilities of a head, as data. What the data set or the streams lack makes `unmet` name it."""

    streams: int = 1  # how many it takes at once; 0: none (floors that use metadata alone)
    shape: int | None = 1  # dimensions of a clip's feature: 1 vectors, 2 joints [J, 3], 3 maps, None any
    clips: int = 1  # the least number of clips per sample
    most_samples: int = 0  # of train; 0: any number
    further_streams: int = 0  # how many it may be given beside those: other clips of the same backbone
    unlike_streams: bool = False  # those may be of any backbone
    difficulty: bool = False
    judges: bool = False
    kind: bool = False
    labels: bool = False  # attributes or captions to learn from; to judge it needs neither
    phases: bool = False  # likewise: samples whose transitions are known
    targets: tuple[str, ...] = ("score",)
    exemplars: bool = False  # compares with samples of train
    together: bool = False  # seeds can be trained together
    seeded: bool = True  # the seed changes the result
    unlabelled: bool = False  # learns from train samples without a score too
    out_of_fold: bool = False  # learns from judgements of train samples by heads that have not seen them
    validates: bool = False  # `fit` uses its `val`, for instance to choose the epoch
    gives: tuple[str, ...] = ()  # "spread", "attributes", "captions", "phases", "parts"
    floor: bool = False  # a row that every real head must beat
    shapes: tuple[int, ...] = ()  # as `shape`, of each of several streams in any order, where they are unlike


class Fitted(Protocol):
    """One trained head."""

    @property
    def info(self) -> Mapping[str, Any]:
        """Plain values: {"epoch": 37, "selected_on": "val", "parameters": 295554, ...}."""
        ...

    def predict(self, data: FeatureSet) -> Judgement:
        """Judge every sample of `data`. The truth in `data` is not looked at. Raises UnmetNeeds for other shapes."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything that `load` needs into `folder`; no pickles."""
        ...


class Head(Protocol):
    """A head with its parameters. Implementations are frozen dataclasses whose fields are the parameters."""

    name: ClassVar[str]
    needs: ClassVar[Needs]

    def fit(
        self, train: FeatureSet, val: FeatureSet | None, *, seeds: Sequence[int], device: str, log: Log | None = None
    ) -> list[Fitted]:
        """One fitted head per seed, in order. `val` (None: there is none) may choose the epoch and nothing else."""
        ...

    def load(self, folder: Path, device: str) -> Fitted:
        """The inverse of `Fitted.save`."""
        ...
