"""Tables and pictures put together into one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MissingExtra
from ..across import across
from ..columns import Column, columns_of, note_of, title_of
from ..flags import meaning
from ..quoted import COLUMNS, TITLE, cells, quoted
from ..table import Row, Section, name_of
from .svg import Picture

HERE = Path(__file__).parent
MATRIX = 20  # rows of the pairwise matrix


@dataclass(frozen=True)
class Cell:
    parts: list[str]  # between which a line may break
    value: Any  # what the column is sorted by
    title: str = ""


def to_html(sections: Sequence[Section], title: str = "aqa leaderboard") -> str:
    """The page. It depends on the runs alone: the same runs give the same bytes.

    Raises MissingExtra without the extra `page`.
    """
    overall = across(sections)
    try:
        import jinja2
        import matplotlib  # noqa: F401

        diagram = _diagram(overall)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the page needs {error.name}", hint="run pip install 'aqa[page]'") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=title,
        sections=[_section(section, f"s{k}") for k, section in enumerate(sections)],
        overall=overall,
        diagram=diagram,
        flags=_flags(sections),
        quoted_title=TITLE,
        quoted_columns=COLUMNS,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
    )


def _section(section: Section, name: str) -> dict[str, Any]:
    columns = columns_of(section)
    return {
        "id": name,
        "title": title_of(section),
        "note": note_of(section),
        "columns": columns,
        "rows": [{"floor": row["floor"], "cells": [_cell(row, column) for column in columns]} for row in section.rows],
        "pictures": list(pictures(section, name)),
        "matrix": matrix(section),
        "quoted": [cells(entry) for entry in quoted(section)],
    }


def _cell(row: Row, column: Column) -> Cell:
    value = column.value(row)
    flags = column.title == "flags"
    title = "; ".join(f"{flag}: {meaning(flag)}" for flag in row["flags"]) if flags else ""
    text = column.cell(row)
    return Cell(text.split(", ") if flags else [text], "" if value is None else value, title)


def pictures(section: Section, name: str) -> Sequence[Picture]:
    """All pictures that the runs of a section give."""
    from . import diagnosis, ranking

    draw = (
        ranking.forest,
        diagnosis.predicted,
        diagnosis.errors_by_difficulty,
        diagnosis.errors_by_group,
        diagnosis.calibration,
        ranking.pareto,
        ranking.learning,
        diagnosis.training,
    )
    drawn = (one(section, f"{name}-{one.__name__}") for one in draw)
    return [picture for picture in drawn if picture is not None]


def _diagram(overall: dict[str, Any] | None) -> Picture | None:
    from .ranking import critical_difference

    return None if overall is None else critical_difference(overall, "across")


def matrix(section: Section) -> dict[str, Any] | None:
    """Differences of Spearman, row minus column, of the best rows; `sure` where the adjusted p is below 5%."""
    from .ranking import label_of

    every = [line for line in section.compared if line.observed is not None]
    lines = every[:MATRIX]
    if len(lines) < 2:
        return None
    number = {id(line): k for k, line in enumerate(section.compared)}
    rows = []
    for a in lines:
        cells = []
        for b in lines:
            p = float(section.p[number[id(a)], number[id(b)]])
            difference = (a.observed or 0.0) - (b.observed or 0.0)
            known = a is not b and np.isfinite(p)
            cells.append({"text": f"{difference:+.3f}" if known else "", "p": p, "sure": bool(known and p < 0.05)})
        rows.append({"head": name_of(a.row), "cells": cells})
    return {"heads": [label_of(section, line.row) for line in lines], "rows": rows, "of": len(every)}


def _flags(sections: Sequence[Section]) -> dict[str, str]:
    """Every flag of the page and what it means."""
    found = dict.fromkeys(flag for s in sections for row in s.rows for flag in row["flags"])
    return {flag: text for flag in sorted(found) if (text := meaning(flag))}
