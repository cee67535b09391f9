"""What a fitted head of several streams owes to each: the test samples judged again with one stream that is not theirs.

    python benchmarks/swapped.py FOLDER --cache DIR

FOLDER holds the seeds of one head (`fold-0`). A stream is exchanged for that of another test sample, poses for noise
too. Nothing is fitted, and the train samples that a head compares with keep their own. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from aqa.cache.stores import select_store
from aqa.heads import FeatureSet, Ragged, load_head
from aqa.heads.selection import spearman
from aqa.pipelines.feature_set import feature_set, read_streams


def exchanged(data: FeatureSet) -> dict[str, FeatureSet]:
    """what was done -> `data` with one stream of others."""
    rng = np.random.default_rng(0)
    order, found = rng.permutation(len(data)), {"as it is": data}
    for name, stream in data.streams.items():
        found[f"`{name}` of another dive"] = replace(data, streams={**data.streams, name: stream.take(order)})
        if len(stream.shape) == 2:
            low, high = stream.values.min(axis=(0, 1)), stream.values.max(axis=(0, 1))
            noise = Ragged(rng.uniform(low, high, stream.values.shape).astype(np.float32), stream.offsets)
            found[f"`{name}` noise"] = replace(data, streams={**data.streams, name: noise})
    return found


def table(folder: Path, cache: Path) -> str:
    """Spearman and the change of the score by what was exchanged, the mean over the seeds in `folder`."""
    seeds = sorted(folder.glob("seed-*"))
    info = json.loads((seeds[0] / "run.json").read_text(encoding="utf-8"))
    stores = [select_store(cache, info["dataset"], name) for name in info["features"]]
    dataset = stores[0].dataset
    test = list(dataset.protocol(info["protocol"]).folds[info["fold"]].test)
    whole = feature_set(dataset, read_streams(stores, test), test, dataset.target(info["target"]), tuple(info["range"]))
    heads = [load_head(path.parent) for seed in seeds for path in seed.rglob("head.json")]
    lines = ["| test samples judged with | Spearman | mean change | largest change |", "|---|---:|---:|---:|"]
    own: list[np.ndarray] = []
    for what, data in exchanged(whole).items():
        said = [head.predict(data).score for head in heads]
        own = own or said
        change = np.abs(np.array(said) - np.array(own))
        rho = spearman(np.array(said), whole.score).mean()
        lines.append(f"| {what} | {rho:.3f} | {change.mean():.2g} | {change.max():.2g} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    print(table(options.folder, options.cache))


if __name__ == "__main__":
    main()
