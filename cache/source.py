"""What the features of a sample were made of, so that a later run can tell whether that has changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..catalog.base import Sample

MTIME_SLACK = 2  # seconds: what copying between file systems does to a modification time


def media_source(sample: Sample) -> dict[str, Any]:
    """The frame range of a sample and the size and time of its file (of a folder: of all its files), where it is there.

    Keys: start, stop, and for a file that exists size (bytes), mtime (whole seconds), and for a folder files (count).
    """
    if sample.media is None:
        return {}
    return {"start": sample.media.start, "stop": sample.media.stop, **_on_disk(sample.media.path)}


def changed(recorded: Mapping[str, Any], sample: Sample) -> str | None:
    """What of `recorded` (see `media_source`) is different now, in words; None if nothing is.

    Media that is gone, or was never recorded, has not changed: the features are what is left of it.
    """
    now = media_source(sample)
    for key in ("start", "stop", "files", "size", "mtime"):
        if key not in recorded or key not in now or recorded[key] == now[key]:
            continue
        if key == "mtime" and abs(recorded[key] - now[key]) <= MTIME_SLACK:
            continue
        return f"{key} {recorded[key]} -> {now[key]}"
    return None


def _on_disk(path: Path) -> dict[str, int]:
    if path == Path():  # a table that was read back knows no paths
        return {}
    try:
        if not path.is_dir():
            status = path.stat()
            return {"size": status.st_size, "mtime": int(status.st_mtime)}
        with os.scandir(path) as entries:
            found = [entry.stat() for entry in entries if entry.is_file()]
    except FileNotFoundError:
        return {}
    newest = max((int(status.st_mtime) for status in found), default=0)
    return {"files": len(found), "size": sum(status.st_size for status in found), "mtime": newest}
