"""A small data set with awkward ids, and stores of it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aqa.cache.fingerprint import Fingerprint
from aqa.cache.store import FeatureStore
from aqa.cache.stores import create_store
from aqa.catalog.base import Dataset, Fold, Media, Protocol, Sample, Target

IDS = ("b 02", "a/01", "..", "跳水_03", "x" * 400, "%2F", "a~1", "A", "z.h5", "06", "07", "08")
SHAPE = (6,)


def make_table(ids: tuple[str, ...] = IDS, **changes) -> Dataset:
    samples = tuple(Sample(i, {"score": float(k)}, Media(Path("v.mp4"), k, k + 103)) for k, i in enumerate(ids))
    fields = {"name": "set", "samples": samples, "targets": (Target("score"),)}
    fields["protocols"] = (Protocol("official", (Fold("0", ids[:-2], ids[-2:]),)),)
    return Dataset(**{**fields, **changes})


def make_features(sample: str, version: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """[1 to 5, *shape], the same for the same sample and version."""
    rng = np.random.default_rng([version, *sample.encode()])
    return rng.standard_normal((int(rng.integers(1, 6)), *shape), dtype=np.float32)


def source(store: FeatureStore, sample: str, version: int) -> dict:
    media = store.dataset.by_id[sample].media if sample in store.dataset.by_id else None
    return {"start": media.start, "stop": media.stop, "version": version} if media else {}


def fill_store(store: FeatureStore, ids, version: int = 0) -> None:
    for sample in ids:
        values = make_features(sample, version, store.shape)
        clips = np.arange(len(values))
        store.write(sample, values, clips * 16, clips * 0.64, source(store, sample, version))


def check_store(store: FeatureStore, ids, version: int = 0) -> None:
    """That the store gives exactly the features of `ids`, in this order."""
    values, offsets = store.read(ids)
    wanted = [make_features(sample, version, store.shape) for sample in ids]
    assert offsets.tolist() == np.cumsum([0, *map(len, wanted)]).tolist()
    assert values.dtype == store.dtype
    np.testing.assert_array_equal(values, np.concatenate([np.zeros((0, *store.shape), np.float32), *wanted]))


@pytest.fixture
def table() -> Callable[..., Dataset]:
    return make_table


@pytest.fixture
def features() -> Callable[..., np.ndarray]:
    return make_features


@pytest.fixture
def fill() -> Callable[..., None]:
    return fill_store


@pytest.fixture
def check() -> Callable[..., None]:
    return check_store


@pytest.fixture
def fingerprint() -> Fingerprint:
    return Fingerprint("c3d.random", "fc6", SHAPE, "seed:0", {"crop": [112, 112]}, "10x16@103", "edge", "fp32", 1)


@pytest.fixture
def make_store(tmp_path: Path, fingerprint: Fingerprint) -> Callable[..., FeatureStore]:
    def make(root: str = "cache", dataset: Dataset | None = None, stream: str = "c3d", **options) -> FeatureStore:
        return create_store(tmp_path / root, dataset or make_table(), stream, fingerprint, {"torch": "2.10"}, **options)

    return make


@pytest.fixture
def store(make_store) -> FeatureStore:
    return make_store()


def peak_of(job: Callable[[], object]) -> int:
    """The most memory in bytes that Python and numpy held at once during `job`, beyond what they had."""
    tracemalloc.start()
    try:
        job()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def peak() -> Callable[..., int]:
    return peak_of


@pytest.fixture
def ids() -> tuple[str, ...]:
    return IDS
