"""``aqa export``: a run as one file, for another machine or another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .console import Console
from .settings import place
from .verb import Json, Quiet, Runs


def export(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run id or folder; a folder of several seeds: all of them.")
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    format_: Annotated[
        Literal["bundle", "onnx", "torch.export"],
        typer.Option("--format", help="bundle: for `aqa predict`; the others: for programs without aqa."),
    ] = "bundle",
    with_weights: Annotated[
        bool, typer.Option("--with-weights", help="Put the backbone's weight file in: see whether you may pass it on.")
    ] = False,
    weights: Annotated[
        list[str] | None, typer.Option("--weights", help="Weight file, where it is not where it was.")
    ] = None,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> Path:
    """Write a run into one file: everything that scoring a video takes, checked before it is written.

    Example: aqa export 3fa4c01b22 -o dive.zip, then aqa predict dive.mp4 --run dive.zip
    """
    from ..errors import StoreError, UsageError
    from ..leaderboard.runs import find_runs
    from .bundle import write_bundle
    from .judging import one_head

    console = Console(json=json, quiet=quiet)
    found = find_runs(place(None, runs=runs).runs, run)
    one_head(found)
    if not output.absolute().parent.is_dir():
        raise StoreError("there is no such folder", file=output.absolute().parent)
    if format_ == "bundle":
        if output.suffix != ".zip":
            raise UsageError(f"{output.name} does not end in .zip", hint="a bundle is a zip")
        said: dict[str, Any] = write_bundle(found, output, weights=with_weights)
    else:
        from .exporting import export_function

        if len(found) > 1:
            raise UsageError(f"{len(found)} runs, and a function is made of one", hint="name one seed's folder")
        said = export_function(found[0], output, format_, weights or [])
        if said["left_out"]:
            console.warn(f"{', '.join(said['left_out'])} are not in it: a function gives the score and its spread")
    console.result(said, f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return output
