"""Every head on the embedded set: it must beat what needs no video. Differences between heads are no test."""

from __future__ import annotations

from itertools import chain
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
    "gcn.encoder": "st",
    "gcn.hidden": 16,
    "gcn.frames": 24,
    "gcn.epochs": 30,
    "hpmcore.hidden": 64,
    "hpmcore.channels": 64,
    "hpmcore.gcn": 4,
    "hpmcore.epochs": 2,
    "stack.members": "ridge+lightgbm",
}
# A stage of two or three clips has nothing to be cut out of, and the others take poses.
ON_POSES = {"tsa": "pose", "gcn": "pose", "hpmcore": "c3d+joints+pose"}


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory, value) -> dict[str, pd.DataFrame]:
    """head -> test predictions, averaged over two seeds; floors are among them."""
    folder = tmp_path_factory.mktemp("demo")
    place = ["--cache", str(folder / "cache")]
    extract = ["extract", "demo", "--root", str(folder / "videos"), "--backbone", "c3d.random", *place, "--json"]
    assert value(CliRunner().invoke(app, extract))["failed"] == []
    with np.load(folder / "videos" / "poses.npz") as kept:
        each = np.split(kept["poses"].reshape(len(kept["poses"]), -1), kept["offsets"][1:-1])
        (folder / "joints").mkdir()
        for name, frames in zip(kept["ids"], each, strict=True):
            np.save(folder / "joints" / f"{name}.npy", frames)
    for source, name in (("videos", "pose"), ("joints", "joints")):
        words = ["cache", "import", "demo", str(folder / source), "--as", name, *place, "--json"]
        assert value(CliRunner().invoke(app, words))["done"] == 240
    parts: dict[str, list[pd.DataFrame]] = {}
    for head, features in {"all": "c3d", **ON_POSES}.items():
        small = {**SMALL, "tsa.epochs": 1} if head == "all" else {**SMALL, "tsa.epochs": 30}
        asked = [("--set", f"{name}={n}") for name, n in small.items() if head in ("all", name.split(".")[0])]
        fit = ["fit", "demo", *place, "--runs", str(folder / "runs"), "--features", features, "--head", head]
        done = CliRunner().invoke(app, [*fit, "--seeds", "2", *chain.from_iterable(asked), "--json"])
        if head == "all":
            assert "hpmcore left out: it takes 3 streams of features, got c3d" in done.stderr
            assert "gcn left out: it takes joints [J, 3] per clip, and stream 'c3d' has [4096]" in done.stderr
        for row in (row for row in value(done) if head != "all" or row["head"] not in ON_POSES):
            table = pd.read_csv(Path(row["run"]) / "predictions.csv")
            parts.setdefault(row["head"], []).append(table[table["part"] == "test"].set_index("id")[["truth", "score"]])
    return {head: pd.concat(tables).groupby(level=0).mean() for head, tables in parts.items()}


@pytest.mark.slow
def test_every_head_beats_mean_and_difficulty(predictions: dict[str, pd.DataFrame]):
    floors = {"mean", "difficulty", "metadata", "group-mean", "random"}
    heads = sorted(predictions.keys() - floors - {"segment", "psnet"})  # these learn phases and say the mean score
    assert {"ridge", "mlp", "mtl", "usdl", "musdl", "dae", "dae-mt", "dae-musdl", "dae-core", "core"} <= set(heads)
    assert {"gdlt", "t2cr", "hgcn", "attention", "cofinal", "tpt", "mcore", "tsa", "gcn", "hpmcore"} <= set(heads)
    truth = predictions["mean"]["truth"]
    scores = [predictions[head]["score"].loc[truth.index].to_numpy() for head in (*heads, "difficulty")]
    draws = bootstrap_spearman([truth.to_numpy()], [[score] for score in scores], count=2000)
    assert predictions["mean"]["score"].nunique() == 1  # ranks nothing: its correlation counts as 0
    against = {"mean": draws[:-1], "difficulty": draws[:-1] - draws[-1]}
    for floor, differences in against.items():
        low = dict(zip(heads, np.quantile(differences, 0.025, axis=1), strict=True))
        assert min(low.values()) > 0, f"against {floor}: {low}"
