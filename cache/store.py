"""A feature store: the features of one data set's samples, made in one way, in one folder.

::

    <root>/<dataset>/<stream>/<first 8 of the fingerprint's digest>/
        store.json      what this is: fingerprint, provenance, flags, number type
        dataset.json    the data set's table, so that nothing later needs the annotation files
        parts/*.h5      samples that are not packed yet, one file each
        features.h5     the packed samples
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from ..catalog.base import Dataset, Sample
from ..errors import StoreError
from . import packed, part
from .files import identity, locked, writing
from .fingerprint import Fingerprint
from .gather import gather, require
from .hdf5 import open_binary, reading
from .names import quote_id, unquote_id
from .pack import pack, remove
from .record import Record, checked
from .source import changed
from .table import dataset_changes, read_dataset, write_dataset
from .verify import Finding, verify

NUMBERS = ("float32", "float16")
TRIES = 5  # of a reader while others pack

T = TypeVar("T")


class FeatureStore:
    """The store in the folder `path`; made by `create_store`, `open_store`, `find_stores` and `select_store`.

    `dtype`, `shape`: of one clip's feature. `provenance`: what made the features, beyond what the fingerprint pins.
    Any number of processes may read, write and pack at once.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self.dataset_name: str = about["dataset"]
        self.stream: str = about["stream"]
        self.fingerprint = Fingerprint.from_json(about["fingerprint"])
        self.provenance: Mapping[str, Any] = about["provenance"]
        self.flags: tuple[str, ...] = tuple(about["flags"])
        self.dtype = np.dtype(about["dtype"])
        self.shape = self.fingerprint.shape
        if self.dtype not in NUMBERS:
            raise ValueError(f"dtype {self.dtype}")
        self.digest = self.fingerprint.digest
        self.packed, self.parts = path / "features.h5", path / "parts"
        self.lock, self.parts_lock = path / ".lock", self.parts / ".lock"
        self._index: packed.Index | None = None

    def __repr__(self) -> str:
        return f"FeatureStore({self.dataset_name}, {self.name}, {self.path})"

    @property
    def name(self) -> str:
        """Stream and fingerprint, as `select_store` takes them: ``c3d@1a2b3c4d``."""
        return f"{self.stream}@{self.digest[:8]}"

    @property
    def stamp(self) -> dict[str, Any]:
        """The fingerprint as the packed file keeps it."""
        return {**self.fingerprint.to_json(), "digest": self.digest}

    @cached_property
    def dataset(self) -> Dataset:
        """The data set as it was last told (`create_store`, `update_dataset`); its media have no paths."""
        return read_dataset(self.path / "dataset.json")[0]

    # Which samples are there

    def ids(self) -> list[str]:
        """The samples that are there, packed or not, in the data set's order."""
        parts, index = self.part_paths(), self.index()  # in this order, see gather.py
        if not parts:
            return list(index.ids) if index else []
        return self.in_order({*parts, *(index.ids if index else ())})

    def has(self, sample: str) -> bool:
        """Whether the sample is there, without listing the others."""
        if self.part_path(sample).exists():
            return True
        index = self.index()
        return index is not None and sample in index.position

    def __len__(self) -> int:
        return len(self.ids())

    def in_order(self, ids: Iterable[str]) -> list[str]:
        """`ids` in the data set's order, those that it does not know last, sorted."""
        place = {sample: i for i, sample in enumerate(self.dataset.by_id)}
        return sorted(ids, key=lambda sample: (place.get(sample, len(place)), sample))

    # Writing

    def write(
        self, sample: str, features: np.ndarray, starts: Any, times: Any, source: Mapping[str, Any] | None = None
    ) -> None:
        """Keeps the features [T, *shape] of one sample, in place of older ones, whole or not at all.

        `starts`, `times` [T]: first frame and time in seconds of each clip. `source`: what they were made of, plain
        values (`media_source` for a video; more keys are welcome). float32 and float16 become the store's `dtype`.
        Raises: StoreError for another shape, no clips, NaN or infinity, an id that the data set does not have, a full
        disk, a read-only cache.
        """
        if sample not in self.dataset.by_id:
            hint = "the annotations have changed: update_dataset first"
            raise StoreError(f"not a sample of {self.dataset_name}", sample=sample, field="id", hint=hint)
        record, values = checked(sample, features, starts, times, source or {}, self.dtype, self.shape)
        path = self.part_path(sample)
        with writing(self.parts):
            self.parts.mkdir(exist_ok=True)
        part.write_part(path, record, values, self.digest, self.parts_lock)

    def remove(self, ids: Iterable[str]) -> list[str]:
        """Removes samples; gives those that were there. Raises StoreError where the cache cannot be written."""
        return remove(self, set(ids))

    def pack(self) -> Path:
        """See `pack.pack`."""
        return pack(self)

    def update_dataset(self, dataset: Dataset) -> list[str]:
        """Takes over a new version of the data set's table; one line per change (labels, frame ranges, folds...).

        Nothing is written if nothing changed; a damaged table is written anew. Features are kept: `stale` names those
        whose frame range is another.
        Raises: StoreError for another data set.
        """
        if dataset.name != self.dataset_name:
            raise StoreError(f"features of {self.dataset_name}, not {dataset.name}", file=self.path, field="dataset")
        try:
            lines = dataset_changes(self.dataset, dataset)
        except StoreError as error:
            lines = [f"table: {error.what}; written anew"]
        if lines:
            with locked(self.lock):
                write_dataset(self.path / "dataset.json", dataset)
            self.__dict__.pop("dataset", None)
        return lines

    # Reading

    def read(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Features of `ids` end to end in the order asked, [sum T, *shape], and offsets int64 [N + 1].

        Raises: StoreError for an id that is not there or a damaged file. Packed features are compared with their
        checksums by `verify` alone: that takes longer than reading.
        """
        return self._again(lambda: gather(self, ids))

    def read_times(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First frames int64 [sum T], times in seconds float64 [sum T] and offsets [N + 1] of `ids`, as `read`."""
        found = self.records()
        require(self, ids, found)
        records = [found[sample] for sample in ids]
        offsets = np.cumsum([0, *(record.rows for record in records)]).astype(np.int64)
        starts = np.concatenate([np.zeros(0, np.int64), *(record.starts for record in records)])
        return starts, np.concatenate([np.zeros(0), *(record.times for record in records)]), offsets

    def records(self) -> dict[str, Record]:
        """Everything but the features of every sample. Raises StoreError for a damaged file."""
        return self._again(self._records)

    def sources(self) -> dict[str, dict[str, Any]]:
        """What the features of every sample were made of, as it was told to `write`."""
        return {sample: json.loads(record.source) for sample, record in self.records().items()}

    def stale(self, samples: Iterable[Sample] | None = None) -> dict[str, str]:
        """Which of the samples (by default the table's) were made of something else than is there now, and what of it.

        Compared are frame range, and size and time of the media where they are known; see `source.media_source`.
        """
        sources = self.sources()
        reasons = {
            sample.id: changed(sources[sample.id], sample)
            for sample in (self.dataset.samples if samples is None else samples)
            if sample.id in sources
        }
        return {sample: reason for sample, reason in reasons.items() if reason is not None}

    def verify(self) -> list[Finding]:
        """See `verify.verify`."""
        return verify(self)

    # Files

    def index(self) -> packed.Index | None:
        """Of the packed file as it is now; None if there is none. Raises StoreError if it is damaged."""
        with self.open_packed() as (_, index):
            return index

    def open_part(self, path: Path) -> AbstractContextManager[part.Part]:
        return part.open_part(path, self.dtype, self.shape, self.digest)

    def part_paths(self) -> dict[str, Path]:
        """Sample -> file, of the samples that are not packed or were written after packing."""
        try:
            names = sorted(path.name for path in self.parts.iterdir() if path.suffix == ".h5")
        except FileNotFoundError:
            return {}
        paths = {}
        for name in names:
            sample = unquote_id(name.removesuffix(".h5"))
            if sample is None:  # too long for a file name: it is inside
                with self.open_part(self.parts / name) as found:
                    sample = found.record.id
            paths[sample] = self.parts / name
        return paths

    def part_path(self, sample: str) -> Path:
        return self.parts / f"{quote_id(sample)}.h5"

    @contextmanager
    def open_packed(self) -> Iterator[tuple[IO[bytes] | None, packed.Index | None]]:
        """The packed file and its index, which is read once for as long as the file stays the same."""
        try:
            with reading(self.packed, packed.HINT):
                file = open_binary(self.packed)
        except FileNotFoundError:
            yield None, None
            return
        with file:
            with reading(self.packed, packed.HINT):
                if self._index is None or self._index.identity != identity(os.fstat(file.fileno())):
                    self._index = packed.read_index(file, self.packed, self.dtype, self.shape, self.digest)
            yield file, self._index

    def _records(self) -> dict[str, Record]:
        paths = self.part_paths()
        records = {}
        with self.open_packed() as (file, index):
            if file and index:
                with reading(self.packed, packed.HINT):
                    records = {record.id: record for record in packed.read_records(file, index)}
        for sample, path in paths.items():
            with self.open_part(path) as found:
                records[sample] = found.record
        return records

    def _again(self, read: Callable[[], T]) -> T:
        """What `read` gives; once more if a part was packed between being listed and being opened."""
        for _ in range(TRIES):
            try:
                return read()
            except FileNotFoundError:
                continue
        raise StoreError("the parts change faster than they can be read", file=self.parts)
