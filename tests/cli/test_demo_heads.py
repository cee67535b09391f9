"""Every head on the embedded set: it must beat what needs no video. Differences between heads are no test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from aqa.leaderboard.bootstrap import bootstrap_spearman
from aqa.pipelines.cli import app

# The defaults are those of the papers, made for a thousand samples.
SMALL = {
    "mlp.hidden": 256,
    "mtl.hidden": 256,
    "mtl.caption_hidden": 64,
    "mtl.epochs": 30,
    "core.epochs": 30,
    "dae-core.epochs": 30,
    "gdlt.epochs": 30,
    "s4aqa.epochs": 30,
    "s4aqa-supervised.epochs": 30,
    "pseudo-label.epochs": 30,
    "vat.epochs": 30,
    "mean-teacher.epochs": 30,
    "t2cr.epochs": 30,
    "hgcn.epochs": 30,
    "cofinal.epochs": 30,
    "tpt.epochs": 60,
    "segment.epochs": 2,
    "segment.hidden": 16,
    "psnet.epochs": 2,
    "mcore.hidden": 64,
    "mcore.epochs": 15,
    "tsa.epochs": 30,
    "stack.members": "ridge+lightgbm",
}


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory, value) -> dict[str, pd.DataFrame]:
    """head -> test predictions, averaged over two seeds; floors are among them."""
    folder = tmp_path_factory.mktemp("demo")
    place = ["--cache", str(folder / "cache")]
    extract = ["extract", "demo", "--root", str(folder / "videos"), "--backbone", "c3d.random", *place, "--json"]
    assert value(CliRunner().invoke(app, extract))["failed"] == []
    settings = [word for name, number in SMALL.items() for word in ("--set", f"{name}={number}")]
    fit = ["fit", "demo", *place, "--runs", str(folder / "runs"), "--head", "all", "--seeds", "2", *settings, "--json"]
    parts: dict[str, list[pd.DataFrame]] = {}
    for row in value(CliRunner().invoke(app, fit)):
        table = pd.read_csv(Path(row["run"]) / "predictions.csv")
        parts.setdefault(row["head"], []).append(table[table["part"] == "test"].set_index("id")[["truth", "score"]])
    return {head: pd.concat(tables).groupby(level=0).mean() for head, tables in parts.items()}


@pytest.mark.slow
def test_every_head_beats_mean_and_difficulty(predictions: dict[str, pd.DataFrame]):
    floors = {"mean", "difficulty", "metadata", "group-mean", "random"}
    heads = sorted(predictions.keys() - floors - {"segment", "psnet"})  # these learn phases and say the mean score
    assert {"ridge", "mlp", "mtl", "usdl", "musdl", "dae", "dae-mt", "dae-musdl", "dae-core", "core"} <= set(heads)
    assert {"gdlt", "t2cr", "hgcn", "attention", "cofinal", "tpt"} <= set(heads)
    truth = predictions["mean"]["truth"]
    scores = [predictions[head]["score"].loc[truth.index].to_numpy() for head in (*heads, "difficulty")]
    draws = bootstrap_spearman([truth.to_numpy()], [[score] for score in scores], count=2000)
    assert predictions["mean"]["score"].nunique() == 1  # ranks nothing: its correlation counts as 0
    against = {"mean": draws[:-1], "difficulty": draws[:-1] - draws[-1]}
    for floor, differences in against.items():
        low = dict(zip(heads, np.quantile(differences, 0.025, axis=1), strict=True))
        assert min(low.values()) > 0, f"against {floor}: {low}"
