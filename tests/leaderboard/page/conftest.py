"""Made-up runs for the page: what a run can have or lack is a parameter."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aqa.leaderboard import table
from aqa.leaderboard.page.build import to_html
from aqa.leaderboard.runs import Prediction, Run, RunKey, write_run

WriteRun = Callable[..., Run]

HOSTILE = ("</script><b>bold", "$x_1$ & \\frac", "ünï 漢字", "\"double\" 'single'", 'id="a" url(#b) 0.12345 #010101')


def write_made_up(
    root: Path,
    head: str = "ridge",
    *,
    noise: float = 5.0,
    n: int = 40,
    held: int = 30,
    spread: float | None = None,
    constant: bool = False,
    difficulty: bool = True,
    epochs: int = 0,
    groups: Sequence[str] = ("",),
    dataset: str = "set",
    group: str = "",
    of_protocol: Sequence[str] = (),
    kind: str = "score",
    features: tuple[str, ...] = ("c3d",),
    seed: int = 0,
    **info: Any,
) -> Run:
    """Write a run. `noise`: sd of the error on `n` test samples; `held`: samples held out; `groups`: of the samples;
    `group`: of the run, one of those `of_protocol`."""

    def part(name: str, count: int) -> Prediction:
        rng = np.random.default_rng(zlib.crc32(f"{dataset} {group} {name}".encode()))
        truth = rng.normal(60, 15, count) if kind == "score" else rng.integers(0, 2, count).astype(float)
        hard = rng.choice([2.0, 2.8, 3.1, 3.4], count) if difficulty else np.full(count, np.nan)
        who = f"{head} {info.get('changed')} {dataset} {group} {name}"
        error = np.random.default_rng((zlib.crc32(who.encode()), seed)).normal(0, 1, count) * noise
        score = truth + error if kind == "score" else np.clip(0.25 + 0.5 * truth + 0.02 * error, 0, 1)
        ids = tuple(f"{group}{name}-{i:04d}" for i in range(count))
        return Prediction(
            part=name,
            ids=ids,
            truth=truth,
            score=np.full(count, 60.0) if constant else score,
            spread=None if spread is None else np.full(count, spread),
            difficulty=hard,
            group=tuple(groups[i % len(groups)] for i in range(count)),
            subject=("",) * count,
        )

    key = RunKey(dataset, "official", "score", group, features, head, {"changed": info.get("changed")}, 0, seed)
    info = {
        "target_kind": kind,
        "range": [0.0, 104.5] if kind == "score" else [0.0, 1.0],
        "range_source": "rules",
        "average": "fisher",
        "pooled": False,
        "folds": 1,
        "groups": list(of_protocol) or [group],
        "floor": False,
        "seeded": True,
        "flags": [],
        "config": {},
        "changed": {},
        "digest": key.digest,
        "metrics": {"spearman": 0.5},
        "fit_seconds": 0.5 + zlib.crc32(head.encode()) % 100,
        "predict_ms": 0.1,
        "parameters": 10,
        "selected_on": "last",
        **info,
    }
    parts = [part("test", n)] + ([part("oof", held)] if held else [])
    rising = [{"epoch": e, "loss": 9.0 / e**2, "val_spearman": 1 - 1 / e} for e in range(1, epochs + 1)]
    return write_run(root, key, info, parts, rising, lambda folder: None)


@pytest.fixture
def write(tmp_path: Path) -> WriteRun:
    return partial(write_made_up, tmp_path / "runs")


def write_full(write: WriteRun) -> list[Run]:
    """Two data sets; the first has everything that there is a picture of, and hostile names."""
    both = {"groups": ("diving", "vault")}
    runs = [write(name, noise=3.0 + 2 * k, seed=s, **both) for k, name in enumerate(HOSTILE) for s in range(3)]
    runs += [write("dae", noise=4.0, spread=4.0, epochs=12, seed=s, flags=["synthetic"], **both) for s in range(3)]
    runs += [write("knn", noise=12.0, seed=s, **both) for s in range(3)]
    runs += [write("mean", constant=True, floor=True, seeded=False, **both)]
    runs += [write("difficulty", noise=30.0, floor=True, seeded=False, features=(), **both)]
    for name, noise in (("dae", 4.0), ("knn", 9.0)):
        runs += [write(name, dataset="mtl-aqa", noise=noise, seed=s, epochs=3) for s in range(2)]
    return runs


@pytest.fixture
def full_runs(write: WriteRun) -> list[Run]:
    return write_full(write)


def page_of(runs: Iterable[Run], count: int = 200) -> str:
    return to_html(table.sections(runs, count=count))


@pytest.fixture
def page() -> Callable[..., str]:
    return page_of
