"""Two heads on the same test samples: by how much they differ, how surely, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SplitError, UsageError
from .bootstrap import RESAMPLES, interval, resamples
from .comparison import paired_p
from .entries import Entry
from .labels import OVERLAPS, PHASES, TIOU, TRUE, overlaps, reached
from .runs import Run
from .table import SAME, Line, lines_of, name_of

SHOWN = 10  # ids in an error
OF_PHASES = ("aiou_75", TIOU)


def compare(a: Sequence[Run], b: Sequence[Run], *, count: int = RESAMPLES, top: int = 10) -> dict[str, Any]:
    """The paired difference of the seed-averaged predictions of `a` and `b`, each the runs of one row of a table.

    `samples` are the `top` test samples on which the predictions differ most; `aiou_75` and `tiou` are None where one
    side finds no phases. Intervals are 95% percentile intervals over the same resamples of test samples.

    Raises:
        UsageError: the runs of one side are not one head on one group, or the sides are of different tables.
        SplitError: the sides were tested on different samples or phases; the ids that differ are named.
    """
    one, other = _entry(a), _entry(b)
    for name in SAME:
        if one.info[name] != other.info[name]:
            raise UsageError(f"the runs differ in their {name}: '{one.info[name]}' and '{other.info[name]}'")
    _same_samples(one, other)
    first, second = lines_of([one, other], count)
    observed = [np.nan if line.observed is None else line.observed for line in (first, second)]
    p = float(paired_p(np.array(observed), np.stack([first.draws, second.draws]))[0, 1])
    low, high = interval(first.draws - second.draws)
    return {
        **{name: one.info[name] for name in SAME},
        "n": first.row["n"],
        "a": _side(first),
        "b": _side(second),
        "spearman": {
            "difference": None if np.isnan(observed).any() else float(observed[0] - observed[1]),
            "ci_low": low,
            "ci_high": high,
            "p": p if np.isfinite(p) else None,
        },
        "mae": _mean(_errors(one) - _errors(other), count),
        **_phases(one, other, count),
        "samples": _samples(one.judged, other.judged, top),
    }


def _entry(runs: Sequence[Run]) -> Entry:
    kinds = {(*(run.info[name] for name in SAME), run.info["head"], run.info["digest"]) for run in runs}
    if len(kinds) > 1:
        names = ", ".join(sorted(str(run.folder) for run in runs)[:4])
        hint = "name one run, or the folder of one head"
        raise UsageError(f"these are runs of {len(kinds)} different models: {names}", hint=hint)
    entry = Entry(runs)
    if not entry.seeds:
        raise UsageError(f"no seed of {runs[0].info['head']} has all its folds", hint="name one run, or fit the rest")
    return entry


def _same_samples(one: Entry, other: Entry) -> None:
    truths = [
        {(fold, i): truth for fold, i, truth in entry.judged[["fold", "id", "truth"]].itertuples(index=False)}
        for entry in (one, other)
    ]
    a, b = truths
    unlike = [key for key in {**a, **b} if key not in a or key not in b or not np.isclose(a[key], b[key], rtol=1e-6)]
    if unlike:
        ids = ", ".join(str(i) for _, i in unlike[:SHOWN])
        raise SplitError(
            f"the runs were tested on different samples or truths; {len(unlike)} differ: {ids}",
            hint="compare runs of one data set, protocol and version of the labels",
        )


def _side(line: Line) -> dict[str, Any]:
    names = ("seeds", "spearman", "spearman_averaged", "ci_low", "ci_high", "mae", "flags")
    return {
        "name": name_of(line.row),
        **{name: line.row[name] for name in names},
        **{n: line.row.get(n) for n in OF_PHASES},
    }


def _mean(differences: np.ndarray, count: int) -> dict[str, Any]:
    """Mean [N] over all test samples, with its interval. Of absolute errors: negative, the first side is nearer to the
    truth."""
    counts = resamples(len(differences), count, np.random.default_rng(0))
    low, high = interval(counts @ differences / len(differences))
    return {"difference": float(differences.mean()), "ci_low": low, "ci_high": high}


def _phases(one: Entry, other: Entry, count: int) -> dict[str, dict[str, Any] | None]:
    """Differences of AIoU@0.75 and of the mean tIoU over the test samples whose phases are known; None where a side
    finds no phases. Every seed is a voter, and every pair of a sample and a seed counts alike, as in the table's mean
    over seeds."""
    a, b = _phase_columns(one), _phase_columns(other)
    if a is None or b is None or not any(a[1]):
        return dict.fromkeys(OF_PHASES)
    truth = a[1]
    unlike = [i for i, mine, theirs in zip(one.judged["id"], truth, b[1], strict=True) if mine != theirs]
    if unlike:
        what = f"the true phases of {len(unlike)} test samples differ: {', '.join(map(str, unlike[:SHOWN]))}"
        raise SplitError(what, hint="compare runs of one version of the labels")
    known = np.array([text != "" for text in truth])
    first, second = (overlaps(said, truth)[known] for said, _ in (a, b))
    hits = [reached(tious, OVERLAPS["aiou_75"]) for tious in (first, second)]
    return {
        "aiou_75": _mean(hits[0] - hits[1], count),
        TIOU: _mean(first.mean(axis=1) - second.mean(axis=1), count),
    }


def _phase_columns(entry: Entry) -> tuple[list[list[str]], list[str]] | None:
    """What every seed says of all test samples, in the order of `judged`, and what is true."""
    seeds = [[entry.by_seed[seed][fold].part("test") for fold in entry.folds] for seed in entry.seeds]
    if any(PHASES not in test for tests in seeds for test in tests):
        return None
    said = [[str(text) for test in tests for text in test[PHASES]] for tests in seeds]
    return said, [str(text) for test in seeds[0] for text in test[TRUE + PHASES]]


def _errors(entry: Entry) -> np.ndarray:
    truth = np.concatenate(entry.truths)
    return np.mean([np.abs(np.concatenate(scores) - truth) for scores in entry.scores], axis=0)


def _samples(one: pd.DataFrame, other: pd.DataFrame, top: int) -> list[dict[str, Any]]:
    ids, truth, a = (one[name].to_numpy() for name in ("id", "truth", "score"))
    b = other["score"].to_numpy()
    found = []
    for k in np.argsort(-np.abs(a - b), kind="stable")[:top]:
        errors = abs(a[k] - truth[k]), abs(b[k] - truth[k])
        nearer = "a" if errors[0] < errors[1] else "b" if errors[1] < errors[0] else "both"
        numbers = {"truth": float(truth[k]), "a": float(a[k]), "b": float(b[k])}
        found.append({"id": str(ids[k]), **numbers, "nearer": nearer})
    return found
