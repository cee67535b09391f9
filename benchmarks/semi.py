"""Which weights the semi-supervised heads work with, chosen inside train: what their defaults rest on.

    python benchmarks/semi.py demo c3d --cache DIR [--labelled 0.1 --labelled 0.3] [--folds 4] [--out FILE]

Test is never read. Train is divided into folds, subject by subject; of the others a share has labels, drawn anew for
every fold, and the head is judged on the fold: mean Spearman, beside that of `s4aqa-supervised`. All have hidden=128.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from machine import write

from aqa.catalog.protocols import label_subset
from aqa.heads import FeatureSet, make_head
from aqa.heads.folds import inner_folds, splits
from aqa.leaderboard.metrics import spearman
from aqa.pipelines.console import Console
from aqa.pipelines.jobs import plan_jobs
from aqa.pipelines.settings import place

GRID: dict[str, list[dict[str, Any]]] = {
    "s4aqa-supervised": [{}],
    "s4aqa": [
        {"recovery": 0.0, "alignment": 0.0},
        *({"recovery": r, "alignment": 0.1} for r in (0.0, 0.1, 0.3, 1.0, 40.0)),
        *({"recovery": 0.3, "alignment": a} for a in (0.0, 0.01, 0.3, 1.0)),
    ],
    "pseudo-label": [{"weight": w, "noise_sd": n} for w in (0.1, 1.0) for n in (0.1, 0.3)],
    "mean-teacher": [
        *({"weight": w, "noise_sd": 0.3} for w in (0.1, 1.0, 10.0)),
        *({"weight": 1.0, "noise_sd": n} for n in (0.1, 1.0)),
    ],
    "vat": [
        *({"weight": 0.1, "radius": r} for r in (0.03, 0.1)),
        *({"weight": 1.0, "radius": r} for r in (0.03, 0.1, 0.3)),
    ],
}


def train_of(dataset: str, features: str, cache: Path) -> FeatureSet:
    """The train part of the first fold; the others are of no use here."""
    where = place(dataset, cache=cache)
    (job, *_) = plan_jobs(
        where,
        heads=["ridge"],
        features=features,
        settings=[],
        target=None,
        group=None,
        seeds=[0],
        held_out=0.0,
        allow_missing=False,
        device="cpu",
        console=Console(quiet=True),
    )
    return job.subset(job.fold.train)


def tried(train: FeatureSet, name: str, settings: dict[str, Any], share: float, folds: np.ndarray) -> list[float]:
    """Spearman of every fold, with as many labels as `share` of the other folds have."""
    out = []
    for k, (rest, held) in enumerate(splits(folds)):
        known = set(label_subset([train.ids[i] for i in rest], share, seed=k))
        order = sorted(rest, key=lambda i: train.ids[i] not in known)
        head = make_head(name, {"hidden": 128, **settings})
        part = train.take(order if head.needs.unlabelled else order[: len(known)])
        part = part.without_labels(np.arange(len(part)) >= len(known))
        (fitted,) = head.fit(part, None, seeds=[k], device="cpu")
        test = train.take(held)
        out.append(spearman(test.score, fitted.predict(test).score) or 0.0)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("features")
    parser.add_argument("--cache", type=Path, default=Path("aqa-cache"))
    parser.add_argument("--labelled", type=float, action="append", help="may be given several times [.1 and .3]")
    parser.add_argument("--head", action="append", choices=GRID, help="may be given several times [all]")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--out", type=Path, help="write the figures there too, as JSON")
    options = parser.parse_args()
    train = train_of(options.dataset, options.features, options.cache)
    folds = inner_folds(train, options.folds)
    rows = []
    for share in options.labelled or (0.1, 0.3):
        for name in options.head or GRID:
            for settings in GRID[name]:
                each = tried(train, name, settings, share, folds)
                row = {"head": name, **settings, "labelled": share, "spearman": float(np.mean(each)), "folds": each}
                print(share, name, settings, f"{np.mean(each):.3f}", file=sys.stderr, flush=True)
                rows.append(row)
    write({"dataset": options.dataset, "features": options.features, "rows": rows}, options.out)


if __name__ == "__main__":
    main()
