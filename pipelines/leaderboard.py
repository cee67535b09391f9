"""``aqa leaderboard``: tables from run folders. It never trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .console import Console
from .settings import place
from .verb import DatasetName, Json, ProtocolName, Quiet, Runs

if TYPE_CHECKING:
    from ..leaderboard.table import Section

SUFFIXES = {".md": "md", ".csv": "csv", ".json": "json", ".tex": "latex", ".html": "html"}


def leaderboard(
    dataset: DatasetName = None,
    *,
    format: Annotated[  # noqa: A002
        Literal["text", "md", "csv", "json", "latex", "html"] | None,
        typer.Option("--format", help="How to write the table [text; with --output by its ending]."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file: .md, .csv, .json, .tex or .html.")
    ] = None,
    all_datasets: Annotated[bool, typer.Option("--all", help="Every data set that has runs.")] = False,
    protocol: ProtocolName = None,
    target: Annotated[str | None, typer.Option("--target", help="Only this target.")] = None,
    group: Annotated[str | None, typer.Option("--group", help="Only this group.")] = None,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Bootstrap resamples, at most.")] = 10_000,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> Path | None:
    """Print the table of all runs on a data set, or write a page with pictures.

    Example: aqa leaderboard mtl-aqa -o leaderboard.html
    """
    from ..errors import SomeFailed, StoreError, UsageError
    from ..leaderboard import formats, table
    from ..leaderboard.captions import without_bleu
    from .selection import select_runs

    kind = "json" if json else format or (SUFFIXES.get(output.suffix.lower()) if output else "text")
    if kind is None:
        hint = f"end its name with {', '.join(SUFFIXES)}, or say --format"
        raise UsageError(f"no format is known for '{output}'", hint=hint)
    console = Console(json=kind == "json", quiet=quiet)
    where = place(dataset, runs=runs)
    found = select_runs(where, all_datasets=all_datasets, protocol=protocol, target=target, group=group)
    failed: list[StoreError] = []
    sections = table.sections(found, count=resamples, failed=failed.append)
    for error in failed:
        console.warn(f"left out: {error}")
    if remark := without_bleu(row for section in sections for row in section.rows):
        console.warn(remark)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        part = output.with_name(f".{output.name}.tmp")
        part.write_text(_text(kind, sections), encoding="utf-8")
        part.replace(output)
        console.say(f"wrote {output}")
    elif kind == "json":
        console.result(formats.to_value(sections))
    else:
        console.result(None, formats.to_terminal(sections) if kind == "text" else _text(kind, sections).rstrip("\n"))
    if failed:
        raise SomeFailed(f"{len(failed)} runs could not be read")
    return output


def _text(kind: str, sections: Sequence[Section]) -> str:
    from ..leaderboard import formats

    if kind == "html":
        from ..leaderboard.page.build import to_html

        return to_html(sections)
    if kind == "text":
        import io

        from rich.console import Console as Terminal

        file = io.StringIO()
        Terminal(width=200, file=file).print(formats.to_terminal(sections))
        return file.getvalue()
    writers = {"md": formats.to_markdown, "csv": formats.to_csv, "json": formats.to_json, "latex": formats.to_latex}
    return writers[kind](sections)
