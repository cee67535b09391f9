"""Heads over several data sets: Borda count, and from six independent sets on Wilcoxon's signed-rank test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from .comparison import borda, wilcoxon_p
from .table import AVERAGE, Row, Section, head_of, main

ENOUGH = 6  # data sets: with fewer the signed-rank test cannot reach 5% even where all sets agree
# Sets that share videos: UNLV-Dive is the diving of AQA-7, FineDiving holds the dives of MTL-AQA.
SHARED = {"unlv-dive": "aqa-7", "finediving": "mtl-aqa"}


def across(sections: Sequence[Section]) -> dict[str, Any] | None:
    """How the heads that have a row on every data set compare over the sets; None for fewer than two sets or heads.

    A head is a head with a config, whatever its features. Within a set its values and ranks are averaged over
    protocols, targets and streams. Floors, synthetic sets and rows that were selected on test do not count.
    """
    values = _values(sections)
    heads = sorted(set.intersection(*(set(found) for found in values.values()))) if values else []
    if len(values) < 2 or len(heads) < 2:
        return None
    table = np.array([[found[head] for head in heads] for found in values.values()])
    ranks = stats.rankdata(-table, axis=1)
    points = borda(ranks.tolist())
    families = list(dict.fromkeys(SHARED.get(name, name) for name in values))
    order = np.argsort([-point for point in points], kind="stable")
    return {
        "datasets": list(values),
        "independent": len(families),
        "heads": [
            {
                "head": heads[h],
                "borda": points[h],
                "mean_rank": float(ranks[:, h].mean()),
                "ranks": dict(zip(values, ranks[:, h].tolist(), strict=True)),
            }
            for h in order
        ],
        "left_out": sorted({head for found in values.values() for head in found} - set(heads)),
        "wilcoxon": _wilcoxon(values, heads, families) if len(families) >= ENOUGH else None,
    }


def _values(sections: Sequence[Section]) -> dict[str, dict[str, float]]:
    """Data set -> head -> what it is ranked by, averaged over the tables of the set."""
    averaged = {(s.dataset, s.protocol, s.target) for s in sections if s.group == AVERAGE}
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for section in sections:
        key = (section.dataset, section.protocol, section.target)
        if key in averaged and section.group != AVERAGE:
            continue
        for row in section.rows:
            value = main(row)
            if value is not None and _counts(row):
                found[section.dataset][head_of(row)].append(value)
    return {name: {head: float(np.mean(v)) for head, v in heads.items()} for name, heads in sorted(found.items())}


def _counts(row: Row) -> bool:
    return not row["floor"] and not {"synthetic", "selected-on-test"} & set(row["flags"])


def _wilcoxon(
    values: Mapping[str, Mapping[str, float]], heads: Sequence[str], families: Sequence[str]
) -> list[dict[str, Any]]:
    """Pairs with their Holm-adjusted p over independent sets: sets that share videos are averaged first."""
    sets = {f: [found for name, found in values.items() if SHARED.get(name, name) == f] for f in families}
    scores = np.array([[np.mean([found[head] for found in sets[family]]) for head in heads] for family in families])
    p = wilcoxon_p(scores)
    pairs = [(i, j) for j in range(len(heads)) for i in range(j)]
    return [{"a": heads[i], "b": heads[j], "p_holm": float(p[i, j])} for i, j in pairs]
