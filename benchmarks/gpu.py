"""What needs a GPU to be known: `make gpu` runs it, and the files that it writes belong into the repository.

Equality of features and poses on the CPU and on the GPU, then the benchmarks of extraction, poses, heads, `gcn` and
fine-tuning on the GPU. For equality networks have the weights that torchvision publishes, which are downloaded, and
see the first frames of the real clips in $AQA_SHARED/data/clips, where these can be had; else random weights and made
videos. Exits with 1 when features differ by more than the tolerance or clips cannot be read, and with 2 where torch
sees no GPU.

    python benchmarks/gpu.py [--quick [--device cpu]]

`--quick` tries everything on little and writes no files; on the CPU it shows that this file still runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from machine import write
from pose import beginnings, pose_job

from aqa.catalog.base import Media
from aqa.catalog.demo import make
from aqa.errors import BadParameter, WeightsError
from aqa.extract import Done, Failed, Job, extract, parse_plan
from aqa.extract.backbones import Resolved, resolve

HERE = Path(__file__).parent
TOLERANCE = {"fp32": 1e-4, "bf16": 0.02}  # of the norm: one level of the resize (fp32), the precision itself (bf16)
NETWORKS = ("c3d", "i3d", "r3d_18", "swin3d_t", "resnet18", "regnet_y_400mf")
VIDEOS = 4
FRAMES, POSE_FRAMES = 64, 24  # of each clip; the CPU takes half a second for a pose
POSE_PIXELS, POSE_SHARE = 2.0, 0.95  # joints that are that near on CPU and GPU are the same; the share that must be

Samples = Sequence[tuple[str, Media]]


@dataclass(frozen=True)
class Where:
    """`results`: folder of the files, None where none are written; `name` of the device, as it stands in theirs."""

    device: str
    name: str
    quick: bool
    results: Path | None

    def out(self, what: str) -> Path | None:
        return None if self.results is None else self.results / f"{what}-{self.name}.json"


@cache
def published(arch: str) -> Resolved:
    """With torchvision's weights, else with random ones, and then it is said why."""
    try:
        return resolve(arch, "torchvision")
    except (BadParameter, WeightsError) as error:
        print(f"{arch} with random weights: {error}", file=sys.stderr)
        return resolve(arch)


def features(device: str, precision: str, network: str, samples: Samples) -> dict[str, np.ndarray]:
    """id -> features [T, D] of the samples. Raises the error of one that cannot be read."""
    resolved = published(network)
    plan = parse_plan(resolved.backbone.plan or "dense:16:16")
    job = Job(network, resolved.net, resolved.pixels, plan, precision=precision)  # pyright: ignore
    found = {}
    for event in extract(samples, [job], device=device):
        if isinstance(event, Failed):
            raise event.error
        found[event.id] = event.features
    return found


def compare_features(samples: Samples, where: Where) -> bool:
    """Whether all networks give on the device what they give on the CPU in fp32."""
    rows = []
    for network in NETWORKS[: 1 if where.quick else None]:
        exact = features("cpu", "fp32", network, samples)
        for precision, tolerance in TOLERANCE.items():
            found = features(where.device, precision, network, samples)
            worst = max(float(np.linalg.norm(found[i] - exact[i]) / np.linalg.norm(exact[i])) for i in exact)
            row = {"network": published(network).name, "precision": precision}
            rows.append({**row, "relative": worst, "tolerance": tolerance})
    write({"benchmark": "cpu-gpu-equality", "samples": [i for i, _ in samples], "rows": rows}, where.out("equality"))
    return all(row["relative"] <= row["tolerance"] for row in rows)


def poses(device: str, samples: Samples) -> dict[str, Done | Failed]:
    return {event.id: event for event in extract(samples, [pose_job(published("pose"))], device=device)}


def compare_poses(samples: Samples, where: Where) -> bool:
    """Whether most joints lie on the device where they lie on the CPU, and all samples are read."""
    exact, found = poses("cpu", samples), poses(where.device, samples)
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
    result = {"benchmark": "pose-cpu-gpu", "backbone": published("pose").name, "rows": rows}
    write(result, where.out("pose-equality"))
    return agree


def run(name: str, what: str, where: Where, *words: object) -> None:
    """Another benchmark on the device, in a process of its own."""
    out = where.out(what)
    command = [sys.executable, HERE / f"{name}.py", "--device", where.device, *words, *(["--out", out] if out else [])]
    print(f"== {name}", flush=True)
    subprocess.run([str(word) for word in command], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here; run this where it does", file=sys.stderr)
        return 2
    quick = options.quick
    name = torch.cuda.get_device_name().lower().replace(" ", "-") if options.device == "cuda" else options.device
    where = Where(options.device, name, quick, None if quick else HERE / "results")
    clips = Path(os.environ.get("AQA_SHARED", HERE.parent.parent / "shared")) / "data" / "clips"
    with tempfile.TemporaryDirectory() as folder:
        real = sorted(clips.iterdir()) if clips.is_dir() else []
        videos = (real or sorted((make(Path(folder)) / "videos").glob("*.mp4"))[:VIDEOS])[: 2 if quick else None]
        alike = compare_features(beginnings(videos[:VIDEOS], 16 if quick else FRAMES), where)
        posed = compare_poses(beginnings(videos, 2 if quick else POSE_FRAMES), where)
    network = published("pose")
    words = ["--backbone", network.name, "--frames", 2 if quick else POSE_FRAMES]
    words += [] if network.weights.tag == "random" else ["--weights", "torchvision"]
    run("pose", "pose", where, *words, *(["--videos", clips] if real and not quick else []))
    for arch in ("c3d",) if quick else ("c3d", "i3d"):
        run("extract", f"extract-{arch}", where, "--backbone", f"{arch}.random", "--count", 2 if quick else 400)
    run("heads", "heads", where, *(["--quick", "--heads", "dae"] if quick else ["--sweep"]))
    for room in ("gcn", "finetune"):
        run(room, room, where, *(["--quick"] if quick else []))
    return int(not (alike and posed))


if __name__ == "__main__":
    sys.exit(main())
