"""The training loop: updates of `batch` samples, each computed in micro-batches that fit on a device and are shared
out among the processes.

Every chance is drawn from the seed and counters: order and partners as in cached training, the view of a sample from
its epoch, noise and dropout from the update and the micro-batch. So a run that was stopped anywhere goes on to what it
would have become, and two processes make what one does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import AqaError
from ..heads.base import FeatureSet
from ..heads.batches import Batch, Exemplars, select
from ..heads.exemplars import Partners
from ..heads.noise import Live as LiveNoise
from ..heads.torch_head import Step
from ..heads.training import Draws
from .augment import EXEMPLAR, QUERY, Augmentation
from .checkpoint import BEST, LAST, Progress, read_checkpoint, restore, write_checkpoint
from .evaluating import Judge
from .loading import Ask, Clips, Loader
from .network import Computing, Tuned, parts_of
from .processes import Processes
from .rates import course, make_optimiser, set_rates
from .recipe import Recipe

Log = Callable[[dict[str, Any]], None]


class Interrupted(BaseException):
    """The training was told to stop, and what it had reached is kept."""


@dataclass(frozen=True)
class Rows:
    """All of train, label by label, with its cached streams; `mirrored` has these as a mirror shows them."""

    plain: Batch
    mirrored: Batch

    def batch(self, index: Tensor, flipped: Tensor) -> Batch:
        """The samples at `index` [B], those `flipped` [B] in the mirror."""
        one, other = select(self.plain, index), select(self.mirrored, index)

        def chosen(a: Tensor, b: Tensor) -> Tensor:
            return torch.where(flipped.reshape(-1, *[1] * (a.ndim - 1)), b, a)

        return one._replace(streams={name: chosen(x, other.streams[name]) for name, x in one.streams.items()})


@dataclass
class Training:
    """All that one training is made of. `folder` keeps its checkpoints; `keep`: every so many epochs one is kept for
    good, 0: none. `micro`: samples of an update that are computed at once, on one device."""

    net: Tuned
    judge: Judge
    rows: Rows
    val: FeatureSet | None
    loader: Loader
    recipe: Recipe
    how: Computing
    among: Processes
    seed: int
    micro: int
    folder: Path
    digest: str
    keep: int = 0
    log: Log = lambda _: None
    step: Callable[[], None] = lambda: None
    stopping: Callable[[], bool] = lambda: False
    saved_every: float = 600.0  # seconds
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        head, recipe = self.judge.head, self.recipe
        rates = recipe.rates or (head.lr,)
        rates = rates * len(self.net.backbones) if len(rates) == 1 else rates
        self.parts = parts_of(self.net, rates, head.rate)
        self.optimiser = make_optimiser(head, self.parts)
        self.trained = [parameter for part in self.parts for parameter in part.parameters]
        self.scaler = torch.amp.GradScaler(self.how.device.type, enabled=self.how.precision == "fp16")
        self.mean = {n: p.detach().clone() for n, p in self.net.named_parameters()} if recipe.ema else {}
        self.augmentation = Augmentation(recipe.flip, recipe.crop, recipe.shifts)
        self.media = torch.tensor([self.judge.rows[sample] for sample in self.judge.train.ids])

    # ------------------------------------------------------------------------------------------------ one training

    def run(self) -> None:
        """From where the last checkpoint stands to the end. Raises Interrupted, after what was reached is saved."""
        self._resume()
        head, n = self.judge.head, len(self.judge.train)
        draws, saved = Draws([self.seed], self.rows.plain.score.cpu()), time.monotonic()
        partners = None if self.judge.bank is None else Partners(self.judge.bank)
        labelled = self.rows.plain.labelled.cpu()
        for epoch in range(head.epochs):
            batches = draws.batches(head, labelled)
            pairs = None if partners is None else draws.pairs(partners, n)[0]
            if epoch < self.progress.epoch:
                continue
            started = time.monotonic()
            left = batches[self.progress.done :]
            asks = [self._asks(index[0], pairs, epoch) for index in left]
            clips = self.loader([ask for micro in asks for ask in self.among.mine(micro)])
            for index, micro in zip(left, asks, strict=True):
                set_rates(self.optimiser, course(head, self.recipe, epoch, self.progress.done / len(batches)))
                told = self._update(index.shape[1], micro, clips, Step(epoch, self.progress.updates))
                self.step()
                if told:
                    self._save(LAST, time.monotonic() - started)
                    raise Interrupted
                if time.monotonic() - saved > self.saved_every:
                    self._save(LAST, time.monotonic() - started)
                    saved = time.monotonic()
            self._end_epoch(epoch, time.monotonic() - started)
            saved = time.monotonic()

    def _asks(self, index: Tensor, pairs: Tensor | None, epoch: int) -> list[list[Ask]]:
        """The micro-batches of an update: its samples, and after them the partner of each."""
        parts = index.split(self.micro)
        if self.judge.head.needs.unlabelled:  # the second half has no labels: every micro-batch has as much of both
            parts = [part.flatten() for part in index.view(2, -1).split(self.micro, dim=1)]
        found = []
        for part in parts:
            rows = [(row, QUERY) for row in part.tolist()]
            rows += [] if pairs is None else [(row, EXEMPLAR) for row in pairs[part].tolist()]
            found.append(
                [
                    Ask(int(self.media[row]), self.augmentation.view(self.seed, epoch, row, role), place, row)
                    for place, (row, role) in enumerate(rows)
                ]
            )
        return found

    def _update(self, size: int, micro: Sequence[Sequence[Ask]], clips: Any, step: Step) -> bool:
        """One update on `size` samples: the mean of their losses, whatever the micro-batches and processes. Returns
        whether any process was told to stop meanwhile."""
        self.net.train()
        self.optimiser.zero_grad(set_to_none=True)
        losses: list[tuple[Tensor, int, Clips]] = []
        for k in range(self.among.rank, len(micro), self.among.count):
            found: Clips = next(clips)
            for row, error in found.failed:
                self.progress.failed.setdefault(self.loader.samples[row][0], str(error))
            batch = self._batch(found, len(micro[k]))
            if batch is None:
                continue
            torch.manual_seed(_number(self.seed, step.update, k))  # of dropout inside a backbone
            generator = torch.Generator(self.how.device).manual_seed(_number(self.seed, step.update, k, 1))
            loss = self.judge.head.loss(self.net.head, batch, LiveNoise(generator), step)
            self.scaler.scale(loss * (len(batch.score) / size)).backward()
            losses.append((loss.detach(), len(batch.score), found._replace(streams={}, zeros={})))
        zero = torch.zeros((), device=self.how.device)
        total = sum((loss * count for loss, count, _ in losses), zero)
        sums = torch.stack([total, zero + sum(count for _, count, _ in losses), zero + float(self.stopping())])
        for parameter in self.trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            elif parameter.grad.stride() != parameter.stride():  # fused optimisers go through the memory
                parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)
        self.among.added([sums, *(p.grad for p in self.trained if p.grad is not None)])
        all_of_it, seen, told = sums.tolist()
        if not math.isfinite(all_of_it):
            self._not_finite(losses, step)
        self.scaler.unscale_(self.optimiser)
        if self.recipe.clip:
            torch.nn.utils.clip_grad_norm_(self.trained, self.recipe.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._after_update()
        self.progress.total, self.progress.seen = self.progress.total + all_of_it, self.progress.seen + int(seen)
        self.progress.done, self.progress.updates = self.progress.done + 1, self.progress.updates + 1
        return told > 0

    def _not_finite(self, losses: Sequence[tuple[Tensor, int, Clips]], step: Step) -> None:
        """Raises AqaError with the samples whose loss it is."""
        mine = [
            f"{self.judge.train.ids[ask.sample]}"
            for loss, _, found in losses
            if not loss.isfinite()
            for ask in found.asks
        ]
        names = ", ".join(dict.fromkeys(name for part in self.among.gathered(mine) for name in part))
        hint = "lower the rates (lr, --backbone-lr), warm up, or look at these videos"
        raise AqaError(f"the loss is not finite in epoch {step.epoch + 1}, on {names}", field="loss", hint=hint)

    def _batch(self, found: Clips, asked: int) -> Batch | None:
        """What the head takes, of the samples that could be read; None if there are none."""
        paired = self.judge.bank is not None
        half = asked // 2 if paired else asked
        there = {ask.place: i for i, ask in enumerate(found.asks)}
        kept = [p for p in range(half) if p in there and (not paired or p + half in there)]
        if not kept:
            return None
        chosen = [there[p] for p in kept] + ([there[p + half] for p in kept] if paired else [])
        at = torch.tensor(chosen)
        features = {}
        for k, stream in enumerate(self.net.streams):
            clips, zeros = found.streams[stream.name], found.zeros[stream.name]
            if chosen != list(range(len(clips))):
                clips, zeros = clips[at], zeros[at]
            features[stream.name] = self.net.features(k, clips, zeros, self.how)
        streams, masks = self.net.seen(features)
        asks = [found.asks[i] for i in chosen]
        device = self.how.device
        rows = self.rows.batch(
            torch.tensor([ask.sample for ask in asks], device=device),
            torch.tensor([ask.view.flip for ask in asks], device=device),
        )
        whole = rows._replace(streams={**streams, **rows.streams}, masks={**masks, **rows.masks})
        if not paired:
            return whole
        query, other = (select(whole, part) for part in torch.arange(len(asks), device=device).chunk(2))
        return query._replace(exemplars=Exemplars(*other[:4], targets=other.targets))

    def _after_update(self) -> None:
        """What the head does after an update, the running mean, and buffers that processes have in common."""
        with torch.no_grad():
            leaves = {f"net.{name}": p[None] for name, p in self.net.head.named_parameters()}
            self.judge.head.after_step(leaves, {f"net.{name}": b[None] for name, b in self.net.head.named_buffers()})
            for name, parameter in self.net.named_parameters() if self.mean else ():
                self.mean[name].lerp_(parameter, 1 - self.recipe.ema)
        self.among.from_first(self.net.buffers())

    # --------------------------------------------------------------------------------------- epochs and checkpoints

    def _end_epoch(self, epoch: int, seconds: float) -> None:
        progress, head = self.progress, self.judge.head
        if not progress.seen:
            raise AqaError("not one sample of train can be read", hint=next(iter(progress.failed.values()), None))
        for failed in self.among.gathered(dict(progress.failed)):
            progress.failed |= failed
        said: dict[str, float] = {}
        if self.val is not None and head.select != "last":
            with self.judging():
                said = self.judge.quality(self.net, self.val)
            high, low = list(said.values())[:2]
            high = -2.0 if math.isnan(high) else high
            if high > progress.best[0] or (high == progress.best[0] and low < progress.best[1]):
                progress.best, progress.best_epoch = (high, low), epoch + 1
                self._save(BEST, seconds)
        row = {"seed": self.seed, "epoch": epoch + 1, "loss": progress.total / progress.seen, **said}
        row = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}
        progress.history.append(row | {"seconds": round(progress.seconds + seconds, 2)})
        progress.epoch, progress.done, progress.total, progress.seen = epoch + 1, 0, 0.0, 0
        progress.seconds = 0.0
        self._save(LAST, 0.0)
        if self.keep and (epoch + 1) % self.keep == 0:
            self._save(f"epoch-{epoch + 1:03d}.safetensors", 0.0)
        self.log(progress.history[-1])

    def judging(self) -> _Swapped:
        """While it lasts, the net has the running mean of its weights, if there is one."""
        return _Swapped(self.net, self.mean)

    def _save(self, name: str, seconds: float) -> None:
        self.progress.scaler = self.scaler.state_dict()
        before, self.progress.seconds = self.progress.seconds, self.progress.seconds + seconds
        if self.among.first:
            if name == BEST:
                with self.judging():
                    write_checkpoint(self.folder / name, self.net.state_dict(), None, self.progress, self.digest)
            else:
                state = {**self.net.state_dict(), **{f"mean.{n}": value for n, value in self.mean.items()}}
                write_checkpoint(self.folder / name, state, self.optimiser, self.progress, self.digest)
        self.progress.seconds = before
        self.among.wait()

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


class _Swapped:
    """The net with other weights for a while."""

    def __init__(self, net: Tuned, weights: dict[str, Tensor]) -> None:
        self.net, self.weights = net, weights

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_: object) -> None:
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.net.named_parameters() if self.weights else ():
            kept = parameter.detach().clone()
            parameter.copy_(self.weights[name])
            self.weights[name].copy_(kept)


def _number(*parts: int) -> int:
    """A seed made of several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
