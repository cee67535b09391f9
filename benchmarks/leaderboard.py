"""The table of 10 heads x 5 seeds x 353 samples with 10 000 resamples, the list of 200 runs, and the page of 50 rows.

The plain loop is what one would write: for every head and resample, `scipy.stats.spearmanr` of the arrays that the
drawn indices give. It is timed on 200 resamples of one head and multiplied. Seconds are of the processor, after
imports, of runs that are read from disk. Goals: the table in 5 s, the list in 1 s, the page below 2 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import write
from scipy import stats

from aqa.leaderboard.bootstrap import bootstrap_spearman
from aqa.leaderboard.page.build import to_html
from aqa.leaderboard.runs import Prediction, Run, RunKey, iter_runs, write_run
from aqa.leaderboard.table import sections
from aqa.pipelines.runs import list_runs

HEADS, SEEDS, SAMPLES, HELD, RESAMPLES = 10, 5, 353, 300, 10_000
PLAIN = 200  # resamples of the plain loop
LISTED, ROWS = 200, 50


def make_run(root: Path, head: int, seed: int, epochs: int = 100) -> Run:
    """A run with everything that one of `aqa fit` has: held-out predictions, spreads, a history."""

    def part(name: str, count: int) -> Prediction:
        rng = np.random.default_rng(len(name))
        truth, difficulty = rng.normal(60, 15, count), rng.choice(np.arange(20, 39), count) / 10
        error = np.random.default_rng((head, seed, len(name))).normal(0, 5 + head, count)
        ids = tuple(f"{name}-{i:04d}" for i in range(count))
        groups = tuple("abc"[i % 3] for i in range(count))
        spread = np.abs(error) + 2
        return Prediction(name, ids, truth, truth + error, spread, difficulty, groups, ("",) * count)

    key = RunKey("benchmark", "official", "score", "", ("c3d",), "dae", {"config": {"width": head}}, 0, seed)
    info = {
        "target_kind": "score",
        "range": [0.0, 104.5],
        "range_source": "rules",
        "average": "fisher",
        "pooled": False,
        "folds": 1,
        "groups": [""],
        "floor": False,
        "seeded": True,
        "flags": [],
        "streams": {},
        "config": {"width": head},
        "changed": {"width": head},
        "digest": key.digest,
        "selected_on": "last",
        "metrics": {"spearman": 0.5},
        "fit_seconds": 1.0 + head,
        "predict_ms": 0.1,
        "parameters": 10_000,
    }
    curve = [{"epoch": e, "loss": 9 / e, "val_spearman": 1 - 1 / e} for e in range(1, epochs + 1)]
    return write_run(root, key, info, [part("test", SAMPLES), part("oof", HELD)], curve, lambda _: None)


def processor_seconds(job: Callable[[], Any]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


def table_of(root: Path) -> Any:
    return sections(iter_runs(root), count=RESAMPLES)


def plain(truth: np.ndarray, score: np.ndarray, count: int) -> list[float]:
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        drawn = rng.integers(0, len(truth), len(truth))
        result: Any = stats.spearmanr(truth[drawn], score[drawn])
        found.append(float(result.statistic))
    return found


def listed(root: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        list_runs(runs=root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as name:
        few, many, rows = (Path(name) / part for part in ("few", "many", "rows"))
        for head in range(HEADS):
            for seed in range(SEEDS):
                make_run(few, head, seed)
        for k in range(LISTED):
            make_run(many, k // SEEDS, k % SEEDS)
        for head in range(ROWS):
            make_run(rows, head, 0)
        (section,) = table_of(few)  # warms imports
        listed(many)
        truth = section.lines[0].entries[0].truths
        scores = [line.entries[0].scores[0] for line in section.lines]
        pairs = []
        for _ in range(repeat):
            table = processor_seconds(lambda: table_of(few))
            bootstrap = processor_seconds(lambda: bootstrap_spearman(truth, scores, count=RESAMPLES))
            loop = processor_seconds(lambda: plain(truth[0], scores[0][0], PLAIN)) * HEADS * RESAMPLES / PLAIN
            pairs.append((table, bootstrap, loop, processor_seconds(lambda: listed(many))))
        tables, bootstraps, loops, lists = zip(*pairs, strict=True)
        found, texts = table_of(rows), []
        page = statistics.median(processor_seconds(lambda: texts.append(to_html(found))) for _ in range(repeat))
    write(
        {
            "benchmark": "leaderboard",
            "heads": HEADS,
            "seeds": SEEDS,
            "samples": SAMPLES,
            "resamples": RESAMPLES,
            "table_processor_s": statistics.median(tables),
            "table_goal_s": 5,
            "of_which_bootstrap_s": statistics.median(bootstraps),
            "plain_loop_processor_s": statistics.median(loops),
            "plain_loop_is": f"scipy.stats.spearmanr, {PLAIN} resamples of one head, scaled",
            "plain_loop_over_table": statistics.median(c / a for a, _, c, _ in pairs),
            "plain_loop_over_bootstrap": statistics.median(c / b for _, b, c, _ in pairs),
            "list_of_200_runs_s": statistics.median(lists),
            "list_goal_s": 1,
            "page_rows": ROWS,
            "page_bytes": len(texts[0].encode()),
            "page_goal_bytes": 2_000_000,
            "page_processor_s": page,
        },
        parser.parse_args().out,
    )


if __name__ == "__main__":
    main()
