"""``aqa compare``: two heads on the same test samples."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .console import Console
from .settings import place
from .verb import Json, Quiet, Runs

PHASES = {"aiou_75": "AIoU@0.75", "tiou": "tIoU"}


def compare(
    first: Annotated[
        str, typer.Argument(metavar="RUN", help="Run id or folder; a folder of several seeds: their mean.")
    ],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Likewise.")],
    *,
    top: Annotated[int, typer.Option("--top", min=0, help="How many of the samples that differ most to show.")] = 10,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Bootstrap resamples.")] = 10_000,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> dict[str, Any]:
    """Print the paired difference of two heads with its interval, and the samples on which they differ most.

    Example: aqa compare 3fa4c01b22 77d0e2c9aa
    """
    from ..leaderboard.compare import compare as compare_runs
    from ..leaderboard.runs import find_runs

    console = Console(json=json, quiet=quiet)
    where = place(None, runs=runs)
    found = compare_runs(find_runs(where.runs, first), find_runs(where.runs, second), count=resamples, top=top)
    console.result(found, _text(found))
    return found


def _text(found: dict[str, Any]) -> str:
    a, b, rho, mae = found["a"], found["b"], found["spearman"], found["mae"]
    names = [found["dataset"], f"protocol {found['protocol']}", f"target {found['target']}", found["group"]]
    lines = [f"{' · '.join(name for name in names if name)}, n = {found['n']}"]
    for letter, side in (("a", a), ("b", b)):
        said = "undefined" if side["spearman"] is None else f"{side['spearman']:.3f}"
        flags = f", {', '.join(side['flags'])}" if side["flags"] else ""
        phases = "".join(f", {title} {side[name]:.3f}" for name, title in PHASES.items() if side[name] is not None)
        numbers = f"Spearman {said}, MAE {side['mae']:.2f}{phases}"
        lines.append(f"{letter}: {side['name']}, seeds {side['seeds']}, {numbers}{flags}")
    if rho["difference"] is None or rho["ci_low"] is None or rho["p"] is None:
        lines.append("Spearman a - b: not defined")
    else:
        verdict = "they differ" if rho["p"] < 0.05 else "they cannot be told apart"
        span = f"[{rho['ci_low']:+.3f}, {rho['ci_high']:+.3f}]"
        lines.append(f"Spearman a - b: {rho['difference']:+.3f} {span}, p = {rho['p']:.2g}: {verdict}")
    span = "" if mae["ci_low"] is None else f" [{mae['ci_low']:+.2f}, {mae['ci_high']:+.2f}]"
    lines.append(f"MAE a - b: {mae['difference']:+.2f}{span}")
    for name, title in PHASES.items():
        if (said := found[name]) is not None:
            span = f"[{said['ci_low']:+.3f}, {said['ci_high']:+.3f}]"
            lines.append(f"{title} a - b: {said['difference']:+.3f} {span}")
    lines.append("differences are of seed-averaged predictions, intervals 95%, paired bootstrap over test samples")
    if found["samples"]:
        lines += ["", f"{'sample':20} {'true':>9} {'a':>9} {'b':>9}  nearer"]
        for row in found["samples"]:
            lines.append(f"{row['id']:20} {row['truth']:9.2f} {row['a']:9.2f} {row['b']:9.2f}  {row['nearer']}")
    return "\n".join(lines)
