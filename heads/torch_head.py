"""What gradient heads share: parameters of the training, the facts that a network is built from, units, files.

A torch head is a frozen dataclass with three functions beside its parameters::

    build(spec) -> nn.Module                        the network, its constants (score mean, leaves) in its buffers
    loss(net, batch, noise, step) -> Tensor         one number; draws nothing itself, and no shape depends on a value
    judge(net, batch) -> {"score": [B], ...}        in points; of each sample alone, whatever is beside it in the batch

The same three serve cached features one seed at a time, many seeds at once (`training.py`), and a network that is
trained together with its backbone, for `batch` does not say where its clips came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UnmetNeeds
from .base import FeatureSet, Judgement, Log, Needs
from .batches import Batch, Exemplars, Scaling, pooled, to_batch
from .config import demand
from .exemplars import Bank
from .needs import some
from .noise import Noise

# "", a data set, "data set/group" or "data set/target" -> parameters that are not the defaults; the more special wins.
Published = Mapping[str, Mapping[str, Any]]

_GLOBAL_RANDOM_STATE = Lock()  # groups of seeds train in threads


class Step(NamedTuple):
    """When a loss is taken. Plain numbers, the same for all seeds."""

    epoch: int  # from 0
    update: int  # updates made before this one, over all epochs


@dataclass(frozen=True)
class Spec:
    """What `build` may know: shapes, and the train labels in a few numbers.

    A head models a mark: the score, or score / difficulty (`times_difficulty`). `low`, `high`: the range of the mark.
    """

    streams: Mapping[str, tuple[int, ...]]  # name -> shape of one clip
    clips: int  # of the longest train sample; 1 where clips are pooled first
    samples: int
    target_kind: str
    times_difficulty: bool
    low: float
    high: float
    mean: float  # of the marks of train
    sd: float  # likewise; 1 where they are all the same
    judges: int
    constants: Mapping[str, Any]  # what the head's `constants` made of train
    updates: int = 0  # in an epoch

    @property
    def width(self) -> int:
        """Numbers per clip of the only stream."""
        (shape,) = self.streams.values()
        return int(np.prod(shape))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "streams": {name: list(shape) for name, shape in self.streams.items()}}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Spec:
        return cls(**{**plain, "streams": {name: tuple(shape) for name, shape in plain["streams"].items()}})


class Units(nn.Module):
    """From points to the mark that a head models, and back."""

    mean: Tensor
    sd: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.times_difficulty = spec.times_difficulty
        for name in ("mean", "sd", "low", "high"):
            self.register_buffer(name, torch.tensor(getattr(spec, name), dtype=torch.get_default_dtype()))

    def mark(self, of: Batch | Exemplars) -> Tensor:
        """[B]: the score, or the score over its difficulty."""
        return of.score / of.difficulty if self.times_difficulty else of.score

    def points(self, mark: Tensor, batch: Batch) -> Tensor:
        """[B, ...] in points, of marks or of their standard deviations; the difficulty is that of the batch."""
        if not self.times_difficulty:
            return mark
        return mark * batch.difficulty.reshape(-1, *[1] * (mark.ndim - 1))


class OneNumber(nn.Module):
    """A network whose forward says one number per sample, [B]: the mark in standard deviations of train from its mean,
    or the logit of a binary target."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.binary = spec.target_kind == "binary"
        self.units = Units(spec)

    def loss(self, said: Tensor, batch: Batch) -> Tensor:
        """Squared error of the score in standard deviations of train; for a binary target cross-entropy."""
        if self.binary:
            return F.binary_cross_entropy_with_logits(said, batch.score)
        return ((self.score(said, batch) - batch.score) / self.units.sd).square().mean()

    def score(self, said: Tensor, batch: Batch) -> Tensor:
        """[B]: points, or probabilities of 1."""
        if self.binary:
            return torch.sigmoid(said)
        return self.units.points(self.units.mean + self.units.sd * said, batch)


@dataclass(frozen=True)
class TorchHead:
    """Parameters that every gradient head has. Subclasses say where their defaults come from.

    `scale`: features standardised over train, or left as they are. `select`: judge with the epoch that ranks `val`
    best, or with the last one (also where there is no `val`); test is for `--protocol paper` alone, where the caller
    gives the test part for `val`. `schedule` cosine: down to 1% of `lr`, epoch by epoch.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs]
    pool: ClassVar[Literal["mean", "none"]] = "none"  # mean: only the mean of a sample's clips is looked at
    published: ClassVar[Published] = {}  # the settings of `--protocol paper`
    records: ClassVar[bool] = True  # steps that come often are recorded; see `traced.py`

    epochs: int = 100
    batch: int = 8
    lr: float = 1e-4
    weight_decay: float = 0.0
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: Literal["constant", "cosine"] = "constant"
    scale: Literal["standard", "none"] = "standard"
    select: Literal["val", "last", "test"] = "val"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            demand(self, name, getattr(self, name) >= 1, "1 or more")
        demand(self, "lr", self.lr > 0, "a number above 0")
        demand(self, "weight_decay", self.weight_decay >= 0, "0 or more")

    def build(self, spec: Spec) -> nn.Module:
        raise NotImplementedError

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:
        raise NotImplementedError

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def after_step(self, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        """Called after every update with the parameters and buffers of all seeds, each [S, ...]; may change buffers in
        place (a running mean of weights)."""

    def prepared(self, data: FeatureSet) -> FeatureSet:
        """`data` as the network is to see it, each sample of itself alone; comes before `scale`. Raises UnmetNeeds."""
        return pooled(data) if self.pool == "mean" else data

    def kept(self, spec: Spec) -> int:  # noqa: ARG002
        """How many numbers a step keeps for its gradients beside the weights, where these are the lesser part."""
        return 0

    def models_mark(self, train: FeatureSet) -> bool:  # noqa: ARG002
        """Whether the head models score / difficulty on `train`."""
        return False

    def mark_range(self, train: FeatureSet, marks: np.ndarray) -> tuple[float, float]:
        """Lowest and highest mark: the target's range; for score / difficulty 0 and 1.1 times the highest of train."""
        return (0.0, 1.1 * float(marks.max())) if self.models_mark(train) else train.range

    def constants(self, train: FeatureSet, marks: np.ndarray, width: float) -> dict[str, Any]:  # noqa: ARG002
        """Plain values made of the train labels that `build` needs; `width` is that of the marks' range."""
        return {}

    def labels(self, spec: Spec, train: FeatureSet) -> dict[str, np.ndarray]:  # noqa: ARG002
        """Further labels of train, [N, ...], for a loss that wants them; they become `batch.targets`."""
        return {}

    def describe(self, spec: Spec) -> dict[str, Any]:  # noqa: ARG002
        """Plain values for `info`, beside those of the training."""
        return {}

    def rate(self, parameter: str) -> float:  # noqa: ARG002
        """The learning rate of the parameter of that name in the network."""
        return self.lr

    def encoded(self, net: Any, exemplars: Exemplars) -> dict[str, Tensor]:  # noqa: ARG002
        """What `judge` finds as `exemplars.encoded` instead of their clips, [M, ..., D], each of itself alone; {}: it
        wants the clips. A judging asks for every train sample once, however many it is compared with."""
        return {}

    def further(self, net: Any, batch: Batch) -> dict[str, Tensor]:  # noqa: ARG002
        """What is said beyond `judge`, samples along the last axis. Asked of fitted heads alone: no epoch is chosen by
        it, and shapes may depend on values."""
        return {}

    def quality(self, said: Mapping[str, np.ndarray], val: FeatureSet) -> dict[str, np.ndarray]:
        """How good an epoch is by what `judge` says of `val` ([S, ..., N] by name, of S seeds), for the history, each
        [S]: the epoch is kept in which the first is highest, and among equals (and where it is NaN) the second lowest.
        """
        from .selection import spearman

        scores = said["score"]
        return {"val_spearman": spearman(scores, val.score), "val_mse": ((scores - val.score) ** 2).mean(axis=1)}

    def judgement(self, spec: Spec, said: Mapping[str, Any]) -> Judgement:  # noqa: ARG002
        """The judgement of all samples, from the arrays of `judge` and `further`."""
        return Judgement(said["score"], said.get("spread"))

    def bank(self, train: FeatureSet) -> Bank | None:  # noqa: ARG002
        """The exemplars, for a head that compares with train samples."""
        return None

    def fit(
        self,
        train: FeatureSet,
        val: FeatureSet | None = None,
        *,
        seeds: Sequence[int],
        device: str = "cpu",
        log: Log | None = None,
    ) -> list[Any]:
        """One `FittedTorch` per seed, in order; several seeds are trained at once."""
        from .training import fit

        return fit(self, train, val, seeds=seeds, device=device, log=log)

    def load(self, folder: Path, device: str = "cpu") -> Any:
        from .fitted_torch import load_fitted

        return load_fitted(self, folder, device)


@dataclass(frozen=True)
class MarkHead(TorchHead):
    """A head that models score / difficulty and multiplies back, where scores are made so and all difficulties are
    known (`use_difficulty`)."""

    use_difficulty: bool = True

    def models_mark(self, train: FeatureSet) -> bool:
        return self.use_difficulty and train.times_difficulty and bool((train.difficulty > 0).all())


@dataclass(frozen=True)
class Calibrated(TorchHead):
    """A head whose spread is to be the size of its errors.

    `calibrate`: after training the spread is multiplied by the one factor that makes the errors of the held-out part
    as large as it says (`FittedTorch.calibrated`). Without a held-out part it is left as learned.
    """

    calibrate: bool = True


def spec_of(head: TorchHead, train: FeatureSet) -> Spec:
    """The spec of `head` on the features and labels that it is trained on (pooled already, where it pools).

    Raises:
        UnmetNeeds: a head of marks on data without difficulties.
    """
    times_difficulty = head.models_mark(train)
    if times_difficulty:
        need_difficulty(head, train)
    marks = train.score / train.difficulty if times_difficulty else train.score
    low, high = (float(bound) for bound in head.mark_range(train, marks))
    high = high if high > low else low + 1.0  # every score the same
    sd = float(marks.std())
    return Spec(
        streams={name: stream.shape for name, stream in train.streams.items()},
        clips=max(int(stream.lengths.max()) for stream in train.streams.values()),
        samples=len(train),
        target_kind=train.target_kind,
        times_difficulty=times_difficulty,
        low=low,
        high=high,
        mean=float(marks.mean()),
        sd=sd if sd > 1e-6 * (high - low) else 1.0,
        judges=train.judges.shape[1],
        constants=head.constants(train, marks, high - low),
    )


def rows_for(
    head: TorchHead, spec: Spec, scaling: Scaling, data: FeatureSet, device: str | torch.device, dtype: torch.dtype
) -> Batch:
    """All of `data` on the device as `head` wants it: only its streams, prepared, standardised, padded.

    Raises:
        UnmetNeeds: a head of marks, and samples without a difficulty.
        StoreError: features that are not finite.
    """
    if spec.times_difficulty:
        need_difficulty(head, data)
    return to_batch(seen_by(head, data, spec.streams), scaling, device, dtype)


def seen_by(head: TorchHead, data: FeatureSet, streams: Iterable[str]) -> FeatureSet:
    """`data` with `streams` alone, as `head` is to see them."""
    return head.prepared(replace(data, streams={name: data.streams[name] for name in streams}))


def built(head: TorchHead, spec: Spec, seed: int) -> nn.Module:
    """`head.build(spec)` initialised from `seed`, on the CPU; the global random state is left as it was."""
    with _GLOBAL_RANDOM_STATE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return head.build(spec)


def need_difficulty(head: TorchHead, data: FeatureSet) -> None:
    """Raises UnmetNeeds for samples whose difficulty is unknown or not above 0."""
    without = ~(data.difficulty > 0)
    if without.any():
        what = f"{head.name} models score / difficulty, and it is unknown for {some(data.ids, without)}"
        raise UnmetNeeds(what, field="difficulty", hint="give the difficulty, or choose a head that does not use it")
