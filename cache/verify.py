"""Looking for damage in a store: everything is read once and compared with its checksums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StoreError
from . import packed, part
from .hdf5 import reading
from .record import Record
from .table import read_dataset

if TYPE_CHECKING:
    from .store import FeatureStore


@dataclass(frozen=True)
class Finding:
    """Something wrong: in which file, about which sample ("" for the whole file)."""

    file: Path
    sample: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}{f', sample {self.sample}' if self.sample else ''}: {self.message}"


def verify(store: FeatureStore) -> list[Finding]:
    """What is wrong with a store; [] if nothing is.

    Checked are the table's digest, every packed sample and every part (readable, checksum, finite), the offsets, and
    that the data set knows every id.
    """
    findings = [*_table(store), *_packed(store), *_parts(store)]
    try:
        known, held = store.dataset.by_id, store.ids()
    except StoreError:  # is among the findings
        return findings
    return findings + [Finding(store.path, i, "not a sample of the data set any more") for i in held if i not in known]


def _table(store: FeatureStore) -> Iterator[Finding]:
    file = store.path / "dataset.json"
    try:
        dataset, digest = read_dataset(file)
    except StoreError as error:
        yield Finding(file, "", error.what)
        return
    if dataset.digest() != digest:
        yield Finding(file, "", f"the digest is {dataset.digest()}, not {digest}: the table was edited by hand")


def _packed(store: FeatureStore) -> Iterator[Finding]:
    try:
        with store.open_packed() as (file, index):
            if file is None or index is None:
                return
            if len(index.position) != len(index.ids):
                yield Finding(store.packed, "", "an id occurs twice")
            with reading(store.packed, packed.HINT):
                records = packed.read_records(file, index)
            for i, record in enumerate(records):
                with reading(store.packed, packed.HINT):
                    message = _check(record, packed.blocks(file, index, i, store.dtype, store.shape), store)
                if message:
                    yield Finding(store.packed, record.id, message)
    except StoreError as error:
        yield Finding(store.packed, "", error.what)


def _parts(store: FeatureStore) -> Iterator[Finding]:
    try:
        paths = store.part_paths()
    except StoreError as error:
        yield Finding(Path(error.file or store.parts), "", error.what)
        return
    for sample, path in paths.items():
        try:
            with store.open_part(path) as found:
                message = _check(found.record, part.blocks(found), store)
        except FileNotFoundError:  # packed meanwhile
            continue
        except StoreError as error:
            message = error.what
        if message:
            yield Finding(path, sample, message)


def _check(record: Record, blocks: Iterable[np.ndarray], store: FeatureStore) -> str:
    hasher, bad = record.hasher(store.dtype, store.shape), 0
    for block in blocks:
        hasher.update(block.data)
        bad += int(block.size - np.isfinite(block).sum())
    if hasher.hexdigest() != record.digest:
        return "wrong checksum"
    return f"{bad} features are NaN or infinite" if bad else ""
