"""What the network as it is now says of samples: their features once, then the head as on cached features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..errors import AqaError
from ..heads.base import FeatureSet, Ragged
from ..heads.batches import Exemplars, to_batch
from ..heads.exemplars import Bank
from ..heads.fitted_torch import FittedTorch, judge_all
from ..heads.needs import FittedOn
from ..heads.torch_head import Spec, TorchHead, rows_for, seen_by
from .loading import Ask, Loader
from .memory import room_for
from .network import Computing, Tuned, ragged
from .processes import Processes


class Interrupted(BaseException):
    """The training was told to stop, and what it had reached is kept."""


@dataclass(frozen=True)
class Judge:
    """Judges samples with the backbones of a `net`.

    `rows`: sample -> its place among the media of `loader`. `train`: what the head is fitted on, `bank` likewise.
    `stopping` is asked after every batch.
    """

    head: TorchHead
    spec: Spec
    train: FeatureSet
    bank: Bank | None
    loader: Loader
    rows: Mapping[str, int]
    how: Computing
    batch: int
    among: Processes
    seed: int
    stopping: Callable[[], bool] = lambda: False

    def features(self, net: Tuned, data: FeatureSet) -> tuple[FeatureSet, dict[str, AqaError]]:
        """`data` with the features of its live streams, without the samples that could not be read: sample -> why.

        Every process makes its share; all get the same.

        Raises Interrupted when `stopping`, and AqaError where the memory is full.
        """
        batches = [data.ids[i : i + self.batch] for i in range(0, len(data), self.batch)]
        asked = [[Ask(self.rows[i]) for i in ids] for ids in batches]
        mine, failed = {}, {}
        names = {row: sample for sample, row in self.rows.items()}
        net.eval()
        with torch.inference_mode(), room_for("while samples are judged"):
            for clips in self.loader(self.among.mine(asked)):
                if self.stopping():
                    raise Interrupted
                failed |= {names[row]: error for row, error in clips.failed}
                if not clips.asks:
                    continue
                found = [
                    net.features(k, clips.streams[stream.name], clips.zeros[stream.name], self.how).cpu().numpy()
                    for k, stream in enumerate(net.streams)
                ]
                mine |= {names[ask.row]: [one[i] for one in found] for i, ask in enumerate(clips.asks)}
        every = {sample: one for part in self.among.gathered(mine) for sample, one in part.items()}
        failed = {sample: error for part in self.among.gathered(failed) for sample, error in part.items()}
        there = data.take([k for k, sample in enumerate(data.ids) if sample in every])
        made = {
            stream.name: Ragged(*ragged(np.stack([every[sample][k] for sample in there.ids])))
            for k, stream in enumerate(net.streams if len(there) else ())
        }
        return replace(there, streams={**there.streams, **made}), failed

    def quality(self, net: Tuned, val: FeatureSet) -> dict[str, float]:
        """How good the network is on `val` by the head's own measures, the first of which chooses. Each exemplar that
        is needed is made once."""
        found, failed = self.features(net, val)
        if not len(found):
            hint = next((str(error) for error in failed.values()), None)
            raise AqaError("not one of the samples that choose the epoch can be read", hint=hint)
        weight = next(net.head.parameters())
        exemplars = picked = None
        if self.bank is not None:
            chosen = self.bank.nearest(found, self.seed)
            used = np.unique(chosen)
            there, _ = self.features(net, self.train.take(used))
            exemplars = self._exemplars(net, there)
            picked = torch.from_numpy(_places(chosen, [self.bank.ids[k] for k in used], there.ids, used))
            picked = picked.to(weight.device)
        rows = rows_for(self.head, self.spec, net.scaling, found, weight.device, weight.dtype)
        with torch.inference_mode():
            said = judge_all(
                lambda batch: self.head.judge(net.head, batch),
                lambda others: self.head.encoded(net.head, others),
                rows,
                exemplars,
                picked,
            )
        said = {name: value.cpu().double().numpy()[None] for name, value in said.items()}
        return {name: float(value[0]) for name, value in self.head.quality(said, found).items()}

    def fitted(self, net: Tuned, found: FeatureSet, fitted_on: FittedOn, info: Mapping[str, Any]) -> FittedTorch:
        """The head as it is now, with train's features `found` for exemplars, as cached training would leave it."""
        bank = exemplars = None
        if self.bank is not None:
            bank, exemplars = self.head.bank(found), self._exemplars(net, found)
        return FittedTorch(self.head, self.spec, net.head.eval(), net.scaling, fitted_on, info, bank, exemplars)

    def _exemplars(self, net: Tuned, found: FeatureSet) -> Exemplars:
        weight = next(net.head.parameters())
        seen = seen_by(self.head, found, self.spec.streams)
        return Exemplars(*to_batch(seen, net.scaling, weight.device, weight.dtype)[:4])


def _places(chosen: np.ndarray, ids: Sequence[str], there: Sequence[str], used: np.ndarray) -> np.ndarray:
    """`chosen` [N, M], rows of the bank, as places among the samples `there`; for one that could not be read the first
    of the others of its sample stands in. `ids`: those of the rows `used`.

    Raises AqaError where none of a sample's exemplars could be read.
    """
    place = {sample: k for k, sample in enumerate(there)}
    of_used = np.array([place.get(sample, -1) for sample in ids])
    found = of_used[np.searchsorted(used, chosen)]
    first = found[np.arange(len(found)), (found >= 0).argmax(axis=1)]
    if (first < 0).any():
        raise AqaError("none of the exemplars of a sample can be read", field="exemplars", hint="check the videos")
    return np.where(found < 0, first[:, None], found)
