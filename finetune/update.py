"""One update: the samples of a batch in micro-batches, each of which fits on a device, shared out among the processes.

Every chance is drawn from the seed and counters: the view of a sample from its epoch, noise and dropout from the update
and the micro-batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import AqaError
from ..heads.batches import Batch, Exemplars, select
from ..heads.noise import Live as LiveNoise
from ..heads.torch_head import Step
from ..heads.training import make_optimiser
from .augment import EXEMPLAR, QUERY, Augmentation
from .checkpoint import Progress
from .evaluating import Judge
from .loading import Ask, Clips, Loader
from .memory import free_bytes, kept_bytes, out_of_memory, samples_that_fit, too_much
from .network import Computing, Tuned, parts_of
from .processes import Processes
from .recipe import Recipe

Loss = tuple[Tensor, int, Clips]  # the mean of a micro-batch, of how many samples, and which they were


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


class Told(NamedTuple):
    """What any of the processes wants after an update."""

    stop: bool
    save: bool


@dataclass
class Updates:
    """All that updates are made of. `micro`: samples of an update that are computed at once, on one device. `stopping`
    and `saving` are asked after every update, and what one process says holds for all."""

    net: Tuned
    judge: Judge
    rows: Rows
    loader: Loader
    recipe: Recipe
    how: Computing
    among: Processes
    seed: int
    micro: int
    stopping: Callable[[], bool] = field(default=lambda: False, kw_only=True)
    saving: Callable[[], bool] = field(default=lambda: False, kw_only=True)
    progress: Progress = field(default_factory=Progress, kw_only=True)

    def __post_init__(self) -> None:
        head, recipe = self.judge.head, self.recipe
        rates = recipe.rates or (head.lr,)
        rates = rates * len(self.net.backbones) if len(rates) == 1 else rates
        self.parts = parts_of(self.net, rates, head.rate)
        self.optimiser = make_optimiser(head, [(part.rate, part.parameters) for part in self.parts])
        self.trained = [parameter for part in self.parts for parameter in part.parameters]
        self.scaler = torch.amp.GradScaler(self.how.device.type, enabled=self.how.precision == "fp16")
        self.mean = {n: p.detach().clone() for n, p in self.net.named_parameters()} if recipe.ema else {}
        self.augmentation = Augmentation(recipe.flip, recipe.crop, recipe.shifts)
        self.media = torch.tensor([self.judge.rows[sample] for sample in self.judge.train.ids])

    def asks(self, index: Tensor, pairs: Tensor | None, epoch: int) -> list[list[Ask]]:
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

    def update(self, size: int, micro: Sequence[Sequence[Ask]], clips: Iterator[Clips], step: Step) -> Told:
        """One update on `size` samples: the mean of their losses, of those that can be read, whatever the micro-batches
        and processes.

        Raises AqaError where the memory of any process is full, and for losses and gradients that are not finite.
        """
        self.net.train()
        self.optimiser.zero_grad(set_to_none=True)
        losses, full = self._gradients(size, micro, clips, step)
        zero = torch.zeros((), device=self.how.device)
        total = sum((loss * count for loss, count, _ in losses), zero)
        said = (sum(count for _, count, _ in losses), full, self.stopping(), self.saving())
        sums = torch.stack([total, *(zero + float(one) for one in said)])
        self.among.added([sums])
        all_of_it, seen, any_full, stop, save = sums.tolist()
        if any_full:
            self.optimiser.zero_grad(set_to_none=True)
            raise too_much(self.micro, self.fits())
        if not math.isfinite(all_of_it):
            self._not_finite(losses, step)
        if seen:
            self._step(size / seen, losses, step)
        self.progress.total, self.progress.seen = self.progress.total + all_of_it, self.progress.seen + int(seen)
        self.progress.done, self.progress.updates = self.progress.done + 1, self.progress.updates + 1
        return Told(stop > 0, save > 0)

    def _gradients(
        self, size: int, micro: Sequence[Sequence[Ask]], clips: Iterator[Clips], step: Step
    ) -> tuple[list[Loss], bool]:
        """The losses of this process's micro-batches, and whether its memory was too small for them."""
        losses: list[Loss] = []
        try:
            for k in range(self.among.rank, len(micro), self.among.count):
                found = next(clips)
                for row, error in found.failed:
                    self.progress.failed.setdefault(self.loader.samples[row][0], str(error))
                loss, count = self._loss(found, len(micro[k]), step, k)
                if loss is not None:
                    self.scaler.scale(loss * (count / size)).backward()
                    losses.append((loss.detach(), count, found._replace(streams={}, zeros={})))
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return [], True
        return losses, False

    def _step(self, factor: float, losses: Sequence[Loss], step: Step) -> None:
        """Of the optimiser, by the gradients of all processes times `factor`."""
        for parameter in self.trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            elif parameter.grad.stride() != parameter.stride():  # fused optimisers go through the memory
                parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)
        gradients = [p.grad for p in self.trained if p.grad is not None]
        self.among.added(gradients)
        for gradient in gradients if factor != 1 else ():
            gradient.mul_(factor)
        self.scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.get_total_norm(gradients)
        if not self.scaler.is_enabled() and not norm.isfinite():
            self._not_finite(losses, step)
        if self.recipe.clip:
            torch.nn.utils.clip_grads_with_norm_(self.trained, self.recipe.clip, norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1:  # one update after the other was skipped
            self._not_finite(losses, step)
        self._after_update()

    def _loss(self, found: Clips, asked: int, step: Step, k: int) -> tuple[Tensor | None, int]:
        """The mean loss of the k-th micro-batch of an update, and of how many samples; None if none could be read."""
        torch.manual_seed(_number(self.seed, step.update, k))  # of dropout inside a backbone
        batch = self._batch(found, asked)
        if batch is None:
            return None, 0
        generator = torch.Generator(self.how.device).manual_seed(_number(self.seed, step.update, k, 1))
        return self.judge.head.loss(self.net.head, batch, LiveNoise(generator), step), len(batch.score)

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
        learned = self.net.backbones.buffers() if self.recipe.norms == "train" else ()
        self.among.averaged([*learned, *self.net.head.buffers()])

    def fits(self) -> int:
        """How many samples fit on the device of every process at once; 0 for none."""
        try:
            fits = self._fits()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            fits = 0
        return min(self.among.gathered(fits))

    def _fits(self) -> int:
        """By what the gradient keeps of the first sample that can be read; all of a batch where there is none, and
        where nobody says how much is free."""
        free, n = free_bytes(self.how.device), len(self.judge.train)
        partners = None if self.judge.bank is None else torch.arange(n).roll(1)
        width = 2 if self.judge.head.needs.unlabelled else 1
        for row in range(n - width + 1) if free is not None else ():
            (asks,) = self.asks(torch.arange(row, row + width), partners, 0)
            found = next(iter(self.loader([asks])))
            if found.failed:
                continue
            kept = kept_bytes(lambda found=found, count=len(asks): self._loss(found, count, Step(0, 0), 0)[0])
            return samples_that_fit(kept, sum(parameter.numel() for parameter in self.trained), free or 0)
        return self.judge.head.batch

    def _not_finite(self, losses: Sequence[Loss], step: Step) -> None:
        """Raises AqaError with the samples whose loss it is; where all losses are finite it is a gradient."""
        mine = [
            f"{self.judge.train.ids[ask.sample]}"
            for loss, _, found in losses
            if not loss.isfinite()
            for ask in found.asks
        ]
        names = ", ".join(dict.fromkeys(name for part in self.among.gathered(mine) for name in part))
        what = f"the {'loss' if names else 'gradient'} is not finite in epoch {step.epoch + 1}"
        hint = "lower the rates (lr, --backbone-lr), warm up, train with --precision fp32, or look at these videos"
        raise AqaError(f"{what}, on {names}" if names else what, field="loss", hint=hint)


def _number(*parts: int) -> int:
    """A seed made of several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
