"""Fine-tuning on this machine: device, precision, processes, signals; job after job."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from ..cache.files import clean
from ..errors import UsageError
from ..extract.precision import choose, cores
from ..finetune.clip_cache import ClipCache
from ..finetune.loop import Interrupted
from ..finetune.network import Computing, Precision
from ..finetune.processes import processes
from ..finetune.tuning import Machine
from .console import Console
from .finetuning import TunedJob, tune_job
from .fitting import run_row
from .verb import Terminated

GIGABYTE = 10**9
CLIPS = 4  # whose activations are there at once when they are recomputed


@contextmanager
def on_machine(
    device: str,
    precision: str,
    *,
    batch: str,
    recompute: bool,
    compiled: bool,
    workers: int | None,
    cache: Path,
    gigabytes: float,
) -> Iterator[Machine]:
    """The machine as asked for, among the processes that torchrun started.

    Raises BadParameter and UsageError for what is not there.
    """
    choice = choose(device, "auto" if precision == "fp16" else precision)
    on_gpu = torch.device(choice.device).type == "cuda"
    if precision == "fp16" and not on_gpu:
        raise UsageError("--precision fp16 is for GPUs", hint="bf16 or fp32")
    how: Precision = "fp16" if precision == "fp16" else choice.precision
    if precision == "auto" and not on_gpu:
        how = "fp32"  # torch 2.15 gives NaN now and then for gradients of 3D convolutions in bf16 on processors
    if batch not in ("all", "auto") and not (batch.isdigit() and int(batch) > 0):
        raise UsageError(f"--batch {batch}", hint="a number of samples, all or auto")
    with processes(choice.device) as (among, own):
        spare = max(1, cores() // among.count - 1)
        kept = ClipCache(cache / "decoded-frames", int(gigabytes * GIGABYTE)) if gigabytes else None
        yield Machine(
            Computing(torch.device(own), how, at_once=CLIPS if recompute else 0, recompute=recompute),
            among,
            micro=int(batch) if batch.isdigit() else 0,
            workers=spare if workers is None else workers,
            cache=kept,
            compiled=compiled,
            automatic=batch == "auto",
        )


def tune_all(
    jobs: Sequence[TunedJob], machine: Machine, console: Console, *, keep: int, tensorboard: bool
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row of `--json` per run, and what could not be read: sample -> why.

    Raises Terminated or KeyboardInterrupt after a checkpoint, when the process is told to stop.
    """
    rows, failed = [], {}
    if machine.among.count > 1 and any(job.recipe.norms == "train" for job in jobs):
        console.warn(
            "norms = train: every process normalises its own part of a batch, and the statistics are averaged, so the "
            "numbers depend on how many processes there are"
        )
    if machine.cache is not None and machine.among.first:
        _look_at(machine.cache, console)
    with _told() as told:
        for job in jobs:
            for seed in job.seeds:
                try:
                    run, bad = tune_job(
                        job, machine, seed, console, keep=keep, tensorboard=tensorboard, stopping=lambda: bool(told)
                    )
                except Interrupted as stop:
                    raise (KeyboardInterrupt if signal.SIGINT in told else Terminated) from stop
                rows.append(run_row(run.info, run.folder))
                failed |= bad
    return rows, failed


def _look_at(cache: ClipCache, console: Console) -> None:
    """Sweeps what killed processes left, and says when there is no room."""
    clean(cache.folder)
    used = cache.used()
    if used > 0.9 * cache.limit:
        text = f"{cache.folder} holds {used / GIGABYTE:.1f} of {cache.limit / GIGABYTE:.1f} GB (--clip-cache)"
        console.warn(f"{text}: what does not fit is decoded every time. If it is of other trainings, remove it")


@contextmanager
def _told() -> Iterator[list[int]]:
    """Signals to stop that have come in. The first is heeded after the update in hand, a second one at once."""
    told: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield told
        return

    def hear(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if told:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated
        told.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
