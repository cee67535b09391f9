"""``aqa catalog``: which data sets aqa reads, what is in a folder of one, and what is wrong with it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Console
from .settings import place
from .verb import DatasetName, Json, Quiet, Root

if TYPE_CHECKING:
    from ..catalog.base import Dataset, Media

ReleasedFrames = Annotated[
    bool, typer.Option("--released-frames", help="MTL-AQA layouts A, C: frames 0..102 as the released test code reads.")
]
ReaderOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Option of the reader; `aqa catalog show` lists them."),
]


def list_datasets(context: typer.Context, *, json: Json = False, quiet: Quiet = False) -> None:
    """List the data sets, or show and check one.

    Example: aqa catalog
    """
    if context.invoked_subcommand is not None:
        return
    from .. import catalog

    rows = []
    for name in catalog.DATASETS:
        about = catalog.about(name)
        rows.append({"dataset": name, "title": about.title, "licence": about.licence, "source": about.source})
    lines = [f"{row['dataset']:20} {row['title']}\n{'':20} licence: {row['licence']}" for row in rows]
    Console(json=json, quiet=quiet).result(rows, "\n".join(lines))


def read_dataset(
    name: str, root: Path | None, *, released_frames: bool = False, options: Sequence[str] | None = None
) -> Dataset:
    """Read a data set with options as text. Values are read as JSON (true, 30) where they are, else as they stand."""
    import json as json_module

    from .. import catalog
    from ..errors import UsageError

    values: dict[str, Any] = {"released_frames": True} if released_frames else {}
    for text in options or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--option {text}: no '='", hint="write NAME=VALUE")
        try:
            values[key] = json_module.loads(value)
        except ValueError:
            values[key] = value
    return catalog.read(name, root, **values)


def show_dataset(
    dataset: DatasetName = None,
    *,
    root: Root = None,
    released_frames: ReleasedFrames = False,
    option: ReaderOptions = None,
    json: Json = False,
    quiet: Quiet = False,
) -> dict[str, Any]:
    """Show what a folder of a data set holds: samples, targets, protocols, clip plans, errors in the labels.

    Example: aqa catalog show mtl-aqa --root /data/MTL-AQA
    """
    from .. import catalog

    where = place(dataset, root=root)
    about = catalog.about(where.dataset)
    facts: dict[str, Any] = {
        "dataset": where.dataset,
        "title": about.title,
        "licence": about.licence,
        "cite": about.cite,
        "source": about.source,
        "layouts": list(about.layouts),
        "options": dict(about.options),
    }
    if where.root is not None or where.dataset in catalog.EMBEDDED:
        facts |= _facts(read_dataset(where.dataset, where.root, released_frames=released_frames, options=option))
    Console(json=json, quiet=quiet).result(facts, _as_text(facts))
    return facts


def check_dataset(
    dataset: DatasetName = None,
    *,
    root: Root = None,
    released_frames: ReleasedFrames = False,
    option: ReaderOptions = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Look at the media of the first N only.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> dict[str, Any]:
    """Look before the GPU hours: missing media, frame counts, one-off layouts, disk and time that extraction takes.

    Prints for one sample the first and the last image that would be read: look at them.

    Example: aqa catalog check mtl-aqa --root /data/MTL-AQA
    """
    from .. import catalog
    from ..catalog.check import check, example
    from ..errors import DataError
    from ..extract.decode import probe

    console = Console(json=json, quiet=quiet)
    where = place(dataset, root=root)
    found = read_dataset(where.dataset, where.root, released_frames=released_frames, options=option)
    if where.dataset in catalog.EMBEDDED:
        from ..catalog.demo import make

        make(where.root)
    with_media = [sample for sample in found.samples if sample.media is not None]
    todo = min(len(with_media), limit or len(with_media))
    counted: dict[Path, int] = {}
    with console.progress("check", todo) as step:

        def count(media: Media) -> int:
            try:
                counted[media.path] = probe(media).frames
            finally:
                step()
            return counted[media.path]

        findings = check(found, count, limit=limit)
    report = {
        **_facts(found),
        "example": _example(example(found), counted) if with_media else None,
        "estimate": _estimate(found, counted),
        "disk_free_gb": round(shutil.disk_usage(_existing_parent(where.cache)).free / 1e9, 1),
        "findings": [
            {"severity": f.severity, "sample": f.sample, "field": f.field, "message": f.message} for f in findings
        ],
    }
    lines = [_as_text({k: v for k, v in report.items() if k != "findings"})]
    lines += [f"{f.severity}: {f.sample} {f.field}: {f.message}" for f in findings]
    errors = sum(f.severity == "error" for f in findings)
    console.result(report, "\n".join([*lines, f"{errors} errors, {len(findings) - errors} remarks"]))
    if errors:
        raise DataError(f"{errors} errors in {where.dataset}", file=where.root, hint="see the list above")
    return report


def _facts(dataset: Dataset) -> dict[str, Any]:
    protocols = []
    for protocol in dataset.protocols:
        shared = dataset.shared_subjects(protocol)
        protocols.append(
            {
                "protocol": protocol.name,
                "folds": [
                    {"fold": f.name, "group": f.group, "train": len(f.train), "test": len(f.test)}
                    for f in protocol.folds
                ],
                "averaged": "pooled" if protocol.pooled else protocol.average,
                "shared_subjects": len(shared),
                "flags": list(protocol.flags),
                "note": protocol.note,
            }
        )
    return {
        "dataset": dataset.name,
        "synthetic": dataset.synthetic,
        "samples": len(dataset.samples),
        "with_media": sum(sample.media is not None for sample in dataset.samples),
        "targets": [target.name for target in dataset.targets],
        "groups": dict(Counter(sample.group for sample in dataset.samples)),
        "plans": dict(dataset.plans),
        "protocols": protocols,
        "problems": [{"sample": p.sample, "field": p.field, "message": p.message} for p in dataset.problems],
    }


def _example(shown: dict[str, Any], counted: Mapping[Path, int]) -> dict[str, Any]:
    """The last frame of a media without an end is known once its frames are counted."""
    n = counted.get(Path(shown["path"]))
    return {**shown, "last": f"frame {n} of the {shown['kind']} (index {n - 1})"} if n and not shown["last"] else shown


def _estimate(dataset: Dataset, counted: Mapping[Path, int]) -> dict[str, Any]:
    """Clips, and the time and disk they take: C3D at 0.1 s (bf16 on two cores) and 500 clips/s (a recent GPU)."""
    from ..extract.plan import parse_plan

    plan = parse_plan(dataset.plans.get("c3d", dataset.plans["*"]))
    clips = 0
    for sample in dataset.samples:
        if sample.media is not None:
            stop = sample.media.stop or counted.get(sample.media.path, 100)
            clips += len(plan.indexes(max(stop - sample.media.start, 1)))
    return {
        "clips": clips,
        "features_mb": round(clips * 4096 * 4 / 1e6, 1),
        "hours_on_2_cores": round(clips * 0.1 / 3600, 2),
        "minutes_on_a_gpu": round(clips / 500 / 60, 2),
    }


def _existing_parent(path: Path) -> Path:
    path = path.absolute()
    return path if path.exists() else _existing_parent(path.parent)


def _as_text(facts: dict[str, Any], indent: str = "") -> str:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", _as_text(value, indent + "  ")] if value else []
        elif isinstance(value, Sequence) and not isinstance(value, str):
            lines.append(f"{indent}{name}:" + ("" if value else " none"))
            lines += [f"{indent}  {_one_line(item)}" for item in value]
        else:
            lines.append(f"{indent}{name}: {value}")
    return "\n".join(lines)


def _one_line(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    parts = []
    for name, value in item.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            parts.append(f"{len(value)} {name} (" + ", ".join(_fold(fold) for fold in value[:12]) + ")")
        elif value not in ("", [], None):
            parts.append(f"{name} {value}")
    return "; ".join(parts)


def _fold(fold: dict[str, Any]) -> str:
    return f"{fold['group']} {fold['train']}/{fold['test']}".strip()
