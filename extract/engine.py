"""Clip features of many samples by one or several networks: each frame decoded once, each batch full.

Clips of different samples share batches of one fixed shape (the last is padded), so the bytes of a sample's features
do not depend on the order of the samples, nor on what else is extracted with them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from ..catalog.base import Media
from ..errors import AqaError, BadParameter
from .assembly import Part, View, first_frames
from .backbones.base import Finish, Pixels
from .decode import Begin, End, Wanted
from .frames import Chunk
from .pixels import check_pixels, to_input
from .plan import ClipPlan
from .precision import DTYPES, Precision, compare, cores, prepare, require_close
from .workers import MEMORY, decode

Log = Callable[[str], None]

CHECKED = 2  # clips on which bf16 is compared with fp32


@dataclass(frozen=True)
class Job:
    """One stream of features: `module` takes [B, C, T, H, W] and gives [B, *shape]. `shape` None: not checked.

    With `rows` that is [B, T, *row], and each frame of a clip becomes a row of the stream. `finish` makes what is given
    out of all that the network gives for a sample.
    """

    name: str
    module: nn.Module
    pixels: Pixels
    plan: ClipPlan
    precision: Precision = "fp32"
    shape: tuple[int, ...] | None = None
    finish: Finish | None = None
    rows: bool = False


@dataclass(frozen=True)
class Done:
    """Features float32 [T, *shape] of one sample by one job; [T, *kept] if it has a `finish`, whose `notes` these are.

    T counts clips, of a job with `rows` their frames, clip after clip. `starts` int64 [T]: the first frame of each,
    counted from the sample's first, -1 if it is one of zeros. `times`
    float64 [T]: its time in seconds on the video's clock, NaN for images. `decoded` and `used` count the frames of the
    sample for all jobs together.
    """

    id: str
    job: str
    features: np.ndarray
    starts: np.ndarray
    times: np.ndarray
    decoded: int
    used: int
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """No features for this sample by any job. `error` names the file and the sample."""

    id: str
    error: AqaError


@dataclass(frozen=True)
class Resources:
    """`workers`: decoding processes, 0 to decode in this one; `threads` of torch; clips per `batch`."""

    workers: int
    threads: int
    batch: int

    def __str__(self) -> str:
        where = f"{self.workers} decoding process{'es' * (self.workers != 1)}" if self.workers else "decoding in line"
        return f"{where}, {self.threads} torch threads, batches of {self.batch} clips"


def resources(
    device: str,
    *,
    workers: int | None = None,
    threads: int | None = None,
    batch: int | None = None,
    precision: str = "fp32",
) -> Resources:
    """What is not given is chosen. On the CPU the networks take all cores, and a decoder per four runs beside them: it
    needs a tenth of the time and waits for the rest. On a GPU all cores but one decode. On two cores a batch of 1 was
    the best in bf16 (C3D 12% faster than with 2) and one of 2 in fp32 (C3D 35% faster than with 1), over C3D, I3D,
    R3D-18 and Swin3D-T taken together: larger ones fall out of the processor's cache.

    Raises BadParameter for numbers that are too small.
    """
    on_cpu, n = torch.device(device).type == "cpu", cores()
    most = min(torch.get_num_threads(), n)  # OMP_NUM_THREADS is heeded
    chosen = Resources(
        workers=workers if workers is not None else max(1, n // 4 if on_cpu else n - 1),
        threads=threads if threads is not None else (most if on_cpu else min(most, 4)),
        batch=batch if batch is not None else _clips_at_once(device, precision),
    )
    if chosen.workers < 0 or chosen.threads < 1 or chosen.batch < 1:
        raise BadParameter(f"{chosen}: workers is at least 0, threads and batch at least 1", field="workers")
    return chosen


def _clips_at_once(device: str, precision: str) -> int:
    return 32 if torch.device(device).type != "cpu" else 1 if precision == "bf16" else 2


def batch_of(job: Job, device: str) -> int:
    """Clips per batch where the user does not say; for networks that give a row per frame as many as have the pixels of
    that many clips of 16 x 112 x 112. It depends on nothing but the job, so that others do not change its bytes."""
    clips, (height, width), length = _clips_at_once(device, job.precision), job.pixels.crop, job.plan.length
    return max(1, round(clips * 16 * 112 * 112 / (length * height * width))) if length == 1 or job.rows else clips


def extract(
    samples: Sequence[tuple[str, Media]],
    jobs: Sequence[Job],
    *,
    device: str = "cpu",
    workers: int | None = None,
    threads: int | None = None,
    batch: int | None = None,
    timeout: float = 300.0,
    memory: int = MEMORY,
    log: Log | None = None,
) -> Iterator[Done | Failed]:
    """A `Done` per sample and job, or a `Failed` per sample, as they are finished. One bad video stops nothing.

    `device` as `precision.choose` gives it; `workers`, `threads`, `batch` as for `resources`; `timeout` and `memory` as
    for `workers.decode`; `log` is told what was chosen, and how bf16 compares with fp32.

    Raises:
        BadParameter: two jobs of one name, a crop that does not fit.
        TooImprecise: bf16 differs too much from fp32, before anything is given out by that job.
        AqaError: a network that does not give its shape, or workers that cannot be started.
    """
    if len({job.name for job in jobs}) < len(jobs) or not jobs:
        raise BadParameter("jobs need different names, and there must be one", field="jobs")
    for job in jobs:
        check_pixels(job.pixels)
    precision = "bf16" if all(job.precision == "bf16" for job in jobs) else "fp32"
    chosen = resources(device, workers=workers, threads=threads, batch=batch, precision=precision)
    sizes = {job.name: batch or batch_of(job, device) for job in jobs}
    return _run(samples, jobs, torch.device(device), chosen, sizes, timeout, memory, log or (lambda _: None))


def _run(
    samples: Sequence[tuple[str, Media]],
    jobs: Sequence[Job],
    device: torch.device,
    chosen: Resources,
    sizes: Mapping[str, int],
    timeout: float,
    memory: int,
    log: Log,
) -> Iterator[Done | Failed]:
    log(str(chosen))
    threads = torch.get_num_threads()
    torch.set_num_threads(chosen.threads)
    uploader = _Uploader(device)
    networks = {job.name: _Network(job, device, sizes[job.name], log) for job in jobs}
    wanted = {job.name: Wanted(job.plan, job.pixels.channels == "flow") for job in jobs}
    running: dict[int, _Sample] = {}
    media = [m for _, m in samples]
    by_name = {job.name: job for job in jobs}
    try:
        for k, event in decode(media, wanted, workers=chosen.workers, timeout=timeout, memory=memory):
            match event:
                case Begin():
                    running.setdefault(k, _Sample(*samples[k])).begin(event, networks)
                case Chunk():
                    running[k].add(event, uploader(event.planes), networks)
                case End():
                    running[k].end = event
                case AqaError():
                    running.pop(k, None)
                    event.sample = samples[k][0]
                    yield Failed(samples[k][0], event)
            yield from _finished(running, by_name)
        for network in networks.values():
            network.flush()
        yield from _finished(running, by_name)
    finally:
        torch.set_num_threads(threads)


def _finished(running: dict[int, _Sample], jobs: Mapping[str, Job]) -> Iterator[Done | Failed]:
    for k in [k for k, sample in running.items() if sample.finished]:
        yield from running.pop(k).results(jobs)


@dataclass
class _Sample:
    id: str
    media: Media
    parts: dict[str, Part] = field(default_factory=dict)
    views: dict[Pixels, View] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)  # frame -> seconds, for the first frames of clips
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)  # frame -> height and width as shown, likewise
    end: End | None = None

    def begin(self, event: Begin, networks: dict[str, _Network]) -> None:
        self.parts |= {name: Part(clips) for name, clips in event.clips.items()}
        for pixels in {networks[name].job.pixels for name in event.clips}:
            mine = [self.parts[name] for name in event.clips if networks[name].job.pixels == pixels]
            self.views[pixels] = View(pixels, mine, event.start)

    def add(self, chunk: Chunk, planes: Sequence[torch.Tensor], networks: dict[str, _Network]) -> None:
        flow = chunk.layout.kind == "flow"
        if not flow:
            numbers = (chunk.numbers - self.media.start).tolist()
            self.times |= zip(numbers, chunk.times.tolist(), strict=True)
            self.sizes |= dict.fromkeys(numbers, chunk.layout.shown)
        by_part = {id(part): networks[name] for name, part in self.parts.items()}
        for pixels, view in self.views.items():
            if (pixels.channels == "flow") == flow:
                for part, t, clip, zeros in view.add(chunk, planes):
                    by_part[id(part)].add(part, t, clip, zeros)

    @property
    def finished(self) -> bool:
        return self.end is not None and all(part.left == 0 for part in self.parts.values())

    def results(self, jobs: Mapping[str, Job]) -> Iterator[Done | Failed]:
        assert self.end is not None
        for name, part in self.parts.items():
            assert part.features is not None
            if not np.isfinite(part.features).all():
                hint = "check the weights, or extract with --precision fp32"
                where = {"file": self.media.path, "sample": self.id, "field": name}
                yield Failed(self.id, AqaError("the network gives features that are not finite", **where, hint=hint))
                return
        for name, part in self.parts.items():
            job = jobs[name]
            starts = first_frames(part.clips, job.rows)
            times = np.array([self.times.get(int(start), math.nan) for start in starts])
            assert part.features is not None
            features, notes = part.features, {}
            if job.rows:
                features = features.reshape(len(starts), *features.shape[2:])
            if job.finish is not None:
                sizes = np.array([self.sizes.get(int(start), (0, 0)) for start in starts])
                features, notes = job.finish(features, sizes)
            yield Done(self.id, name, features, starts, times, self.end.decoded, self.end.used, notes)


class _Network:
    """A job's module on the device, and the batch that is being filled."""

    def __init__(self, job: Job, device: torch.device, batch: int, log: Log) -> None:
        self.job = job
        self._device, self._log = device, log
        self._module = prepare(job.module, job.precision, str(device))
        height, width = job.pixels.crop
        channels = 2 if job.pixels.channels == "flow" else 3
        shape = (batch, job.plan.length, height, width, channels)
        self._clips = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._owners: list[tuple[Part, int, np.ndarray]] = []
        self._computed: deque[tuple[list[tuple[Part, int, np.ndarray]], torch.Tensor]] = deque()
        self._compared = job.precision == "fp32"

    def add(self, part: Part, t: int, clip: torch.Tensor, zeros: np.ndarray) -> None:
        self._clips[len(self._owners)] = clip
        self._owners.append((part, t, zeros))
        if len(self._owners) == len(self._clips):
            self._compute()
            # A GPU works while the next batch is put together: the one before is taken from it.
            self._deliver(keep=1 if self._device.type == "cuda" else 0)

    def flush(self) -> None:
        """Computes what is left, in a batch of full shape."""
        if self._owners:
            self._clips[len(self._owners) :] = 0
            self._compute()
        self._deliver(keep=0)

    @torch.inference_mode()
    def _compute(self) -> None:
        features = self._forward(self._module, self._clips, self.job.precision)
        shape = tuple(features.shape[1:])
        if self.job.shape is not None and shape != self.job.shape:
            raise AqaError(f"the network gives features of shape {shape}, not {self.job.shape}", field=self.job.name)
        if not self._compared:
            n = min(CHECKED, len(self._owners))
            exact = self._forward(prepare(self.job.module, "fp32", str(self._device)), self._clips[:n], "fp32")
            deviation = compare(exact.cpu().numpy(), features[:n].cpu().numpy())
            require_close(deviation, self.job.name)
            self._log(f"{self.job.name}: {deviation}")
            self._compared = True
        self._computed.append((self._owners, features))
        self._owners = []

    def _forward(self, module: nn.Module, clips: torch.Tensor, precision: Precision) -> torch.Tensor:
        x = to_input(clips, self.job.pixels, DTYPES[precision])
        for i, (_, _, zeros) in enumerate(self._owners[: len(clips)]):
            if zeros.any():
                x[i, :, torch.from_numpy(zeros).to(x.device)] = 0
        if self._device.type != "cuda":
            return module(x).float()
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            return module(x).float()

    def _deliver(self, keep: int) -> None:
        while len(self._computed) > keep:
            owners, features = self._computed.popleft()
            for (part, t, _), feature in zip(owners, features.cpu().numpy(), strict=False):
                part.put(t, feature)


class _Uploader:
    """Planes from memory that is soon written again to where frames are resized: a GPU, else the CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, planes: Sequence[np.ndarray]) -> list[torch.Tensor]:
        here = [torch.from_numpy(plane) for plane in planes]
        if self._stream is None:
            return here
        # Beside the stream that computes, so that waiting for the copy is not waiting for the network.
        with torch.cuda.stream(self._stream):
            there = [plane.to(self._device, non_blocking=True) for plane in here]
        self._stream.synchronize()
        for plane in there:
            plane.record_stream(torch.cuda.current_stream(self._device))
        return there
