"""Several seeds as one network, by `torch.func`: every parameter and buffer has a leading axis [S, ...]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils._pytree import tree_map

from .batches import Batch
from .noise import Ask, Live, Replay
from .torch_head import Spec, Step, TorchHead, built

CACHE = 16 * 2**20  # bytes of weights, gradients and moments of the seeds that train at once; see benchmarks/fit.py
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

    @property
    def params(self) -> dict[str, Tensor]:
        """name -> [S, ...] as the network has it."""
        return {name: self._turn(name, value) for name, value in self.leaves.items()}

    @property
    def parameters(self) -> int:
        """Of one seed."""
        return sum(value[0].numel() for value in self.leaves.values())

    def losses(self, batch: Batch, draws: Sequence[Tensor], step: Step) -> Tensor:
        """[S]: the loss of every seed on its part of `batch` [S, B, ...] with its `draws` [S, ...]."""
        self.shell.train()
        call = over_seeds(lambda p, b, x, d: functional_call(self.shell, (p, b), ("loss", x, Replay(d), step)))
        return call(self.count, self.params, self.buffers, batch, list(draws))

    def judge(self, batch: Batch) -> dict[str, Tensor]:
        """name -> [S, B, ...]."""
        self.shell.eval()
        call = over_seeds(lambda p, b, x: functional_call(self.shell, (p, b), ("judge", x)))
        with torch.no_grad():
            return call(self.count, self.params, self.buffers, batch)

    def asked(self, batch: Batch, step: Step) -> list[Ask]:
        """The noise that the loss of one seed asks for on batches of this size."""
        size = batch.score.shape[1]
        if size not in self._asked:
            device, dtype = batch.score.device, batch.score.dtype
            noise = Live(torch.Generator(device).manual_seed(0), dtype)
            with torch.no_grad():
                self.shell.train()("loss", tree_map(lambda tensor: tensor[0], batch), noise, step)
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

    def _turn(self, name: str, value: Tensor) -> Tensor:
        return value.mT if name in self.turned else value


class _Calls(nn.Module):
    """A network whose forward is its head's loss or judge, for `functional_call` only knows forward."""

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


def groups_of(
    head: TorchHead, spec: Spec, seeds: Sequence[int], device: str | torch.device, together: int | None = None
) -> list[list[int]]:
    """`seeds` in groups of nearly equal size that train at once: at most `together`, by default what fits."""
    if not seeds:
        return []
    if together is None:
        numbers = sum(p.numel() for p in built(head, spec, 0).parameters())
        limit = CACHE if torch.device(device).type == "cpu" else MEMORY
        together = limit // (4 * 4 * numbers)
    if not head.needs.together:
        together = 1
    parts = -(-len(seeds) // max(together, 1))
    return [[int(seed) for seed in part] for part in np.array_split(np.asarray(seeds), parts)]
