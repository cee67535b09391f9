"""What a run keeps of classes, captions and phases, beside the scores, and the metrics of them.

`predictions.csv` has for every attribute that a head names its classes in `class NAME` (predicted) and `true NAME`
(empty where unknown), for captions `caption` and `reference`, and for phases `phases` and `true phases` (empty where
unknown): where the second and the last phase begin among 96 frames (`catalog/phases.py`), with a blank between
("28 62"). `points STAGE`: by how many points a stage is better than those of the exemplars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from ..catalog.phases import overlap
from .captions import NAMES, caption_metrics
from .metrics import Metrics

CLASS, TRUE, CAPTION, REFERENCE, PHASES = "class ", "true ", "caption", "reference", "phases"
POINTS = "points "
OVERLAPS = {"aiou_50": 0.5, "aiou_75": 0.75}
TIOU = "tiou"

Columns = Mapping[str, Sequence[str]]


def label_columns(
    attributes: Mapping[str, np.ndarray],
    captions: Sequence[str],
    truth: Mapping[str, np.ndarray],
    said: Sequence[str],
    phases: np.ndarray | None = None,
    transitions: np.ndarray | None = None,
    parts: Mapping[str, np.ndarray] | None = None,
) -> dict[str, list[str]]:
    """The columns of N samples. `attributes`: name -> probabilities [N, classes], `captions`: [N] or (), `phases`:
    transitions [N, 2] or None: what a head says; `truth`: name -> class indices [N], -1 unknown, `said`: captions [N],
    and `transitions` [N, 2], -1 unknown: what is true. `parts`: stage -> points [N]."""
    columns: dict[str, list[str]] = {}
    for name, probabilities in attributes.items():
        columns[CLASS + name] = [str(k) for k in probabilities.argmax(axis=1)]
        columns[TRUE + name] = [str(k) if k >= 0 else "" for k in truth.get(name, np.full(len(probabilities), -1))]
    if captions:
        columns[CAPTION] = list(captions)
        columns[REFERENCE] = list(said)
    if phases is not None:
        columns[PHASES] = [f"{st} {ed}" for st, ed in phases]
        true = np.full_like(phases, -1) if transitions is None else transitions
        columns[TRUE + PHASES] = [f"{st} {ed}" if st >= 0 else "" for st, ed in true]
    return columns | {POINTS + stage: [f"{value:.9g}" for value in points] for stage, points in (parts or {}).items()}


def label_metrics(columns: Columns) -> Metrics:
    """`accuracy_NAME` of every attribute over the samples whose class is known (None without any), the caption metrics,
    AIoU@0.5 and @0.75, and the mean tIoU, which still tells heads apart where all reach 0.75; empty where a run has
    none of them."""
    found: Metrics = {}
    for column in columns:
        if column.startswith(CLASS):
            name = column.removeprefix(CLASS)
            pairs = [(s, t) for s, t in zip(columns[column], columns[TRUE + name], strict=True) if t]
            found[f"accuracy_{name}"] = float(np.mean([s == t for s, t in pairs])) if pairs else None
    if CAPTION in columns:
        found |= caption_metrics(columns[CAPTION], columns[REFERENCE])
    if PHASES in columns:
        tious = overlaps([columns[PHASES]], columns[TRUE + PHASES])
        known = tious[np.isfinite(tious).all(axis=1)]
        found |= {n: float(reached(known, least).mean()) if len(known) else None for n, least in OVERLAPS.items()}
        found[TIOU] = float(known.mean()) if len(known) else None
    return found


def overlaps(said: Sequence[Sequence[str]], truth: Sequence[str]) -> np.ndarray:
    """tIoU [N, V] of columns `phases` by V voters against the column `true phases`; NaN where that is empty."""
    known = [k for k, text in enumerate(truth) if text]
    found = np.full((len(truth), len(said)), np.nan)
    for v, voter in enumerate(said):
        found[known, v] = overlap(_frames([voter[k] for k in known]), _frames([truth[k] for k in known]))
    return found


def reached(tious: np.ndarray, least: float, voters: Literal["mean", "pairs"] = "pairs") -> np.ndarray:
    """[N]: what each sample adds to AIoU@`least`, which is the mean over samples, from the tIoU [N, V] of V voters.

    With exemplars, or seeds, one sample has several predictions. `mean`: 1 where the mean of their tIoU reaches `least`
    (TSA, MCoRe); `pairs`: the share of them that reach it, so that every pair of a sample and a voter counts alike
    (HP-MCoRe). With one voter both are the same.
    """
    if voters == "mean":
        return (tious.mean(axis=1) >= least).astype(np.float64)
    return (tious >= least).mean(axis=1)


def _frames(texts: Sequence[str]) -> np.ndarray:
    """[N, 2] of N texts like "28 62"."""
    return np.array([text.split() for text in texts], dtype=np.float64).reshape(-1, 2)


def label_names(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """The metrics of `label_metrics` that any of `rows` has, in order."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if value is not None)
    return [n for n in names if n.startswith("accuracy_")] + [n for n in (*NAMES, *OVERLAPS, TIOU) if n in names]
