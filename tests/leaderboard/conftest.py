from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aqa.leaderboard.runs import Prediction, Run, RunKey, write_run

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run of a made-up head: `noise` is the sd of its error on 40 test samples per fold."""

    def make(
        head: str = "ridge",
        *,
        noise: float = 5.0,
        spread: float | None = None,
        fold: int = 0,
        seed: int = 0,
        group: str = "",
        **info: Any,
    ) -> Run:
        rng = np.random.default_rng(100 + fold)
        truth = rng.normal(60, 15, 40)
        error = np.random.default_rng(seed + 10 * fold).normal(0, 1, 40) * noise
        ids = tuple(f"{group or 's'}-{fold}-{i:02d}" for i in range(40))
        names = ("",) * 40
        spreads = None if spread is None else np.full(40, spread)
        test = Prediction("test", ids, truth, truth + error, spreads, np.full(40, np.nan), names, names)
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
        key = RunKey("set", "official", "score", group, ("c3d",), head, {"config": info["config"]}, fold, seed)
        info["digest"] = key.digest
        return write_run(tmp_path / "runs", key, info, [test], [{"epoch": 1, "loss": 0.5}], lambda folder: None)

    return make
