"""Several seeds as one network, by `torch.func`: every parameter and buffer has a leading axis [S, ...]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from .batches import Batch, Exemplars, Train
from .noise import Ask, Live, Replay
from .torch_head import Spec, Step, TorchHead, built
from .traced import Traced

CACHE = 16 * 2**20  # bytes of weights, gradients and moments of the seeds that train at once; see benchmarks/heads.py
MEMORY = 4 * 2**30  # likewise on a GPU, where many small launches cost more than the memory does


class Together:
    """The networks of `seeds` while they train.

    `leaves` is what the optimiser changes. Matrices are kept transposed in it: the gradient of a linear layer comes
    out that way, and with the weight lying otherwise every step copies it (measured: 1.5 to 2 times the step).
    """

    def __init__(
        self, head: TorchHead, spec: Spec, seeds: Sequence[int], device: str | torch.device, dtype: torch.dtype
    ) -> None:
        self.head, self.spec, self.count = head, spec, len(seeds)
        nets = [_Calls(head, built(head, spec, seed)).to(device=device, dtype=dtype) for seed in seeds]
        self.shell = nets[0]  # lends its code; its numbers are replaced at every call
        params, self.buffers = stack_module_state(nets)  # pyright: ignore[reportArgumentType]
        self.turned = {name for name, value in params.items() if value.ndim == 3}
        self.leaves = {name: self._turn(name, v.detach()).contiguous().requires_grad_() for name, v in params.items()}
        self._asked: dict[int, list[Ask]] = {}
        self._recorded: dict[int, Callable[[Sequence[Tensor]], Sequence[Tensor]]] = {}

    @property
    def parameters(self) -> int:
        """Of one seed."""
        return sum(value[0].numel() for value in self.leaves.values())

    def losses(self, batch: Batch, draws: Sequence[Tensor], step: Step) -> Tensor:
        """[S]: the loss of every seed on its part of `batch` [S, B, ...] with its `draws` [S, ...]."""
        return self._losses(self.leaves, self.buffers, batch, draws, step)

    def gradients(self, train: Train, chosen: Sequence[Tensor], draws: Sequence[Tensor], step: Step) -> Tensor:
        """[S]: the losses on the `chosen` of `train`, detached. Their gradients are left in `leaves`."""
        run = self._recorded.get(chosen[0].shape[1])
        if run is not None:
            losses, *gradients = run([*chosen, *draws])
            for leaf, gradient in zip(self.leaves.values(), gradients, strict=True):
                leaf.grad = gradient
            return losses
        for leaf in self.leaves.values():
            leaf.grad = None
        losses = self.losses(train.batch(chosen), draws, step)
        losses.sum().backward()
        return losses.detach()

    def record(self, train: Train, chosen: Sequence[Tensor], draws: Sequence[Tensor]) -> Traced | None:
        """`gradients` for as many samples, to be used by any networks of as many seeds. None where the loss asks when
        it is taken, or does not depend on all leaves."""
        names, others, when = list(self.leaves), list(self.buffers), _Watched()
        rows, shape = tree_flatten(train)
        idle: list[str] = []

        def step(fixed: list[Tensor], varying: list[Tensor]) -> list[Tensor]:
            leaves, rest = fixed[: len(names)], fixed[len(names) :]
            buffers = dict(zip(others, rest, strict=False))
            batch = tree_unflatten(rest[len(others) :], shape).batch(varying[: len(chosen)])
            draws = varying[len(chosen) :]
            losses = self._losses(dict(zip(names, leaves, strict=True)), buffers, batch, draws, when)
            gradients = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
            idle.extend(name for name, gradient in zip(names, gradients, strict=True) if gradient is None)
            # Fused optimisers go through the memory: a gradient must lie there as its leaf does.
            return [losses.detach(), *(gradient.contiguous() for gradient in gradients if gradient is not None)]

        # Copies, because recording runs the step, and that may change buffers.
        leaves = [leaf.detach().clone().requires_grad_() for leaf in self.leaves.values()]
        buffers = [buffer.clone() for buffer in self.buffers.values()]
        traced = Traced(step, [*leaves, *buffers, *rows], [*chosen, *draws])
        return None if when.asked or idle else traced

    def use(self, recorded: Mapping[int, Traced], train: Train) -> None:
        """Take recorded steps on `train`, batch size -> step, from now on."""
        fixed = [*self.leaves.values(), *self.buffers.values(), *tree_leaves(train)]
        self._recorded = {size: traced.bind(fixed) for size, traced in recorded.items()}

    def after_step(self) -> None:
        """What the head does after an update."""
        with torch.no_grad():
            self.head.after_step(self._params(self.leaves), self.buffers)

    def judge(self, batch: Batch) -> dict[str, Tensor]:
        """name -> [S, B, ...]."""
        return self._said("judge", batch)

    def encoded(self, exemplars: Exemplars) -> dict[str, Tensor]:
        """name -> [S, M, ...] of exemplars [S, M, ...]."""
        return self._said("encoded", exemplars)

    def _said(self, what: str, of: Batch | Exemplars) -> dict[str, Tensor]:
        self.shell.eval()
        call = over_seeds(lambda p, b, x: functional_call(self.shell, (p, b), (what, x)))
        with torch.no_grad():
            return call(self.count, self._params(self.leaves), self.buffers, of)

    def asked(self, train: Train, size: int, step: Step) -> list[Ask]:
        """The noise that the loss of one seed asks for on batches of `size`."""
        if size not in self._asked:
            like = train.rows.score
            noise = Live(torch.Generator(like.device).manual_seed(0), like.dtype)
            with torch.no_grad():
                self.shell.train()("loss", train.batch(train.first(size)), noise, step)
            self._asked[size] = noise.asked
        return self._asked[size]

    def state(self) -> dict[str, Tensor]:
        """A copy of all numbers, each [S, ...]."""
        return {name: value.detach().clone() for name, value in {**self.leaves, **self.buffers}.items()}

    def net(self, state: Mapping[str, Tensor], i: int) -> nn.Module:
        """The network of the i-th seed as it was in `state`, by itself."""
        one = {name.removeprefix("net."): self._turn(name, value)[i].clone() for name, value in state.items()}
        like = next(iter(self.leaves.values()))
        net = built(self.head, self.spec, 0).to(device=like.device, dtype=like.dtype).eval()
        net.load_state_dict(one)
        return net

    def _losses(
        self,
        leaves: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        batch: Batch,
        draws: Sequence[Tensor],
        when: Any,
    ) -> Tensor:
        self.shell.train()
        call = over_seeds(lambda p, b, x, d: functional_call(self.shell, (p, b), ("loss", x, Replay(d), when)))
        return call(self.count, self._params(leaves), buffers, batch, list(draws))

    def _params(self, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """name -> [S, ...] as the network has it."""
        return {name: self._turn(name, value) for name, value in leaves.items()}

    def _turn(self, name: str, value: Tensor) -> Tensor:
        return value.mT if name in self.turned else value


class _Watched:
    """Stands for a `Step` and remembers whether anybody asked."""

    asked = False

    def __getattr__(self, name: str) -> int:
        self.asked = True
        return 0


class _Calls(nn.Module):
    """A network whose forward is its head's loss, judge or encoded, for `functional_call` only knows forward."""

    def __init__(self, head: TorchHead, net: nn.Module) -> None:
        super().__init__()
        self.head, self.net = head, net

    def forward(self, what: str, *inputs: Any) -> Any:
        return getattr(self.head, what)(self.net, *inputs)


def over_seeds(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` over the leading axis of all its inputs. One seed is called plainly: vmap costs 10 us an operation."""

    def call(count: int, *inputs: Any) -> Any:
        if count > 1:
            return vmap(function)(*inputs)
        alone = function(*tree_map(lambda tensor: tensor.squeeze(0), inputs))
        return tree_map(lambda tensor: tensor.unsqueeze(0), alone)

    return call


def weights_of(head: TorchHead, spec: Spec) -> int:
    """How many numbers one seed learns. Each goes with a gradient and two moments, so four numbers that a step keeps
    count as one more."""
    return sum(p.numel() for p in built(head, spec, 0).parameters()) + head.kept(spec) // 4


def groups_of(
    head: TorchHead,
    spec: Spec,
    seeds: Sequence[int],
    device: str | torch.device,
    together: int | None = None,
    workers: int = 1,
) -> list[list[int]]:
    """`seeds` in groups of nearly equal size that train as one: at most `together`. By default as many as fit, and so
    many groups that all of the `workers` have work to the end."""
    if not seeds:
        return []
    most, multiple = together, 1
    if most is None:
        limit = CACHE if torch.device(device).type == "cpu" else MEMORY
        most, multiple = limit // (4 * 4 * weights_of(head, spec)), workers
    if not head.needs.together:
        most = 1
    parts = -(-len(seeds) // max(most, 1))
    parts = min(-(-parts // multiple) * multiple, len(seeds))
    return [[int(seed) for seed in part] for part in np.array_split(np.asarray(seeds), parts)]
