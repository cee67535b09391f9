"""Groups of seeds side by side: one thread each, on the cores that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

import torch

MEDIUM, LARGE = 1_000_000, 10_000_000  # weights of one seed
FEW = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stopped(Exception):
    """Raised by a worker that was told to stop; the caller never sees it."""


def cores(parameters: int, device: str | torch.device) -> int:
    """How many groups to train at once: one per core if networks are small, on the CPU; otherwise one."""
    small = torch.device(device).type == "cpu" and parameters < LARGE
    return torch.get_num_threads() if small else 1


@contextmanager
def threads(parameters: int, groups: int, device: str | torch.device) -> Iterator[None]:
    """The number of threads that each of the `groups` has.

    Operations of a small network take microseconds, and threads that wait for each other at the end of each are many
    times slower as soon as anything else runs on the machine: one, and so where every core has a group. A few for a
    single network of some size, all for a large one.
    """
    before = torch.get_num_threads()
    if torch.device(device).type == "cpu" and parameters < LARGE:
        torch.set_num_threads(min(before, FEW) if groups == 1 and parameters >= MEDIUM else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def each(function: Callable[[Item, Event], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """`function(item, stop)` of every item, in order, by `workers` threads.

    The first error is raised, and Ctrl-C likewise; `stop` is set then, whereupon the others are to raise `Stopped`.
    """
    stop = Event()
    if workers == 1 or len(items) < 2:
        return [function(item, stop) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(function, item, stop) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
