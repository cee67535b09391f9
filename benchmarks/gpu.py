"""What needs a GPU to be known: `make gpu` runs it, and the files that it writes belong into the repository.

Equality of features on the CPU and on the GPU, then the extraction and fitting benchmarks on the GPU. Poses are made
with torchvision's weights, which are downloaded, of the first frames of the real clips in $AQA_SHARED/data/clips, where
both can be had; with random weights and of made videos else. Exits with 1 when features differ by more than the
tolerance or clips cannot be read, and with 2 where torch sees no GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from machine import write

from aqa.catalog.base import Media
from aqa.catalog.demo import make
from aqa.errors import WeightsError
from aqa.extract import Done, Failed, Job, extract, parse_plan
from aqa.extract.backbones import resolve

HERE = Path(__file__).parent
TOLERANCE = {"fp32": 1e-4, "bf16": 0.02}  # of the norm: one level of the resize (fp32), the precision itself (bf16)
NETWORKS = ("c3d", "i3d", "r3d_18", "swin3d_t", "resnet18", "regnet_y_400mf")
VIDEOS = 4
POSE_FRAMES = 24  # of each clip: the CPU takes half a second for one
POSE_PIXELS, POSE_SHARE = 2.0, 0.95  # joints that are that near on CPU and GPU are the same; the share that must be


def features(device: str, precision: str, network: str, videos: list[Path]) -> dict[str, np.ndarray]:
    """id -> features [T, D] of the videos."""
    resolved = resolve(network)
    plan = parse_plan(resolved.backbone.plan or "dense:16:16")
    job = Job(network, resolved.net, resolved.pixels, plan, precision=precision)  # pyright: ignore
    events = extract([(video.stem, Media(video)) for video in videos], [job], device=device)
    return {event.id: event.features for event in events if isinstance(event, Done)}


def poses(device: str, spec: str, weights: str | None, clips: list[Path]) -> dict[str, Done | Failed]:
    resolved = resolve(spec, weights)
    job = Job(spec, resolved.net, resolved.pixels, parse_plan("dense:1:1"), finish=resolved.finish)
    samples = [(clip.name, Media(clip, 0, POSE_FRAMES)) for clip in clips]
    return {event.id: event for event in extract(samples, [job], device=device)}


def compare_poses(videos: list[Path], results: Path, name: str) -> bool:
    """Poses of the real clips on CPU and GPU, and their frames per second. True if they agree and all are read."""
    folder = Path(os.environ.get("AQA_SHARED", HERE.parent.parent / "shared")) / "data" / "clips"
    clips = sorted(folder.iterdir()) if folder.is_dir() else videos
    weights: str | None = "torchvision"
    try:
        resolve("pose.coco", weights)
    except WeightsError as error:
        print(f"poses with random weights: {error}", file=sys.stderr)
        weights = None
    spec = "pose.coco" if weights else "pose.random"
    exact, found = poses("cpu", spec, weights, clips), poses("cuda", spec, weights, clips)
    rows, agree = [], True
    for clip, one in found.items():
        cpu = exact[clip]
        if isinstance(one, Failed) or isinstance(cpu, Failed):
            rows.append({"clip": clip, "error": str(getattr(one, "error", None) or getattr(cpu, "error", None))})
            agree = False
            continue
        off = np.linalg.norm(one.features[..., :2] - cpu.features[..., :2], axis=-1)
        share = float((off <= POSE_PIXELS).mean())
        rows.append({"clip": clip, "share_alike": share, "worst_pixels": float(off.max()), **one.notes["pose"]})
        agree &= share >= POSE_SHARE
    write({"benchmark": "pose-cpu-gpu", "backbone": spec, "rows": rows}, results / f"pose-equality-{name}.json")
    command = [HERE / "pose.py", "--device", "cuda", "--backbone", spec, "--frames", str(POSE_FRAMES)]
    command += ["--weights", weights] if weights else []
    command += ["--videos", folder] if folder.is_dir() else []
    subprocess.run([sys.executable, *command, "--out", results / f"pose-{name}.json"], check=True)
    return agree


def main() -> int:
    if not torch.cuda.is_available():
        print("torch sees no GPU here; run this where it does", file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name().lower().replace(" ", "-")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        videos = sorted((make(Path(folder)) / "videos").glob("*.mp4"))[:VIDEOS]
        for network in NETWORKS:
            exact = features("cpu", "fp32", network, videos)
            for precision, tolerance in TOLERANCE.items():
                found = features("cuda", precision, network, videos)
                worst = max(
                    float(np.linalg.norm(found[i] - exact[i]) / np.linalg.norm(exact[i])) for i in exact
                )  # the whole sample
                rows.append({"network": network, "precision": precision, "relative": worst, "tolerance": tolerance})
        results = HERE / "results"
        alike = compare_poses(videos, results, name)
    write({"benchmark": "cpu-gpu-equality", "rows": rows}, results / f"equality-{name}.json")
    for network in ("c3d.random", "i3d.random"):
        out = results / f"extract-{network.split('.')[0]}-{name}.json"
        command = [HERE / "extract.py", "--device", "cuda", "--backbone", network, "--count", "400", "--out", out]
        subprocess.run([sys.executable, *command], check=True)
    command = [HERE / "heads.py", "--device", "cuda", "--sweep", "--out", results / f"heads-{name}.json"]
    subprocess.run([sys.executable, *command], check=True)
    return int(not alike or any(row["relative"] > row["tolerance"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
