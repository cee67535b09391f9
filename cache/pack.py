"""Merging the parts of a store and its packed file into a new packed file."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StoreError
from . import packed, part
from .files import Identity, clean, identity, locked, sync_folder, whole_file, writing
from .hdf5 import reading
from .record import Record

if TYPE_CHECKING:
    from .store import FeatureStore

TRIES = 5


class Changed(Exception):
    """A part was written anew while it was being packed."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One sample that goes into the new file: from the part at `path`, else number `i` of the old packed file."""

    record: Record
    path: Path | None = None
    identity: Identity | None = None
    i: int = -1


def pack(store: FeatureStore) -> Path:
    """Makes or renews the packed file of `store` and returns its path.

    Samples stand in the data set's order (those that the set no longer has last, sorted), so the same content is the
    same bytes whatever happened before. Memory: one block of features. Readers see the old state or the new; parts
    that are written meanwhile stay parts. A second process that packs waits.
    Raises: StoreError for a damaged part or packed file, a full disk, a read-only cache, or nothing to pack; the
    store is then as it was.
    """
    with _alone(store):
        merge(store)
    return store.packed


def remove(store: FeatureStore, ids: Collection[str]) -> list[str]:
    """Removes samples from the packed file (which is written anew) and the parts; those that it held, in its order."""
    with _alone(store):
        removed = [sample for sample in store.ids() if sample in ids]
        index = store.index()
        if index is not None and any(sample in index.position for sample in removed):
            merge(store, without=set(removed))  # first: killed in between, no older features come back
        paths = store.part_paths()
        with locked(store.parts_lock), writing(store.parts):
            for sample in removed:
                if sample in paths:
                    paths[sample].unlink(missing_ok=True)
    return removed


def merge(store: FeatureStore, without: Collection[str] = ()) -> None:
    """What `pack` does, for whoever holds the store's lock; leaves the samples `without` out."""
    for _ in range(TRIES):
        try:
            return _merge(store, without)
        except Changed:
            continue
    raise StoreError("the parts change faster than they can be packed", file=store.parts)


@contextmanager
def _alone(store: FeatureStore) -> Iterator[None]:
    with locked(store.lock):
        with writing(store.parts):
            store.parts.mkdir(exist_ok=True)
        clean(store.path, exclusive=True)
        clean(store.parts)
        yield


def _merge(store: FeatureStore, without: Collection[str]) -> None:
    entries = {entry.record.id: entry for entry in _collect(store) if entry.record.id not in without}
    order = store.in_order(entries)
    chosen = [entries[sample] for sample in order]
    index = store.index()
    if not chosen and without:
        with writing(store.packed):
            store.packed.unlink(missing_ok=True)
        return
    if not chosen:
        raise StoreError("no features to pack", file=store.path, hint="run `aqa extract` or `aqa cache import` first")
    if index is None or any(entry.path for entry in chosen) or tuple(order) != index.ids:
        _write(store, chosen)
    sync_folder(store.path)  # the new file is there for good before the parts go
    _drop(store, chosen)


def _collect(store: FeatureStore) -> Iterator[Entry]:
    """Everything that the store holds, the parts last: a part is newer than the packed sample of the same id."""
    with store.open_packed() as (file, index), reading(store.packed, packed.HINT):
        records = packed.read_records(file, index) if file and index else []
    yield from (Entry(record, i=i) for i, record in enumerate(records))
    for path in store.part_paths().values():
        try:
            with store.open_part(path) as found:
                entry = Entry(found.record, path, found.identity)
        except FileNotFoundError as error:  # removed by hand meanwhile
            raise Changed from error
        yield entry


def _write(store: FeatureStore, chosen: list[Entry]) -> None:
    def damaged(i: int) -> StoreError:
        path, hint = (chosen[i].path, part.HINT) if chosen[i].path else (store.packed, packed.HINT)
        return StoreError("damaged (wrong checksum)", file=path, sample=chosen[i].record.id, hint=hint)

    with store.open_packed() as (old, index), whole_file(store.packed) as new:

        def features(entry: Entry) -> Generator[np.ndarray]:
            if entry.path:
                yield from _part_blocks(store, entry.path, entry.identity)
            elif old and index:
                with reading(store.packed, packed.HINT):
                    yield from packed.blocks(old, index, entry.i, store.dtype, store.shape)

        records, values = [entry.record for entry in chosen], map(features, chosen)
        packed.write_packed(new, records, values, store.dtype, store.shape, store.stamp, damaged)


def _part_blocks(store: FeatureStore, path: Path, known: Identity | None) -> Iterator[np.ndarray]:
    try:
        with store.open_part(path) as found:
            if found.identity != known:
                raise Changed
            yield from part.blocks(found)
    except FileNotFoundError as error:
        raise Changed from error


def _drop(store: FeatureStore, entries: list[Entry]) -> None:
    """Removes the parts that went in, unless they were written anew: a part gets its name under the same lock."""
    with locked(store.parts_lock), writing(store.parts):
        for entry in entries:
            if entry.path is not None and entry.path.exists() and identity(entry.path.stat()) == entry.identity:
                entry.path.unlink()
