from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aqa.leaderboard.runs import Prediction, Run, RunKey, write_run

MakeRun = Callable[..., Run]


def with_phases(run: Run, *, late: int = 0, of: int = 2) -> Run:
    """`run`, which says of every `of`-th test sample that its flight begins `late` frames after it does; 20 to 40 long,
    of every tenth sample it is not known."""
    rows = run.predictions
    begins = [20 + k % 7 for k in range(len(rows))]
    truth = [(st, st + 20 + k % 21) for k, st in enumerate(begins)]
    rows["phases"] = [f"{st + late * (k % of == 0)} {ed}" for k, (st, ed) in enumerate(truth)]
    rows["true phases"] = ["" if k % 10 == 9 else f"{st} {ed}" for k, (st, ed) in enumerate(truth)]
    return run


@pytest.fixture(name="with_phases")
def with_phases_fixture() -> Callable[..., Run]:
    return with_phases


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run of a made-up head: `noise` is the sd of its error on `n` test samples a fold and `held` of train."""

    def make(
        head: str = "ridge",
        *,
        noise: float = 5.0,
        spread: float | None = None,
        fold: int = 0,
        seed: int = 0,
        group: str = "",
        n: int = 40,
        held: int = 0,
        features: tuple[str, ...] = ("c3d",),
        dataset: str = "set",
        **info: Any,
    ) -> Run:
        rng, own = np.random.default_rng(100 + fold), np.random.default_rng(seed + 10 * fold)

        def part(name: str, letter: str, count: int) -> Prediction:
            truth = rng.normal(60, 15, count)
            error = own.normal(0, 1, count) * noise
            ids = tuple(f"{group or letter}-{fold}-{i:02d}" for i in range(count))
            names = ("",) * count
            spreads = None if spread is None else np.full(count, spread)
            return Prediction(name, ids, truth, truth + error, spreads, np.full(count, np.nan), (group,) * count, names)

        parts = [part("test", "s", n), *([part("val", "h", held)] if held else [])]
        info = {
            "target_kind": "score",
            "range": [0.0, 104.5],
            "range_source": "rules",
            "average": "fisher",
            "pooled": False,
            "folds": 1,
            "groups": [group],
            "floor": False,
            "seeded": True,
            "flags": [],
            "config": {},
            "changed": {},
            "digest": "",
            "metrics": {"spearman": 0.5},
            "fit_seconds": 1.0,
            "predict_ms": 0.1,
            "parameters": 10,
            "selected_on": "last",
            **info,
        }
        identity = {name: info[name] for name in ("config", "labelled") if name in info}
        key = RunKey(dataset, "official", "score", group, features, head, identity, fold, seed)
        info["digest"] = key.digest
        return write_run(tmp_path / "runs", key, info, parts, [{"epoch": 1, "loss": 0.5}], lambda folder: None)

    return make
