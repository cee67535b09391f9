"""A leaderboard as text: Markdown, CSV, JSON, LaTeX, and a table for the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .across import across
from .columns import columns_of, fitting, note_of, title_of
from .quoted import COLUMNS, TITLE, cells, quoted
from .table import Section, head_of

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


def to_value(sections: Sequence[Section]) -> dict[str, Any]:
    """What `--json` prints: `rows`, `pairs`, `published` and `across`; an undefined number is None."""
    return {
        "rows": [row for section in sections for row in section.rows],
        "pairs": [pair for section in sections for pair in section.pairs()],
        "published": [
            {**asdict(entry), "protocol": s.protocol, "target": s.target, "group": s.group}
            for s in sections
            for entry in quoted(s)
        ],
        "across": across(sections),
    }


def to_json(sections: Sequence[Section]) -> str:
    """`to_value` as text."""
    return json.dumps(to_value(sections), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(sections: Sequence[Section]) -> str:
    """One line a row, all columns, config and flags as JSON and blank-separated words; undefined numbers are empty."""
    out = io.StringIO()
    rows = [row for section in sections for row in section.rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        flat = {**row, "config": json.dumps(row["config"]), "flags": " ".join(row["flags"])}
        flat["range"] = "" if row["range"] is None else "{:g}..{:g}".format(*row["range"])
        writer.writerow({name: "" if value is None else value for name, value in flat.items()})
    return out.getvalue()


def to_markdown(sections: Sequence[Section]) -> str:
    """One table for each section, and one of what is published on it."""
    parts = []
    for section in sections:
        columns = columns_of(section)
        titles = [(column.title, column.text) for column in columns]
        table = _markdown(titles, [[column.cell(row) for column in columns] for row in section.rows])
        lines = [f"### {title_of(section)}", "", *table, "", note_of(section)]
        if known := quoted(section):
            lines += ["", f"{TITLE}:", "", *_markdown(COLUMNS, [cells(entry) for entry in known])]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n" if parts else "no runs\n"


def _markdown(titles: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(title for title, _ in titles) + " |"]
    lines.append("|" + "|".join("---" if text else "---:" for _, text in titles) + "|")
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


# What a table in a paper has room for; the flags go into its caption.
IN_PAPERS = {
    *("head", "features", "labelled", "accuracy", "AUC", "Spearman", "sd", "95% interval", "like", "MAE", "R-l2 x100"),
    "coverage",
}


def to_latex(sections: Sequence[Section]) -> str:
    """One booktabs table per section, with the columns `IN_PAPERS`; needs `\\usepackage{booktabs}`."""
    import pandas as pd

    parts = []
    for section in sections:
        columns = [column for column in columns_of(section) if column.title in IN_PAPERS]
        cells = [[column.cell(row) for column in columns] for row in section.rows]
        style = pd.DataFrame(cells, columns=[column.title for column in columns]).style
        style.hide(axis="index").format(escape="latex").format_index(axis="columns", escape="latex")
        caption = f"{title_of(section)}. {note_of(section)}.{_flags_in_words(section)}"
        for sign in "%_&#":
            caption = caption.replace(sign, "\\" + sign)
        parts.append(
            style.to_latex(
                hrules=True,
                column_format="".join("l" if column.text else "r" for column in columns),
                caption=caption.replace("·", r"\(\cdot\)"),
                position_float="centering",
            )
        )
    return "\n".join(parts) if parts else "% no runs\n"


def _flags_in_words(section: Section) -> str:
    flags = dict.fromkeys(flag for row in section.rows for flag in row["flags"])
    having = {flag: [head_of(row) for row in section.rows if flag in row["flags"]] for flag in flags}
    texts = [f"{flag} ({', '.join(heads)})" for flag, heads in having.items()]
    return f" Flags: {'; '.join(texts)}." if texts else ""


@dataclass(frozen=True)
class Tables:
    """The tables for rich to print: as many columns as the terminal is wide, and a line that names the others."""

    sections: Sequence[Section]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.table import Table
        from rich.text import Text

        if not self.sections:
            yield Text("no runs")
        for section in self.sections:
            columns, left_out = fitting(columns_of(section), section, options.max_width)
            caption = note_of(section) + (f"; no room for: {', '.join(left_out)}" if left_out else "")
            table = Table(
                title=Text(title_of(section)),
                title_justify="left",
                caption=Text(caption),
                caption_justify="left",
                box=None,
            )
            for column in columns:
                justify = "left" if column.text else "right"
                table.add_column(column.title, justify=justify, overflow="fold", no_wrap=column.title != "flags")
            for row in section.rows:
                # floors are dimmed and marked, so that colour is not needed
                table.add_row(*(Text(column.cell(row)) for column in columns), style="dim" if row["floor"] else None)
            yield table
            if known := quoted(section):
                best = known[0]
                yield Text(
                    f"published, not run here: {len(known)}, the highest {best.srcc:.3f} ({best.method}, {best.year}); "
                    "--format md or html lists them"
                )
            yield Text("")


def to_terminal(sections: Sequence[Section]) -> Tables:
    """The same tables for a terminal."""
    return Tables(sections)
