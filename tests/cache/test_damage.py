"""Damaged files, a full disk, a cache that cannot be written: a clear error, and nothing lost."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from aqa.cache import open_store
from aqa.errors import StoreError


def flip(path: Path, place: int, content: bytes) -> None:
    damaged = bytearray(content)
    damaged[place] ^= 1 << place % 8
    path.write_bytes(damaged)


def test_every_flipped_bit_of_a_packed_file_is_found(store, fill, check, ids):
    """Outside the features when it is opened; inside them by `verify`, which names the sample."""
    fill(store, ids)
    content = store.pack().read_bytes()
    with store.open_packed() as (_, index):
        first, rows = index.at, int(index.offsets[-1])
    for place in range(0, len(content), 61):
        flip(store.packed, place, content)
        fresh = open_store(store.path)
        findings = fresh.verify()
        assert findings
        assert findings[0].file == store.packed
        if first <= place < first + rows * 24:
            row = (place - first) // 24
            assert [f.sample for f in findings] == [ids[int((index.offsets <= row).sum()) - 1]]
            assert findings[0].message == "wrong checksum"
        else:
            with pytest.raises(StoreError, match="damaged") as caught:
                fresh.read(ids)
            assert caught.value.file == str(store.packed)
            assert "aqa cache verify" in str(caught.value)
    store.packed.write_bytes(content)
    check(open_store(store.path), ids)


def test_every_flipped_bit_of_a_part_is_found_when_it_is_read(store, fill, check, ids):
    fill(store, ids[:2])
    path = store.part_path(ids[0])
    content = path.read_bytes()
    for place in range(0, len(content), 61):
        flip(path, place, content)
        with pytest.raises(StoreError, match="damaged") as caught:
            store.read(ids[:2])
        assert caught.value.file == str(path)
        assert [finding.file for finding in store.verify()] == [path]
    fill(store, ids[:1])  # extracting again heals it
    check(store, ids[:2])


@pytest.mark.parametrize("keep", [0, 1, 100, 511, 512, 2000, -1])
@pytest.mark.parametrize("which", ["packed", "part"])
def test_truncated_files(store, fill, check, ids, which, keep):
    fill(store, ids)
    path = store.pack() if which == "packed" else store.part_path(ids[0])
    fill(store, ids[:1])
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    with pytest.raises(StoreError, match="damaged") as caught:
        store.read(ids)
    assert caught.value.file == str(path)
    assert str(path) in {str(finding.file) for finding in store.verify()}
    with pytest.raises(StoreError):
        store.pack()
    path.write_bytes(content)
    check(store, ids)


def test_files_that_are_something_else(store, fill, ids):
    fill(store, ids[:1])
    shutil.copy(store.part_path(ids[0]), store.part_path(ids[1]))
    with pytest.raises(StoreError, match="holds sample 'b 02'"):
        store.read(ids[:2])
    store.part_path(ids[1]).write_text("no HDF5")
    with pytest.raises(StoreError, match="damaged"):
        store.read(ids[:2])
    store.part_path(ids[1]).unlink()
    store.packed.write_text("{}")
    with pytest.raises(StoreError, match=r"damaged.*features\.h5"):
        store.ids()


def test_a_damaged_or_edited_table(store, fill, ids, table):
    fill(store, ids)
    file = store.path / "dataset.json"
    text = file.read_text()
    file.write_text(text.replace('"score": 3.0', '"score": 4.0'))
    assert [(f.file, f.sample) for f in open_store(store.path).verify()] == [(file, "")]
    assert "edited by hand" in open_store(store.path).verify()[0].message
    for broken in ("", "{}", '{"format": 1, "dataset": {"name": 3}}', text.replace('"id": "06"', '"id": "A"')):
        file.write_text(broken)
        with pytest.raises(StoreError, match=r"dataset\.json"):
            _ = open_store(store.path).dataset
        assert open_store(store.path).verify()[0].file == file
        assert "written anew" in open_store(store.path).update_dataset(table())[0]
        assert open_store(store.path).verify() == []


class Full:
    """A file on a disk with room for `room` more bytes."""

    def __init__(self, file, room: list[int]):
        self.file, self.room = file, room

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        data = memoryview(data).cast("B")[: self.room[0]]
        if not data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room[0] -= len(data)
        return self.file.write(data)


@contextmanager
def full_after(monkeypatch, room: int):
    original, left = Path.open, [room]

    def opening(path, mode="r", *args, **kwargs):
        file = original(path, mode, *args, **kwargs)
        return Full(file, left) if mode == "x+b" else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opening)
        yield


@pytest.mark.parametrize("room", [0, 1, 600, 4000, 9000])
def test_a_disk_that_fills_up_while_packing(store, fill, check, ids, monkeypatch, room):
    fill(store, ids[:6])
    before = store.pack().read_bytes()
    fill(store, ids[6:])
    with (
        full_after(monkeypatch, room),
        pytest.raises(StoreError, match=r"the disk is full.*nothing was lost") as caught,
    ):
        store.pack()
    assert caught.value.file == str(store.packed)
    assert store.packed.read_bytes() == before
    assert not list(store.path.rglob(".tmp-*"))
    check(store, ids)
    store.pack()
    check(store, ids)


@pytest.mark.parametrize("room", [0, 1, 600, 3000])
def test_a_disk_that_fills_up_while_a_part_is_written(store, fill, check, ids, monkeypatch, room):
    fill(store, ids[:1])
    with full_after(monkeypatch, room), pytest.raises(StoreError, match="the disk is full"):
        fill(store, ids[:1], version=1)
    with full_after(monkeypatch, room), pytest.raises(StoreError, match="the disk is full"):
        fill(store, ids[1:2])
    assert not list(store.path.rglob(".tmp-*"))
    assert store.ids() == [ids[0]]
    check(store, ids[:1])


def fails(command: list[str]) -> str:
    """The last line that a failing process says."""
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1, run.stderr
    return run.stderr.splitlines()[-1]


LIMITED = """
import resource, sys
from pathlib import Path
from aqa.cache import open_store
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
open_store(Path(sys.argv[1])).pack()
"""


def test_a_limit_on_file_sizes(store, fill, check, ids):
    """The kernel's own refusal, in a process of its own."""
    fill(store, ids)
    message = fails([sys.executable, "-c", LIMITED, str(store.path)])
    assert "StoreError: the file is too big" in message
    assert "features.h5" in message
    assert not list(store.path.rglob(".tmp-*"))
    check(store, ids)


REAL_DISK = """
import sys
import numpy as np
from pathlib import Path
from aqa.cache import create_store
from aqa.cache.fingerprint import Fingerprint
from aqa.catalog.base import Dataset, Sample, Target
from aqa.errors import StoreError
ids = [f"{n:02d}" for n in range(20)]
data = Dataset("set", tuple(Sample(i, {"score": 1.0}) for i in ids), (Target("score"),), ())
print_ = Fingerprint("c3d.random", "fc6", (6000,), "seed:0", {}, "10x16@103", "edge", "fp32", 1)
store = create_store(Path(sys.argv[1]), data, "c3d", print_, {})
try:
    for n, i in enumerate(ids):  # 480 kB each, on a disk of 3 MB
        store.write(i, np.full((20, 6000), n, np.float32), np.arange(20), np.arange(20))
except StoreError as error:
    assert "the disk is full" in str(error), error
held = store.ids()
assert held == ids[:6], held
for _ in range(2):
    try:
        store.pack()
        raise SystemExit("packed")
    except StoreError as error:
        assert "the disk is full" in str(error) and "features.h5" in str(error), error
assert not list(store.path.rglob(".tmp-*"))
values, offsets = store.read(held)
assert values[offsets[:-1], 0].tolist() == list(range(6))
assert store.verify() == []
store.remove(held[2:])  # makes room
store.pack()
assert store.read(held[:2])[0].sum() == 20 * 6000
raise SystemExit("all as it should be")
"""


def test_a_real_full_disk(tmp_path):
    """In a mount namespace of its own, so that the small disk goes with the process."""
    mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=3m none "$0" && exec "$@"', str(tmp_path)]
    try:
        may = subprocess.run([*mount, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        may = False
    if not may:
        pytest.skip("no small disk: unshare and mount are not allowed")
    assert fails([*mount, sys.executable, "-c", REAL_DISK, str(tmp_path)]) == "all as it should be"


@contextmanager
def unprivileged():
    """Permissions do not hold for root, so be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_read_only_cache_is_read_and_not_written(fingerprint, table, fill, check, ids):
    from aqa.cache import create_store, select_store

    root = Path(tempfile.mkdtemp())
    store = create_store(root, table(), "c3d", fingerprint, {})
    fill(store, ids[:8])
    store.pack()
    fill(store, ids[8:])
    paths = [root, *root.rglob("*")]
    try:
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        with unprivileged():
            again = select_store(root, "set", "c3d")
            assert create_store(root, table(), "c3d", fingerprint, {}).path == store.path
            check(again, ids)
            assert again.verify() == []
            assert again.stale() == {}
            for write in (
                again.pack,
                lambda: fill(again, ids[:1]),
                lambda: again.remove(ids[:1]),
                lambda: again.update_dataset(table(ids[1:])),
                lambda: create_store(root, table(), "i3d", fingerprint, {}),
            ):
                with pytest.raises(StoreError, match=r"no permission to write.*The cache can be read but not written"):
                    write()
            check(again, ids)
    finally:
        for path in paths:
            path.chmod(0o755)
        shutil.rmtree(root)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_file_that_may_not_be_read(fingerprint, table, fill, ids):
    from aqa.cache import create_store

    root = Path(tempfile.mkdtemp())
    try:
        store = create_store(root, table(), "c3d", fingerprint, {})
        fill(store, ids[:1])
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755)
        store.pack().chmod(0)
        with unprivileged(), pytest.raises(StoreError, match=r"cannot be read \(Permission denied\)"):
            store.ids()
    finally:
        shutil.rmtree(root)
