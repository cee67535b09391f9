"""The feature store against ``numpy.load`` of the same array, and against other ways to lay features out in HDF5.

Every figure is a ratio of two things measured in turn in this run, or a count of bytes. Reads are of files in the
page cache. Goals: packed read at least 0.8 of numpy.load, opening a store of 3000 videos under 50 ms, memory of a read
at most 1.2 of the features.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from machine import write

from aqa.cache import FeatureStore, Fingerprint, create_store, open_store
from aqa.catalog.base import Dataset, Fold, Protocol, Sample, Target

# Peak memory of one call in kB, beyond what a process needs that has opened the store. The kernel's high-water mark:
# what getrusage says of a child starts at the size of its parent.
MEMORY = """
import sys
from pathlib import Path
from aqa.cache import open_store
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
store = open_store(Path(sys.argv[1]))
ids = store.ids()
store.read(ids[:1])
before = peak()
result = store.read(ids) if sys.argv[2] == "read" else store.pack()
print(peak() - before)
"""


def make_store(root: Path, videos: int, clips: int, width: int) -> FeatureStore:
    ids = tuple(f"video_{n:05d}" for n in range(videos))
    samples = tuple(Sample(i, {"score": 1.0}, event="an event", subject="somebody") for i in ids)
    protocols = (Protocol("official", (Fold("0", ids[: videos // 2], ids[videos // 2 :]),)),)
    data = Dataset("benchmark", samples, (Target("score"),), protocols)
    weights = Fingerprint("none.random", "fc", (width,), "seed:0", {}, "dense:16:16", "edge", "fp32", 1)
    store = create_store(root, data, "stream", weights, {})
    source = {"start": 0, "stop": 103, "size": 1234567, "mtime": 1700000000, "decoded": 103}
    for n, i in enumerate(ids):
        rng = np.random.default_rng(n)
        values = rng.standard_normal((clips, width), dtype=np.float32)
        store.write(i, values, np.arange(clips) * 16, np.arange(clips) * 0.64, source)
    return store


def seconds(job: Callable[[], Any]) -> float:
    start = time.perf_counter()
    result = job()
    taken = time.perf_counter() - start
    del result
    return taken


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any], repeat: int) -> tuple[float, float, float]:
    """Median speed of `ours` over `theirs`, measured in turn, and both medians in ms."""
    seconds(ours)  # brings both files into memory
    seconds(theirs)
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeat)]
    mine, other = zip(*pairs, strict=True)
    return statistics.median(b / a for a, b in pairs), statistics.median(mine) * 1e3, statistics.median(other) * 1e3


def memory(path: Path, job: str, size: int) -> float | None:
    if not Path("/proc/self/status").exists():
        return None
    run = subprocess.run([sys.executable, "-c", MEMORY, str(path), job], capture_output=True, text=True, check=True)
    return int(run.stdout) * 1024 / size


def layouts(folder: Path, values: np.ndarray, clips: int, repeat: int) -> dict[str, float]:
    """Speed of reading everything through h5py from other layouts, over numpy.load."""
    np.save(folder / "layout.npy", values)
    speed = {}
    for name, chunks in (("contiguous", None), ("chunks of 64 rows", 64), ("chunks of 1024 rows", 1024)):
        path = folder / "layout.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=values, chunks=None if chunks is None else (chunks, values.shape[1]))
        speed[name] = ratio(lambda p=path: _whole(p), lambda: np.load(folder / "layout.npy"), repeat)[0]
    with h5py.File(folder / "groups.h5", "w") as file:
        for n in range(0, len(values), clips):
            file.create_group(f"v{n:07d}").create_dataset("x", data=values[n : n + clips])
    speed["a group per video"] = ratio(
        lambda: _groups(folder / "groups.h5"), lambda: np.load(folder / "layout.npy"), max(2, repeat // 3)
    )[0]
    return speed


def _whole(path: Path) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return file["x"][()]


def _groups(path: Path) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return np.concatenate([group["x"][()] for group in file.values()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--videos", type=int, default=3000)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--width", type=int, default=1024)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        store = make_store(folder, a.videos, a.clips, a.width)
        part_ms = (time.perf_counter() - start) * 1e3 / a.videos
        size = a.videos * a.clips * a.width * 4
        pack_memory = memory(store.path, "pack", size)
        ids = store.ids()
        values, _ = store.read(ids)
        npy, half = folder / "same.npy", folder / "half.npy"
        np.save(npy, values)
        shuffled = [ids[n] for n in np.random.default_rng(0).permutation(a.videos)[: a.videos // 2]]
        np.save(half, values[: len(values) // 2])
        read, read_ms, load_ms = ratio(lambda: store.read(ids), lambda: np.load(npy), a.repeat)
        fresh, fresh_ms, _ = ratio(lambda: open_store(store.path).read(ids), lambda: np.load(npy), a.repeat)
        shuffled_read, _, _ = ratio(lambda: store.read(shuffled), lambda: np.load(half), a.repeat)
        open_ms = statistics.median(seconds(lambda: open_store(store.path).ids()) for _ in range(a.repeat)) * 1e3
        table_ms = statistics.median(seconds(lambda: open_store(store.path).dataset) for _ in range(a.repeat)) * 1e3
        result = {
            "benchmark": "cache",
            "videos": a.videos,
            "clips": a.clips,
            "width": a.width,
            "megabytes": size / 1e6,
            "read_over_numpy_load": read,
            "read_goal": 0.8,
            "open_and_read_over_numpy_load": fresh,
            "shuffled_half_over_numpy_load": shuffled_read,
            "read_ms": read_ms,
            "open_and_read_ms": fresh_ms,
            "numpy_load_ms": load_ms,
            "open_ms": open_ms,
            "open_goal_ms": 50,
            "table_ms": table_ms,
            "read_memory_over_features": memory(store.path, "read", size),
            "memory_goal": 1.2,
            "pack_memory_over_features": pack_memory,
            "write_part_ms": part_ms,
            "layouts_over_numpy_load": layouts(folder, values, a.clips, a.repeat),
        }
    write(result, a.out)


if __name__ == "__main__":
    main()
