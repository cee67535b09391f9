"""From a `FeatureSet` to padded tensors that stay on the device, and to the batches that are picked out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ..errors import StoreError
from .base import FeatureSet, Ragged
from .pooling import pool


class Exemplars(NamedTuple):
    """Train samples that a batch is compared with: M per sample, those of sample b at rows ``b * M`` and after it."""

    streams: dict[str, Tensor]  # [B * M, T, *shape]
    masks: dict[str, Tensor]  # bool [B * M, T]
    score: Tensor  # [B * M]
    difficulty: Tensor  # [B * M]
    targets: Mapping[str, Tensor] = {}  # [B * M, ...]: as those of `Batch`, in training alone
    encoded: Mapping[str, Tensor] = {}  # [B * M, ...]: what the head's `encoded` made, in judging alone


class Batch(NamedTuple):
    """B samples. Padded clips are zeros and False in the mask. Unknown numbers are NaN."""

    streams: dict[str, Tensor]  # [B, T, *shape]
    masks: dict[str, Tensor]  # bool [B, T]
    score: Tensor  # [B], in points
    difficulty: Tensor  # [B]
    judges: Tensor  # [B, J]
    labelled: Tensor  # bool [B]
    exemplars: Exemplars | tuple[()] = ()
    targets: Mapping[str, Tensor] = {}  # [B, ...]: what the head's `labels` made, in training alone


def only(of: Batch | Exemplars) -> tuple[Tensor, Tensor]:
    """The clips [B, T, *shape] and the mask [B, T] of the only stream."""
    (name,) = of.streams
    return of.streams[name], of.masks[name]


def exemplars_of(batch: Batch) -> Exemplars:
    """The exemplars of a batch that must have them."""
    if not isinstance(batch.exemplars, Exemplars):
        raise TypeError("this batch has no exemplars")
    return batch.exemplars


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of every feature over train, per stream; {} leaves features as they are."""

    mean: Mapping[str, np.ndarray]  # float32 [*shape]
    sd: Mapping[str, np.ndarray]

    def apply(self, name: str, values: np.ndarray) -> np.ndarray:
        """`values` [..., *shape] standardised, float32."""
        values = np.asarray(values, dtype=np.float32)
        return (values - self.mean[name]) / self.sd[name] if name in self.mean else values


def pooled(data: FeatureSet) -> FeatureSet:
    """`data` with every sample's clips replaced by their mean, as one clip."""
    if all((stream.lengths == 1).all() for stream in data.streams.values()):
        return data
    steps = np.arange(len(data) + 1, dtype=np.int64)
    means = {n: Ragged(pool(s, "mean").reshape(len(s), *s.shape), steps) for n, s in data.streams.items()}
    return FeatureSet(**{**{f: getattr(data, f) for f in data.__dataclass_fields__}, "streams": means})


def fit_scaling(data: FeatureSet) -> Scaling:
    """The scaling to mean 0 and standard deviation 1 over all clips of `data`; features that never change are kept
    at 0 by it."""
    mean, sd = {}, {}
    for name, stream in data.streams.items():
        values = stream.values
        centre = values.mean(axis=0, dtype=np.float64)
        parts = (
            values[i : i + 4096] for i in range(0, len(values), 4096)
        )  # a copy of all of it in float64 is too much
        spread = np.sqrt(sum(((part - centre) ** 2).sum(axis=0) for part in parts) / len(values))
        mean[name] = centre.astype(np.float32)
        sd[name] = np.where(spread > 1e-6 * np.abs(mean[name]), spread, 1.0).astype(np.float32)
    return Scaling(mean, sd)


def to_batch(data: FeatureSet, scaling: Scaling, device: str | torch.device, dtype: torch.dtype) -> Batch:
    """All of `data` as one batch on `device`, padded to its longest sequence.

    Raises:
        StoreError: features that are not finite, with the sample and the stream.
    """
    streams, masks = {}, {}
    for name, stream in data.streams.items():
        refuse_not_finite(name, stream, data.ids)
        lengths = stream.lengths
        mask = np.arange(max(lengths, default=0)) < lengths[:, None]
        padded = np.zeros((*mask.shape, *stream.shape), dtype=np.float32)
        padded[mask] = scaling.apply(name, stream.values[stream.offsets[0] : stream.offsets[-1]])
        streams[name], masks[name] = _tensor(padded, device, dtype), _tensor(mask, device)
    return Batch(
        streams,
        masks,
        score=_tensor(data.score, device, dtype),
        difficulty=_tensor(data.difficulty, device, dtype),
        judges=_tensor(data.judges, device, dtype),
        labelled=_tensor(np.isfinite(data.score), device),
    )


def select(rows_of: Batch, rows: Tensor) -> Batch:
    """The samples at `rows`, an index of any shape: [B] gives a batch, [S, B] one for every seed."""
    return tree_map(lambda tensor: tensor[rows], rows_of)


def with_exemplars(batch: Batch, bank: Exemplars, rows: Tensor) -> Batch:
    """`batch` beside the samples of `bank` at `rows`: [B * M], or [S, B * M] for a batch of S seeds, each of which has
    `encoded` of its own."""
    plain = tree_map(lambda tensor: tensor[rows], bank._replace(encoded={}))
    seed = (torch.arange(len(rows), device=rows.device)[:, None],) * (rows.ndim - 1)
    encoded = {name: tensor[(*seed, rows)] for name, tensor in bank.encoded.items()}
    return batch._replace(exemplars=plain._replace(encoded=encoded))


class Train(NamedTuple):
    """All that a head is trained on: the rows, and for heads that compare the same rows as exemplars."""

    rows: Batch
    exemplars: Exemplars | tuple[()] = ()

    def batch(self, chosen: Sequence[Tensor]) -> Batch:
        """The samples at the index `chosen[0]`, [B] or [S, B]; where there are exemplars, each beside its partner, of
        which `chosen[1]` lists one per sample of train, [N] or [S, N]."""
        batch = select(self.rows, chosen[0])
        if not isinstance(self.exemplars, Exemplars):
            return batch
        return with_exemplars(batch, self.exemplars, chosen[1].gather(-1, chosen[0]))

    def first(self, size: int, *seeds: int) -> list[Tensor]:
        """What chooses the first samples, each its own partner."""
        n, device = len(self.rows.score), self.rows.score.device
        chosen = (torch.arange(size, device=device) % n).expand(*seeds, -1)  # a batch may be larger than train
        every = torch.arange(n, device=device).expand(*seeds, -1)
        return [chosen, *([every] if self.exemplars else [])]


def refuse_not_finite(name: str, stream: Ragged, ids: tuple[str, ...]) -> None:
    """Raises StoreError for features of `stream` that are NaN or infinite, with the first sample that has them."""
    bad = ~np.isfinite(stream.values).all(axis=tuple(range(1, stream.values.ndim)))
    if bad.any():
        first = int(np.searchsorted(stream.offsets, np.flatnonzero(bad)[0], side="right")) - 1
        hint = "extract them again (aqa extract --overwrite always), or leave the sample out"
        raise StoreError(
            f"{bad.sum()} clips have features that are not finite", sample=ids[first], field=name, hint=hint
        )


def _tensor(values: np.ndarray, device: str | torch.device, dtype: torch.dtype | None = None) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.to(dtype or tensor.dtype).to(device)  # in this order: not every device knows float64
