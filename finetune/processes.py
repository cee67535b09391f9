"""Several processes, one per GPU, as `torchrun` starts them; alone, all of this does nothing.

Every process has the whole network and takes its share of an update's micro-batches; gradients are added up. So an
update is the same sum whatever the number of processes, up to the order in which it is added. The exception is batch
normalisation that learns: every process normalises its own micro-batches, and the running statistics are averaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import UsageError

Item = TypeVar("Item")
BUCKET = 25 * 2**20  # numbers that are added up in one go
PATIENCE = timedelta(hours=1)  # the others wait while the first writes a run


@dataclass(frozen=True)
class Processes:
    """`rank` of this one among `count`; `local` is its place on this machine."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    def mine(self, items: Sequence[Item]) -> list[Item]:
        """The share of this process: no item is in two shares."""
        return list(items[self.rank :: self.count])

    def gathered(self, value: Item) -> list[Item]:
        """What every process has, in the order of their ranks, in all of them."""
        if self.count == 1:
            return [value]
        found: list[Item | None] = [None] * self.count
        dist.all_gather_object(found, value)
        return [one for one in found if one is not None]

    def added(self, tensors: Iterable[Tensor]) -> None:
        """Replaces each of `tensors` by its sum over the processes."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([one.flatten() for one in bucket])
            dist.all_reduce(flat)
            for one, part in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
                one.copy_(part.view_as(one))

    def averaged(self, tensors: Iterable[Tensor]) -> None:
        """Replaces each of `tensors` by its mean over the processes, counts by the first's."""
        if self.count == 1:
            return
        numbers = list(tensors)
        for one in numbers:
            if not one.is_floating_point():
                dist.broadcast(one, 0)
        floats = [one for one in numbers if one.is_floating_point()]
        self.added(floats)
        for one in floats:
            one.div_(self.count)

    def wait(self) -> None:
        """For the others."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def processes(device: str) -> Iterator[tuple[Processes, str]]:
    """This process among those of `torchrun`, and the device that is its own.

    Raises UsageError where every process would take one GPU.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(), device
        return
    here = Processes(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_RANK", "0")))
    kind = torch.device(device).type
    if kind == "cuda" and ":" in device:
        hint = "with torchrun every process takes the GPU of its own number: --device auto"
        raise UsageError(f"--device {device} for {count} processes", hint=hint)
    own = f"cuda:{here.local}" if kind == "cuda" else device
    if kind == "cuda":
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield here, own
    finally:
        dist.destroy_process_group()


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type together, up to a bound."""
    bucket: list[Tensor] = []
    for one in tensors:
        if bucket and (one.dtype != bucket[0].dtype or sum(b.numel() for b in bucket) + one.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(one)
    if bucket:
        yield bucket
