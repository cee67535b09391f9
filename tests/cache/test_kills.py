"""SIGKILL at random moments, and several processes at once, in real processes."""

import subprocess
import sys

import pytest

# Imports once and forks: a child costs milliseconds. Children write every sample and pack again and again, so that a
# kill meets writing, syncing, renaming, packing and removing.
DRIVER = """
import os, random, signal, sys, time
import numpy as np
from pathlib import Path
from aqa.cache import create_store, open_store
from aqa.cache.fingerprint import Fingerprint
from aqa.catalog.base import Dataset, Fold, Protocol, Sample, Target

mode, folder, rounds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
IDS = [f"dive {i:02d}" for i in range(24)]
data = Dataset("dives", tuple(Sample(i, {"score": 1.0}) for i in IDS), (Target("score"),),
               (Protocol("p", (Fold("0", tuple(IDS[:12]), tuple(IDS[12:])),)),))
print_ = Fingerprint("c3d.random", "fc6", (256,), "seed:0", {}, "10x16@103", "edge", "fp32", 1)

def values(i):
    rng = np.random.default_rng(list(i.encode()))
    return rng.standard_normal((int(rng.integers(2, 9)), 256), dtype=np.float32)

def work(path, seed, forever):
    rng = random.Random(seed)
    store = create_store(path, data, "c3d", print_, {"seed": seed})
    while True:
        for k, i in enumerate(rng.sample(IDS, len(IDS))):
            v = values(i)
            store.write(i, v, np.arange(len(v)), np.arange(len(v)) / 25, {"frames": len(v)})
            if k % 5 == 4:
                store.pack()
        store.pack()
        if not forever:
            return store

def child(*args):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work(*args)
            code = 0
        finally:
            os._exit(code)
    return pid

def check(store, ids):
    got, offsets = store.read(ids)
    for k, i in enumerate(ids):
        assert np.array_equal(got[offsets[k]:offsets[k + 1]], values(i)), i

want = work(folder / "undisturbed", 0, False).packed.read_bytes()
path = folder / mode
rng = random.Random(1)
if mode == "kills":
    seen = set()
    for k in range(rounds):
        pid = child(path, k, True)
        time.sleep(rng.uniform(0.005, 0.15))
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        found = list(path.glob("*/*/*/store.json"))
        if found:
            store = open_store(found[0].parent)
            check(store, store.ids())
            assert store.verify() == [], store.verify()
            seen |= set(store.path.rglob(".tmp-*"))
    assert seen, "no kill met a file that was being written"
else:
    pids = [child(path, k, False) for k in range(rounds)]
    readings = 0
    while pids:
        done, status = os.waitpid(-1, os.WNOHANG)
        if done:
            assert status == 0, status
            pids.remove(done)
        found = list(path.glob("*/*/*/store.json"))
        if found:
            store = open_store(found[0].parent)
            check(store, store.ids())
            readings += 1
    assert readings
store = work(path, 99, False)
assert store.ids() == IDS
check(store, IDS)
assert store.verify() == []
assert store.packed.read_bytes() == want
assert not list(store.path.glob(".tmp-*")) and not list(store.parts.glob("*.h5"))
print("identical")
"""


def drive(mode: str, folder, rounds: int) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", DRIVER, mode, str(folder), str(rounds)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "identical"


@pytest.mark.parametrize("kills", [12, pytest.param(40, marks=pytest.mark.slow)])
def test_after_kills_the_next_run_completes_with_identical_bytes(tmp_path, kills):
    drive("kills", tmp_path, kills)


def test_writers_packers_and_a_reader_at_once(tmp_path):
    drive("together", tmp_path, 3)
