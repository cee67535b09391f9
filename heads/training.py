"""The training loop of gradient heads: features stay on the device, and several seeds train at once.

Every seed has its own initialisation, order of samples, exemplars and noise, drawn from its own generators, so among
others it becomes what it would have become alone, up to rounding. `val` chooses the epoch and scales the spread, and
nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import AqaError, BadParameter
from .base import FeatureSet, Log
from .batches import Exemplars, Scaling, Train, fit_scaling, to_batch
from .exemplars import Bank, Partners
from .fitted_torch import FittedTorch
from .needs import FittedOn, ready_to_fit
from .noise import Ask, draw
from .parallel import Stopped, cores, each, threads
from .selection import Selection
from .together import Together, groups_of, weights_of
from .torch_head import Calibrated, Spec, Step, TorchHead, need_difficulty, rows_for, seen_by, spec_of
from .traced import Traced

RECORD = 1000  # updates that it takes to be worth it; see `traced.py`


def fit(
    head: TorchHead,
    train: FeatureSet,
    val: FeatureSet | None = None,
    *,
    seeds: Sequence[int],
    device: str = "cpu",
    log: Log | None = None,
    dtype: torch.dtype = torch.float32,
    together: int | None = None,
) -> list[FittedTorch]:
    """One fitted head per seed, in order. `together`: seeds that train at once, by default as many as are quickest.

    Raises:
        UnmetNeeds, AnnotationError, StoreError: the data does not fit the head, or is not finite.
        BadParameter: a negative seed.
        AqaError: the loss is not finite any more.
    """
    if any(seed < 0 for seed in seeds):
        raise BadParameter("a seed is a whole number, 0 or more", field="seeds")
    ready_to_fit(head, train)
    fitted_on = FittedOn.of(head, train)
    train = seen_by(head, train, train.streams)
    scaling = fit_scaling(train) if head.scale == "standard" else Scaling({}, {})
    known = train.take(np.flatnonzero(np.isfinite(train.score))) if head.needs.unlabelled else train
    spec, bank = spec_of(head, known), head.bank(known)
    labels = {name: torch.from_numpy(values).to(device) for name, values in head.labels(spec, train).items()}
    if spec.times_difficulty:
        need_difficulty(head, train)
    rows = to_batch(train, scaling, device, dtype)._replace(targets=labels)
    spec = replace(spec, updates=sum(batch_sizes(head, rows.labelled).values()))
    exemplars = None if bank is None else Exemplars(*rows[:4])
    whole = Train(rows, () if exemplars is None else exemplars._replace(targets=labels))
    val_rows = None
    if val is not None and len(val) and head.select != "last":
        fitted_on.check(head, val)
        val_rows = rows_for(head, spec, scaling, val, device, dtype)

    def train_one(group: list[int], stop: Event) -> list[FittedTorch]:
        started = time.perf_counter()
        nets = Together(head, spec, group, device, dtype)
        nets.use({size: step for (count, size), step in recorded.items() if count == len(group)}, whole)
        kept = None if val is None or val_rows is None else Selection(val, val_rows, bank, exemplars, group)
        losses = train_group(nets, whole, bank, kept, group, log, stop)
        seconds = (time.perf_counter() - started) / len(group)
        state = nets.state() if kept is None else kept.state
        fitted = []
        for i, seed in enumerate(group):
            info: dict[str, Any] = {
                "seed": seed,
                "epoch": head.epochs if kept is None else int(kept.epoch[i]),
                "epochs": head.epochs,
                "selected_on": "last" if kept is None else head.select,
                "parameters": nets.parameters,
                "loss": float(losses[i]),
                "seconds": seconds,
                **head.describe(spec),
            }
            one = FittedTorch(head, spec, nets.net(state, i), scaling, fitted_on, info, bank, exemplars)
            if isinstance(head, Calibrated):
                one = _spread_scaled(one, val if head.calibrate and head.select != "test" else None)
            fitted.append(one)
        return fitted

    weights = weights_of(head, spec)
    workers = cores(weights, device) if head.needs.together else 1
    groups = groups_of(head, spec, seeds, device, together, workers)
    with threads(weights, len(groups), device):
        recorded = record(head, spec, groups, whole, device, dtype)
        return [one for fitted in each(train_one, groups, workers) for one in fitted]


def _spread_scaled(one: FittedTorch, held_out: FeatureSet | None) -> FittedTorch:
    """`one` with its spread scaled on `held_out`, or with an `info` which says that it is as learned."""
    if held_out is not None and len(held_out):
        return one.calibrated(held_out)
    return replace(one, info={**one.info, "spread_scale": 1.0, "spread_scaled_on": "none", "spread_samples": 0})


def record(
    head: TorchHead,
    spec: Spec,
    groups: Sequence[Sequence[int]],
    train: Train,
    device: str | torch.device,
    dtype: torch.dtype,
) -> dict[tuple[int, int], Traced]:
    """(seeds, batch size) -> the step, for the sizes that come often enough to be worth recording."""
    found = {}
    for size, count in batch_sizes(head, train.rows.labelled).items():
        if not (head.records and head.needs.together and count * head.epochs >= RECORD):
            continue
        for seeds in {len(group) for group in groups}:
            nets, draws = Together(head, spec, range(seeds), device, dtype), Draws(range(seeds), train.rows.score)
            asked = nets.asked(train, size, Step(0, 0))
            step = nets.record(train, train.first(size, seeds), draws.noise(asked))
            if step is not None:
                found[seeds, size] = step
    return found


def train_group(
    nets: Together,
    train: Train,
    bank: Bank | None,
    kept: Selection | None,
    seeds: Sequence[int],
    log: Log | None,
    stop: Event,
) -> Tensor:
    """Train `nets`, one network per seed. Returns the mean loss of the last epoch, [S]. Raises Stopped when `stop` is
    set meanwhile."""
    head, n, like = nets.head, len(train.rows.score), train.rows.score
    optimiser, draws = make_optimiser(head, by_rate(head, nets)), Draws(seeds, like)
    partners = None if bank is None else Partners(bank)
    update, loss = 0, torch.full((len(seeds),), math.nan)
    for epoch in range(head.epochs):
        set_rates(optimiser, scheduled(head, epoch))
        total, seen = torch.zeros_like(like[:1]).repeat(len(seeds)), 0
        batches = draws.batches(head, train.rows.labelled)
        pairs = [] if partners is None else [draws.pairs(partners, n)]
        for index in batches:
            step, size = Step(epoch, update), index.shape[1]
            noise = draws.noise(nets.asked(train, size, step))
            total += nets.gradients(train, [index, *pairs], noise, step) * size
            optimiser.step()
            nets.after_step()
            update, seen = update + 1, seen + size
            if stop.is_set():
                raise Stopped
        loss = finite(total.cpu() / seen, seeds, epoch)
        said = {} if kept is None else kept.update(nets, epoch + 1)
        for i, seed in enumerate(seeds if log is not None else ()):
            values = {"loss": loss[i], **{name: value[i] for name, value in said.items()}}
            plain = {name: float(v) if math.isfinite(v) else None for name, v in values.items()}
            log({"seed": seed, "epoch": epoch + 1, **plain})  # pyright: ignore[reportOptionalCall]
    sizes = torch.stack([leaf.detach().abs().flatten(1).sum(dim=1) for leaf in nets.leaves.values()]).sum(dim=0)
    finite(sizes.cpu(), seeds, head.epochs - 1)  # the last step may be the one that goes too far
    return loss


class Draws:
    """Every seed's own chances: the order of samples, the partners, and the noise, each from its own generator."""

    def __init__(self, seeds: Sequence[int], like: Tensor) -> None:
        self.device, self.dtype = like.device, like.dtype
        derived = [[int(n) for n in np.random.SeedSequence(seed).generate_state(3)] for seed in seeds]
        self._order = [torch.Generator().manual_seed(one[0]) for one in derived]
        self._noise = [torch.Generator(like.device).manual_seed(one[1]) for one in derived]
        self._pairs = [np.random.default_rng(one[2]) for one in derived]

    def order(self, n: int) -> Tensor:
        """int64 [S, n]: a permutation of the samples for every seed."""
        return torch.stack([torch.randperm(n, generator=one) for one in self._order]).to(self.device)

    def batches(self, head: TorchHead, labelled: Tensor) -> Sequence[Tensor]:
        """The batches of an epoch, each int64 [S, B]: every sample once; for heads that learn from unlabelled samples
        too, `head.batch` labelled ones and then as many unlabelled ones, the fewer of them several times."""
        if not head.needs.unlabelled:
            return self.order(len(labelled)).split(head.batch, dim=1)
        ((_, count),) = batch_sizes(head, labelled).items()
        halves = [self._cycled(pool, count * head.batch).split(head.batch, dim=1) for pool in pools(labelled)]
        return [torch.cat(pair, dim=1) for pair in zip(*halves, strict=True)]

    def _cycled(self, pool: Tensor, count: int) -> Tensor:
        """int64 [S, count]: permutations of `pool` one after the other."""
        rounds = -(-count // len(pool))
        return torch.cat([pool[self.order(len(pool))] for _ in range(rounds)], dim=1)[:, :count]

    def pairs(self, partners: Partners, n: int) -> Tensor:
        """int64 [S, n]: for every seed and sample the sample that it is paired with."""
        return torch.from_numpy(np.stack([partners.draw(one.random(n)) for one in self._pairs])).to(self.device)

    def noise(self, asked: Sequence[Ask]) -> list[Tensor]:
        return draw(asked, self._noise, self.dtype)


def pools(labelled: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the labelled and of the unlabelled samples; where all have labels, they serve as both."""
    known = labelled.nonzero()[:, 0]
    return known, known if labelled.all() else (~labelled).nonzero()[:, 0]


def batch_sizes(head: TorchHead, labelled: Tensor) -> dict[int, int]:
    """Size of a batch -> how many of that size an epoch has."""
    if head.needs.unlabelled:
        return {2 * head.batch: -(-max(len(pool) for pool in pools(labelled)) // head.batch)}
    sizes = ((head.batch, len(labelled) // head.batch), (len(labelled) % head.batch, 1))
    return {size: count for size, count in sizes if size and count}


def by_rate(head: TorchHead, nets: Together) -> list[tuple[float, list[Tensor]]]:
    """The leaves of `nets` by their learning rates."""
    groups: dict[float, list[Tensor]] = {}
    for name, leaf in nets.leaves.items():
        groups.setdefault(head.rate(name.removeprefix("net.")), []).append(leaf)
    return list(groups.items())


def make_optimiser(head: TorchHead, groups: Sequence[tuple[float, Sequence[Tensor]]]) -> torch.optim.Optimizer:
    """Of leaves by learning rate. `adam` has its weight decay in the gradient, as in the papers; `sgd` has momentum .9.
    Fused: one pass over the memory per step and learning rate."""
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    more = {"momentum": 0.9} if head.optimiser == "sgd" else {}
    fused = groups[0][1][0].device.type in ("cpu", "cuda")
    params = [{"params": leaves, "lr": rate, "rate": rate} for rate, leaves in groups]
    return kinds[head.optimiser](params, weight_decay=head.weight_decay, fused=fused, **more)


def scheduled(head: TorchHead, epoch: int) -> float:
    """What the learning rates of an epoch are multiplied by; cosine goes from the first epoch's to 1% of it."""
    if head.schedule != "cosine":
        return 1.0
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * epoch / head.epochs))


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * factor


def finite(loss: Tensor, seeds: Sequence[int], epoch: int) -> Tensor:
    """`loss` [S]; raises AqaError if it is not finite."""
    for seed, value in zip(seeds, loss.tolist(), strict=True):
        if not math.isfinite(value):
            hint = "lower lr, or standardise the features (scale=standard)"
            raise AqaError(f"the loss is {value} in epoch {epoch + 1} of seed {seed}", field="loss", hint=hint)
    return loss
