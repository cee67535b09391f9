"""Runs, folders and zips read and changed by hand, for tests of sharing."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from aqa.leaderboard.runs import Run, read_run


def rewrite(run: Run, change: Callable[[str], str]) -> Run:
    """Change the text of predictions.csv."""
    path = run.folder / "predictions.csv"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    return read_run(run.folder)


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(file: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
