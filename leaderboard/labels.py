"""What a run keeps of classes, captions and phases, beside the scores, and the metrics of them.

`predictions.csv` has for every attribute that a head names its classes in `class NAME` (predicted) and `true NAME`
(empty where unknown), for captions `caption` and `reference`, and for phases `phases` and `true phases`: the first
frames of the second and of the last phase, with a blank between ("28 62").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .captions import NAMES, caption_metrics
from .metrics import Metrics

CLASS, TRUE, CAPTION, REFERENCE, PHASES = "class ", "true ", "caption", "reference", "phases"
OVERLAPS = {"aiou_50": 0.5, "aiou_75": 0.75}

Columns = Mapping[str, Sequence[str]]


def label_columns(
    attributes: Mapping[str, np.ndarray], captions: Sequence[str], truth: Mapping[str, np.ndarray], said: Sequence[str]
) -> dict[str, list[str]]:
    """The columns of N samples. `attributes`: name -> probabilities [N, classes], `captions`: [N] or (): what a head
    says; `truth`: name -> class indices [N], -1 unknown, and `said`: captions [N]: what is true."""
    columns: dict[str, list[str]] = {}
    for name, probabilities in attributes.items():
        columns[CLASS + name] = [str(k) for k in probabilities.argmax(axis=1)]
        columns[TRUE + name] = [str(k) if k >= 0 else "" for k in truth.get(name, np.full(len(probabilities), -1))]
    if captions:
        columns[CAPTION] = list(captions)
        columns[REFERENCE] = list(said)
    return columns


def label_metrics(columns: Columns) -> Metrics:
    """`accuracy_NAME` of every attribute over the samples whose class is known (None without any), the caption metrics,
    and AIoU@0.5 and @0.75; empty where a run has none of them."""
    found: Metrics = {}
    for column in columns:
        if column.startswith(CLASS):
            name = column.removeprefix(CLASS)
            pairs = [(s, t) for s, t in zip(columns[column], columns[TRUE + name], strict=True) if t]
            found[f"accuracy_{name}"] = float(np.mean([s == t for s, t in pairs])) if pairs else None
    if CAPTION in columns:
        found |= caption_metrics(columns[CAPTION], columns[REFERENCE])
    if PHASES in columns:
        pairs = [(s, t) for s, t in zip(columns[PHASES], columns[TRUE + PHASES], strict=True) if t]
        overlaps = [overlap(_frames(s), _frames(t)) for s, t in pairs]
        found |= {n: float(np.mean(np.array(overlaps) >= o)) if pairs else None for n, o in OVERLAPS.items()}
    return found


def overlap(said: tuple[float, float], truth: tuple[float, float]) -> float:
    """Intersection over union of two spans of frames, each from the start of the second phase to that of the last (Xu
    et al., FineDiving, CVPR 2022: the share of samples where it reaches a threshold is their AIoU)."""
    common = max(min(said[1], truth[1]) - max(said[0], truth[0]), 0.0)
    union = (said[1] - said[0]) + (truth[1] - truth[0]) - common
    return common / union if union > 0 else 0.0


def _frames(text: str) -> tuple[float, float]:
    start, end = text.split()
    return float(start), float(end)


def label_names(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """The metrics of `label_metrics` that any of `rows` has, in order."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if value is not None)
    return [n for n in names if n.startswith("accuracy_")] + [n for n in (*NAMES, *OVERLAPS) if n in names]
