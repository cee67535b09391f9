"""``aqa fit``: train heads on cached features; every model becomes a run folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Console, counted
from .settings import place
from .verb import Cache, ConfigFile, DatasetName, Device, Json, Labelled, ProtocolName, Quiet, Runs


def fit(
    dataset: DatasetName = None,
    *,
    head: Annotated[
        list[str] | None, typer.Option("--head", help="Head; may be given several times; `all`: every one.")
    ] = None,
    features: Annotated[
        str | None, typer.Option("--features", help="Stream of cached features (i3d, i3d+c3d, i3d@FINGERPRINT).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Parameter of the heads that have it; HEAD.NAME=VALUE: of one."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="How many seeds: 0, 1, ... [3].")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Target, where the set has several.")] = None,
    protocol: ProtocolName = None,
    group: Annotated[str | None, typer.Option("--group", help="Only this group (sport, apparatus, task).")] = None,
    fold: Annotated[str | None, typer.Option("--fold", help="Only this fold.")] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            "--held-out", min=0.0, max=0.5, help="Part of train that selects the epoch and makes the intervals [.15]."
        ),
    ] = None,
    labelled: Labelled = None,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Leave out samples without features.")] = False,
    gdlt_split: Annotated[
        bool, typer.Option("--gdlt-split", help="Fis-V as GDLT reads it (= --protocol gdlt).")
    ] = False,
    root: Annotated[Path | None, typer.Option("--root", help="Data set, for floors without features.")] = None,
    config: ConfigFile = None,
    device: Device = "auto",
    cache: Cache = None,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> list[Path]:
    """Train heads on cached features and write one run folder per model.

    The same command goes on where it stopped: a run that is there is not trained again.

    Example: aqa fit mtl-aqa --features i3d --head dae --head svr --set svr.C=10 --seeds 5
    """
    # Threads of torch that wait for each other: spinning for long makes them slower by half where the machine does
    # other things too, not spinning at all where it does not. Read when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from ..errors import AqaError, SomeFailed, UsageError
    from ..extract.precision import choose
    from ..leaderboard.captions import without_bleu
    from .fitting import fit_job
    from .jobs import Job, plan_jobs
    from .repeat import config_words, features_of, lacked_samples, once_more, read_config

    run = None if config is None else read_config(config, tuned=False)
    said = {"dataset": dataset, "protocol": "gdlt" if gdlt_split else protocol, "target": target, "group": group}
    said |= {"fold": fold, "held_out": held_out, "labelled": labelled}
    asked = once_more(run, {**said, "seeds": None if seeds is None else list(range(seeds))}, range(3))
    heads, settings = list(head or ()), list(set_ or ())
    if run is not None:
        heads = heads or [run["head"]]
        settings = config_words(run, heads, settings)
        features = features or features_of(run, same_set=asked["dataset"] == run["dataset"])
        allow_missing = allow_missing or lacked_samples(run)
    if not heads:
        raise UsageError("which head is to be fitted is not said", hint="give --head NAME, or --head all")
    console = Console(json=json, quiet=quiet)
    where = place(asked.pop("dataset"), root=root, cache=cache, runs=runs, protocol=asked.pop("protocol"))
    jobs: list[Job] = plan_jobs(
        where,
        heads=heads,
        features=features,
        settings=settings,
        **asked,
        allow_missing=allow_missing,
        device=choose(device).device,
        console=console,
    )
    rows: list[dict[str, Any]] = []
    failed: list[tuple[Job, AqaError]] = []
    with console.progress("fit", len(jobs)) as step:
        for job in jobs:
            try:
                found = fit_job(job)
            except AqaError as error:
                if len(jobs) == 1:
                    raise
                failed.append((job, error))
                console.warn(f"{job.label} failed: {error}")
            else:
                rows += found
                for row in found:
                    rho = row["metrics"]["spearman"]
                    shown = "undefined" if rho is None else f"{rho:.3f}"
                    console.say(f"{job.label} seed {row['seed']}: Spearman {shown} ({row['fit_seconds']:.2f} s)")
                    if row["weights"]:
                        parts = (f"{name} {weight:.2f}" for name, weight in row["weights"].items() if weight > 0.005)
                        console.say(f"  weights: {', '.join(parts)}")
            step()
    if remark := without_bleu(row["metrics"] for row in rows):
        console.warn(remark)
    console.result(
        rows, f"{counted(len(rows), 'run')} in {where.runs}; `aqa leaderboard {where.dataset}` shows the table"
    )
    if failed:
        names = ", ".join(sorted({job.label for job, _ in failed}))
        raise SomeFailed(f"{len(failed)} of {len(jobs)} could not be fitted: {names}")
    return [Path(row["run"]) for row in rows]
