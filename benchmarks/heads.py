"""How long training takes: `dae`, `core`, `gdlt` on 1059 videos x 10 clips x 1024, against a plain loop; and `mtl`.

The plain loop is what one would write: the module in its published form (grouped convolutions for the tree of `core`,
`nn.Transformer` layers for `gdlt`), a DataLoader over the same tensors, stock Adam, one seed after the other. All are
timed in turns in one run, so the ratios hold on a machine that does other things too; the seconds do not.

    python benchmarks/heads.py --out benchmarks/results/heads-NAME.json [--quick] [--device cuda] [--sweep]

Nothing trains faster than its floor: Adam's pass over weights, gradients and moments, and the matrix products of
forward and backward. `where_the_time_goes` has both, in microseconds of a step, beside what is left.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import write
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from aqa.heads import FeatureSet, Ragged, make_head
from aqa.heads.core import leaf_boundaries
from aqa.heads.training import RECORD, fit

SIZES = {"dae": (8, 1e-4, 1e-5), "core": (4, 1e-4, 1e-5), "gdlt": (4, 1e-4, 1e-5)}  # batch, lr, weight decay: as ours
EPOCHS = {"dae": 20, "core": 4, "gdlt": 4}  # of a timed fit
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


def synthetic(samples: int, clips: int, width: int) -> FeatureSet:
    """Features with a score in them, execution times difficulty, like MTL-AQA in shape."""
    draw = np.random.default_rng(0)
    quality, difficulty = draw.normal(size=samples), draw.choice(np.arange(15, 42), samples) / 10
    features = draw.normal(size=(samples, clips, width)) + quality[:, None, None] * draw.normal(size=width) / 4
    return FeatureSet(
        ids=tuple(f"v{i}" for i in range(samples)),
        streams={"x": Ragged(features.reshape(-1, width).astype(np.float32), np.arange(samples + 1) * clips)},
        score=np.clip(21 + 4 * quality, 0, 30) * difficulty,
        range=(0.0, 123.0),
        times_difficulty=True,
        difficulty=difficulty,
    )


class PlainDae(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU())
        self.mu, self.logvar = nn.Linear(128, 1), nn.Linear(128, 1)

    def loss(self, clips: Tensor, target: Tensor) -> Tensor:
        h = self.encoder(clips.mean(1))
        mu, logvar = self.mu(h).squeeze(1), self.logvar(h).squeeze(1)
        return (0.5 * (mu - target) ** 2 / logvar.exp() + 0.5 * logvar).mean()


class PlainCore(nn.Module):
    """The tree as grouped 1x1 convolutions, and the loss leaf by leaf."""

    def __init__(self, width: int, bounds: Tensor) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(2 * width + 1, 256), nn.ReLU())
        self.split = nn.ModuleList(nn.Conv1d(256 * 2**d, 2 * 2**d, 1, groups=2**d) for d in range(4))
        self.down = nn.ModuleList(nn.Conv1d(256 * 2**d, 512 * 2**d, 1, groups=2**d) for d in range(4))
        self.leaf = nn.Conv1d(256 * 16, 16, 1, groups=16)
        self.edges = torch.cat([-bounds.flip(0), bounds[1:]])

    def forward(self, first: Tensor, second: Tensor, mark: Tensor) -> tuple[Tensor, Tensor]:
        h = self.first(torch.cat([first, second, mark[:, None] / 30], 1))[:, :, None]
        logs = torch.zeros(len(h), 1, device=h.device)
        for split, down in zip(self.split, self.down, strict=True):
            choice = split(h).reshape(len(h), -1, 2).log_softmax(2)
            logs = (logs[:, :, None] + choice).reshape(len(h), -1)
            h = down(h).relu()
        return logs, self.leaf(h).squeeze(2)

    def loss(self, query: Tensor, mark: Tensor, other: Tensor, known: Tensor) -> Tensor:
        query, other = query.mean(1), other.mean(1)
        total = torch.zeros((), device=query.device)
        pairs = ((other, query, known, mark - known), (query, other, mark, known - mark))
        for first, second, given, delta in pairs:
            logs, position = self(first, second, given)
            leaf = torch.bucketize(delta, self.edges[1:-1], right=True)
            total = total + nn.functional.nll_loss(logs, leaf)
            for k in range(16):
                inside = leaf == k
                if inside.any():
                    target = (delta[inside] - self.edges[k]) / (self.edges[k + 1] - self.edges[k])
                    total = total + nn.functional.mse_loss(position[inside, k], target)
        return total


class Pairs(Dataset):
    """A sample and a random other one of the same difficulty, as the released data sets read them."""

    def __init__(self, clips: Tensor, mark: Tensor, difficulty: np.ndarray) -> None:
        self.clips, self.mark = clips, mark
        self.mates = [np.flatnonzero(difficulty == d) for d in difficulty]
        self.draw = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.mark)

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        other = int(self.draw.choice(self.mates[i]))
        return self.clips[i], self.mark[i], self.clips[other], self.mark[other]


class PlainGdlt(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(width, 512), nn.Linear(512, 256)
        self.norm_one, self.norm_two = nn.BatchNorm1d(512), nn.BatchNorm1d(256)
        encoder = nn.TransformerEncoderLayer(256, 1, 768, 0.0, batch_first=True)
        decoder = nn.TransformerDecoderLayer(256, 1, 768, 0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(encoder, 1, nn.LayerNorm(256), enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, 2, nn.LayerNorm(256))
        self.grades, self.asked = nn.Embedding(4, 256), nn.Linear(256, 4)

    def loss(self, clips: Tensor, score: Tensor, difficulty: Tensor) -> Tensor:
        x = self.norm_one(self.one(clips).transpose(1, 2)).relu().transpose(1, 2)
        x = self.norm_two(self.two(x).transpose(1, 2)).transpose(1, 2)
        q = self.decoder(self.grades.weight.expand(len(x), -1, -1), self.encoder(x))
        s = torch.sigmoid(torch.diagonal(self.asked(q), dim1=1, dim2=2))
        said = (s / s.sum(1, keepdim=True) * torch.linspace(0, 30, 4, device=x.device)).sum(1) * difficulty
        unit = nn.functional.normalize(q.reshape(-1, 256), dim=1)
        distance, grade = 1 - unit @ unit.T, torch.arange(4, device=x.device).repeat(len(x))
        same = grade[:, None] == grade
        far = torch.stack(
            [
                d[m & (torch.arange(len(d), device=x.device) != i)].max()
                for i, (d, m) in enumerate(zip(distance, same, strict=True))
            ]
        )
        near = torch.stack([d[~m].min() for d, m in zip(distance, same, strict=True)])
        return nn.functional.mse_loss(said, score) + (far - near + 1).relu().mean()


def plain_epochs(name: str, data: FeatureSet, clips: int, device: str) -> Iterator[float]:
    """Seconds of one epoch of the plain loop after the other; every batch is brought to the device."""
    x = torch.from_numpy(data.streams["x"].values).reshape(len(data), clips, -1)
    score, difficulty = torch.from_numpy(data.score).float(), torch.from_numpy(data.difficulty).float()
    size, rate, decay = SIZES[name]
    if name == "dae":
        net: Any = PlainDae(x.shape[2])
        pick: Dataset = TensorDataset(x, (score - score.mean()) / score.std())
    elif name == "core":
        marks, groups = data.score / data.difficulty, np.unique(data.difficulty, return_inverse=True)[1]
        net = PlainCore(x.shape[2], torch.from_numpy(leaf_boundaries(marks, groups, 30.0)).float().to(device))
        pick = Pairs(x, score / difficulty, data.difficulty)
    else:
        net = PlainGdlt(x.shape[2])
        pick = TensorDataset(x, score, difficulty)
    net.to(device)
    loader = DataLoader(pick, batch_size=size, shuffle=True)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate, weight_decay=decay)
    while True:
        started = time.perf_counter()
        for batch in loader:
            optimiser.zero_grad()
            loss = net.loss(*(part.to(device) for part in batch))
            loss.backward()
            optimiser.step()
        if device == "cuda":
            torch.cuda.synchronize()
        yield time.perf_counter() - started


def ours(name: str, data: FeatureSet, seeds: int, epochs: int, device: str) -> float:
    """Seconds per epoch and seed of a whole fit: making the networks and the tensors, and recording, are in it."""
    head = make_head(name, {"epochs": str(epochs)})
    started = time.perf_counter()
    fit(head, data, seeds=range(seeds), device=device)
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / seeds / epochs


def where_the_time_goes(name: str, data: FeatureSet) -> dict[str, float]:
    """Microseconds of a recorded step of one seed on the CPU: all of it, and the floor in it: Adam, matrix products."""
    size = SIZES[name][0]
    epochs = -(-RECORD // (len(data) // size))
    head: Any = make_head(name, {"epochs": str(epochs)})
    longer: Any = make_head(name, {"epochs": str(2 * epochs)})
    steps = epochs * -(-len(data) // size)
    times = []
    for one in (head, longer):
        started = time.perf_counter()
        fit(one, data, seeds=[0])
        times.append(time.perf_counter() - started)
    with torch.profiler.profile() as profile:
        fit(head, data, seeds=[0])
    found = {"step": (times[1] - times[0]) * 1e6, "adam": 0.0, "matrix_products": 0.0}
    for event in profile.key_averages():
        if "adam" in event.key and event.key.startswith("aten::"):
            found["adam"] += event.self_cpu_time_total
        elif event.key in PRODUCTS:
            found["matrix_products"] += event.self_cpu_time_total
    return {kind: round(value / steps, 1) for kind, value in found.items()}


def mtl_update(device: str) -> dict[str, float]:
    """Seconds of an update of `mtl` with all its tasks, on 48 dives x 6 clips x 8192 with captions of 100 words."""
    data, draw = synthetic(48, 6, 8192), np.random.default_rng(1)
    words = [f"w{k}" for k in range(5000)]
    labelled = replace(
        data,
        attributes={f"a{k}": np.arange(48) % k for k in (3, 2, 4, 10, 8)},
        caption=tuple(" ".join(draw.choice(words, 98)) for _ in range(48)),
    )
    (one,) = fit(make_head("mtl", {"epochs": "2"}), labelled, seeds=[0], device=device)  # pyright: ignore
    return {"seconds_per_update": round(one.info["seconds"] / 32, 3), "parameters": one.info["parameters"]}


def sweep(device: str, data: FeatureSet) -> dict[str, float]:
    """100 seeds x 5 folds of `dae` for 100 epochs."""
    started, folds = time.perf_counter(), np.arange(len(data)) % 5
    for fold in range(5):
        part = data.take(np.flatnonzero(folds != fold))
        fit(make_head("dae"), part, seeds=range(100), device=device)  # pyright: ignore[reportArgumentType]
    return {"seeds": 100, "folds": 5, "epochs": 100, "seconds": round(time.perf_counter() - started, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="200 videos, 3 seeds, one round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--heads", nargs="+", default=[*SIZES, "mtl"])
    parser.add_argument("--sweep", action="store_true", help="100 seeds x 5 folds of dae as well: an hour on 2 cores")
    options = parser.parse_args()
    samples, seeds, rounds = (200, 3, 1) if options.quick else (1059, 20, 3)
    data, rows = synthetic(samples, 10, 1024), []
    for name in (one for one in options.heads if one in SIZES):
        plain = plain_epochs(name, data, 10, options.device)
        next(plain)  # the first calls import and allocate
        ours(name, data.take(range(100)), 2, 1, options.device)
        times: dict[str, list[float]] = {"plain": [], "one_seed": [], f"{seeds}_seeds": []}
        for _ in range(rounds):
            times["plain"].append(next(plain))
            times["one_seed"].append(ours(name, data, 1, EPOCHS[name], options.device))
            times["plain"].append(next(plain))
            if name == "dae":
                times[f"{seeds}_seeds"].append(ours(name, data, seeds, EPOCHS[name], options.device))
        if name != "dae":
            times[f"{seeds}_seeds"].append(ours(name, data, seeds, EPOCHS[name], options.device))
            times["plain"].append(next(plain))
        seconds = {what: statistics.median(values) for what, values in times.items()}
        row = {
            "head": name,
            "seconds_per_epoch_and_seed": {what: round(value, 4) for what, value in seconds.items()},
            "times_faster_than_plain": {w: round(seconds["plain"] / v, 2) for w, v in seconds.items() if w != "plain"},
        }
        if options.device == "cpu":
            row["where_the_time_goes"] = where_the_time_goes(name, data)
        rows.append(row)
    setting = {
        "samples": samples,
        "clips": 10,
        "width": 1024,
        "device": options.device,
        "threads": torch.get_num_threads(),
    }
    result: dict[str, Any] = {"benchmark": "heads", **setting, "heads": rows}
    if "mtl" in options.heads:
        result["mtl"] = mtl_update(options.device)
    if options.sweep:
        result["sweep"] = sweep(options.device, data)
    write(result, options.out)


if __name__ == "__main__":
    main()
