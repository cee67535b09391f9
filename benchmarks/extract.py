"""How near `aqa extract` comes to its floor, and how far it is from the loop that one would write: ratios of one run.

    python benchmarks/extract.py --out OUT.json [--videos FOLDER] [--backbone c3d.random] [--device auto]

On the CPU processor seconds are compared, of this process and its children: floor = the bare forward in its best form
on tensors that are there already, plus single-threaded decoding that throws the frames away. On a GPU it is time on the
clock: clips per second over the slower of the bare forward and of decoding alone with as many processes.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as functional
from machine import write

from aqa.catalog.base import Media
from aqa.extract import Done, Job, choose, extract, parse_plan, resources
from aqa.extract.backbones import resolve
from aqa.extract.decode import Wanted
from aqa.extract.pixels import resized, to_input
from aqa.extract.precision import DTYPES, prepare
from aqa.extract.workers import decode


@dataclass(frozen=True)
class Cost:
    """Seconds of all processors together, and on the clock."""

    cores: float
    clock: float


def measured(work: Callable[[], object]) -> Cost:
    def used() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(r.ru_utime + r.ru_stime for r in both)

    cores, clock = used(), time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Cost(used() - cores, time.perf_counter() - clock)


def make_videos(folder: Path, count: int) -> list[Path]:
    """H.264 of 320 x 240 and 103 frames with noise that moves, so that decoding has something to do."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    paths = [folder / f"{i}.mp4" for i in range(count)]
    for path in paths:
        with av.open(str(path), "w") as file:
            stream = file.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "26"})
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            for i in range(103):
                view = np.ascontiguousarray(texture[i : i + 240, 2 * i : 2 * i + 320])
                file.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
            file.mux(stream.encode(None))
    return paths


def whole_command(folder: Path, samples: Sequence[tuple[str, Media]], backbone: str, plan: str, device: str) -> None:
    """`aqa extract` as a user starts it: imports, weights, files and packing included."""
    with (folder / "samples.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "media", "score"))
        rows.writerows((name, media.path.resolve(), 1.0) for name, media in samples)
    words = ["extract", "csv", "--root", folder, "--cache", folder / "cache", "--backbone", backbone, "--plan", plan]
    subprocess.run([sys.executable, "-m", "aqa", *words, "--device", device, "--quiet"], check=True)


def bare_forward(job: Job, device: str, batch: int, clips: int) -> Callable[[], None]:
    net = prepare(job.module, job.precision, device)
    shape = (batch, job.plan.length, *job.pixels.crop, 3)
    seed = torch.Generator().manual_seed(0)
    uint8 = torch.randint(0, 256, shape, dtype=torch.uint8, generator=seed).to(device)
    x = to_input(uint8, job.pixels, DTYPES[job.precision])

    @torch.inference_mode()
    def forward() -> None:
        for _ in range(-(-clips // batch)):
            net(x)

    with torch.inference_mode():
        net(x)
    return forward


def bare_decoding(samples: Sequence[tuple[str, Media]]) -> None:
    for _, media in samples:
        with av.open(str(media.path)) as file:
            stream = file.streams.video[0]
            stream.codec_context.thread_count = 1
            for i, _ in enumerate(file.decode(stream)):
                if i == 102:
                    break


@torch.inference_mode()
def plain_loop(samples: Sequence[tuple[str, Media]], job: Job, device: str) -> None:
    """PyAV to RGB arrays, fp32, one clip at a time."""
    net = job.module.to(device)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (job.pixels.mean, job.pixels.std))
    for _, media in samples:
        frames = []
        with av.open(str(media.path)) as file:
            for frame in file.decode(video=0):
                image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1).float()[None]
                size = resized(job.pixels, *image.shape[2:])
                image = functional.interpolate(image, size, mode="bilinear", antialias=True)[0]
                top, left = ((have - want) // 2 for have, want in zip(size, job.pixels.crop, strict=True))
                crop = image[:, top : top + job.pixels.crop[0], left : left + job.pixels.crop[1]]
                frames.append((crop / 255 * job.pixels.scale - mean) / std)
        for clip in job.plan.indexes(len(frames)):
            net(torch.stack([frames[i] for i in clip], dim=1)[None].to(device)).cpu()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--videos", type=Path, help="folder of videos; made if not given")
    parser.add_argument("--count", type=int, default=60, help="videos to extract; those of the folder again and again")
    parser.add_argument("--backbone", default="c3d.random")
    parser.add_argument("--plan", default="10x16@103")
    for name in ("device", "precision"):
        parser.add_argument(f"--{name}", default="auto")
    for name in ("workers", "threads", "batch"):
        parser.add_argument(f"--{name}", type=int)
    args = parser.parse_args()

    choice = choose(args.device, args.precision)
    asked = {name: getattr(args, name) for name in ("workers", "threads", "batch")}
    used = resources(choice.device, **asked, precision=choice.precision)
    found = resolve(args.backbone)
    job = Job(found.name, found.net, found.pixels, parse_plan(args.plan), choice.precision)
    print(f"{choice.reason}\n{used}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        paths = sorted(args.videos.iterdir()) if args.videos else make_videos(Path(folder), 4)
        samples = [(f"{i}", Media(paths[i % len(paths)])) for i in range(args.count)]
        command = measured(lambda: whole_command(Path(folder), samples, args.backbone, args.plan, args.device))
        result = run(samples, job, choice.device, asdict(used), command)
    result |= {
        "backbone": found.name,
        "plan": args.plan,
        "videos": [path.name for path in paths] if args.videos else "made: 320x240 h264, 103 frames",
        "choice": asdict(choice),
        "resources": asdict(used),
        "gpu": torch.cuda.get_device_name() if choice.device.startswith("cuda") else None,
    }
    write(result, args.out)


def run(
    samples: Sequence[tuple[str, Media]], job: Job, device: str, used: dict[str, int], command: Cost
) -> dict[str, object]:
    torch.set_num_threads(used["threads"])
    done: list[Done] = []
    costs = {
        "command": command,
        "engine": measured(
            lambda: done.extend(r for r in extract(samples, [job], device=device, **used) if isinstance(r, Done))
        ),
    }
    clips = sum(len(r.features) for r in done)
    share = -(-clips // 4)
    tried = {b: measured(bare_forward(job, device, b, share)) for b in sorted({1, 2, 4, used["batch"]})}
    batch, best = min(tried.items(), key=lambda item: item[1].cores if device == "cpu" else item[1].clock)
    costs["forward"] = Cost(*(x * clips / (-(-share // batch) * batch) for x in (best.cores, best.clock)))
    costs["decoding"] = measured(lambda: bare_decoding(samples))
    few = samples[: max(1, len(samples) // 8)]
    costs["loop"] = measured(lambda: plain_loop(few, job, device))
    loop = len(samples) / len(few)
    result: dict[str, object] = {
        "clips": clips,
        "best_forward_batch": batch,
        "frames_decoded": sum(r.decoded for r in done),
        "failed": len(samples) - len(done),
        "seconds": {name: asdict(cost) for name, cost in costs.items()},
        "loop_videos": len(few),
    }
    if torch.device(device).type == "cpu":
        floor = costs["forward"].cores + costs["decoding"].cores
        for name in ("command", "engine"):
            result[f"floor_over_{name}"] = floor / costs[name].cores
            result[f"loop_over_{name}"] = loop * costs["loop"].cores / costs[name].cores
        return result
    wanted = {job.name: Wanted(job.plan)}
    media = [m for _, m in samples]
    costs["decoding_alone"] = measured(lambda: [None for _ in decode(media, wanted, workers=used["workers"])])
    floor = max(costs["forward"].clock, costs["decoding_alone"].clock)
    result["seconds"] = {name: asdict(cost) for name, cost in costs.items()}
    for name in ("command", "engine"):
        result[f"floor_over_{name}"] = floor / costs[name].clock
        result[f"loop_over_{name}"] = loop * costs["loop"].clock / costs[name].clock
    return result


if __name__ == "__main__":
    main()
