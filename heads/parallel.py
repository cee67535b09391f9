"""Groups of seeds side by side: one thread each, on the cores that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

import torch

ONE_THREAD = 10_000_000  # weights of one seed

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stopped(Exception):
    """Raised by a worker that was told to stop; the caller never sees it."""


@contextmanager
def cores(parameters: int, device: str | torch.device) -> Iterator[int]:
    """How many groups to train at once; inside, each has one thread.

    Operations of a small network take microseconds, and threads that wait for each other at the end of each are many
    times slower as soon as anything else runs on the machine. So on the CPU a core gets a group of its own. Large
    networks (from `ONE_THREAD` weights) and GPUs get one group at a time.
    """
    threads = torch.get_num_threads()
    small = torch.device(device).type == "cpu" and parameters < ONE_THREAD
    torch.set_num_threads(1 if small else threads)
    try:
        yield threads if small else 1
    finally:
        torch.set_num_threads(threads)


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
