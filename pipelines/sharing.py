"""``aqa runs export`` and ``aqa runs merge``: runs from one group to another, so that both get one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Console
from .settings import place
from .verb import Json, Quiet, Runs


def export_runs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Zip to write; a name without .zip makes a folder.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Run ids or folders (a folder: all below it) [all runs]."),
    ] = None,
    *,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only the runs on this data set.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a zip that is there.")] = False,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> Path:
    """Put runs into one file for another group to merge: their settings and predictions, no heads, no features.

    The file holds ids, true scores, groups and subjects of test and held-out samples, and captions and classes where
    heads say any: see whether you may pass them on. Paths of this machine are taken out.

    Example: aqa runs export ours.zip --dataset mtl-aqa
    """
    from ..errors import StoreError, UsageError
    from ..leaderboard import sharing
    from ..leaderboard.runs import find_runs, iter_runs
    from ..leaderboard.shared_files import is_zip

    console = Console(json=json, quiet=quiet)
    where = place(dataset, runs=runs)
    if not is_zip(file) and file.resolve().is_relative_to(where.runs.resolve()):
        raise UsageError("what lies in the folder of runs would be taken for runs", file=file, hint="write elsewhere")
    found = [run for name in names for run in find_runs(where.runs, name)] if names else iter_runs(where.runs, dataset)
    chosen = [run for run in found if dataset in (None, run.info["dataset"])]
    if not chosen:
        what = f"no runs{f' on {dataset}' if dataset else ''} to export"
        raise StoreError(what, file=where.runs, hint="`aqa runs ls` lists the runs")
    made = sharing.export_runs(chosen, file, overwrite=force)
    inside = f"ids, true scores and groups of {made.samples} samples"
    inside += f", the names of {made.subjects} subjects" if made.subjects else ""
    inside += ", captions" if made.captions else ""
    console.say(f"in the file: {inside}; see whether you may pass them on")
    result = {**made.__dict__, "file": str(file)}
    console.result(result, f"{made.runs} runs in {file}")
    return file


def merge_runs(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Zips by `aqa runs export`, or folders.")],
    *,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> dict[str, Any]:
    """Add runs of others to the runs here, so that `aqa leaderboard` shows one table.

    Runs on other test samples, other truths or other settings of the protocol are refused, and nothing is merged. A run
    that is here already is kept as it is; where its predictions differ it is listed, and the exit code is 1.

    Example: aqa runs merge theirs.zip
    """
    from ..errors import SomeFailed
    from ..leaderboard import sharing

    console = Console(json=json, quiet=quiet)
    where = place(None, runs=runs)
    done = sharing.merge_runs(sources, where.runs)
    if done.ignored:
        console.say(f"{done.ignored} other files of the sources were not looked at")
    for folder in done.conflicts:
        console.warn(f"{folder} is here with other predictions (of another machine?): it was kept as it is")
    result = {name: [str(folder) for folder in getattr(done, name)] for name in ("merged", "skipped", "conflicts")}
    text = f"merged {len(done.merged)} runs into {where.runs}, {len(done.skipped)} were here already"
    console.result(result, text)
    if done.conflicts:
        what = f"{len(done.conflicts)} runs are here with other predictions"
        raise SomeFailed(what, hint="to take theirs, remove those here (`aqa runs rm`) and merge again")
    return result
