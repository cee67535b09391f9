"""What needs a GPU to be known: `make gpu` runs it, and the files that it writes belong into the repository.

Equality of features on the CPU and on the GPU, then the extraction and fitting benchmarks on the GPU. Exits with 1 when
features differ by more than the tolerance, and with 2 where torch sees no GPU.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from machine import write

from aqa.catalog.base import Media
from aqa.catalog.demo import make
from aqa.extract import Done, Job, extract, parse_plan
from aqa.extract.backbones import resolve

HERE = Path(__file__).parent
TOLERANCE = {"fp32": 1e-4, "bf16": 0.02}  # of the norm: one level of the resize (fp32), the precision itself (bf16)
NETWORKS = ("c3d", "i3d", "r3d_18", "swin3d_t")
VIDEOS = 4


def features(device: str, precision: str, network: str, videos: list[Path]) -> dict[str, np.ndarray]:
    """id -> features [T, D] of the videos."""
    resolved = resolve(network)
    job = Job(network, resolved.net, resolved.pixels, parse_plan("dense:16:16"), precision=precision)  # pyright: ignore
    events = extract([(video.stem, Media(video)) for video in videos], [job], device=device)
    return {event.id: event.features for event in events if isinstance(event, Done)}


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
    write({"benchmark": "cpu-gpu-equality", "rows": rows}, results / f"equality-{name}.json")
    for network in ("c3d.random", "i3d.random"):
        out = results / f"extract-{network.split('.')[0]}-{name}.json"
        command = [HERE / "extract.py", "--device", "cuda", "--backbone", network, "--count", "400", "--out", out]
        subprocess.run([sys.executable, *command], check=True)
    command = [HERE / "heads.py", "--device", "cuda", "--sweep", "--out", results / f"heads-{name}.json"]
    subprocess.run([sys.executable, *command], check=True)
    return int(any(row["relative"] > row["tolerance"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
