"""The rows of a table that somebody wrote, with errors that name the line and the column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import AnnotationError
from .files import text

REQUIRED = ("id", "media", "score")
TEXTS = ("group", "kind", "event", "subject", "caption")
KNOWN = frozenset({*REQUIRED, *TEXTS, "split", "difficulty", "start_frame", "end_frame"})
JUDGE = re.compile(r"judge_(\d+)")


@dataclass(frozen=True)
class Row:
    """Line `n` of `file`: column -> text without surrounding blanks; a column that the table lacks reads as ""."""

    file: Path
    n: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def error(self, what: str, column: str, hint: str | None = None) -> AnnotationError:
        said = f"line {self.n}: {what}"
        return AnnotationError(said, file=self.file, sample=self["id"] or None, field=column, hint=hint)

    def number(self, column: str) -> float | None:
        """A finite number, or None for an empty cell. Raises AnnotationError."""
        cell = self[column]
        if not cell:
            return None
        try:
            value = float(cell)
        except ValueError:
            hint = "write numbers with a point, not a comma" if "," in cell else None
            raise self.error(f"'{cell}' is no number", column, hint) from None
        if not math.isfinite(value):
            raise self.error(f"{cell} is not finite", column, "leave the cell empty if it is not known")
        return value

    def frame(self, column: str) -> int | None:
        """The number of a frame, from 0, or None for an empty cell. Raises AnnotationError."""
        value = self.number(column)
        if value is not None and (value < 0 or value != int(value)):
            raise self.error(f"{value:g} is no frame: frames count 0, 1, 2, ...", column)
        return None if value is None else int(value)

    def judges(self) -> tuple[float | None, ...]:
        """The marks of judge_1, judge_2, ... in order of their numbers."""
        columns = [name for name in self.cells if JUDGE.fullmatch(name)]
        return tuple(self.number(name) for name in sorted(columns, key=lambda name: int(name.partition("_")[2])))

    def further(self) -> dict[str, str]:
        """The cells of columns that are none of the known ones, without the empty ones."""
        return {name: cell for name, cell in self.cells.items() if cell and not _known(name)}


def read_rows(file: Path) -> list[Row]:
    """All rows that are not blank; the separator is the most frequent of comma, semicolon and tab in the first line.

    Names of known columns may be in capitals. Raises AnnotationError for what is no such table.
    """
    content = text(file)
    first = content.partition("\n")[0]
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    rows: list[Row] = []
    try:
        header = _header(file, next(reader, []))
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(header):
                said = f"line {reader.line_num} has {len(values)} cells for {len(header)} columns"
                raise AnnotationError(said, file=file, hint="put a text that contains the separator in quotes")
            cells = (value.strip() for value in values)
            rows.append(Row(file, reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise AnnotationError(f"line {reader.line_num} is not CSV: {error}", file=file) from error
    if not rows:
        raise AnnotationError("the table has no rows", file=file)
    return rows


def _header(file: Path, names: Sequence[str]) -> list[str]:
    header = [name.strip() for name in names]
    header = [name.lower() if _known(name.lower()) else name for name in header]
    for column in REQUIRED:
        if column not in header:
            hint = f"the first line names the columns: {','.join(REQUIRED)} and what else is known"
            said = f"the column is missing, line 1 has {', '.join(header) or 'nothing'}"
            raise AnnotationError(said, file=file, field=column, hint=hint)
    for name in header:
        if not name or header.count(name) > 1:
            said = f"line 1 names the column '{name}' twice" if name else "line 1 has a column without a name"
            raise AnnotationError(said, file=file, field=name or None)
    return header


def _known(name: str) -> bool:
    return name in KNOWN or JUDGE.fullmatch(name) is not None
