"""Run folders that two groups share: out of one root into a file, out of files into another root.

A shared run is its folder with ``run.json`` and ``predictions.csv``: enough for a leaderboard, and nothing that needs
trust. Nothing is unpickled, and no name in a file becomes a path.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..errors import StoreError, UsageError
from .labels import REFERENCE
from .run_check import OneTable, check_info, check_predictions, table_of
from .runs import Run, RunKey, iter_runs, json_text, read_run, write_folder
from .shared_files import find_shared, is_zip, write_shared


@dataclass(frozen=True)
class Exported:
    """What a shared file holds. `subjects`: how many it names; `captions`: whether any run has true ones."""

    file: Path
    runs: int
    samples: int
    subjects: int
    captions: bool


@dataclass(frozen=True)
class Merged:
    """Folders of runs: written; there already with the same predictions; there already with others, and kept as they
    were. `ignored`: how many files the sources have beside run.json and predictions.csv."""

    merged: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    conflicts: list[Path] = field(default_factory=list)
    ignored: int = 0


@dataclass(frozen=True)
class _Incoming:
    """A run of a source, to be read in `folder`. `name`: what messages call it."""

    name: str
    folder: Path
    info: Mapping[str, Any]
    key: RunKey

    def run(self) -> Run:
        """A new one each time: a Run keeps its predictions, and those of thousands would fill the memory."""
        return Run(self.folder, self.info)

    def write(self, folder: Path) -> None:
        """Write it into `folder`, which is there."""
        shutil.copyfile(self.folder / "predictions.csv", folder / "predictions.csv")
        (folder / "run.json").write_bytes(_info_bytes(self.info))


def export_runs(runs: Sequence[Run], file: Path, *, overwrite: bool = False) -> Exported:
    """Write `runs` into the zip `file`, or into the folder `file` if its name does not end in .zip.

    It appears whole or not at all, and with the same bytes whenever the same runs are exported. Absolute paths in
    run.json are cut to the names of their files.

    Raises:
        UsageError: the same run from two places.
        StoreError: no runs, a damaged one, `file` is there already (`overwrite` is for zips) or cannot be written.
        SplitError: the runs have different test sets: nobody could merge them.
    """
    if file.exists() and not (overwrite and is_zip(file) and file.is_file()):
        more = "or --force to replace it" if is_zip(file) else "or add to the folder with `aqa runs merge`"
        raise StoreError("is there already", file=file, hint=f"choose another name, {more}")
    if not runs:
        raise StoreError("no runs to export", hint="`aqa runs ls` lists the runs")
    found: dict[Path, Path] = {}  # the folder in the file -> where it is
    for run in runs:
        folder = check_info(run, run.folder.absolute()).folder
        other = found.setdefault(folder, run.folder)
        if not other.samefile(run.folder):
            raise UsageError(f"one run from two places: {other} and {run.folder}", hint="name only one of them")
    tables, captions = OneTable(), False
    ids: set[tuple[str, str]] = set()
    subjects: set[tuple[str, str]] = set()
    for place in found.values():
        run = read_run(place)
        check_predictions(run)
        tables.add(str(place), run)
        rows = run.predictions
        ids |= {(run.info["dataset"], i) for i in rows["id"]}
        subjects |= {(run.info["dataset"], name) for name in rows["subject"] if name}
        captions |= REFERENCE in rows and bool(rows[REFERENCE].any())
    write_shared(file, _content(found))
    return Exported(file, len(found), len(ids), len(subjects), captions)


def merge_runs(sources: Iterable[Path], root: Path) -> Merged:
    """Add the runs of `sources`, zips or folders, to those below `root`, each whole or not at all.

    All are read and checked before any is written. A run that is there is left as it is. Merging once more is harmless.

    Raises:
        StoreError: a source or a run of it is damaged, or is not what it says; `root` cannot be written.
        SplitError: runs that would stand in one table have different test sets or settings.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as space:
        incoming: list[_Incoming] = []
        ignored = 0
        for k, source in enumerate(sources):
            places, others = find_shared(source, Path(space, str(k)))
            ignored += others
            for place, folder in places:
                name = str(place if source.is_dir() else source / place)
                with _named(name):
                    run = read_run(folder)
                    incoming.append(_Incoming(name, folder, run.info, check_info(run, place)))
        tables, wanted = OneTable(), {table_of(one.run()) for one in incoming}
        for dataset in sorted({one.key.dataset for one in incoming}):
            for run in iter_runs(root, dataset):
                if table_of(run) in wanted:
                    tables.add(str(run.folder), run)
        for one in incoming:
            run = one.run()
            with _named(one.name):
                check_predictions(run)
            tables.add(one.name, run)
        result = Merged(ignored=ignored)
        for one in incoming:
            final = root / one.key.folder
            if not (final / "run.json").exists():
                write_folder(final, one.write)
                result.merged.append(final)
            elif one.run().predictions.equals(read_run(final).predictions):
                result.skipped.append(final)
            else:
                result.conflicts.append(final)
    return result


@contextmanager
def _named(name: str) -> Iterator[None]:
    """What is wrong with a run is said of `name`: the folder where it was read may be a temporary one."""
    try:
        yield
    except StoreError as error:
        file = f"{name}/{Path(error.file or '').name}"
        hint = "have it exported again with this version of aqa, or leave this source out: nothing was merged"
        raise StoreError(error.what, file=file, sample=error.sample, field=error.field, hint=hint) from error


def _content(found: Mapping[Path, Path]) -> Iterator[tuple[str, bytes]]:
    """(name in the file, bytes), sorted by name."""
    for folder in sorted(found, key=Path.as_posix):
        yield f"{folder.as_posix()}/predictions.csv", (found[folder] / "predictions.csv").read_bytes()
        yield f"{folder.as_posix()}/run.json", _info_bytes(read_run(found[folder]).info)


def _info_bytes(info: Mapping[str, Any]) -> bytes:
    """run.json without paths of the machine. What a head's parameters say is part of the key and stays."""
    cut = {name: _without_paths(info[name]) for name in ("streams", "fitted", "finetune") if name in info}
    return json_text({**info, **cut}).encode()


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_paths(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_paths(inner) for inner in value]
    if isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()):
        return PureWindowsPath(value).name  # it takes both / and \\ for separators
    return value
