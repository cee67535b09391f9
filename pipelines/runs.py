"""``aqa runs``: list and remove runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Console
from .settings import place
from .verb import Json, Quiet, Runs


def list_runs(
    dataset: Annotated[str | None, typer.Argument(help="Only the runs on this data set.")] = None,
    *,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> list[dict[str, Any]]:
    """List the runs, one line each.

    Example: aqa runs ls demo
    """
    from ..leaderboard.runs import iter_runs

    where = place(dataset, runs=runs)
    rows = []
    for run in iter_runs(where.runs, dataset):
        info = run.info
        names = ("run_id", "dataset", "protocol", "target", "group", "head", "fold", "seed", "fit_seconds")
        row = {name: info[name] for name in names}
        row |= {"features": "+".join(info["features"]), "config": info["changed"]}
        row |= {"spearman": info["metrics"]["spearman"], "run": str(run.folder)}
        rows.append(row)
    lines = [
        f"{r['run_id']}  {r['dataset']}  {r['protocol']}  {r['target']}  {r['group'] or '-'}  {r['features'] or '-'}  "
        f"{r['head']}  fold {r['fold']}  seed {r['seed']}  "
        f"spearman {'-' if r['spearman'] is None else format(r['spearman'], '.3f')}"
        for r in rows
    ]
    Console(json=json, quiet=quiet).result(rows, "\n".join(lines) or f"no runs in {where.runs}")
    return rows


def remove_runs(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids or folders (a folder: all below it).")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> list[Path]:
    """Remove runs.

    Example: aqa runs rm 3fa4c01b22
    """
    from ..leaderboard.runs import find_runs

    console = Console(json=json, quiet=quiet)
    where = place(None, runs=runs)
    found = list(dict.fromkeys(run.folder for name in names for run in find_runs(where.runs, name)))
    if not yes:
        typer.confirm(f"remove {len(found)} runs?", abort=True, err=True)
    for folder in found:
        gone = folder.with_name(f".{folder.name}.tmp")  # a run disappears whole, like it came
        folder.rename(gone)
        shutil.rmtree(gone)
    console.result([str(folder) for folder in found], f"removed {len(found)} runs")
    return found
