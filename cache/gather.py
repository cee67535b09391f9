"""Reading the features of many samples into one array, from the packed file and the parts as if they were one."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StoreError
from . import packed, part
from .hdf5 import reading
from .record import read_exactly, row_bytes

if TYPE_CHECKING:
    from .store import FeatureStore


def gather(store: FeatureStore, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Features of `ids` [sum T, *shape] in the order asked, and offsets int64 [N + 1].

    Each file is opened once; neighbours in the packed file are read at once, straight into the result.
    Raises: StoreError; FileNotFoundError if a part was packed meanwhile, so that asking again helps.
    """
    # The parts are listed before the packed file is opened: packing moves samples only in this direction, so whatever
    # is packed in between is found in one of them.
    paths = store.part_paths()
    with store.open_packed() as (file, index):
        position = index.position if index else {}
        require(store, ids, paths.keys() | position.keys())
        wide = row_bytes(store.dtype, store.shape)
        where = np.array([-1 if sample in paths else position[sample] for sample in ids], np.int64)
        lengths = np.zeros(len(ids), np.int64)
        if index:
            lengths[where >= 0] = np.diff(index.offsets)[where[where >= 0]]
        for k in np.flatnonzero(where < 0).tolist():  # at most; what a part holds is known when it is opened
            lengths[k] = paths[ids[k]].stat().st_size // wide
        values = np.empty((int(lengths.sum()), *store.shape), store.dtype)
        row = 0
        for k, stop in _runs(where):
            if where[k] < 0:
                with store.open_part(paths[ids[k]]) as found:
                    lengths[k] = part.read_into(found, values[row:])
            elif file and index:
                start = index.at + int(index.offsets[where[k]]) * wide
                with reading(store.packed, packed.HINT):
                    read_exactly(file, start, values[row : row + int(lengths[k:stop].sum())])
            row += int(lengths[k:stop].sum())
    if row < len(values):
        values.resize((row, *store.shape), refcheck=False)
    return values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def require(store: FeatureStore, ids: Sequence[str], held: Container[str]) -> None:
    """Raises StoreError that lists those of `ids` that are not among the `held` ones."""
    missing = [sample for sample in ids if sample not in held]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        command = "import" if store.fingerprint.backbone == "import" else "extract"
        hint = f"run the {command} command of this stream again: it makes what is missing"
        raise StoreError(
            f"no features of {len(missing)} samples: {shown}", file=store.path, sample=missing[0], hint=hint
        )


def _runs(where: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of `where` in which each number follows the one before; negative ones stand alone."""
    apart = (np.diff(where) != 1) | (where[1:] < 0) | (where[:-1] < 0)
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(where)]
    return pairwise(edges) if len(where) else iter(())
