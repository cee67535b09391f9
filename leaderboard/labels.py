"""What a run keeps of classes and captions, beside the scores, and the metrics of them.

`predictions.csv` has for every attribute that a head names its classes in `class NAME` (predicted) and `true NAME`
(empty where unknown), and for captions `caption` and `reference`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .captions import NAMES, caption_metrics
from .metrics import Metrics

CLASS, TRUE, CAPTION, REFERENCE = "class ", "true ", "caption", "reference"

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
    """`accuracy_NAME` of every attribute over the samples whose class is known (None without any), and the caption
    metrics; empty where a run has neither."""
    found: Metrics = {}
    for column in columns:
        if column.startswith(CLASS):
            name = column.removeprefix(CLASS)
            pairs = [(s, t) for s, t in zip(columns[column], columns[TRUE + name], strict=True) if t]
            found[f"accuracy_{name}"] = float(np.mean([s == t for s, t in pairs])) if pairs else None
    if CAPTION in columns:
        found |= caption_metrics(columns[CAPTION], columns[REFERENCE])
    return found


def label_names(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """The metrics of `label_metrics` that any of `rows` has, in order."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if value is not None)
    return [n for n in names if n.startswith("accuracy_")] + [n for n in NAMES if n in names]
