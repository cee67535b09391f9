"""A leaderboard as text: Markdown, CSV, JSON, and a table for the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from .captions import NAMES
from .labels import label_names
from .table import SAME, Row

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

Column = tuple[str, Callable[[Row], str]]


def to_json(rows: Sequence[Row]) -> str:
    """An array of rows; an undefined number is null."""
    return json.dumps(list(rows), indent=1, ensure_ascii=False, allow_nan=False)


def to_csv(rows: Sequence[Row]) -> str:
    """One line a row, all columns, config and flags as JSON and blank-separated words; undefined numbers are empty."""
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        flat = {**row, "config": json.dumps(row["config"]), "flags": " ".join(row["flags"])}
        flat["range"] = "" if row["range"] is None else "{:g}..{:g}".format(*row["range"])
        writer.writerow({name: "" if value is None else value for name, value in flat.items()})
    return out.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """One table for each data set, protocol, target and group."""
    parts = []
    for title, note, section in _sections(rows):
        columns = _columns(section)
        lines = [f"### {title}", "", "| " + " | ".join(name for name, _ in columns) + " |"]
        lines.append("|" + "|".join("---" if name in ("head", "flags") else "---:" for name, _ in columns) + "|")
        cells = ([cell(row).replace("|", "\\|") for _, cell in columns] for row in section)
        lines += ["| " + " | ".join(row) + " |" for row in cells]
        parts.append("\n".join([*lines, "", note]))
    return "\n\n".join(parts) + "\n" if parts else "no runs\n"


# What a narrow terminal goes without, first to go first, after classes and captions; head, correlation and interval
# always stay.
LEAST = (
    *("parameters", "ms/sample", "fit s", "Kendall", "NLL", "coverage", "R-l2 x100", "sd", "MAE", "seeds"),
    *("features", "flags"),
)


@dataclass(frozen=True)
class Tables:
    """The tables for rich to print: as many columns as the terminal is wide, and a line that names the others."""

    rows: Sequence[Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.table import Table
        from rich.text import Text

        if not self.rows:
            yield Text("no runs")
        for title, note, section in _sections(self.rows):
            columns, left_out = _fitting(_columns(section), section, options.max_width)
            caption = note + (f"; no room for: {', '.join(left_out)}" if left_out else "")
            table = Table(
                title=Text(title), title_justify="left", caption=Text(caption), caption_justify="left", box=None
            )
            for name, _ in columns:
                left = name in ("head", "flags")
                table.add_column(name, justify="left" if left else "right", overflow="fold", no_wrap=not left)
            for row in section:
                # floors are dimmed and marked, so that colour is not needed
                table.add_row(*(Text(cell(row)) for _, cell in columns), style="dim" if row["floor"] else None)
            yield table
            yield Text("")


def to_terminal(rows: Sequence[Row]) -> Tables:
    """The same tables for a terminal."""
    return Tables(rows)


def _fitting(columns: Sequence[Column], section: Sequence[Row], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit into `width` characters, and the names of those left out, empty ones apart."""
    filled = [(n, cell) for n, cell in columns if n == "head" or any(cell(row) for row in section)]
    wide = {n: 2 + max(len(n), *(len(cell(row)) for row in section)) for n, cell in filled}
    if "flags" in wide:
        wide["flags"] = min(wide["flags"], 22)  # they fold
    left_out = []
    for name in (*(_title(name) for name in reversed(label_names(section))), *LEAST):
        if sum(wide.values()) <= width:
            break
        if wide.pop(name, None) is not None:
            left_out.append(name)
    return [column for column in filled if column[0] in wide], left_out


def _sections(rows: Sequence[Row]) -> list[tuple[str, str, list[Row]]]:
    found = []
    for key, members in groupby(rows, key=lambda row: tuple(row[name] for name in SAME)):
        dataset, protocol, target, group = key
        section = list(members)
        title = f"{dataset} · protocol {protocol} · target {target}" + (f" · {group}" if group else "")
        found.append((title, _note(section), section))
    return found


def _note(section: Sequence[Row]) -> str:
    row = section[0]
    parts = [f"n = {row['n']}", "95% interval: bootstrap over test samples of the seed-averaged prediction"]
    if row["averaged"]:
        how = {"fisher": "correlations averaged by Fisher z", "arithmetic": "correlations averaged arithmetically"}
        parts.append(how.get(row["averaged"], "test predictions of all folds pooled") + f" ({row['folds']} folds)")
    if row["range"]:
        parts.append("R-l2 x100 over {:g}..{:g} ({})".format(*row["range"], row["range_source"]))
    if any(row.get("coverage") is not None for row in section):
        parts.append("coverage: of the heads' own 90% intervals")
    return "; ".join(parts)


def _columns(section: Sequence[Row]) -> list[Column]:
    def number(name: str, digits: int) -> Callable[[Row], str]:
        return lambda row: "" if row.get(name) is None else f"{row[name]:.{digits}f}"

    def span(row: Row) -> str:
        return "" if row["ci_low"] is None else f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]"

    columns = [("head", _head), ("features", lambda row: row["features"])]
    if any(row.get("accuracy") is not None for row in section):
        columns += [("accuracy", number("accuracy", 3)), ("AUC", number("auc", 3))]
    columns += [("Spearman", number("spearman", 3)), ("sd", number("spearman_sd", 3)), ("95% interval", span)]
    columns += [("Kendall", number("kendall", 3)), ("MAE", number("mae", 2)), ("R-l2 x100", number("r_l2", 3))]
    columns += [
        (name, number(key, digits))
        for name, key, digits in (("coverage", "coverage", 3), ("NLL", "nll", 2))
        if any(row.get(key) is not None for row in section)
    ]
    columns += [(_title(name), number(name, 3)) for name in label_names(section)]
    columns += [("seeds", lambda row: str(row["seeds"])), ("fit s", number("fit_seconds", 2))]
    columns += [
        ("ms/sample", number("predict_ms", 2)),
        ("parameters", lambda row: f"{row['parameters']:,}" if row["parameters"] else ""),
    ]
    return [*columns, ("flags", lambda row: ", ".join((["floor"] if row["floor"] else []) + row["flags"]))]


def _title(name: str) -> str:
    """Of a column of `label_names`: "position acc.", "BLEU-4"."""
    if name in NAMES:
        return {"rouge_l": "ROUGE-L", "cider": "CIDEr"}.get(name, name.upper().replace("_", "-"))
    return f"{name.removeprefix('accuracy_')} acc."


def _head(row: Row) -> str:
    return row["head"] + "".join(f" {name}={value}" for name, value in row["config"].items())
