"""How fast the loop of `aqa finetune` is: samples per second against updates on clips that are on the device already,
and against the plain loop of the released codes (fp32, every frame a PIL image, resized one by one, no worker).

    python benchmarks/finetune.py --out benchmarks/results/finetune-NAME.json [--quick] [--device cuda]

Ratios of one run count: the three loops take turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from machine import write
from torch import nn
from torchvision.transforms import functional as pictures

from aqa.catalog.base import Media
from aqa.extract.backbones import resolve
from aqa.extract.plan import parse_plan
from aqa.finetune.clip_cache import ClipCache
from aqa.finetune.live import live
from aqa.finetune.network import Computing
from aqa.finetune.recipe import Recipe
from aqa.finetune.tuning import Machine, prepare
from aqa.heads import FeatureSet, make_head
from aqa.heads.torch_head import Step

SIZE = (320, 240)  # of the films


def film(path: Path, frames: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "g": "25"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        ground = draw.integers(0, 200, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        for i in range(frames):
            picture = np.roll(ground, 3 * i, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def films(folder: Path, count: int, frames: int) -> tuple[FeatureSet, dict[str, Media]]:
    ids = tuple(f"film{k:03d}" for k in range(count))
    for k, name in enumerate(ids):
        film(folder / f"{name}.mp4", frames, k)
    scores = np.random.default_rng(0).uniform(0, 100, count)
    return FeatureSet(ids, {}, scores, (0.0, 100.0)), {name: Media(folder / f"{name}.mp4") for name in ids}


def synchronised(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_bytes(work: Callable[[], None]) -> int:
    """Most bytes on the GPU at once."""
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated()


def timed(work: Callable[[], None], device: torch.device) -> float:
    synchronised(device)
    started = time.perf_counter()
    work()
    synchronised(device)
    return time.perf_counter() - started


def plain_loop(
    net: nn.Module, head: nn.Module, data: FeatureSet, media: dict[str, Media], plan: Any, pixels: Any, batch: int
) -> Callable[[], None]:
    """As the released codes do it: read every frame, make it a PIL image, resize and crop it alone, stack, fp32."""
    device = next(net.parameters()).device
    optimiser = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=1e-4)

    def clips_of(one: Media) -> torch.Tensor:
        with av.open(str(one.path)) as container:
            frames = [frame.to_image() for frame in container.decode(video=0)]
        made = []
        for frame in frames:
            small = pictures.center_crop(pictures.resize(frame, list(pixels.resize)), list(pixels.crop))
            made.append(pictures.normalize(pictures.to_tensor(small), [0.45] * 3, [0.22] * 3))
        return torch.stack(made)[torch.from_numpy(plan.indexes(len(made)))].transpose(1, 2)

    def epoch() -> None:
        order = torch.randperm(len(data.ids)).tolist()
        for i in range(0, len(order), batch):
            rows = order[i : i + batch]
            clips = torch.stack([clips_of(media[data.ids[k]]) for k in rows]).to(device)
            features = net(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]).mean(dim=1)
            wrong = head(features)[:, 0] - torch.from_numpy(data.score[rows]).float().to(device) / 100
            optimiser.zero_grad()
            wrong.square().mean().backward()
            optimiser.step()

    return epoch


def measure(
    spec: str, plan: str, count: int, batch: int, precision: Any, device: torch.device, workers: int, rounds: int
) -> dict[str, Any]:
    stream = live(resolve(spec), parse_plan(plan))
    frames, on_gpu = max(stream.plan.window or 0, 32), device.type == "cuda"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data, media = films(folder, count, frames)
        head: Any = make_head("mlp", {"batch": str(batch), "epochs": "2", "scale": "none", "select": "last"})
        how = Computing(device, precision)
        machine = Machine(how, workers=workers, cache=ClipCache(folder / "frames", 10**11))
        recipe = Recipe("mlp", (spec,), flip=0.5, crop="random")

        def seconds(name: str, kept: Machine) -> float:
            """Of the last of two epochs: workers are up, and frames that are to be cached are."""
            place = folder / name
            made, _ = prepare(head, recipe, [stream], data, None, media, kept, seed=0, folder=place, digest="")
            made.run()
            return made.progress.history[-1]["seconds"]

        made, _ = prepare(head, recipe, [stream], data, None, media, machine, seed=0, folder=folder / "x", digest="")
        asks = made.asks(torch.arange(batch), None, 0)
        resident = next(iter(made.loader(asks)))
        on_device = resident._replace(
            streams={name: x.to(device) for name, x in resident.streams.items()},
            zeros={name: x.to(device) for name, x in resident.zeros.items()},
        )

        def floor() -> None:
            for _ in range(-(-count // batch)):
                made.update(batch, asks, iter([on_device]), Step(0, 0))

        baseline = plain_loop(
            resolve(spec).net.requires_grad_(True).to(device),
            nn.Linear(stream.shape[0], 1).to(device),
            data,
            media,
            stream.plan,
            replace(stream.resolved.pixels),
            batch,
        )
        floor()  # allocates
        times: dict[str, list[float]] = {"resident": [], "decoding": [], "cached frames": [], "plain": []}
        for k in range(rounds):
            times["resident"].append(timed(floor, device))
            times["cached frames"].append(seconds(f"cached-{k}", machine))
            times["decoding"].append(seconds(f"decoding-{k}", replace(machine, cache=None)))
            times["plain"].append(timed(baseline, device))
        peak = {name: peak_bytes(work) for name, work in (("loop", floor), ("plain", baseline))} if on_gpu else None
    middle = {name: statistics.median(found) for name, found in times.items()}
    return {
        "backbone": spec, "plan": plan, "samples": count, "batch": batch, "precision": precision,
        "samples_per_second": {name: round(count / seconds, 2) for name, seconds in middle.items()},
        "of_resident": {name: round(middle["resident"] / middle[name], 3) for name in ("cached frames", "decoding")},
        "of_plain": {name: round(middle["plain"] / middle[name], 2) for name in ("cached frames", "decoding")},
        "peak_bytes": peak,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda":
        cases = [("c3d.random:pool5", "6x16@103", 48, 3, p) for p in ("fp32", "bf16")] + [
            ("i3d.random", "10x16@103", 32, 2, "bf16")
        ]
    else:
        cases = [("c3d_small.random", "4x16@64", 8 if options.quick else 32, 4, "fp32")]
    workers = options.workers if options.workers is not None else (8 if device.type == "cuda" else 1)
    rows = [measure(*case, device, workers, 1 if options.quick else 3) for case in cases]
    write({"benchmark": "finetune", "device": str(device), "workers": workers, "cases": rows}, options.out)


if __name__ == "__main__":
    main()
