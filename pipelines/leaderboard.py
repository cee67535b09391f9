"""``aqa leaderboard``: tables from run folders. It never trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .console import Console
from .settings import place
from .verb import DatasetName, Json, ProtocolName, Quiet, Runs


def leaderboard(
    dataset: DatasetName = None,
    *,
    format: Annotated[  # noqa: A002
        Literal["text", "md", "csv", "json"], typer.Option("--format", help="How to print the table.")
    ] = "text",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the table to this file.")] = None,
    all_datasets: Annotated[bool, typer.Option("--all", help="Every data set that has runs.")] = False,
    protocol: ProtocolName = None,
    target: Annotated[str | None, typer.Option("--target", help="Only this target.")] = None,
    group: Annotated[str | None, typer.Option("--group", help="Only this group.")] = None,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Bootstrap resamples.")] = 10_000,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> Path | None:
    """Print the table of all runs on a data set.

    Example: aqa leaderboard mtl-aqa --format md -o table.md
    """
    from ..errors import StoreError
    from ..leaderboard import formats, table
    from ..leaderboard.captions import without_bleu
    from ..leaderboard.runs import iter_runs

    console = Console(json=json or format == "json", quiet=quiet)
    where = place(dataset, runs=runs)
    found = [
        run
        for run in iter_runs(where.runs, None if all_datasets else where.dataset)
        if (protocol or run.info["protocol"]) == run.info["protocol"]
        and (target or run.info["target"]) == run.info["target"]
        and (group or run.info["group"]) == run.info["group"]
    ]
    if not found:
        what = "any data set" if all_datasets else where.dataset
        raise StoreError(
            f"no runs on {what}", file=where.runs, hint=f"`aqa fit {where.dataset} --head ridge` makes one"
        )
    rows = table.rows(found, count=resamples)
    if remark := without_bleu(rows):
        console.warn(remark)
    texts = {"md": formats.to_markdown, "csv": formats.to_csv, "json": formats.to_json}
    if output is not None:
        kind = format if format != "text" else output.suffix.lstrip(".")
        output.write_text(texts.get(kind, formats.to_markdown)(rows), encoding="utf-8")
        console.say(f"wrote {output}")
        return output
    console.result(rows, texts[format](rows).rstrip("\n") if format in texts else formats.to_terminal(rows))
    return None
