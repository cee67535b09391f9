"""``aqa.toml``: what is not said on the command line.

::

    default = "mtl-aqa"            # the data set when none is named

    [dataset.mtl-aqa]
    root = "/data/MTL-AQA"         # relative paths count from the folder of this file
    cache = "/fast/aqa-cache"
    runs = "runs"
    protocol = "official"

The file is looked for in the working directory and then upwards; ``AQA_CONFIG`` names another one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UnknownName, UsageError

FILE = "aqa.toml"
EMBEDDED = "demo"
KEYS = ("root", "cache", "runs", "protocol")


@dataclass(frozen=True)
class Place:
    """A data set and where its parts are. `root` is None where nobody said it (the embedded set needs none)."""

    dataset: str
    root: Path | None
    cache: Path
    runs: Path
    protocol: str | None


@dataclass(frozen=True)
class Settings:
    """The content of an aqa.toml; `file` is None where there is none."""

    file: Path | None = None
    default: str | None = None
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)


def load_settings() -> Settings:
    """The nearest aqa.toml. Raises UsageError for a file that is no TOML or has keys that aqa does not know."""
    import tomllib  # here, as all that `aqa --help` does without

    named = os.environ.get("AQA_CONFIG")
    folders = [Path.cwd(), *Path.cwd().parents]
    path = Path(named) if named else next((f / FILE for f in folders if (f / FILE).is_file()), None)
    if path is None:
        return Settings()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read: {error}", file=path, hint="correct AQA_CONFIG") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"not valid TOML: {error}", file=path) from error
    _only(content, ("default", "dataset"), path)
    datasets = content.get("dataset", {})
    for name, values in datasets.items():
        if not isinstance(values, dict):
            raise UsageError(f"[dataset.{name}] must be a table", file=path, field=f"dataset.{name}")
        _only(values, KEYS, path)
        for key, value in values.items():
            if not isinstance(value, str):
                raise UsageError("must be a string", file=path, field=f"dataset.{name}.{key}")
    return Settings(path, content.get("default"), datasets)


def place(
    dataset: str | None,
    *,
    root: Path | None = None,
    cache: Path | None = None,
    runs: Path | None = None,
    protocol: str | None = None,
    settings: Settings | None = None,
) -> Place:
    """Where things are: the command line first, then aqa.toml, then the working directory.

    Without a name: the `default` of aqa.toml, else its only data set, else the embedded one.
    """
    settings = settings or load_settings()
    only = next(iter(settings.datasets)) if len(settings.datasets) == 1 else None
    name = dataset or settings.default or only or EMBEDDED
    said = settings.datasets.get(name, {})
    base = settings.file.parent if settings.file else Path()

    def path(given: Path | None, key: str, fallback: str | None) -> Path | None:
        if given is not None:
            return given.expanduser()
        if key in said:
            return base / Path(said[key]).expanduser()
        return None if fallback is None else Path(fallback)

    return Place(
        dataset=name,
        root=path(root, "root", None),
        cache=path(cache, "cache", "aqa-cache") or Path(),
        runs=path(runs, "runs", "runs") or Path(),
        protocol=protocol or said.get("protocol"),
    )


def _only(table: dict[str, Any], known: tuple[str, ...], path: Path) -> None:
    for key in table:
        if key not in known:
            raise UnknownName(f"key of {path}", key, known)
