"""Where the annotation files of a data set lie, whichever of its folders was given as root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import AnnotationError

INSIDE = frozenset({"info", "annotations", "split_4"})  # folders of labels: media lie beside them


def bases(root: Path, *below: str) -> tuple[Path, ...]:
    """Folders in which the templates are tried: `root`, those `below` it that exist, and the one above a folder of
    labels, so that the folder of the set, the one above it, its `info` folder and a file in it all do as root."""
    root = root.parent if root.is_file() else root
    start = [root, root.parent] if root.name.lower() in INSIDE else [root]
    candidates = [*start, *(base / name for base in start for name in below)]
    return tuple(dict.fromkeys(path for path in candidates if path.is_dir()))


def find_file(where: Sequence[Path], names: Sequence[str]) -> Path | None:
    """The first that exists, by the order of `names`, then of the folders."""
    return next((base / name for name in names for base in where if (base / name).is_file()), None)


def need_file(where: Sequence[Path], names: Sequence[str], *, what: str, hint: str | None = None) -> Path:
    """As `find_file`. Raises AnnotationError that says which files were looked for, and below which folder."""
    found = find_file(where, names)
    if found is None:
        looked = f"looked for {', '.join(dict.fromkeys(names))}"
        if len(where) > 1:
            looked += f", here and in {', '.join(os.path.relpath(base, where[0]) for base in where[1:])}"
        raise AnnotationError(f"no {what}: {looked}", file=where[0] if where else None, hint=hint)
    return found


def text(file: Path) -> str:
    """A text in UTF-8, with or without byte order mark. Raises AnnotationError."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        said = f"not a text in UTF-8: byte {error.start} cannot be decoded"
        raise AnnotationError(said, file=file, hint="save it as UTF-8") from error
