"""Runs on disk: one folder per trained model, the only thing that a leaderboard is made of.

``<root>/<dataset>/<protocol>/<target>/<group>/<features>/<head>-<8 hex>/fold-<i>/seed-<k>/`` holds ``run.json``,
``predictions.csv``, ``history.csv`` and the head's own files. The eight digits stand for everything that makes a
result comparable only with itself: the head's parameters, the fingerprints of the features, the samples and truths of
the folds. So the same command finds its run again (resume), and another one never overwrites it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from ..cache.files import whole_folder
from ..errors import StoreError, UnknownName, UsageError

FORMAT = 1
NUMBERS = ("truth", "score", "spread", "difficulty")
COLUMNS = ("id", "part", "truth", "score", "spread", "difficulty", "group", "subject")


@dataclass(frozen=True)
class RunKey:
    """What tells one run from another. `identity` is any plain value; its digest becomes the eight digits."""

    dataset: str
    protocol: str
    target: str
    group: str
    features: tuple[str, ...]
    head: str
    identity: Mapping[str, Any] = field(repr=False)
    fold: int
    seed: int

    @cached_property
    def digest(self) -> str:
        """8 hex digits of `identity`."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def folder(self) -> Path:
        """The run's folder, relative to the root of all runs."""
        features = "+".join(self.features) or "no-features"
        names = (self.dataset, self.protocol, self.target, self.group or "all", features, f"{self.head}-{self.digest}")
        return Path(*(_quote(name) for name in names), f"fold-{self.fold}", f"seed-{self.seed}")

    @property
    def run_id(self) -> str:
        """10 hex digits, unique among runs."""
        return hashlib.sha256(self.folder.as_posix().encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Prediction:
    """Predictions of one part: "val" or "oof" (held out inside train) or "test". Arrays are [N]; spread may be None.

    `labels`: further columns of texts, see `labels.py`.
    """

    part: str
    ids: tuple[str, ...]
    truth: np.ndarray
    score: np.ndarray
    spread: np.ndarray | None
    difficulty: np.ndarray
    group: tuple[str, ...]
    subject: tuple[str, ...]
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run that lies in `folder`; `info` is its run.json."""

    folder: Path
    info: Mapping[str, Any]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The rows of predictions.csv, columns `COLUMNS` and those of `labels.py`; ids are strings."""
        path = self.folder / "predictions.csv"
        try:
            rows = pd.read_csv(path, dtype=str, na_filter=False)  # an id may be "None" or "nan"
            lacking = [name for name in COLUMNS if name not in rows]
            if lacking:
                raise ValueError(f"no column {', '.join(lacking)}")
            for name in NUMBERS:
                rows[name] = np.array([float(text) if text else np.nan for text in rows[name]])
            return rows
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot be read: {error}", file=path, hint="remove the run and fit it again") from error

    @cached_property
    def history(self) -> pd.DataFrame:
        """The rows of history.csv, one per epoch; empty for heads without epochs and for runs shared without it."""
        try:
            return pd.read_csv(self.folder / "history.csv")
        except (OSError, pd.errors.EmptyDataError):
            return pd.DataFrame()

    def part(self, *names: str) -> pd.DataFrame:
        """The rows of the parts `names`, sorted by id, so that runs on one test set line up."""
        rows = self.predictions
        chosen: pd.DataFrame = rows.loc[rows["part"].isin(names)]
        return chosen.sort_values(by=["id"], kind="stable", ignore_index=True)


def write_run(
    root: Path,
    key: RunKey,
    info: Mapping[str, Any],
    predictions: Sequence[Prediction],
    history: Sequence[Mapping[str, Any]],
    save_head: Callable[[Path], None],
) -> Run:
    """Write a run whole or not at all. An existing run is left as it is and returned.

    Raises:
        StoreError: the folder cannot be written (read-only, disk full).
    """
    final = root / key.folder
    if (final / "run.json").exists():
        return read_run(final)
    identity = {**asdict(key), "features": list(key.features)}
    info = {"format": FORMAT, "run_id": key.run_id, **identity, **info}

    def fill(folder: Path) -> None:
        save_head(folder)
        _write_predictions(folder / "predictions.csv", predictions)
        write_history(folder / "history.csv", history)
        (folder / "run.json").write_text(json_text(info), encoding="utf-8")

    write_folder(final, fill)
    return read_run(final)


def write_folder(final: Path, fill: Callable[[Path], None]) -> None:
    """The run folder `final` whole or not at all, with what `fill` writes into a folder. Raises StoreError."""
    try:
        with whole_folder(final) as part:
            fill(part)
    except OSError as error:
        hint = "free space, or choose another --runs"
        raise StoreError(f"the run cannot be written: {error}", file=final, hint=hint) from error


def json_text(info: Mapping[str, Any]) -> str:
    """`info` as run.json holds it."""
    return json.dumps(info, indent=1, ensure_ascii=False) + "\n"


def read_run(folder: Path) -> Run:
    """The run in `folder`. Raises StoreError where there is none or run.json is damaged."""
    return Run(folder, read_info(folder / "run.json"))


def read_info(path: Path) -> dict[str, Any]:
    """The run.json at `path`. Raises StoreError where there is none or it is damaged."""
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError("there is no run here", file=path, hint="`aqa runs ls` lists the runs") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"run.json is damaged: {error}", file=path, hint="remove the run and fit it again") from error
    if not isinstance(info, dict) or not isinstance(info.get("format"), int):
        raise StoreError("run.json is damaged: no format", file=path, hint="remove the run and fit it again")
    if info["format"] > FORMAT:
        raise StoreError(
            f"the run has format {info['format']}, newer than this aqa reads", file=path, hint="update aqa"
        )
    return info


def iter_runs(root: Path, dataset: str | None = None) -> Iterator[Run]:
    """Every finished run below `root`, in the order of the folders' names."""
    top = root if dataset is None else root / _quote(dataset)
    found: list[Path] = []
    for folder, names, files in os.walk(top):
        names[:] = sorted(name for name in names if not name.startswith("."))
        if "run.json" in files:
            found.append(Path(folder))
            names.clear()
    for folder in found:
        yield read_run(folder)


def find_runs(root: Path, name: str) -> list[Run]:
    """The run called `name`: a folder, a run id or the start of one, or a folder above several runs (all of them).

    Raises UnknownName, or UsageError when the start of an id fits several runs.
    """
    for folder in (Path(name), root / name):
        if (folder / "run.json").exists():
            return [read_run(folder)]
        if folder.is_dir():
            below = list(iter_runs(folder))
            if below:
                return below
    runs = list(iter_runs(root))
    fitting = [run for run in runs if run.info["run_id"].startswith(name)] if len(name) >= 4 else []
    if len(fitting) > 1:
        raise UsageError(f"'{name}' fits {len(fitting)} runs", hint=", ".join(run.info["run_id"] for run in fitting))
    if not fitting:
        raise UnknownName("run", name, [run.info["run_id"] for run in runs])
    return fitting


def _quote(name: str) -> str:
    """`name` as the name of one visible folder, never of one above."""
    quoted = quote(name, safe=" +@:().,=")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def _write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    frames = []
    for p in predictions:
        spread = np.full(len(p.ids), np.nan) if p.spread is None else p.spread
        columns = (p.ids, p.part, p.truth, p.score, spread, p.difficulty, p.group, p.subject)
        frames.append(pd.DataFrame({**dict(zip(COLUMNS, columns, strict=True)), **p.labels}))
    # 17 digits: a float64 comes back as it was
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
    table.to_csv(path, index=False, float_format="%.17g")


def write_history(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """One row per epoch, with all columns that any row has."""
    names = list(dict.fromkeys(name for row in history for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        if names:
            writer.writeheader()
        writer.writerows(history)
