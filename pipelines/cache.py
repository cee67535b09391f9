"""``aqa cache``: the feature stores on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .console import Console, counted
from .settings import place
from .verb import Cache, Json, Quiet, Root

if TYPE_CHECKING:
    from ..cache.store import FeatureStore

Dataset = Annotated[str | None, typer.Argument(metavar="[DATASET]", help="Only the stores of this data set.")]
Features = Annotated[
    str | None, typer.Option("--features", help="Stream, or STREAM@DIGITS with the start of its fingerprint.")
]


def list_stores(
    dataset: Dataset = None, *, cache: Cache = None, json: Json = False, quiet: Quiet = False
) -> list[dict[str, Any]]:
    """List the feature stores.

    Example: aqa cache ls
    """
    from ..cache.stores import find_stores

    where = place(dataset, cache=cache)
    rows = [_summary(store) for store in find_stores(where.cache, dataset)]
    lines = [
        f"{r['dataset']:16} {r['features']:24} {r['backbone']:20} {r['plan']:12} {r['precision']:9} "
        f"{r['samples']:6} samples  {r['bytes'] / 1e6:8.1f} MB"
        for r in rows
    ]
    Console(json=json, quiet=quiet).result(rows, "\n".join(lines) or f"no features in {where.cache}")
    return rows


def show_store(
    dataset: Annotated[str, typer.Argument(help="Data set.")],
    *,
    features: Features = None,
    sample: Annotated[str | None, typer.Option("--sample", help="Show the clips of this sample.")] = None,
    cache: Cache = None,
    json: Json = False,
    quiet: Quiet = False,
) -> dict[str, Any]:
    """Show how a store was made, and what is in it.

    Example: aqa cache show demo --features c3d --sample demo-007
    """
    where = place(dataset, cache=cache)
    (store,) = _stores(where.cache, dataset, features, several=False)
    facts: dict[str, Any] = {
        **_summary(store),
        "fingerprint": store.fingerprint.to_json(),
        "provenance": dict(store.provenance),
        "flags": list(store.flags),
        "missing": [s.id for s in store.dataset.samples if not store.has(s.id)],
    }
    if sample is not None:
        values, _ = store.read([sample])
        starts, times, _ = store.read_times([sample])
        facts["sample"] = {
            "id": sample,
            "shape": list(values.shape),
            "starts": starts.tolist(),
            "times": [t if t == t else None for t in times.tolist()],
            "source": store.sources()[sample],
            "norms": [float((row.astype("f8") ** 2).sum() ** 0.5) for row in values],
        }
    shown = {k: v for k, v in facts.items() if k != "sample"} | _flat("sample", facts.get("sample", {}))
    Console(json=json, quiet=quiet).result(facts, "\n".join(f"{name}: {value}" for name, value in shown.items()))
    return facts


def verify_stores(
    dataset: Dataset = None,
    *,
    features: Features = None,
    cache: Cache = None,
    json: Json = False,
    quiet: Quiet = False,
) -> list[dict[str, Any]]:
    """Read everything once and compare it with its checksums.

    Example: aqa cache verify mtl-aqa
    """
    from ..cache.verify import verify
    from ..errors import StoreError

    console = Console(json=json, quiet=quiet)
    where = place(dataset, cache=cache)
    rows = []
    for store in _stores(where.cache, dataset, features, several=True):
        findings = verify(store)
        rows += [{"store": str(store.path), **_plain(f.__dict__)} for f in findings]
        console.say(f"{store.dataset_name} {store.name}: {len(findings) or 'no'} findings")
    console.result(rows, "\n".join(f"{r['file']} {r['sample']}: {r['message']}" for r in rows) or "all well")
    if rows:
        hint = "remove the damaged files and run `aqa extract` again: it makes what is missing"
        raise StoreError(f"{len(rows)} findings", file=where.cache, hint=hint)
    return rows


def pack_store(
    dataset: Dataset = None,
    *,
    features: Features = None,
    cache: Cache = None,
    json: Json = False,
    quiet: Quiet = False,
) -> list[Path]:
    """Put the samples of a store into its one packed file (extract does this by itself when it ends).

    Example: aqa cache pack mtl-aqa --features i3d
    """
    where = place(dataset, cache=cache)
    paths = [store.pack() for store in _stores(where.cache, dataset, features, several=True)]
    Console(json=json, quiet=quiet).result([str(p) for p in paths], "\n".join(map(str, paths)))
    return paths


def import_store(
    dataset: Annotated[str, typer.Argument(help="Data set that the features belong to.")],
    path: Annotated[Path, typer.Argument(help="The data set's folder, or a folder or file of features.")],
    *,
    name: Annotated[str, typer.Option("--as", help="Name of the stream: i3d, vst, p3d, ...")],
    root: Root = None,
    cache: Cache = None,
    json: Json = False,
    quiet: Quiet = False,
) -> dict[str, Any]:
    """Take in features that people have: .npy .npz .pt .mat .h5, one file per sample or one for all.

    Poses as well, one file per sample: .json of FineDiving-Pose, .npz with `pred`, .txt of MediaPipe.

    The labels are read from --root, else from PATH itself. A sample of which there is nothing to take is listed and
    stops nothing; the exit code is then 1.

    Example: aqa cache import rhythmic-gymnastics /data/RG --as vst
    """
    from ..errors import SomeFailed
    from .importing import import_dataset

    console = Console(json=json, quiet=quiet)
    where = place(dataset, root=root, cache=cache)
    summary = import_dataset(where.dataset, path, where.root if root is not None else None, where.cache, name, console)
    done, clips = counted(summary["done"], "sample"), counted(summary["clips"], "clip")
    console.result(summary, f"{done}, {clips} of {summary['shape']} in {summary['store']}")
    if failed := [row["id"] for row in summary["failed"]]:
        names = ", ".join(failed[:5]) + "..." * (len(failed) > 5)
        raise SomeFailed(f"{counted(len(failed), 'sample')} failed: {names}", hint="the rest is done")
    return summary


def export_store(
    dataset: Annotated[str, typer.Argument(help="Data set.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    *,
    features: Features = None,
    format: Annotated[Literal["npy", "npz", "h5"], typer.Option("--format")] = "npy",  # noqa: A002
    cache: Cache = None,
    json: Json = False,
    quiet: Quiet = False,
) -> Path:
    """Write the features as one .npy per sample, or all as one .npz or .h5.

    Example: aqa cache export demo ./features --features c3d
    """
    from ..cache.export_features import export_features

    where = place(dataset, cache=cache)
    (store,) = _stores(where.cache, dataset, features, several=False)
    written = export_features(store, folder, format=format)
    Console(json=json, quiet=quiet).result({"folder": str(written), "samples": len(store)}, str(written))
    return written


def _stores(root: Path, dataset: str | None, features: str | None, *, several: bool) -> list[FeatureStore]:
    from ..cache.stores import find_stores, select_store
    from ..errors import StoreError, UsageError

    if features is not None and dataset is not None:
        return [select_store(root, dataset, features)]
    found = find_stores(root, dataset)
    if not found:
        hint = "`aqa extract` or `aqa cache import` makes features"
        raise StoreError(f"no features{f' of {dataset}' if dataset else ''}", file=root, hint=hint)
    if len(found) > 1 and not several:
        raise UsageError(
            f"{dataset} has {len(found)} stores", hint=f"say --features {' or '.join(s.name for s in found)}"
        )
    return found


def _summary(store: FeatureStore) -> dict[str, Any]:
    size = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
    return {
        "dataset": store.dataset_name,
        "features": store.name,
        "backbone": store.fingerprint.backbone,
        "layer": store.fingerprint.layer,
        "shape": list(store.shape),
        "plan": store.fingerprint.plan,
        "precision": store.fingerprint.precision,
        "samples": len(store),
        "bytes": size,
        "path": str(store.path),
    }


def _flat(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """{"source": {"aligned": False}} -> {"sample.source.aligned": False}."""
    flat = {}
    for key, value in values.items():
        flat |= _flat(f"{name}.{key}", value) if isinstance(value, dict) else {f"{name}.{key}": value}
    return flat


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
