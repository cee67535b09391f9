"""Rows of a leaderboard, a pure function of run folders."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .bootstrap import RESAMPLES, bootstrap_spearman, interval
from .labels import label_metrics
from .metrics import average, average_array, metrics
from .runs import COLUMNS, Run

Row = dict[str, Any]

CORRELATIONS = ("spearman", "kendall", "pearson")
AVERAGE = "average"  # the group of the row that averages a protocol's groups
SAME = ("dataset", "protocol", "target", "group")  # rows that agree in these are compared


def rows(runs: Iterable[Run], *, count: int = RESAMPLES) -> list[Row]:
    """One row per data set, protocol, target, group, features, head and config, best first; floors are among them.

    Metrics are taken per seed by the protocol's rule (folds averaged, or their predictions pooled) and then averaged
    over seeds. The 95% interval is a bootstrap over test samples of the seed-averaged prediction. A protocol with
    several groups gets one more row per head, over its groups, where all groups have runs.
    """
    by_row: dict[tuple, list[Run]] = defaultdict(list)
    for run in runs:
        by_row[_key(run)].append(run)
    groups = [_Group(members, count) for members in by_row.values()]
    table = [group.row() for group in groups] + _averages(groups)
    return sorted(table, key=_order)


class _Group:
    """The runs of one row: folds x seeds of one head on one group."""

    def __init__(self, runs: Sequence[Run], count: int) -> None:
        self.runs, self.info = runs, runs[0].info
        self.rule, self.pooled = self.info["average"], self.info["pooled"]
        self.tests: dict[int, dict[int, pd.DataFrame]] = defaultdict(dict)
        for run in runs:
            self.tests[run.info["seed"]][run.info["fold"]] = run.part("test")
        self.folds = sorted({run.info["fold"] for run in runs})
        # a seed whose folds are not all there yet would be compared on fewer samples
        self.seeds = sorted(seed for seed, folds in self.tests.items() if len(folds) == len(self.folds))
        self.per_seed = {seed: self._metrics(seed) for seed in self.seeds}
        self.draws = self._draws(count)

    def _metrics(self, seed: int) -> dict[str, float | int | None]:
        tests = [self.tests[seed][fold] for fold in self.folds]
        if self.pooled:
            tests = [pd.concat(tests, ignore_index=True)]
        low, high = self.info.get("r_l2_range", self.info["range"])
        found = [
            metrics(
                *(t[name].to_numpy() for name in ("truth", "score", "spread")),
                kind=self.info["target_kind"],
                range_=(low, high),
            )
            for t in tests
        ]
        labels = [label_metrics({n: t[n].fillna("").tolist() for n in t.columns if n not in COLUMNS}) for t in tests]
        return _combine([{**scores, **more} for scores, more in zip(found, labels, strict=True)], self.rule)

    def mean_over_seeds(self) -> dict[str, float | int | None]:
        return _combine([self.per_seed[seed] for seed in self.seeds], "arithmetic", total=False)

    def row(self) -> Row:
        info, seeds = self.info, [self.per_seed[seed]["spearman"] for seed in self.seeds]
        low, high = interval(self.draws)
        return {
            **{name: info[name] for name in ("dataset", "protocol", "group", "target")},
            "features": "+".join(info["features"]),
            "head": info["head"],
            "config": info["changed"],
            "seeds": len(self.seeds),
            "spearman_sd": _sd(seeds) if info["seeded"] else None,
            "ci_low": low,
            "ci_high": high,
            **self.mean_over_seeds(),
            "floor": info["floor"],
            "flags": self.flags(),
            "folds": len(self.folds),
            "averaged": "pooled" if self.pooled else self.rule if len(self.folds) > 1 else None,
            "range": info.get("r_l2_range", info["range"]),
            "range_source": info["range_source"],
            "fit_seconds": float(np.mean([run.info["fit_seconds"] for run in self.runs])),
            "predict_ms": float(np.mean([run.info["predict_ms"] for run in self.runs])),
            "parameters": info["parameters"],
            "selected_on": info["selected_on"],
            "digest": info["digest"],
        }

    def flags(self) -> list[str]:
        found = dict.fromkeys(flag for run in self.runs for flag in run.info["flags"])
        if self.info["seeded"] and len(self.seeds) < 3:
            found["fewer-than-three-seeds"] = None
        if len(self.folds) < self.info["folds"]:
            found[f"{len(self.folds)}-of-{self.info['folds']}-folds"] = None
        if len(self.seeds) < len(self.tests):
            found["unfinished-seeds-left-out"] = None
        return list(found)

    def _draws(self, count: int) -> np.ndarray:
        """Bootstrap draws [count] of the seed-averaged prediction."""
        folds = []
        for fold in self.folds:
            tests = [self.tests[seed][fold] for seed in self.seeds]
            folds.append((tests[0]["truth"].to_numpy(), np.mean([t["score"].to_numpy() for t in tests], axis=0)))
        if self.pooled:
            folds = [tuple(np.concatenate(column) for column in zip(*folds, strict=True))]
        return bootstrap_spearman([t for t, _ in folds], [[s for _, s in folds]], rule=self.rule, count=count)[0]


def _averages(groups: Sequence[_Group]) -> list[Row]:
    """Rows over all groups of a protocol, for the heads that have a run in each."""
    families: dict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        info = group.info
        if len(info["groups"]) > 1:
            same = [info[name] for name in ("dataset", "protocol", "target", "features", "head")]
            same.append(info.get("asked", info["config"]))  # a paper's epochs may differ from group to group
            families[json.dumps(same, sort_keys=True)].append(group)
    table = []
    for members in families.values():
        info = members[0].info
        if {g.info["group"] for g in members} != set(info["groups"]) or len(members) != len(info["groups"]):
            continue
        rule, seeds = info["average"], sorted(set.intersection(*(set(g.seeds) for g in members)))
        if not seeds:
            continue
        per_seed = [_combine([g.per_seed[seed] for g in members], rule) for seed in seeds]
        # groups have samples of their own, so their draws are independent and are averaged draw by draw
        stacked = np.stack([np.random.default_rng(k).permutation(g.draws) for k, g in enumerate(members)])
        low, high = interval(average_array(stacked, rule))
        one = members[0].row()
        table.append(
            {
                **one,
                "group": AVERAGE,
                "config": _shared([g.info["changed"] for g in members]),
                "seeds": len(seeds),
                "spearman_sd": _sd([found["spearman"] for found in per_seed]) if info["seeded"] else None,
                "ci_low": low,
                "ci_high": high,
                **_combine(per_seed, "arithmetic", total=False),
                "flags": list(dict.fromkeys(flag for g in members for flag in g.flags())),
                "folds": sum(len(g.folds) for g in members),
                "averaged": rule,
                "range": None,
                "fit_seconds": float(np.sum([g.row()["fit_seconds"] for g in members])),
            }
        )
    return table


def _shared(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The items that all have."""
    return {name: value for name, value in found[0].items() if all(row.get(name) == value for row in found)}


def _key(run: Run) -> tuple:
    info = run.info
    return (*(info[name] for name in SAME), tuple(info["features"]), info["head"], info["digest"])


def _combine(found: Sequence[Mapping[str, Any]], rule: str, *, total: bool = True) -> dict[str, Any]:
    """Correlations by `rule`, everything else by the plain mean; `n` is summed over folds, kept over seeds."""
    names = dict.fromkeys(name for row in found for name in row)
    out: dict[str, Any] = {}
    for name in names:
        if name == "n":
            out[name] = sum(row["n"] for row in found) if total else found[0]["n"]
        else:
            out[name] = average([row.get(name) for row in found], rule if name in CORRELATIONS else "arithmetic")
    return out


def _sd(values: Sequence[float | None]) -> float | None:
    """Standard deviation over seeds (n - 1); None for fewer than two or an undefined one."""
    defined = [v for v in values if v is not None]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 and len(defined) == len(values) else None


def _order(row: Row) -> tuple:
    main = row["accuracy"] if row.get("accuracy") is not None else row["spearman"]
    group = (row["group"] == AVERAGE, row["group"])
    return (row["dataset"], row["protocol"], row["target"], group, main is None, -(main or 0.0), row["head"])
