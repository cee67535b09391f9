"""How long an epoch of `gcn` on 2000 x 96 x 16 joints takes, against the floor of its operations.

The floor: the multiply-adds of all matrix products and convolutions of a step, forward and backward, as one plain
product of two square matrices does them on the same thread. Steps and plain products are timed in turns in one run, in
processor seconds, so the ratio holds on a machine that does other things too. An epoch is 2000 / batch of the steps
that were timed.

    python benchmarks/gcn.py --out benchmarks/results/gcn-NAME.json [--quick] [--device cuda]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import write
from torch.utils.flop_counter import FlopCounterMode

from aqa.heads import FeatureSet, Ragged, make_head
from aqa.heads.batches import Scaling, Train
from aqa.heads.together import Together
from aqa.heads.torch_head import Step, rows_for, seen_by, spec_of
from aqa.heads.training import Draws, by_rate, make_optimiser

SAMPLES, FRAMES, JOINTS = 2000, 96, 16
SQUARE = 1024  # rows of the plain product: 1.07e9 multiply-adds


def poses(samples: int) -> FeatureSet:
    draw = np.random.default_rng(0)
    values = draw.normal(200, 30, (samples * FRAMES, JOINTS, 3)).astype(np.float32)
    values[..., 2] = 1
    stream = Ragged(values, np.arange(samples + 1) * FRAMES)
    return FeatureSet(
        tuple(f"v{i}" for i in range(samples)), {"x": stream}, draw.uniform(0, 100, samples), (0.0, 100.0)
    )


def update(head: Any, device: str) -> Callable[[], None]:
    """One update of one seed, as the training loop makes it."""
    data = poses(head.batch)
    spec = spec_of(head, seen_by(head, data, ["x"]))
    train = Train(rows_for(head, spec, Scaling({}, {}), data, device, torch.float32))
    nets, draws = Together(head, spec, [0], device, torch.float32), Draws([0], train.rows.score)
    optimiser = make_optimiser(head, by_rate(head, nets))

    def step() -> None:
        noise = draws.noise(nets.asked(train, head.batch, Step(0, 0)))
        nets.gradients(train, [draws.order(head.batch)], noise, Step(0, 0))
        optimiser.step()

    return step


def clocked(work: Callable[[], Any], device: str) -> float:
    """Seconds: of the processor, or on a GPU by the clock."""
    now = time.process_time if device == "cpu" else time.perf_counter
    started = now()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return now() - started


def measure(encoder: str, hidden: int, rounds: int, device: str) -> dict[str, Any]:
    head: Any = make_head("gcn", {"encoder": encoder, "hidden": str(hidden)})
    step, square = update(head, device), torch.randn(SQUARE, SQUARE, device=device)
    with FlopCounterMode(display=False) as counter:
        step()
    operations = counter.get_total_flops() / 2
    repeat = max(1, round(operations / SQUARE**3))
    times: dict[str, list[float]] = {"step": [], "plain": []}
    for k in range(rounds + 1):
        seconds = clocked(step, device), clocked(lambda: [square @ square for _ in range(repeat)], device)
        if k:  # the first calls allocate
            times["step"].append(seconds[0])
            times["plain"].append(seconds[1] * operations / (repeat * SQUARE**3))
    ratios = [step / plain for step, plain in zip(times["step"], times["plain"], strict=True)]
    updates = SAMPLES / head.batch
    return {
        "encoder": encoder,
        "hidden": hidden,
        "multiply_adds_per_epoch": round(operations * updates),
        "seconds_per_epoch": round(statistics.median(times["step"]) * updates, 1),
        "floor_seconds_per_epoch": round(statistics.median(times["plain"]) * updates, 1),
        "times_the_floor": round(statistics.median(ratios), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="two steps instead of ten")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 2 if options.quick else 10
    settings = (("hierarchical", 64), ("hierarchical", 16), ("st", 64), ("st", 16))
    rows = [measure(encoder, hidden, rounds, options.device) for encoder, hidden in settings]
    shape = {"samples": SAMPLES, "frames": FRAMES, "joints": JOINTS, "device": options.device, "threads": 1}
    write({"benchmark": "gcn", **shape, "encoders": rows}, options.out)


if __name__ == "__main__":
    main()
