"""``aqa demo``: the whole way on the embedded data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Console
from .settings import EMBEDDED, Settings, place
from .verb import Cache, Device, Json, Quiet, Runs

HEADS = (
    "mean", "difficulty", "metadata",
    "ridge", "svr", "knn", "random-forest", "lightgbm", "mlp", "dae", "dae-mt", "core", "gdlt",
)  # fmt: skip
# The defaults are those of the papers, made for a thousand samples; here a few minutes must do.
SETTINGS = ("mlp.hidden=256", "core.epochs=30", "gdlt.epochs=30")


def demo(
    *,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds per head.")] = 3,
    root: Annotated[Path | None, typer.Option("--root", help="Where the videos go [the user's cache].")] = None,
    device: Device = "auto",
    cache: Cache = None,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> list[dict[str, Any]]:
    """The whole way in a few minutes: render 240 synthetic dives, extract, fit heads, print the leaderboard.

    The videos are synthetic and the backbone has random weights: the table shows that everything works, and nothing
    about diving.

    Example: aqa demo --seeds 5
    """
    from ..extract.precision import choose
    from ..leaderboard import formats, table
    from ..leaderboard.runs import iter_runs
    from .extraction import extract_or_fall_back
    from .fitting import fit_job
    from .jobs import plan_jobs

    console = Console(json=json, quiet=quiet)
    where = place(EMBEDDED, root=root, cache=cache, runs=runs, settings=Settings())
    summary = extract_or_fall_back(where, backbones=["c3d.random"], device=device, console=console)
    console.say(f"{summary['clips']} clips extracted into {summary['store']}")
    jobs = plan_jobs(
        where,
        heads=HEADS,
        features=Path(summary["store"]).parent.name + "@" + Path(summary["store"]).name,
        settings=SETTINGS,
        target=None,
        group=None,
        seeds=list(range(seeds)),
        held_out=0.15,
        allow_missing=False,
        device=choose(device).device,
        console=console,
    )
    done: set[str] = set()
    with console.progress("fit", len(jobs)) as step:
        for job in jobs:
            done |= {row["run_id"] for row in fit_job(job)}
            step()
    (section,) = table.sections(run for run in iter_runs(where.runs, EMBEDDED) if run.info["run_id"] in done)
    rows = section.rows
    console.result(formats.to_value([section]), formats.to_terminal([section]))
    best = next(row for row in rows if not row["floor"])
    run = next(r for r in iter_runs(where.runs, EMBEDDED) if r.info["digest"] == best["digest"])
    video = next(s.media.path for s in _samples(where.root) if s.media is not None)
    console.say(
        f"next: aqa predict {video} --run {run.info['run_id']} --difficulty 3.0\n"
        f"      aqa leaderboard {EMBEDDED} -o {EMBEDDED}.html"
    )
    return rows


def _samples(root: Path | None) -> Any:
    from .. import catalog

    return catalog.read(EMBEDDED, root).samples
