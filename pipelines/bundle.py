"""Runs as one file: heads, what they were trained on in words, and how their features are made, with the networks that
`aqa finetune` left. `aqa predict --run FILE` takes it on any machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..cache.files import whole_folder
from ..errors import StoreError, UnsafePickle, UsageError
from ..heads.saving import whole_file
from ..leaderboard.citations import IMPORT
from ..leaderboard.runs import Run

INDEX = "bundle.json"
LARGEST = 64 * 10**9
# Plain data and tensors; skops files are opened with their own list of what may be in them.
KNOWN = re.compile(
    r"run-\d+/(stream-\d+/|part-\d+/|members?-[\w.-]+/|[\w+.-]+/)*[\w+.@-]+\.(json|csv|txt|safetensors|skops|npz)"
)
LEFT = {"checkpoints", "events"}


def write_bundle(runs: Sequence[Run], file: Path, *, weights: bool) -> dict[str, Any]:
    """One zip of the folders of `runs`. `weights`: with the weight files of networks that were not tuned, which other
    people may have licensed; else whoever predicts gives them, and the fingerprint says whether they are the same.

    Raises StoreError if it cannot be written, UsageError for runs on features that no network here can make.
    """
    made = [(name, one) for run in runs for name, one in run.info["streams"].items()]
    imported = sorted({name for name, one in made if one["fingerprint"]["backbone"] == IMPORT})
    if imported:
        what = f"the features {', '.join(imported)} of this run were imported, so that nothing can make them of a video"
        raise UsageError(what, hint="`aqa runs export` shares runs on imported features")
    digests: dict[str, str] = {}
    with whole_file(file) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for k, run in enumerate(runs):
            info, inside = dict(run.info), {}
            info["streams"] = {name: dict(made) for name, made in info["streams"].items()}
            for n, made in enumerate(info["streams"].values()):
                source = made["weights_file"]
                if source and Path(source).is_absolute():
                    made["weights_file"] = f"weights-{n}{Path(source).suffix}" if weights else None
                    if weights:
                        inside[made["weights_file"]] = Path(source)
            files = {p.relative_to(run.folder).as_posix(): p for p in sorted(run.folder.rglob("*")) if p.is_file()}
            kept = {name: p for name, p in {**files, **inside}.items() if name.split("/")[0] not in LEFT}
            for name, source in kept.items():
                content = json.dumps(info).encode() if name == "run.json" else None
                digests[f"run-{k}/{name}"] = _put(archive, f"run-{k}/{name}", source, content)
        index = {"format": 1, "runs": [run.info["run_id"] for run in runs], "files": digests}
        archive.writestr(INDEX, json.dumps(index, indent=1))
    return {"file": str(file), "runs": index["runs"], "bytes": file.stat().st_size}


def opened_bundle(file: Path) -> Path:
    """The folder with the runs of a bundle, unpacked once into the user's cache.

    Raises StoreError for what is no bundle or damaged, UnsafePickle for names that do not belong into one.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            index = json.loads(archive.read(INDEX))
            names = {entry.filename: entry for entry in archive.infolist() if entry.filename != INDEX}
            if index["format"] != 1 or set(names) != set(index["files"]):
                raise StoreError("this bundle is of another version, or not whole", file=file, hint="export it again")
            strange = [n for n in names if not KNOWN.fullmatch(n) and not re.fullmatch(r"run-\d+/weights-\d+\.\w+", n)]
            if strange or any(".." in name.split("/") for name in names):
                raise UnsafePickle(
                    f"the bundle holds {(strange or list(names))[0]}, which belongs into none", file=file
                )
            if sum(entry.file_size for entry in names.values()) > LARGEST:
                raise StoreError(f"the bundle unpacks to more than {LARGEST / 1e9:.0f} GB", file=file)
            place = _cache() / hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()[:20]
            if not place.is_dir():
                _unpack(archive, index["files"], place, file)
            return place
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        hint = "`aqa export RUN -o FILE.zip` makes one"
        raise StoreError(f"this is no bundle: {error}", file=file, hint=hint) from error


def _unpack(archive: zipfile.ZipFile, digests: dict[str, str], place: Path, file: Path) -> None:
    with whole_folder(place) as folder:
        for name, digest in digests.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 2**20)
            with target.open("rb") as made:
                if hashlib.file_digest(made, "sha256").hexdigest() != digest:
                    raise StoreError(f"{name} in the bundle is damaged", file=file, hint="get the bundle again")


def _put(archive: zipfile.ZipFile, name: str, source: Path, content: bytes | None) -> str:
    """Adds a file; returns its digest."""
    if content is not None:
        archive.writestr(name, content)
        return hashlib.sha256(content).hexdigest()
    archive.write(source, name)
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "aqa" / "bundles"
