"""The columns of a leaderboard: which there are by what the rows have, how a cell is written, what it means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .captions import NAMES
from .labels import TIOU, label_names
from .table import Row, Section, head_of

# What a narrow terminal goes without, first to go first, after classes and captions; head, correlation and interval
# always stay.
LEAST = (
    *("parameters", "ms/sample", "fit s", "Kendall", "sharpness", "NLL", "width", "P(best)", "own cov.", "R-l2 x100"),
    *("coverage", "sd", "MAE", "seeds"),
)
LAST = ("features", "like", "flags")


@dataclass(frozen=True)
class Column:
    """`cell` writes the text, `value` is what it is sorted by (None last)."""

    title: str
    cell: Callable[[Row], str]
    value: Callable[[Row], Any]
    meaning: str
    text: bool = False  # left-aligned


def columns_of(section: Section) -> list[Column]:
    """The columns of a section: those that any of its rows fills, in order."""
    rows = section.rows
    columns = [
        Column("head", head_of, head_of, "the head, and what of its config is not the default", text=True),
        Column("features", lambda r: r["features"], lambda r: r["features"], "streams it is given", text=True),
        _number("labelled", "labelled", 3, "share of the train samples whose labels were used"),
        _number("accuracy", "accuracy", 3, "share of classes that are right, at probability 0.5"),
        _number("AUC", "auc", 3, "area under the ROC curve"),
        _number("Spearman", "spearman", 3, "rank correlation with the true score, mean over seeds"),
        _number("sd", "spearman_sd", 3, "standard deviation of Spearman over seeds"),
        Column("95% interval", span, lambda r: r["ci_low"], "bootstrap over test samples, seed-averaged prediction"),
        Column(
            "like",
            lambda r: r["letters"],
            lambda r: r["letters"] or None,
            "heads that share a letter cannot be told apart at 5% (paired bootstrap, Holm)",
            text=True,
        ),
        _number("P(best)", "p_best", 2, "share of resamples in which it has the highest Spearman"),
        Column("flags", flags_of, lambda r: len(r["flags"]), "what to know before believing the row", text=True),
        _number("Kendall", "kendall", 3, "Kendall's tau-b"),
        _number("MAE", "mae", 2, "mean absolute error, in points"),
        _number("R-l2 x100", "r_l2", 3, "mean squared error over the squared range of scores, times 100"),
        _number("coverage", "interval_coverage", 3, "share of test samples in their conformal 90% interval"),
        _number("width", "interval_width", 1, "mean width of the conformal 90% interval, in points"),
        _number("own cov.", "coverage", 3, "share of test samples within 1.645 of the head's own spreads"),
        _number("NLL", "nll", 2, "mean negative log-likelihood by the head's own spread"),
        _number("sharpness", "sharpness", 2, "mean of the head's own spread, in points"),
        *(_number(_title(name), name, 3, _meaning(name)) for name in label_names(rows)),
        Column("seeds", lambda r: str(r["seeds"]), lambda r: r["seeds"], "seeds that are averaged"),
        _number("fit s", "fit_seconds", 2, "seconds to fit one seed"),
        _number("ms/sample", "predict_ms", 2, "milliseconds to judge one sample on cached features"),
        Column("parameters", _parameters, lambda r: r["parameters"], "numbers that were fitted"),
    ]
    if all(row["labelled"] == 1 for row in rows):
        columns = [column for column in columns if column.title != "labelled"]
    return [column for column in columns if column.title == "head" or any(column.cell(row) for row in rows)]


def note_of(section: Section) -> str:
    """What the numbers of a section are, in one paragraph."""
    row = section.rows[0]
    parts = [
        f"n = {row['n']}",
        f"95% interval: bootstrap over test samples {_resampled(section)} ({_thousands(section.resamples)} resamples)",
    ]
    if row["averaged"]:
        how = {"fisher": "correlations averaged by Fisher z", "arithmetic": "correlations averaged arithmetically"}
        parts.append(how.get(row["averaged"], "test predictions of all folds pooled") + f" ({row['folds']} folds)")
    if row["range"]:
        parts.append("R-l2 x100 over {:g}..{:g} ({})".format(*row["range"], row["range_source"]))
    if len(section.compared) > 1:
        parts.append("like: rows that share a letter cannot be told apart (paired bootstrap of Spearman, Holm, 5%)")
    if len(section.compared) < len(section.lines):
        parts.append(f"the {len(section.compared)} best rows on the same test samples are compared")
    if any(row["interval_coverage"] is not None for row in section.rows):
        parts.append("coverage, width: of 90% intervals by split conformal prediction, checked on test")
    if any(row.get("coverage") is not None for row in section.rows):
        parts.append("own cov.: of the 90% intervals by the heads' own spreads")
    return "; ".join(parts)


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _resampled(section: Section) -> str:
    shares = {row["labelled"] < 1 for row in section.rows}
    seeds = "of the seeds' mean correlation, since each had labels of its own"
    if shares == {True}:
        return seeds
    return "of the seed-averaged prediction" + (f" (of rows with fewer labels {seeds})" if True in shares else "")


def title_of(section: Section) -> str:
    """`mtl-aqa · protocol official · target score`, and the group where there are several."""
    title = f"{section.dataset} · protocol {section.protocol} · target {section.target}"
    return title + (f" · {section.group}" if section.group else "")


def fitting(columns: Sequence[Column], section: Section, width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit into `width` characters, and the titles of those left out."""
    wide = {c.title: 2 + max(len(c.title), *(len(c.cell(row)) for row in section.rows)) for c in columns}
    if "flags" in wide:
        wide["flags"] = min(wide["flags"], 22)  # they fold
    left_out = []
    labels = list(reversed(label_names(section.rows)))
    phases = [name for name in labels if name == TIOU or name.startswith("aiou_")]  # all that heads of phases are for
    others = [name for name in labels if name not in phases]
    for title in (*map(_title, others), *LEAST, *map(_title, phases), *LAST):
        if sum(wide.values()) <= width:
            break
        if wide.pop(title, None) is not None:
            left_out.append(title)
    return [column for column in columns if column.title in wide], left_out


def span(row: Row) -> str:
    return "" if row["ci_low"] is None else f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


def _parameters(row: Row) -> str:
    return f"{row['parameters']:,}" if row["parameters"] else ""


def flags_of(row: Row) -> str:
    return ", ".join((["floor"] if row["floor"] else []) + row["flags"])


def _number(title: str, key: str, digits: int, meaning: str) -> Column:
    def cell(row: Row) -> str:
        return "" if row.get(key) is None else f"{row[key]:.{digits}f}"

    return Column(title, cell, lambda row: row.get(key), meaning)


def _title(name: str) -> str:
    """Of a column of `label_names`: "position acc.", "BLEU-4", "AIoU@0.5"."""
    if name in NAMES:
        return {"rouge_l": "ROUGE-L", "cider": "CIDEr"}.get(name, name.upper().replace("_", "-"))
    if name == TIOU:
        return "tIoU"
    if name.startswith("aiou_"):
        return f"AIoU@0.{name.removeprefix('aiou_').rstrip('0')}"
    return f"{name.removeprefix('accuracy_')} acc."


def _meaning(name: str) -> str:
    if name in NAMES:
        return "of the captions, against one reference each"
    if name == TIOU:
        return "mean overlap of the flight, from the second phase to the last, with the true one"
    if name.startswith("aiou_"):
        return "share of samples whose flight, from the second phase to the last, overlaps the true one that much"
    return "share of test samples whose class is right"
