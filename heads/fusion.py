"""Several streams for a head that takes one: late fusion. One head per stream, and the mean of their judgements.

Heads that take several streams at once (`Needs.streams` above 1, or `Needs.further_streams`) are not fused. The weights
are equal: weights learned on train are what `stack` is for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from . import needs
from .base import FeatureSet, Fitted, Head, Judgement, Log
from .saving import whole_file

FUSION_JSON = "fusion.json"


def fuses(head: Head, data: FeatureSet) -> bool:
    """Whether `head` is fitted on each stream of `data` apart."""
    return head.needs.streams == 1 and not head.needs.further_streams and len(data.streams) > 1


def unmet(head: Head, data: FeatureSet, *, judging: bool = False, samples: int | None = None) -> list[str]:
    """What `data` or any of its streams lacks for `fit_head`, each as a sentence; empty if nothing. `judging`: what it
    lacks to be judged by the fitted head. `samples`: how many of `data` are to train on, if not all."""
    parts = [only(data, name) for name in data.streams] if fuses(head, data) else [data]
    lacks = (needs.unmet(head, part, judging=judging, samples=samples) for part in parts)
    return list(dict.fromkeys(lack for of_part in lacks for lack in of_part))


def fit_head(
    head: Head,
    train: FeatureSet,
    val: FeatureSet | None,
    *,
    seeds: Sequence[int],
    device: str = "cpu",
    log: Log | None = None,
) -> list[Fitted]:
    """`head.fit`, or one fit per stream put together where the head takes one stream and there are several.

    Raises what `head.fit` raises. The history of a fused head has a column `stream`.
    """
    if not fuses(head, train):
        return head.fit(train, val, seeds=seeds, device=device, log=log)
    found: dict[str, list[Fitted]] = {}
    for name in train.streams:

        def say(row: Mapping[str, Any], stream: str = name) -> None:
            if log is not None:
                log({**row, "stream": stream})

        part = None if val is None else only(val, name)
        found[name] = head.fit(only(train, name), part, seeds=seeds, device=device, log=say)
    return [FusedHeads({name: fitted[k] for name, fitted in found.items()}) for k in range(len(seeds))]


def only(data: FeatureSet, stream: str) -> FeatureSet:
    """`data` with one of its streams."""
    return replace(data, streams={stream: data.streams[stream]})


@dataclass(frozen=True)
class FusedHeads:
    """One fitted head per stream."""

    parts: Mapping[str, Fitted]

    @property
    def info(self) -> Mapping[str, Any]:
        """What holds of all parts, the sum of their parameters, and the rest per stream."""
        infos = {name: dict(one.info) for name, one in self.parts.items()}
        first = next(iter(infos.values()))
        same = {key: v for key, v in first.items() if all(info.get(key) == v for info in infos.values())}
        known = [info["parameters"] for info in infos.values() if info.get("parameters") is not None]
        return {**same, "parameters": sum(known) if known else None, "streams": infos}

    def predict(self, data: FeatureSet) -> Judgement:
        """The mean score and mean class probabilities. The spread takes the parts as one mixture: its variance is the
        mean of theirs and the variance of their scores. Captions and phases are those of the first stream; the
        points of stages are means, and still what the score is above that of the exemplars.

        Raises UnmetNeeds for a stream that is missing or has another shape.
        """
        said = [one.predict(only(data, name) if name in data.streams else data) for name, one in self.parts.items()]
        scores = np.stack([judged.score for judged in said])
        spreads = [judged.spread for judged in said if judged.spread is not None]
        whole = len(spreads) == len(said)
        shared = set.intersection(*(set(judged.attributes) for judged in said))
        return Judgement(
            score=scores.mean(axis=0),
            spread=np.sqrt(np.mean(np.square(spreads), axis=0) + scores.var(axis=0)) if whole else None,
            attributes={name: np.mean([j.attributes[name] for j in said], axis=0) for name in sorted(shared)},
            captions=said[0].captions,
            phases=said[0].phases,
            exemplars=said[0].exemplars,
            parts={name: np.mean([j.parts[name] for j in said], axis=0) for name in said[0].parts},
        )

    def save(self, folder: Path) -> None:
        """A folder per stream, then `fusion.json`, which names them."""
        names = {f"stream-{k}": name for k, name in enumerate(self.parts)}
        for sub, name in names.items():
            (folder / sub).mkdir(parents=True, exist_ok=True)
            self.parts[name].save(folder / sub)
        with whole_file(folder / FUSION_JSON) as path:
            path.write_text(json.dumps({"format": 1, "streams": names}, ensure_ascii=False), encoding="utf-8")


def fused_folders(folder: Path) -> dict[str, Path] | None:
    """stream -> folder of its head, or None where `folder` holds a single head. Raises StoreError if damaged."""
    path = folder / FUSION_JSON
    if not path.exists():
        return None
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): folder / str(Path(sub).name) for sub, name in plain["streams"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"cannot read: {error}", file=path, hint="fit the head again") from error
