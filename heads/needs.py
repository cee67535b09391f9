"""Does a head fit the data? In words before the work starts, and as errors when nobody asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..catalog.phases import UNKNOWN, transitions
from ..catalog.skeletons import SKELETONS
from ..errors import AnnotationError, UnmetNeeds
from .base import FeatureSet, Head

JOINTS = 2  # dimensions of a clip's feature that is a pose
_FEATURE = {1: "vectors", JOINTS: "joints [J, 3]", 3: "maps [C, H, W]", 4: "volumes [C, T, H, W]"}


def unmet(head: Head, data: FeatureSet, *, judging: bool = False, samples: int | None = None) -> list[str]:
    """What `data` or its streams lack for `head`, each as a sentence; empty if nothing.

    `judging`: not to fit it. `samples`: how many of `data` are to train on, if not all.
    """
    needs, lacks = head.needs, []
    if needs.streams:
        lacks += _streams(head, data)
    count = len(data) if samples is None else samples
    if needs.most_samples and not judging and count > needs.most_samples:
        lacks.append(f"it takes at most {needs.most_samples} samples to train on, and there are {count}")
    if data.target_kind not in needs.targets:
        asked = {"score": "scores", "binary": "binary targets (0 or 1)"}
        takes = " or ".join(asked.get(kind, kind) for kind in needs.targets)
        lacks.append(f"it takes {takes}, and the target is {data.target_kind}")
    if needs.difficulty and not np.isfinite(data.difficulty).all():
        lacks.append(f"the difficulty is unknown for {some(data.ids, ~np.isfinite(data.difficulty))}")
    if needs.judges and not judging:
        without = ~np.any(np.isfinite(data.judges), axis=1)
        if without.any():
            lacks.append(f"the judges' marks are unknown for {some(data.ids, without)}")
    if needs.kind and not any(data.kind) and not any(data.group):
        lacks.append("no sample has a kind (dive number, action type) or a group")
    if needs.labels and not judging:
        known = any(data.caption) or any((values >= 0).any() for values in data.attributes.values())
        lacks += [] if known else ["no sample has attributes or a caption"]
    if needs.phases and not judging and all(transitions(labels) == UNKNOWN for labels in data.phases):
        lacks.append("no sample has phases")
    return lacks


def ready_to_fit(head: Head, train: FeatureSet) -> None:
    """Raises UnmetNeeds if `train` lacks what `head` needs, AnnotationError for truth that cannot be learned from."""
    if len(train) == 0:
        raise UnmetNeeds(f"{head.name} cannot be fitted: there is no sample to train on")
    lacks = unmet(head, train)
    if lacks:
        raise UnmetNeeds(f"{head.name} cannot be fitted: {'; '.join(lacks)}", hint="choose another head or stream")
    bad = ~np.isfinite(train.score)
    if train.target_kind == "binary":
        bad |= ~np.isin(train.score, (0.0, 1.0))
    if head.needs.unlabelled and not bad.all():
        bad &= ~np.isnan(train.score)
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        wanted = "0 or 1" if train.target_kind == "binary" else "a finite number"
        raise AnnotationError(f"the score is {train.score[i]}, not {wanted}", sample=train.ids[i], field="score")


@dataclass(frozen=True)
class FittedOn:
    """What a head was fitted on, so that other features are refused by name: streams with the shape of one clip."""

    streams: Mapping[str, tuple[int, ...]]
    target_kind: Literal["score", "binary"]
    range: tuple[float, float]

    @classmethod
    def of(cls, head: Head, train: FeatureSet) -> FittedOn:
        used = train.streams if head.needs.streams else {}
        return cls({name: s.shape for name, s in used.items()}, train.target_kind, train.range)

    def to_json(self) -> dict[str, Any]:
        streams = {name: list(shape) for name, shape in self.streams.items()}
        return {"streams": streams, "target_kind": self.target_kind, "range": list(self.range)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> FittedOn:
        low, high = plain["range"]
        return cls({name: tuple(s) for name, s in plain["streams"].items()}, plain["target_kind"], (low, high))

    def check(self, head: Head, data: FeatureSet) -> None:
        """Raises UnmetNeeds if `data` has not the streams of the same shapes, or too few clips."""
        where = f"{head.name} was fitted on {_listed(self.streams)}"
        for name, shape in self.streams.items():
            if name not in data.streams:
                got = _listed({n: s.shape for n, s in data.streams.items()})
                hint = f"give the stream '{name}', or fit the head on yours"
                raise UnmetNeeds(f"{where}; the data has {got}", field=name, hint=hint)
            if data.streams[name].shape != shape:
                got = _listed({name: data.streams[name].shape})
                raise UnmetNeeds(f"{where}; here it is {got}", field=name, hint="give the features of the fit")
            short = data.streams[name].lengths < head.needs.clips
            if short.any():
                raise UnmetNeeds(f"{head.name} needs at least {head.needs.clips} clips: {some(data.ids, short)}")


def _streams(head: Head, data: FeatureSet) -> list[str]:
    needs, names, lacks = head.needs, list(data.streams), []
    most = needs.streams + needs.further_streams
    if len(names) < needs.streams:
        takes = f"{needs.streams} stream{'s' * (needs.streams > 1)}"
        lacks.append(f"it takes {takes} of features, got {', '.join(names) or 'none'}")
    elif len(names) > most:
        takes = "one stream" if most == 1 else f"{'at most ' * (most > needs.streams)}{most} streams"
        lacks.append(f"it takes {takes} at once, got {len(names)}: {', '.join(names)}")
    elif (
        needs.further_streams
        and not needs.unlike_streams
        and len({stream.shape for stream in data.streams.values()}) > 1
    ):
        got = _listed({name: stream.shape for name, stream in data.streams.items()})
        lacks.append(f"it takes streams of one backbone, all of one shape, got {got}")
    elif needs.shapes and sorted(len(stream.shape) for stream in data.streams.values()) != sorted(needs.shapes):
        wanted = ", ".join(_FEATURE[dimensions] for dimensions in needs.shapes)
        got = _listed({name: stream.shape for name, stream in data.streams.items()})
        lacks.append(f"it takes streams of {wanted} per clip, got {got}")
    for name, stream in data.streams.items():
        if needs.shape is not None and len(stream.shape) != needs.shape:
            wanted = _FEATURE.get(needs.shape, f"{needs.shape} dimensions")
            lacks.append(f"it takes {wanted} per clip, and stream '{name}' has {list(stream.shape)}")
        elif JOINTS in (needs.shape, *needs.shapes) and len(stream.shape) == JOINTS and not _is_pose(stream.shape):
            layouts = ", ".join(SKELETONS)
            lacks.append(f"it takes joints [J, 3] of {layouts}, and stream '{name}' has {list(stream.shape)}")
        short = stream.lengths < max(needs.clips, 1)
        if short.any():
            least = f"{max(needs.clips, 1)} clip{'s' * (needs.clips > 1)}"
            lacks.append(f"it takes at least {least} per sample, and '{name}' has fewer for {some(data.ids, short)}")
    return lacks


def _is_pose(shape: tuple[int, ...]) -> bool:
    return shape in {(len(layout.joints), 3) for layout in SKELETONS.values()}


def _listed(streams: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"'{name}' {list(shape)}" for name, shape in streams.items()) or "no stream"


def some(ids: Sequence[str], mask: Iterable[Any]) -> str:
    """'3 of 300 samples: a, b, c' of the ids where `mask` is true."""
    found = [one for one, true in zip(ids, mask, strict=True) if true]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{len(found)} of {len(ids)} samples: {', '.join(found[:3])}{more}"
