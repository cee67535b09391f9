"""Decoding in worker processes: a decoder that dies or hangs costs one video and nothing else.

Frames come home through memory that a worker shares with the parent: two slots a worker, so that it fills one while
the other is worked on (12 MB through a pipe cost 21 ms of processor time, through shared memory 1.5). A worker that
has filled both waits: that is the bounded queue.

Workers import no torch. They are started by "spawn": on all systems alike, and a forked torch may hang.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import product
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..catalog.base import Media
from ..errors import AqaError, VideoError
from .decode import Begin, End, Wanted, read_clips
from .frames import CHUNK_BYTES, Chunk
from .video import out_of_memory

Event = Begin | Chunk | End | VideoError

SLOTS = 2
AHEAD = 2  # samples given to a worker at a time
MEMORY = 4 * 2**30  # bytes that a worker may use for decoding


def decode(
    samples: Sequence[Media],
    wanted: Mapping[str, Wanted],
    *,
    workers: int,
    timeout: float = 300.0,
    memory: int = MEMORY,
) -> Iterator[tuple[int, Event]]:
    """Pairs (place in `samples`, event). Per sample the events of `read_clips` in order, or a VideoError last; the
    events of several samples are mixed.

    The planes of a chunk are valid until the next pair is asked for. `workers` 0 decodes in this process. `timeout`:
    seconds in which a worker must give the next chunk, else it is killed. `memory`: bytes that it may use more than at
    its start (not on macOS and Windows).

    Raises AqaError if worker processes cannot be started.
    """
    if workers == 0:
        for k, media in enumerate(samples):
            for event in _events(media, wanted):
                yield k, event
        return
    pool = [_Worker(wanted, memory) for _ in range(min(workers, len(samples)))]
    pending = deque(range(len(samples)))
    try:
        while pending or any(w.tasks for w in pool):
            for depth, worker in product(range(AHEAD), pool):
                if pending and len(worker.tasks) == depth:
                    k = pending.popleft()
                    worker.give(k, samples[k])
            ready = wait([w.connection for w in pool], timeout=1.0)
            for worker in pool:
                try:
                    if worker.connection in ready:
                        k, event = worker.receive()
                        if event is not None:
                            yield k, event
                            worker.received(event)
                            if isinstance(event, VideoError) and event.field == "memory":
                                pending.extendleft(reversed(worker.tasks))
                                worker.restart()
                    else:
                        worker.check(timeout)
                except _Lost as lost:
                    if worker.tasks:
                        first, *rest = worker.tasks
                        pending.extendleft(reversed(rest))
                        hint = "the other videos are not affected"
                        yield first, VideoError(str(lost), file=samples[first].path, hint=hint)
                    worker.restart()
    finally:
        for worker in pool:
            worker.stop()


def _events(media: Media, wanted: Mapping[str, Wanted], **options: Any) -> Iterator[Event]:
    try:
        yield from read_clips(media, wanted, **options)
    except VideoError as error:
        yield error
    except MemoryError:
        yield out_of_memory(media.path)
    except Exception as error:  # noqa: BLE001  (whatever a file makes a decoder do, the other files go on)
        yield VideoError(f"decoding fails with {type(error).__name__}: {error}", file=media.path)


class _Lost(Exception):
    """A worker is dead, or as good as dead."""


class _Worker:
    """A process, its pipe and its slots; `tasks` are the places of the samples that it has, the current one first."""

    def __init__(self, wanted: Mapping[str, Wanted], memory: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        try:
            self._shared = self._context.RawArray("B", SLOTS * CHUNK_BYTES)
        except OSError as error:
            hint = "free some memory or space for temporary files, or decode in one process with workers=0"
            raise AqaError(f"a decoding process cannot be given its memory: {error}", hint=hint) from error
        self._slots = np.frombuffer(self._shared, np.uint8).reshape(SLOTS, CHUNK_BYTES)
        self._job = (wanted, memory)
        self.tasks: deque[int] = deque()
        self._start()

    def _start(self) -> None:
        self.connection, theirs = self._context.Pipe()
        args = (theirs, self._shared, *self._job)
        self._process = self._context.Process(target=_serve, args=args, daemon=True)
        with _starting():
            self._process.start()
        theirs.close()
        self._held = 0  # chunks sent that are still in use here
        self._up = False
        self._heard = time.monotonic()

    def give(self, k: int, media: Media) -> None:
        if not self.tasks:
            self._heard = time.monotonic()
        self.tasks.append(k)
        with suppress(OSError):  # it has died, which is met when it is read
            self.connection.send((k, media))

    def receive(self) -> tuple[int, Event | None]:
        """Raises _Lost if the process is dead."""
        try:
            k, event, where = self.connection.recv()
        except (EOFError, OSError) as error:
            raise _Lost(self._how_it_died()) from error
        self._heard = time.monotonic()
        self._up = True
        if isinstance(event, Chunk):
            self._held += 1
            if where is not None:
                planes = event.layout.planes(self._slots[where], event.capacity)
                event = replace(event, planes=tuple(p[: len(event.numbers)] for p in planes))
        return k, event

    def received(self, event: Event) -> None:
        """The event has been worked on."""
        if isinstance(event, Chunk):
            self._held -= 1
            with suppress(OSError):
                self.connection.send(None)
        elif isinstance(event, End | VideoError):
            self.tasks.popleft()
        self._heard = time.monotonic()

    def _how_it_died(self) -> str:
        self._process.join(5)
        code = self._process.exitcode
        if not self._up:
            hint = "decode in this process with workers=0"
            raise AqaError(f"a decoding process cannot be started (exit code {code})", hint=hint)
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        return f"the decoder died over it ({how})"

    def check(self, timeout: float) -> None:
        """Raises _Lost if the worker has something to do, and has not been heard of for too long."""
        late = self.tasks and self._held < SLOTS and time.monotonic() - self._heard > timeout
        if late and not self.connection.poll():
            raise _Lost(f"the decoder gave no frame in {timeout:g} s")

    def restart(self) -> None:
        self.stop()
        self.tasks.clear()
        self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self.connection.close()


@contextmanager
def _starting() -> Iterator[None]:
    """A process that is started meanwhile neither imports the caller's script nor hears Ctrl-C.

    The script may import torch (seconds and hundreds of MB per worker) or lack `if __name__ == "__main__"`, and workers
    need nothing of it. Ctrl-C reaches the parent, which ends its workers.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    masks = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else None
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(home: Connection, shared: Any, wanted: Mapping[str, Wanted], memory: int) -> None:
    """The life of a worker: samples come in, events go out, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(memory)
    slots = np.frombuffer(shared, np.uint8).reshape(SLOTS, CHUNK_BYTES)
    todo: deque[tuple[int, Media]] = deque()
    free = SLOTS
    turn = 0

    def hear() -> None:
        nonlocal free
        message = home.recv()
        if message is None:
            free += 1
        else:
            todo.append(message)

    def room() -> np.ndarray:
        while not free:
            hear()
        return slots[turn]

    with suppress(EOFError, OSError):  # the parent is gone
        home.send((-1, None, None))
        while True:
            while not todo:
                hear()
            k, media = todo.popleft()
            for event in _events(media, wanted, room=room):
                if not isinstance(event, Chunk):
                    home.send((k, event, None))
                    continue
                inside = np.shares_memory(event.planes[0], slots[turn])
                planes = () if inside else event.planes  # too large for a slot: through the pipe
                while not free:
                    hear()
                home.send((k, replace(event, planes=planes), turn if inside else None))
                free -= 1
                turn = (turn + 1) % SLOTS


def _limit_memory(more: int) -> None:
    """Lets this process take `more` bytes than it has now, where the system can say how many these are."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return
    import resource

    now = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = now + more if hard == resource.RLIM_INFINITY else min(now + more, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
