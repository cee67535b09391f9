"""`aqa fit --labelled`: part of the labels, drawn by every seed, kept with the run; the others play no role. And what a
stack says."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Import = Callable[..., None]


@pytest.fixture
def imported(aqa, value, tmp_path: Path) -> Import:
    """40 samples of `csv`, 30 to train, with made-up features that tell the score; `change`: other scores of train."""

    def make(name: str, change: Mapping[int, object] | None = None) -> None:
        root, folder = tmp_path / f"{name}-set", tmp_path / f"{name}-features"
        root.mkdir()
        folder.mkdir()
        draw = np.random.default_rng(0)
        score = draw.uniform(10, 90, 40)
        lines = ["id,media,score,split"]
        for k in range(40):
            said = (change or {}).get(k, score[k])
            lines.append(f"s{k:02d},s{k:02d}.mp4,{said},{'train' if k < 30 else 'test'}")
            clips = np.outer(np.ones(3), np.r_[score[k] / 50, draw.normal(size=5)]) + draw.normal(size=(3, 6)) / 20
            np.save(folder / f"s{k:02d}.npy", clips.astype(np.float32))
        (root / "samples.csv").write_text("\n".join(lines) + "\n")
        value(aqa("cache", "import", "csv", folder, "--root", root, "--as", "x", "--cache", name, "--json"))

    return make


def fit(aqa, value, cache: str, runs: str, *words: object) -> list[dict[str, Any]]:
    return value(aqa("fit", "csv", "--cache", cache, "--runs", runs, *words, "--json"))


def scores(row: dict[str, Any]) -> list[str]:
    with (Path(row["run"]) / "predictions.csv").open() as file:
        return [line["score"] for line in csv.DictReader(file) if line["part"] == "test"]


def labelled(row: dict[str, Any]) -> list[str]:
    return (Path(row["run"]) / "labelled.txt").read_text().split()


HEADS = ("--head", "ridge", "--head", "mlp", "--set", "mlp.epochs=2", "--set", "mlp.hidden=8")
UNLABELLED = ("s4aqa", "s4aqa-supervised", "pseudo-label", "vat", "mean-teacher")  # are given the others without labels


def test_every_seed_draws_its_labels_and_keeps_them(aqa, value, imported: Import):
    imported("a")
    rows = fit(aqa, value, "a", "runs", *HEADS, "--labelled", 0.4, "--seeds", 2)
    assert [(row["head"], row["seed"]) for row in rows] == [("ridge", 0), ("ridge", 1), ("mlp", 0), ("mlp", 1)]
    ridge, other, mlp, _ = (labelled(row) for row in rows)
    assert len(ridge) == 12
    assert ridge == mlp  # the same for all heads
    assert set(ridge) != set(other)
    assert set(labelled(fit(aqa, value, "a", "runs", *HEADS, "--labelled", 0.2, "--seeds", 1)[0])) < set(ridge)
    table = value(aqa("leaderboard", "csv", "--runs", "runs", "--resamples", 100, "--json"))
    assert sorted((row["head"], row["labelled"], row["seeds"]) for row in table["rows"]) == [
        ("mlp", 0.2, 1),
        ("mlp", 0.4, 2),
        ("ridge", 0.2, 1),
        ("ridge", 0.4, 2),
    ]
    assert len({pair["a"] for pair in table["pairs"]} | {pair["b"] for pair in table["pairs"]}) == 4
    text = aqa("leaderboard", "csv", "--runs", "runs", "--resamples", 100, "--format", "md").stdout
    assert "| labelled |" in text
    assert aqa("leaderboard", "csv", "--runs", "runs", "--resamples", 100, "-o", "page.html").exit_code == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert {"ridge 0.4", "ridge 0.2", "mlp 0.4", "mlp 0.2"} <= set(re.findall(r"<span>([^<]*)</span></th>", page))


def test_a_handful_of_labels_is_warned_of(aqa, value, imported: Import):
    imported("a")
    done = aqa("fit", "csv", "--cache", "a", "--head", "ridge", "--labelled", 0.01, "--seeds", 1)
    assert "leaves 1 of the train samples with a label" in done.stderr


def test_other_labels_than_those_drawn_change_nothing(aqa, value, imported: Import):
    imported("a")
    small = [word for head in UNLABELLED for word in ("--head", head, "--set", f"{head}.epochs=2")]
    words = (*HEADS, *small, *(f"--set={head}.hidden=8" for head in UNLABELLED), "--labelled", 0.4, "--seeds", 1)
    rows = fit(aqa, value, "a", "runs-a", *words)
    known = set(labelled(rows[0]))
    imported("b", {k: 5000.0 - 7 * k for k in range(30) if f"s{k:02d}" not in known})
    again = fit(aqa, value, "b", "runs-b", *words)
    assert [scores(row) for row in rows] == [scores(row) for row in again]
    imported("c", {int(min(known)[1:]): 77.0})
    changed = fit(aqa, value, "c", "runs-c", *words)
    assert all(scores(row) != scores(other) for row, other in zip(rows, changed, strict=True))


def test_samples_that_nobody_scored_are_learned_from_without_labels(aqa, value, imported: Import):
    imported("a", dict.fromkeys(range(12, 30), ""))
    heads = ("--head", "ridge", "--head", "s4aqa", "--set", "s4aqa.epochs=2", "--set", "s4aqa.hidden=8")
    ridge, semi = fit(aqa, value, "a", "runs", *heads, "--seeds", 1)
    counts = [json.loads((Path(row["run"]) / "run.json").read_text())["samples"] for row in (ridge, semi)]
    assert counts[0] == {"train": 12, "unlabelled": 0, "val": 0, "test": 10}
    assert counts[1] == {"train": 10, "unlabelled": 18, "val": 2, "test": 10}
    (alone,) = fit(aqa, value, "a", "runs", *heads[2:], "--seeds", 1, "--held-out", 0)  # and out of fold
    assert json.loads((Path(alone["run"]) / "run.json").read_text())["samples"]["unlabelled"] == 18
    imported("b", dict.fromkeys(range(12, 29), ""))
    (_, other) = fit(aqa, value, "b", "runs-b", *heads, "--seeds", 1)
    assert scores(other) != scores(semi)


def test_with_all_labels_it_is_the_usual_run(aqa, value, imported: Import):
    imported("a")
    (row,) = fit(aqa, value, "a", "runs", "--head", "ridge", "--labelled", 1)
    (same,) = fit(aqa, value, "a", "runs", "--head", "ridge")
    assert row["run"] == same["run"]
    assert not (Path(row["run"]) / "labelled.txt").exists()


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_what_is_no_share_is_refused(aqa, share: float):
    done = aqa("fit", "csv", "--head", "ridge", "--labelled", share)
    assert done.exit_code == 2
    assert "no share of the train samples" in done.stderr


def test_a_stack_shows_its_weights(aqa, value, imported: Import):
    imported("a")
    words = ("fit", "csv", "--cache", "a", "--runs", "runs", "--head", "stack", "--set", "members=ridge+knn")
    done = aqa(*words)
    assert "weights: ridge (x) " in done.stderr
    (row,) = value(aqa(*words, "--seeds", 1, "--json"))
    assert row["weights"].keys() == {"ridge (x)", "knn (x)"}


def test_a_stack_on_features_that_know_the_train_scores_says_so(aqa, value, shared_data: Path):
    value(aqa("cache", "import", "unlv-dive", shared_data / "unlv-dive", "--as", "p3d", "--json"))
    done = aqa(
        "fit", "unlv-dive", "--head", "stack", "--head", "ridge", "--set", "members=ridge+knn", "--json", "--seeds", 1
    )
    assert "stack learns from out-of-fold judgements inside train, which cannot be trusted here" in done.stderr
    table = value(aqa("leaderboard", "unlv-dive", "--resamples", 100, "--json"))
    flags = {row["head"]: row["flags"] for row in table["rows"]}
    assert "out-of-fold-untrusted" in flags["stack"]
    assert flags["ridge"] == ["fine-tuned-on-train"]
