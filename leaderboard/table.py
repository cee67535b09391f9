"""The tables of a leaderboard, a pure function of run folders.

A `Section` is what is compared: one data set, protocol, target and group. Its rows are ranked by their metrics, drawn
from the same resamples, and told apart in pairs.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from ..errors import StoreError
from .bootstrap import RESAMPLES, bootstrap_spearman, interval
from .comparison import holm_matrix, letters, p_best, paired_p
from .entries import Entry, combine, deviation, finite
from .labels import TIOU
from .metrics import average, average_array
from .runs import Run

Row = dict[str, Any]

AVERAGE = "average"  # the group of the row that averages a protocol's groups
SAME = ("dataset", "protocol", "target", "group")  # rows that agree in these are compared
COMPARED = 100  # rows of a section that are compared in pairs, best first
DRAWS = 2_000_000  # rows x resamples: what a table may cost; with many rows there are fewer resamples, at least
FEWEST = 1_000


@dataclass
class Line:
    """One row, the entries it is made of (one, or one per group), and its bootstrap draws [R]."""

    entries: tuple[Entry, ...]
    row: Row
    observed: float | None
    draws: np.ndarray

    @property
    def test_set(self) -> str:
        return "+".join(entry.test_set for entry in self.entries)


@dataclass
class Section:
    """Lines best first. `p`: Holm-adjusted p-values [K, K] of the first K lines of `compared`."""

    dataset: str
    protocol: str
    target: str
    group: str
    lines: list[Line]
    compared: list[Line] = field(default_factory=list)
    p: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    resamples: int = 0

    @property
    def rows(self) -> list[Row]:
        return [line.row for line in self.lines]

    def pairs(self) -> list[dict[str, Any]]:
        """Every pair of compared rows, as in the JSON output; `difference` is that of what was resampled."""
        found = []
        for j, b in enumerate(self.compared):
            for i, a in enumerate(self.compared[:j]):
                if a.observed is None or b.observed is None:
                    continue
                low, high = interval(a.draws - b.draws)
                found.append(
                    {
                        **{name: a.row[name] for name in SAME},
                        "a": name_of(a.row),
                        "b": name_of(b.row),
                        "difference": a.observed - b.observed,
                        "ci_low": low,
                        "ci_high": high,
                        "p_holm": float(self.p[i, j]) if np.isfinite(self.p[i, j]) else None,
                    }
                )
        return found


def sections(
    runs: Iterable[Run], *, count: int = RESAMPLES, failed: Callable[[StoreError], None] | None = None
) -> list[Section]:
    """Tables of all runs. `failed` is told of runs that cannot be read, which are left out; without it they raise.

    Metrics are taken per seed by the protocol's rule (folds averaged, or their predictions pooled) and then averaged
    over seeds. The 95% interval is a bootstrap over test samples of the seed-averaged prediction (of the seeds' mean,
    where each had labels of its own), on the same resamples for every row with the same test samples. A protocol with
    several groups gets one more section, over its groups, with the heads that have runs in all of them.
    """
    by_row: dict[tuple, list[Run]] = defaultdict(list)
    for run in runs:
        by_row[_key(run)].append(run)
    entries = [entry for members in by_row.values() if (entry := _entry(members, failed)) is not None]
    entries.sort(key=lambda entry: tuple(entry.info[name] for name in SAME))
    if entries:
        count = max(min(count, DRAWS // sum(len(entry.scores) for entry in entries)), min(count, FEWEST))
    found: list[Section] = []
    for key, members in groupby(entries, key=lambda entry: tuple(entry.info[name] for name in SAME)):
        dataset, protocol, target, group = key
        lines = lines_of(list(members), count)
        found.append(Section(dataset, protocol, target, group, lines=lines, resamples=count))
    found += _averages(found, count)
    for section in found:
        _finish(section)
    return sorted(found, key=lambda s: (s.dataset, s.protocol, s.target, s.group == AVERAGE, s.group))


def rows(runs: Iterable[Run], *, count: int = RESAMPLES) -> list[Row]:
    """The rows of all sections."""
    return [row for section in sections(runs, count=count) for row in section.rows]


def head_of(row: Row) -> str:
    """Head, and what of its config is not the default."""
    values = ((n, f"{v:g}" if isinstance(v, float) else v) for n, v in row["config"].items())
    return row["head"] + "".join(f" {name}={value}" for name, value in values)


def name_of(row: Row) -> str:
    """`head_of`, features and the share of labels: what tells rows of a section apart."""
    more = [row["features"]] if row["features"] else []
    more += [f"{row['labelled']:.4g} labelled"] if row["labelled"] < 1 else []
    return f"{head_of(row)} ({', '.join(more)})" if more else head_of(row)


def _entry(members: Sequence[Run], failed: Callable[[StoreError], None] | None) -> Entry | None:
    """The entry of `members` without those that cannot be read, which `failed` is told of."""
    good = []
    for run in members:
        try:
            finite(run)
            good.append(run)
        except StoreError as error:
            if failed is None:
                raise
            failed(error)
    entry = Entry(good) if good else None
    return entry if entry is not None and entry.seeds else None


def lines_of(entries: Sequence[Entry], count: int) -> list[Line]:
    """Rows of one group; entries with the same test samples share the resamples."""
    by_test: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_test[entry.test_set].append(entry)
    lines = []
    for members in by_test.values():
        first = members[0]
        # groups have samples of their own, so their resamples are independent
        seed = zlib.crc32(first.info["group"].encode())
        scores = [scores for entry in members for scores in entry.scores]
        draws = bootstrap_spearman(first.truths, scores, rule=first.rule, count=count, seed=seed)
        ends = np.cumsum([len(entry.scores) for entry in members])
        means = [average_array(part, "arithmetic") for part in np.split(draws, ends[:-1])]
        lines += [Line((e,), _row(e, d), e.observed, d) for e, d in zip(members, means, strict=True)]
    return lines


def _row(entry: Entry, draws: np.ndarray) -> Row:
    info, seeds = entry.info, [entry.per_seed[seed]["spearman"] for seed in entry.seeds]
    low, high = interval(draws)
    return {
        **{name: info[name] for name in ("dataset", "protocol", "group", "target")},
        "features": "+".join(info["features"]),
        "head": info["head"],
        "config": info["changed"],
        "seeds": len(entry.seeds),
        "spearman_sd": deviation(seeds) if info["seeded"] else None,
        "spearman_averaged": entry.observed,
        "ci_low": low,
        "ci_high": high,
        **entry.mean_over_seeds(),
        **entry.interval_metrics(),
        "labelled": info.get("labelled", 1.0),
        "floor": info["floor"],
        "flags": entry.flags(),
        "folds": len(entry.folds),
        "averaged": "pooled" if entry.pooled else entry.rule if len(entry.folds) > 1 else None,
        "range": info.get("r_l2_range", info["range"]),
        "range_source": info["range_source"],
        "fit_seconds": float(np.mean([run.info["fit_seconds"] for run in entry.runs])),
        "predict_ms": float(np.mean([run.info["predict_ms"] for run in entry.runs])),
        "parameters": info["parameters"],
        "selected_on": info["selected_on"],
        "digest": info["digest"],
    }


def _averages(found: Sequence[Section], count: int) -> list[Section]:
    """Sections over all groups of a protocol, with the heads that have a row in each."""
    families: dict[str, list[Line]] = defaultdict(list)
    for line in (line for section in found for line in section.lines):
        info = line.entries[0].info
        if len(info["groups"]) > 1:
            same = [info[name] for name in ("dataset", "protocol", "target", "features", "head")]
            same.append(info.get("asked", info["config"]))  # a paper's epochs may differ from group to group
            same.append(info.get("labelled", 1.0))
            families[json.dumps(same, sort_keys=True)].append(line)
    by_section: dict[tuple, list[Line]] = defaultdict(list)
    for members in families.values():
        info = members[0].entries[0].info
        groups = [line.row["group"] for line in members]
        if sorted(groups) == sorted(info["groups"]) and (line := _average(members)) is not None:
            by_section[tuple(info[name] for name in SAME[:3])].append(line)
    return [
        Section(dataset, protocol, target, AVERAGE, lines=lines, resamples=count)
        for (dataset, protocol, target), lines in by_section.items()
    ]


def _average(members: Sequence[Line]) -> Line | None:
    """The row over groups, for the seeds that all groups have."""
    entries = tuple(line.entries[0] for line in members)
    rule, seeds = entries[0].rule, sorted(set.intersection(*(set(entry.seeds) for entry in entries)))
    if not seeds:
        return None
    per_seed = [combine([entry.per_seed[seed] for entry in entries], rule) for seed in seeds]
    draws = average_array(np.stack([line.draws for line in members]), rule)
    low, high = interval(draws)
    observed, seeded = average([line.observed for line in members], rule), entries[0].info["seeded"]
    means = ("interval_coverage", "interval_width")
    row = {
        **members[0].row,
        "group": AVERAGE,
        "config": _shared([line.row["config"] for line in members]),
        "seeds": len(seeds),
        "spearman_sd": deviation([found["spearman"] for found in per_seed]) if seeded else None,
        "spearman_averaged": observed,
        "ci_low": low,
        "ci_high": high,
        **combine(per_seed, "arithmetic", total=False),
        **{name: average([line.row[name] for line in members], "arithmetic") for name in means},
        "flags": list(dict.fromkeys(flag for line in members for flag in line.row["flags"])),
        "folds": sum(line.row["folds"] for line in members),
        "averaged": rule,
        "range": None,
        "fit_seconds": float(np.sum([line.row["fit_seconds"] for line in members])),
    }
    return Line(entries, row, observed, draws)


def _shared(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The items that all have."""
    return {name: value for name, value in found[0].items() if all(row.get(name) == value for row in found)}


def _finish(section: Section) -> None:
    """Rank the rows, compare those with the same test samples, and flag what a reader must know."""
    section.lines.sort(key=lambda line: _order(line.row))
    common = Counter(line.test_set for line in section.lines).most_common(1)[0][0]
    same = [line for line in section.lines if line.test_set == common]
    section.compared = same[:COMPARED]
    draws = np.stack([line.draws for line in section.compared])
    observed = np.array([np.nan if line.observed is None else line.observed for line in section.compared])
    section.p = holm_matrix(paired_p(observed, draws))
    columns = zip(section.compared, letters(section.p), p_best(draws), strict=True)
    found = {id(line): (text, float(best)) for line, text, best in columns}
    for line in section.lines:
        text, best = found.get(id(line), ("", None))
        line.row |= {"letters": text, "p_best": best if line.observed is not None else None}
        if line.test_set != common:
            line.row["flags"].append("other-test-set")
    _flag_fingerprints(section)
    _flag_below_floors(section)


TUNED = ".tuned"  # in the names of streams that `aqa finetune` made


def _flag_fingerprints(section: Section) -> None:
    """Streams of one name that were not made in one way. Networks that were trained with their heads differ from seed
    to seed, which is no mixture."""
    made: dict[str, set[str]] = defaultdict(set)
    for line in section.lines:
        for entry in line.entries:
            for stream, fingerprints in entry.fingerprints().items():
                made[stream] |= set() if TUNED in stream else fingerprints
    for line in section.lines:
        if any(len(made[stream]) > 1 for entry in line.entries for stream in entry.fingerprints()):
            line.row["flags"].append("mixed-fingerprints")


def _flag_below_floors(section: Section) -> None:
    """Rows that do not reach the best floor with as many labels have learned nothing that labels and metadata do not
    give away: of the score, and where a head finds phases, of those."""
    floors = [row for row in section.rows if row["floor"] and row["head"] != "random"]
    for row in (row for row in section.rows if not row["floor"]):
        rivals = [floor for floor in floors if floor["labelled"] == row["labelled"]]
        for value, name in ((main, "floor"), (_phases, "phases-floor")):
            known = {floor["head"]: of for floor in rivals if (of := value(floor)) is not None}
            best, mine = max(known, key=known.__getitem__, default=None), value(row)
            if best is None or (mine is None and value is _phases):  # a head that finds no phases
                continue
            if mine is None or mine <= known[best]:
                row["flags"].append(f"below-{best}-{name}")


def main(row: Row) -> float | None:
    """What rows are ranked by: accuracy of a binary target, else Spearman."""
    return row["accuracy"] if row.get("accuracy") is not None else row["spearman"]


def _phases(row: Row) -> float | None:
    return row.get(TIOU)


def _key(run: Run) -> tuple:
    info = run.info
    return (*(info[name] for name in SAME), tuple(info["features"]), info["head"], info["digest"])


def _order(row: Row) -> tuple:
    value = main(row)
    return (value is None, -(value or 0.0), -(_phases(row) or 0.0), row["head"], row["features"], row["digest"])
