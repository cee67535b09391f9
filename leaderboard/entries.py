"""An entry of a leaderboard: the runs, folds x seeds, of one head with one config on one group of a data set."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..errors import StoreError
from .conformal import LEVEL, bounds, factor
from .labels import label_metrics
from .metrics import Metrics, average, metrics, spearman
from .runs import COLUMNS, Run

CORRELATIONS = ("spearman", "kendall", "pearson")


class Entry:
    """Raises StoreError where a test prediction is not finite."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs, self.info = runs, runs[0].info
        self.rule, self.pooled = self.info["average"], self.info["pooled"]
        self.by_seed: dict[int, dict[int, Run]] = defaultdict(dict)
        for run in runs:
            self.by_seed[run.info["seed"]][run.info["fold"]] = run
        self.folds = sorted({run.info["fold"] for run in runs})
        # a seed whose folds are not all there yet would be compared on fewer samples
        self.seeds = sorted(seed for seed, folds in self.by_seed.items() if len(folds) == len(self.folds))
        self.per_seed = {seed: self._metrics(seed) for seed in self.seeds}

    def _metrics(self, seed: int) -> Metrics:
        tests = [finite(self.by_seed[seed][fold]) for fold in self.folds]
        if self.pooled:
            tests = [pd.concat(tests, ignore_index=True)]
        low, high = self.info.get("r_l2_range", self.info["range"])
        found = []
        for test in tests:
            truth, score, spread = (test[name].to_numpy() for name in ("truth", "score", "spread"))
            labels = {name: test[name].fillna("").tolist() for name in test.columns if name not in COLUMNS}
            kind = self.info["target_kind"]
            found.append(metrics(truth, score, spread, kind=kind, range_=(low, high)) | label_metrics(labels))
        return combine(found, self.rule)

    def mean_over_seeds(self) -> Metrics:
        return combine([self.per_seed[seed] for seed in self.seeds], "arithmetic", total=False)

    @cached_property
    def judged(self) -> pd.DataFrame:
        """One row per test sample and fold, averaged over seeds: `COLUMNS` without part, `fold`, and `low`, `high`:
        the 90% interval (`conformal.py`), NaN where nothing is held out to make it of."""
        parts = []
        for fold in self.folds:
            test = over_seeds([self.by_seed[seed][fold].part("test") for seed in self.seeds]).assign(fold=fold)
            spread = test["spread"].to_numpy() if self.weighted else None
            wide = self.factor(fold)
            low, high = bounds(test["score"].to_numpy(), spread, np.nan if wide is None else wide)
            parts.append(test.assign(low=low, high=high))
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def weighted(self) -> bool:
        """Whether the 90% interval is the locally weighted one: the head gives a spread for every sample."""
        return all(np.isfinite(run.predictions["spread"].to_numpy()).all() for run in self.runs)

    def factor(self, fold: int, level: float = LEVEL) -> float | None:
        """Of the conformal interval of one fold's test samples; None for a class, of which an interval says nothing."""
        if self.info["target_kind"] == "binary":
            return None
        found = interval_factor([self.by_seed[seed][fold] for seed in self.seeds], self.weighted, level)
        return None if found is None else found[0]

    def interval_metrics(self) -> dict[str, Any]:
        """What the 90% interval covers on test, and its mean width; means over seeds where they are `apart`."""
        if self.apart and len(self.seeds) > 1:
            found = [Entry(list(self.by_seed[seed].values())).interval_metrics() for seed in self.seeds]
            names = ("interval_coverage", "interval_width")
            means = {name: average([one[name] for one in found], "arithmetic") for name in names}
            return {**found[0], **means}
        judged = self.judged
        if np.isnan(judged["low"].to_numpy()).any():
            return {"interval_coverage": None, "interval_width": None, "interval_form": None}
        truth, low, high = (judged[name].to_numpy() for name in ("truth", "low", "high"))
        return {
            "interval_coverage": float(np.mean((truth >= low) & (truth <= high))),
            "interval_width": float(np.mean(high - low)),
            "interval_form": "weighted" if self.weighted else "plain",
        }

    @property
    def apart(self) -> bool:
        """Whether every seed had labels of its own (`--labelled`). The mean of their predictions would be that of a
        head which saw more labels than any of them, so correlations are averaged and not predictions."""
        return self.info.get("labelled", 1.0) < 1

    @cached_property
    def truths(self) -> list[np.ndarray]:
        """One array per fold that a correlation is taken of."""
        return self._by_fold(self.judged, "truth")

    @cached_property
    def scores(self) -> list[list[np.ndarray]]:
        """Scores per fold, as `truths`: of the seed-averaged prediction, or of every seed where they are `apart`."""
        if not self.apart:
            return [self._by_fold(self.judged, "score")]
        tests = [{fold: self.by_seed[seed][fold].part("test") for fold in self.folds} for seed in self.seeds]
        whole = [pd.concat([part.assign(fold=fold) for fold, part in test.items()]) for test in tests]
        return [self._by_fold(test, "score") for test in whole]

    def _by_fold(self, table: pd.DataFrame, column: str) -> list[np.ndarray]:
        parts = [table] if self.pooled else [part for _, part in table.groupby("fold", sort=True)]
        return [part[column].to_numpy() for part in parts]

    @cached_property
    def observed(self) -> float | None:
        """Spearman of the seed-averaged prediction, or the seeds' mean where they are `apart`: what the bootstrap
        resamples."""
        found = [
            average([spearman(truth, score) for truth, score in zip(self.truths, scores, strict=True)], self.rule)
            for scores in self.scores
        ]
        return average(found, "arithmetic")

    @cached_property
    def test_set(self) -> str:
        """8 hex digits of folds, ids and truths: entries that agree in it are compared sample by sample."""
        text = self.judged[["fold", "id", "truth"]].to_csv(index=False, float_format="%.9g")
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def fingerprints(self) -> dict[str, set[str]]:
        """Stream -> fingerprints of its features."""
        found: dict[str, set[str]] = defaultdict(set)
        for run in self.runs:
            for stream, made in run.info.get("streams", {}).items():
                found[stream].add(str(sorted(made["fingerprint"].items())))
        return found

    def flags(self) -> list[str]:
        found = dict.fromkeys(flag for run in self.runs for flag in run.info["flags"])
        if self.info["seeded"] and len(self.seeds) < 3:
            found["fewer-than-three-seeds"] = None
        if len(self.folds) < self.info["folds"]:
            found[f"{len(self.folds)}-of-{self.info['folds']}-folds"] = None
        if len(self.seeds) < len(self.by_seed):
            found["unfinished-seeds-left-out"] = None
        return list(found)


def finite(run: Run) -> pd.DataFrame:
    """The test part of a run. Raises StoreError that names the sample whose truth or score is not a finite number."""
    test = run.part("test")
    for name in ("truth", "score"):
        wrong = test["id"].to_numpy()[~np.isfinite(test[name].to_numpy())]
        if len(wrong):
            raise StoreError(
                "a test prediction is not a finite number",
                file=run.folder / "predictions.csv",
                sample=str(wrong[0]),
                field=name,
                hint=f"`aqa runs rm {run.info['run_id']}` and fit it again",
            )
    return test


def over_seeds(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean prediction of several seeds on the same samples; spreads are averaged as variances."""
    columns = [name for name in COLUMNS if name != "part"]
    if any(len(part) != len(parts[0]) or (part["id"] != parts[0]["id"]).any() for part in parts[1:]):
        raise StoreError("the seeds of one head were tested on different samples", hint="fit the odd one again")
    score = np.mean([part["score"].to_numpy() for part in parts], axis=0)
    spread = np.sqrt(np.mean([part["spread"].to_numpy() ** 2 for part in parts], axis=0))
    return parts[0][columns].assign(score=score, spread=spread)


def interval_factor(runs: Sequence[Run], weighted: bool, level: float = LEVEL) -> tuple[float, str] | None:
    """The factor of the conformal interval (`conformal.py`) around the mean prediction of runs of one fold, and what it
    is made of: the part "oof" or "val". None where they keep nothing that was held out, or too little.

    Seeds that held out other samples each have a factor of their own; the mean of these is rather too large than too
    small, because a mean of seeds errs less than one of them.
    """
    for part in ("oof", "val"):
        held = [run.part(part) for run in runs]
        if all(len(one) for one in held):
            alike = all(one["id"].tolist() == held[0]["id"].tolist() for one in held[1:])
            tables = [over_seeds(held)] if alike else held
            arrays = [[table[name].to_numpy() for name in ("truth", "score", "spread")] for table in tables]
            found = [factor(truth, score, spread if weighted else None, level) for truth, score, spread in arrays]
            known = [one for one in found if one is not None]
            return (float(np.mean(known)), part) if len(known) == len(found) else None
    return None


def combine(found: Sequence[Mapping[str, Any]], rule: str, *, total: bool = True) -> Metrics:
    """Correlations by `rule`, everything else by the plain mean; `n` is summed over folds, kept over seeds."""
    names = dict.fromkeys(name for row in found for name in row)
    out: Metrics = {}
    for name in names:
        if name == "n":
            out[name] = sum(row["n"] for row in found) if total else found[0]["n"]
        else:
            out[name] = average([row.get(name) for row in found], rule if name in CORRELATIONS else "arithmetic")
    return out


def deviation(values: Sequence[float | None]) -> float | None:
    """Standard deviation over seeds (n - 1); None for fewer than two or an undefined one."""
    defined = [v for v in values if v is not None]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 and len(defined) == len(values) else None
