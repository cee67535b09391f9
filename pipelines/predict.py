"""``aqa predict``: a video gets a score, a spread and an interval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Console
from .settings import place
from .verb import Device, Json, Quiet, Runs


def predict(
    media: Annotated[Path, typer.Argument(metavar="VIDEO|FOLDER", help="Video, folder of frames, or of videos.")],
    *,
    run: Annotated[
        str, typer.Option("--run", help="Run id, folder or bundle (`aqa export`); several seeds: their mean.")
    ],
    start: Annotated[int, typer.Option("--start", min=0, help="First frame, from 0.")] = 0,
    end: Annotated[int | None, typer.Option("--end", min=1, help="One more than the last frame.")] = None,
    difficulty: Annotated[float | None, typer.Option("--difficulty", help="For heads that take it.")] = None,
    kind: Annotated[str, typer.Option("--kind", help="Dive number or action type, for heads that take it.")] = "",
    group: Annotated[str, typer.Option("--group", help="Group of the performance, where the run has several.")] = "",
    weights: Annotated[
        list[str] | None, typer.Option("--weights", help="Weight file, where it is not where it was.")
    ] = None,
    device: Device = "auto",
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> list[dict[str, Any]]:
    """Extract and judge: the score of a video nobody has judged, with a 90% interval.

    Example: aqa predict dive.mp4 --run 3fa4c01b22 --difficulty 3.2
    """
    from ..errors import SomeFailed
    from ..leaderboard.runs import find_runs
    from .bundle import opened_bundle
    from .judging import judge_media

    console = Console(json=json, quiet=quiet)
    where = place(None, runs=runs)
    bundled = run.endswith(".zip") and Path(run).is_file()
    found = find_runs(where.runs, str(opened_bundle(Path(run))) if bundled else run)
    rows, failed = judge_media(
        media,
        found,
        start=start,
        stop=end,
        difficulty=difficulty,
        kind=kind,
        group=group,
        weights=weights or [],
        device=device,
        console=console,
    )
    console.result(rows, "\n".join(_line(row) for row in rows))
    if failed:
        raise SomeFailed(f"{len(failed)} could not be judged: {', '.join(failed)}")
    return rows


def _line(row: dict[str, Any]) -> str:
    text = f"{row['media']}: {row['target']} {row['score']:.2f}"
    if row["spread"] is not None:
        text += f", spread {row['spread']:.2f}"
    if row["interval"] is not None:
        text += f", {row['level']:.0%} interval [{row['interval'][0]:.2f}, {row['interval'][1]:.2f}]"
    for name, said in row["attributes"].items():
        text += f", {name} {said['class']} ({said['probability']:.0%})"
    if row["phases"]:
        text += ", phases begin at {} and {} of 96".format(*row["phases"])
    if row["points"]:
        said = ", ".join(f"{stage} {points:+.2f}" for stage, points in row["points"].items())
        text += f", points above its exemplars: {said}"
    if row["exemplars"]:
        some = ", ".join(f"{one['id']} ({one['score']:.1f})" for one in row["exemplars"][:3])
        text += f", compared with {some}{' and others' * (len(row['exemplars']) > 3)}"
    if row["farther_than"] is not None:
        text += f", as far from train as its {row['farther_than']:.0f}th percentile"
    if row["caption"]:
        text += f', "{row["caption"]}"'
    return text + f" ({row['head']}, {row['clips']} clips)"
