"""Frames per second of the pose extraction against the bare network on tensors that are there already; goal: 0.9.

    python benchmarks/pose.py --out OUT.json [--videos FOLDER] [--backbone pose.random] [--weights FILE] [--device auto]

Both see the same frames in batches of the same size, since what is in a frame decides how many boxes are looked at.
The engine's time has decoding, resizing, copies and the choice of persons in it. On the CPU, where decoding takes
processors from the network, the ratio of processor seconds is the fair one; on a GPU that of time on the clock.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from machine import write

from aqa.catalog.base import Media
from aqa.extract import Done, Job, choose, extract, parse_plan, resources
from aqa.extract.backbones import Resolved, resolve
from aqa.extract.decode import probe, read_frames
from aqa.extract.engine import batch_of
from aqa.extract.pixels import to_frames, to_input
from aqa.extract.precision import DTYPES, prepare
from extract import make_videos, measured


def pose_job(resolved: Resolved) -> Job:
    return Job(resolved.name, resolved.net, resolved.pixels, parse_plan("dense:1:1"), finish=resolved.finish)


def beginnings(videos: Sequence[Path], frames: int) -> list[tuple[str, Media]]:
    """The first frames of each video, or all of a shorter one."""
    return [(video.name, Media(video, 0, min(frames, probe(Media(video)).frames))) for video in videos]


def resident(samples: Sequence[tuple[str, Media]], job: Job, device: str, batch: int) -> list[torch.Tensor]:
    """The network's input for all frames of the samples, in batches, the last one padded as the engine does."""
    chunks = (c for _, media in samples for c in read_frames(media, np.arange(media.start, media.stop or 0)))
    whole = torch.cat([to_frames(tuple(map(torch.from_numpy, c.planes)), c.layout, job.pixels) for c in chunks])
    padded = torch.cat([whole, whole.new_zeros(-len(whole) % batch, *whole.shape[1:])])
    return [to_input(part[:, None].to(device), job.pixels, DTYPES["fp32"]) for part in padded.split(batch)]


@torch.inference_mode()
def compare(samples: Sequence[tuple[str, Media]], job: Job, device: str, batch: int | None) -> dict[str, object]:
    batch = batch or batch_of(job, device)
    done: list[Done] = []
    list(extract(samples[:1], [job], device=device, batch=batch))  # what is made once: workers' imports, kernels
    engine = measured(
        lambda: done.extend(r for r in extract(samples, [job], device=device, batch=batch) if isinstance(r, Done))
    )
    net, inputs = prepare(job.module, "fp32", device), resident(samples, job, device, batch)
    torch.set_num_threads(resources(device).threads)
    net(inputs[0])
    bare = measured(lambda: [net(x) for x in inputs])
    frames = sum(len(one.features) for one in done)
    return {
        "frames": frames,
        "failed": len(samples) - len(done),
        "batch": batch,
        "seconds": {"engine": asdict(engine), "bare": asdict(bare)},
        "frames_per_second": {"engine": frames / engine.clock, "bare": frames / bare.clock},
        "bare_over_engine": {"clock": bare.clock / engine.clock, "processors": bare.cores / engine.cores},
        "decoded": sum(one.decoded for one in done),
        "notes": {one.id: dict(one.notes["pose"]) for one in done},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("out", "videos"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--backbone", default="pose.random")
    parser.add_argument("--weights")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--frames", type=int, default=24, help="of each video, from its start")
    parser.add_argument("--batch", type=int)
    args = parser.parse_args()
    choice, resolved = choose(args.device, "fp32"), resolve(args.backbone, args.weights)
    print(choice.reason, file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        paths = sorted(args.videos.iterdir()) if args.videos else make_videos(Path(folder), 4)
        result = compare(beginnings(paths, args.frames), pose_job(resolved), choice.device, args.batch)
    gpu = torch.cuda.get_device_name() if choice.device.startswith("cuda") else None
    write({"benchmark": "pose", "backbone": resolved.name, "choice": asdict(choice), "gpu": gpu, **result}, args.out)


if __name__ == "__main__":
    main()
