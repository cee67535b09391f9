"""Small synthetic feature sets on which `check_head` tries a head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from .base import FeatureSet, Needs, Ragged

SHAPES = {
    None: (12,),
    1: (12,),
    2: (16, 3),
    3: (4, 3, 3),
    4: (3, 2, 2, 3),
}  # dimensions of a clip's feature -> a shape that has them
KINDS = ("101B", "205C", "407C")
RANGE = (0.0, 100.0)


def synthetic(
    needs: Needs, count: int, *, seed: int, prefix: str, kind: Literal["score", "binary"] = "score"
) -> FeatureSet:
    """`count` samples with everything that a head may ask for, and features that follow from the score, with noise.

    Ids are `prefix`-000 on; samples have unlike numbers of clips.
    """
    rng = np.random.default_rng([seed, 7])
    mark = rng.uniform(0.1, 1.0, count)
    difficulty = rng.choice([2.0, 2.5, 3.2], count)
    score = mark * difficulty * 30 if kind == "score" else np.arange(count) % 2 * 1.0
    lengths = max(needs.clips, 2) + rng.integers(0, 5, count)
    slopes = np.random.default_rng(11)  # the same for train and test
    streams = {}
    for k in range(max(needs.streams, 1)):
        shape = SHAPES[needs.shapes[k] if needs.shapes else needs.shape]
        slope = slopes.normal(size=shape)
        offsets = np.concatenate([[0], np.cumsum(lengths + k)]).astype(np.int64)
        of_score = np.repeat(score / score.max(), lengths + k).reshape(-1, *(1 for _ in shape))
        values = of_score * slope + 0.3 * rng.normal(size=(int(offsets[-1]), *shape))
        streams[f"stream{k}"] = Ragged(values.astype(np.float32), offsets)
    return FeatureSet(
        ids=tuple(f"{prefix}-{i:03d}" for i in range(count)),
        streams=streams,
        score=score,
        range=RANGE if kind == "score" else (0.0, 1.0),
        target_kind=kind,
        times_difficulty=kind == "score",
        difficulty=difficulty,
        judges=np.clip(np.round(2 * (10 * mark[:, None] + rng.normal(0, 0.4, (count, 7)))) / 2, 0, 10),
        group=tuple("ab"[i] for i in rng.integers(0, 2, count)),
        kind=tuple(KINDS[i] for i in rng.integers(0, 3, count)),
        event=tuple(f"event{i}" for i in rng.integers(0, 3, count)),
        subject=tuple(f"subject{i}" for i in rng.integers(0, 4, count)),
        caption=tuple(
            f"{'little' if m > 0.5 else 'much'} splash at {d}" for d, m in zip(difficulty, mark, strict=True)
        ),
        attributes={"position": rng.integers(0, 3, count), "armstand": rng.integers(0, 2, count)},
        phases=tuple(_frame_labels(16 * int(t), k) for k, t in enumerate(lengths)),
    )


def _frame_labels(count: int, k: int) -> tuple[int, ...]:
    """Three labels, 1, 2 and 3, for the `count` frames of sample `k`: a fifth to four tenths of them take-off, a fifth
    entry."""
    share = (np.arange(count) + 0.5) / count
    return tuple(int(label) for label in 1 + (share > 0.2 + 0.1 * (k % 3)) + (share > 0.8))


def with_lengths(data: FeatureSet, lengths: list[int]) -> FeatureSet:
    """`data` cut or repeated in time: sample i has `lengths[i]` clips in every stream."""
    streams = {}
    for name, stream in data.streams.items():
        parts = [stream[i][np.arange(length) % len(stream[i])] for i, length in enumerate(lengths)]
        streams[name] = Ragged(np.concatenate(parts), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return replace(data, streams=streams)


def without_truth(data: FeatureSet) -> FeatureSet:
    """`data` before anybody judged or annotated it."""
    none = replace(data, score=np.full(len(data), np.nan), judges=np.zeros((0, 0)), caption=(), attributes={})
    return replace(none, phases=())


def stranger(data: FeatureSet, needs: Needs) -> FeatureSet:
    """`data` as a stranger's videos: ids, streams, and of the rest only what the head needs."""
    bare = replace(without_truth(data), group=(), kind=(), event=(), subject=())
    return bare if needs.difficulty else replace(bare, difficulty=np.zeros(0))


def lacking(data: FeatureSet, needs: Needs) -> Iterator[tuple[str, FeatureSet]]:
    """What a head must refuse, by name: `data` without one thing that it needs."""
    if needs.streams:
        stream = next(iter(data.streams.values()))
        yield "no stream", replace(data, streams={})
        more = {f"another{k}": stream for k in range(needs.further_streams + 1)}
        yield "one stream too many", replace(data, streams={**data.streams, **more})
        lengths = [int(n) for n in stream.lengths]
        yield "a sample without enough clips", with_lengths(data, [*lengths[:-1], max(needs.clips, 1) - 1])
        if needs.shape is not None or needs.shapes:
            flat = {n: Ragged(s.values[..., None], s.offsets) for n, s in data.streams.items()}
            yield "clips of another number of dimensions", replace(data, streams=flat)
    if "score" not in needs.targets:
        yield "a target that is no score", replace(data, target_kind="score")
    if "binary" not in needs.targets:
        binary = (data.score > np.median(data.score)).astype(np.float64)
        yield "a binary target", replace(data, target_kind="binary", score=binary, range=(0.0, 1.0))
    if needs.difficulty:
        some = np.where(np.arange(len(data)) == 0, np.nan, data.difficulty)
        yield "difficulty for one sample", replace(data, difficulty=some)
    if needs.judges:
        yield "judges", replace(data, judges=np.zeros((0, 0)))
    if needs.kind:
        yield "kinds", replace(data, kind=(), group=())
    if needs.labels:
        yield "attributes and captions", replace(data, attributes={}, caption=())
    if needs.phases:
        yield "phases", replace(data, phases=())
