"""The training loop: updates, epochs, and checkpoints from which it goes on.

Order and partners are drawn as in cached training, everything else from the seed and counters (`update.py`). So a run
that was stopped anywhere goes on to what it would have become, and two processes make what one does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import AqaError
from ..heads.base import FeatureSet
from ..heads.exemplars import Partners
from ..heads.torch_head import Step, TorchHead
from ..heads.training import Draws, scheduled, set_rates
from .checkpoint import BEST, LAST, read_checkpoint, restore, write_checkpoint
from .evaluating import Interrupted
from .recipe import Recipe
from .update import Updates

Log = Callable[[dict[str, Any]], None]


@dataclass
class Training(Updates):
    """All that one training is made of. `val` chooses the epoch. `folder` keeps its checkpoints; `keep`: every so many
    epochs one is kept for good, 0: none."""

    val: FeatureSet | None
    folder: Path
    digest: str
    keep: int = 0
    log: Log = lambda _: None
    step: Callable[[], None] = lambda: None
    saved_every: float = 600.0  # seconds

    # ------------------------------------------------------------------------------------------------ one training

    def run(self) -> None:
        """From where the last checkpoint stands to the end. Raises Interrupted, after what was reached is saved."""
        self._resume()
        head, n = self.judge.head, len(self.judge.train)
        draws, saved = Draws([self.seed], self.rows.plain.score.cpu()), time.monotonic()
        self.saving = lambda: time.monotonic() - saved > self.saved_every
        partners = None if self.judge.bank is None else Partners(self.judge.bank)
        labelled = self.rows.plain.labelled.cpu()
        for epoch in range(head.epochs):
            batches = draws.batches(head, labelled)
            pairs = None if partners is None else draws.pairs(partners, n)[0]
            if epoch < self.progress.epoch:
                continue
            started = time.monotonic()
            left = batches[self.progress.done :]
            asks = [self.asks(index[0], pairs, epoch) for index in left]
            clips = self.loader([ask for micro in asks for ask in self.among.mine(micro)])
            for index, micro in zip(left, asks, strict=True):
                set_rates(self.optimiser, course(head, self.recipe, epoch, self.progress.done / len(batches)))
                told = self.update(index.shape[1], micro, clips, Step(epoch, self.progress.updates))
                self.step()
                if told.stop or told.save:
                    self._save(LAST, time.monotonic() - started)
                    saved = time.monotonic()
                if told.stop:
                    raise Interrupted
            self._end_epoch(epoch, time.monotonic() - started)
            saved = time.monotonic()

    # --------------------------------------------------------------------------------------- epochs and checkpoints

    def _end_epoch(self, epoch: int, seconds: float) -> None:
        progress, head = self.progress, self.judge.head
        if not progress.seen:
            raise AqaError("not one sample of train can be read", hint=next(iter(progress.failed.values()), None))
        for failed in self.among.gathered(dict(progress.failed)):
            progress.failed |= failed
        said: dict[str, float] = {}
        if self.val is not None and head.select != "last":
            try:
                with self.judging():
                    said = self.judge.quality(self.net, self.val)
            except Interrupted:
                if self.among.first:  # the others may be in another place
                    self._write(LAST, seconds)
                raise
            high, low = list(said.values())[:2]
            high = -2.0 if math.isnan(high) else high
            if high > progress.best[0] or (high == progress.best[0] and low < progress.best[1]):
                progress.best, progress.best_epoch = (high, low), epoch + 1
                self._save(BEST, seconds)
        row = {"seed": self.seed, "epoch": epoch + 1, "loss": progress.total / progress.seen, **said}
        row = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}
        progress.history.append(row | {"seconds": round(progress.seconds + seconds, 3)})
        progress.epoch, progress.done, progress.total, progress.seen = epoch + 1, 0, 0.0, 0
        progress.seconds = 0.0
        self._save(LAST, 0.0)
        if self.keep and (epoch + 1) % self.keep == 0:
            self._save(f"epoch-{epoch + 1:03d}.safetensors", 0.0)
        self.log(progress.history[-1])

    @contextmanager
    def judging(self) -> Iterator[None]:
        """While it lasts, the net has the running mean of its weights, if there is one."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.net.named_parameters() if self.mean else ():
            kept = parameter.detach().clone()
            parameter.copy_(self.mean[name])
            self.mean[name].copy_(kept)

    def _save(self, name: str, seconds: float) -> None:
        if self.among.first:
            self._write(name, seconds)
        self.among.wait()

    def _write(self, name: str, seconds: float) -> None:
        self.progress.scaler = self.scaler.state_dict()
        before, self.progress.seconds = self.progress.seconds, self.progress.seconds + seconds
        if name == BEST:
            with self.judging():
                write_checkpoint(self.folder / name, self.net.state_dict(), None, self.progress, self.digest)
        else:
            state = {**self.net.state_dict(), **{f"mean.{n}": value for n, value in self.mean.items()}}
            write_checkpoint(self.folder / name, state, self.optimiser, self.progress, self.digest)
        self.progress.seconds = before

    def _resume(self) -> None:
        found = read_checkpoint(self.folder / LAST, self.digest, self.how.device)
        if found is None:
            return
        state, moments, self.progress = found
        with torch.no_grad():
            for name, value in self.mean.items():
                value.copy_(state.pop(f"mean.{name}"))
        self.net.load_state_dict(state)
        restore(self.optimiser, moments)
        if self.progress.scaler:
            self.scaler.load_state_dict(self.progress.scaler)

    def load_kept(self) -> tuple[int, str]:
        """The net as it is to be used: of the best epoch, or of the last. Returns the epoch and what chose it."""
        best = read_checkpoint(self.folder / BEST, self.digest, self.how.device)
        if best is not None:
            self.net.load_state_dict(best[0])
            return self.progress.best_epoch, self.judge.head.select
        with torch.no_grad():
            for name, parameter in self.net.named_parameters() if self.mean else ():
                parameter.copy_(self.mean[name])
        return self.judge.head.epochs, "last"


def course(head: TorchHead, recipe: Recipe, epoch: int, part: float) -> float:
    """What all rates are multiplied by, `part` (0 to 1) of the way through `epoch` (from 0): up from 0 over the first
    `warm_up` epochs, down by `factor` at each of `steps`, and as the head's `schedule` goes, epoch by epoch."""
    rate = scheduled(head, epoch) * recipe.factor ** sum(epoch >= step for step in recipe.steps)
    if epoch + part < recipe.warm_up:
        rate *= (epoch + part) / recipe.warm_up
    return rate
