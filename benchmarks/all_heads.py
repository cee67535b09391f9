"""`aqa fit --head all --seeds 5` on 1412 videos x 10 clips x 1024: how long it takes in all, and which heads take it.

    python benchmarks/all_heads.py [--seeds 5] [--head dae --head core] [--out benchmarks/results/all-heads-NAME.json]

Heads that learn by gradient are fitted for one epoch and for three: the time of an epoch is half of what three take
longer than one, and the whole is that as often as the head's own number of epochs says, and what is beside it. All
others are fitted whole. Made features: a score that
the clips tell, seven judges, five classes and captions of ten words, so that every head has what it needs.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import write

from aqa.heads import HEADS, FeatureSet, fit_head, make_head, out_of_fold, training, unmet
from aqa.heads.folds import INNER
from aqa.heads.torch_head import TorchHead
from heads import synthetic


def labelled(data: FeatureSet) -> FeatureSet:
    draw, n = np.random.default_rng(1), len(data)
    return replace(
        data,
        judges=np.round((data.score / data.difficulty / 3)[:, None] + draw.normal(0, 0.4, (n, 7)), 1).clip(0, 10),
        kind=tuple(f"{d:.1f}" for d in data.difficulty),
        event=tuple(f"e{i % 18}" for i in range(n)),
        attributes={f"a{k}": np.arange(n) % k for k in (3, 2, 4, 10, 8)},
        caption=tuple(" ".join(f"w{k}" for k in draw.integers(0, 500, 10)) for _ in range(n)),
    )


def seconds(head: Any, train: FeatureSet, val: FeatureSet, test: FeatureSet, seeds: int) -> float:
    """Of fitting all seeds and judging what `aqa fit` has judged."""
    started, chosen = time.perf_counter(), range(seeds if head.needs.seeded else 1)
    if head.needs.validates:
        fitted = fit_head(head, train, val, seeds=chosen)
    else:
        fitted = fit_head(head, train, None, seeds=chosen)
        out_of_fold(head, train, folds=np.arange(len(train)) % INNER, seeds=chosen)  # for the intervals
    for one in fitted:
        one.predict(test)
    return time.perf_counter() - started


def measured(name: str, parts: tuple[FeatureSet, FeatureSet, FeatureSet], seeds: int) -> dict[str, Any]:
    head = make_head(name)
    if not isinstance(head, TorchHead):
        return {"head": name, "seconds": round(seconds(head, *parts, seeds), 1)}
    few = tuple(part.take(np.arange(32)) for part in parts)
    seconds(replace(head, epochs=1), *few, seeds)  # the first calls import and allocate
    one, three = (seconds(replace(head, epochs=epochs), *parts, seeds) for epochs in (1, 3))
    epoch = (three - one) / 2
    return {
        "head": name,
        "seconds": round(one + epoch * (head.epochs - 1), 1),
        "epochs": head.epochs,
        "seconds_per_epoch_of_all_seeds": round(epoch, 2),
        "seconds_beside_the_epochs": round(one - epoch, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--head", action="append", choices=HEADS, help="may be given several times [all]")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    training.RECORD = 1  # a whole fit is long enough to be recorded, so a short one is recorded too
    data = labelled(synthetic(1412, 10, 1024))
    train, test = data.take(np.arange(1059)), data.take(np.arange(1059, 1412))
    rest, held = train.take(np.arange(900)), train.take(np.arange(900, 1059))  # 15% choose the epoch
    rows = []
    for name in options.head or HEADS:
        head = make_head(name)
        if lacks := unmet(head, train):
            print(f"{name} left out: {'; '.join(lacks)}", file=sys.stderr)
            continue
        parts = (rest, held, test) if head.needs.validates else (train, held, test)
        rows.append(measured(name, parts, options.seeds))
        print(rows[-1], file=sys.stderr, flush=True)
    rows.sort(key=lambda row: -row["seconds"])
    total = round(sum(row["seconds"] for row in rows))
    setting = {"samples": 1412, "clips": 10, "width": 1024, "seeds": options.seeds, "threads": torch.get_num_threads()}
    write({"benchmark": "all_heads", **setting, "seconds": total, "heads": rows}, options.out)


if __name__ == "__main__":
    main()
