"""``aqa cite``: what to cite for the runs of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .console import Console
from .selection import select_runs
from .settings import place
from .verb import DatasetName, Json, ProtocolName, Quiet, Runs

if TYPE_CHECKING:
    from ..leaderboard.citations import Name


def cite(
    dataset: DatasetName = None,
    *,
    head: Annotated[list[str] | None, typer.Option("--head", help="This head, and no runs; several times.")] = None,
    backbone: Annotated[
        list[str] | None, typer.Option("--backbone", help="This ARCH[.TAG], and no runs; several times.")
    ] = None,
    format: Annotated[  # noqa: A002
        Literal["bibtex", "text"], typer.Option("--format", help="BibTeX, or one line each.")
    ] = "bibtex",
    all_datasets: Annotated[bool, typer.Option("--all", help="Every data set that has runs.")] = False,
    protocol: ProtocolName = None,
    target: Annotated[str | None, typer.Option("--target", help="Only this target.")] = None,
    group: Annotated[str | None, typer.Option("--group", help="Only this group.")] = None,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> dict[str, Any]:
    """Print what to cite for the data sets, heads, backbones and weights of the runs.

    With --head or --backbone: for what is named (and DATASET, if it is), without looking at runs.

    Example: aqa cite mtl-aqa > references.bib
    """
    from ..leaderboard import citations

    console = Console(json=json, quiet=quiet)
    if head or backbone:
        names = _named(dataset, head or (), backbone or ())
    else:
        where = place(dataset, runs=runs)
        found = select_runs(where, all_datasets=all_datasets, protocol=protocol, target=target, group=group)
        names = citations.names_in(found)
    entries, unknown = citations.cite(names)
    if unknown:
        console.say(f"no citation is known for {', '.join(unknown)}")
    texts = [citations.to_bibtex(e) if format == "bibtex" else citations.to_text(e) for e in entries]
    result = {"entries": [dict(entry) for entry in entries], "unknown": unknown}
    console.result(result, ("\n\n" if format == "bibtex" else "\n").join(texts) or None)
    return result


def _named(dataset: str | None, heads: Sequence[str], backbones: Sequence[str]) -> list[Name]:
    """Names as the user gave them. Raises UnknownName for what is neither in aqa nor in an installed package."""
    from .. import catalog
    from ..errors import UnknownName
    from ..leaderboard.citations import load, names_of

    known = load().names
    if dataset is not None and dataset not in catalog.DATASETS:
        raise UnknownName("data set", dataset, catalog.DATASETS)
    names: list[Name] = [("data set", dataset)] if dataset is not None else []
    for name in heads:
        if ("head", name) not in known:
            from ..heads import head_names

            if name not in head_names():
                raise UnknownName("head", name, head_names())
        names.append(("head", name))
    for spec in backbones:
        name = spec.partition(":")[0]
        if ("backbone", spec) not in known and ("weights", spec) not in known:
            from ..extract.backbones import parse

            parse(spec)
        names += names_of(name)
    return list(dict.fromkeys(names))
