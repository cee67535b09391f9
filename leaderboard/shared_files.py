"""The files of shared runs, in a zip or in a folder: written, and found again in what anybody sends."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ..errors import StoreError

SHARED_FILES = ("run.json", "predictions.csv")
LARGEST, LARGEST_SUM = 2**28, 2**32  # bytes of one file and of all in a zip; the predictions of 1000 samples have 10^5
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # these are unpacked in pieces, however much they swell
NO_CLOCK = (1980, 1, 1, 0, 0, 0)  # same content, same bytes

Place = tuple[Path, Path]  # the folder as the source names it; the folder where its files can be read


def is_zip(file: Path) -> bool:
    """Whether `file` is to be a zip; else it is to be a folder."""
    return file.suffix.lower() == ".zip"


def write_shared(file: Path, content: Iterable[tuple[str, bytes]]) -> None:
    """Write `content`, names with slashes and bytes, into the zip or folder `file`, whole or not at all.

    Raises StoreError if it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=file.parent) as space:
            part = Path(space, "part")
            (_write_zip if is_zip(file) else _write_folder)(part, content)
            part.replace(file)
    except OSError as error:
        hint = "free space, or choose another place"
        raise StoreError(f"cannot be written: {error}", file=file, hint=hint) from error


def _write_zip(path: Path, content: Iterable[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content:
            member = zipfile.ZipInfo(name, NO_CLOCK)
            member.create_system, member.external_attr = 3, 0o100644 << 16  # a POSIX file wherever it is made
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)


def _write_folder(path: Path, content: Iterable[tuple[str, bytes]]) -> None:
    for name, data in content:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def find_shared(source: Path, space: Path) -> tuple[list[Place], int]:
    """Every folder with a run.json in `source`, in order, and how many other files `source` has.

    A zip is unpacked into the folder `space`, under names that are not its own.

    Raises:
        StoreError: no such source, no runs in it, no zip or a damaged one, links in a zip or names that lead out of it,
            files above `LARGEST` or `LARGEST_SUM`.
    """
    if not source.exists():
        raise StoreError("no such file or folder", file=source)
    try:
        places, others = _in_folder(source) if source.is_dir() else _in_zip(source, space)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError) as error:
        hint = "a source is a folder of runs, or a zip by `aqa runs export`: have it exported or copied again"
        raise StoreError(f"not a zip that can be read: {error}", file=source, hint=hint) from error
    except OSError as error:
        raise StoreError(f"cannot be read or unpacked: {error}", file=source) from error
    if not places:
        raise StoreError("no runs are in it", file=source, hint="`aqa runs export` makes a file of runs")
    return places, others


def _in_folder(source: Path) -> tuple[list[Place], int]:
    places, others = [], 0
    for top, names, files in os.walk(source.absolute()):
        names[:] = sorted(name for name in names if not name.startswith("."))
        others += sum(name not in SHARED_FILES for name in files)
        if "run.json" in files:
            names.clear()
            folder = Path(top)
            for name in set(SHARED_FILES) & set(files):
                _limit((folder / name).stat().st_size, LARGEST, source, str(folder / name))
            places.append((folder, folder))
    return places, others


def _in_zip(source: Path, space: Path) -> tuple[list[Place], int]:
    with zipfile.ZipFile(source) as archive:
        runs, others = _members(archive.infolist(), source)
        places = []
        for k, (folder, members) in enumerate(sorted(runs.items())):
            here = space / str(k)
            here.mkdir(parents=True)
            for name, member in members.items():
                with archive.open(member) as packed, (here / name).open("xb") as file:
                    shutil.copyfileobj(packed, file)
            places.append((Path(folder), here))
    return places, others


def _members(
    members: Iterable[zipfile.ZipInfo], source: Path
) -> tuple[dict[PurePosixPath, dict[str, zipfile.ZipInfo]], int]:
    """folder -> name -> member of every run in a zip, and how many members are something else."""
    found: dict[PurePosixPath, dict[str, zipfile.ZipInfo]] = defaultdict(dict)
    others = total = 0
    for member in members:
        name = PurePosixPath(member.filename)
        link = stat.S_ISLNK(member.external_attr >> 16)
        if link or name.is_absolute() or ".." in name.parts or "\\" in member.filename:
            raise _refused(source, "a link or a name that leads out of it", member.filename)
        if member.is_dir():
            continue
        if name.name not in SHARED_FILES:
            others += 1
            continue
        total += member.file_size
        _limit(member.file_size, LARGEST, source, member.filename)
        _limit(total, LARGEST_SUM, source, "all of it")
        if member.compress_type not in PACKED or member.flag_bits & 1:
            raise _refused(source, "a file that is encrypted or packed in an unusual way", member.filename)
        if name.name in found[name.parent]:
            raise _refused(source, "one file twice", member.filename)
        found[name.parent][name.name] = member
    runs = {folder: files for folder, files in found.items() if "run.json" in files}
    return runs, others + len(found) - len(runs)


def _limit(size: int, most: int, source: Path, name: str) -> None:
    if size > most:
        what = f"too big for predictions: {name} has {size:,} bytes, more than {most:,}"
        raise StoreError(what, file=source, hint="share fewer runs in one file")


def _refused(source: Path, what: str, name: str) -> StoreError:
    return StoreError(f"holds {what}: {name!r}", file=source, hint="take only files that `aqa runs export` made")
