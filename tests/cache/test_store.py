import json
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

from aqa.cache import open_store
from aqa.errors import StoreError


def test_awkward_ids_go_in_and_come_out_packed_and_not(store, fill, check, ids):
    fill(store, ids)
    assert store.ids() == list(ids)
    check(store, ids)
    store.pack()
    assert not list(store.parts.glob("*.h5"))
    assert store.ids() == list(ids)
    check(store, ids)
    assert all(store.has(i) for i in ids)
    assert not store.has("nobody")
    assert len(store) == len(ids)


def test_nothing_is_written_outside_the_store(store, fill, ids, tmp_path):
    fill(store, ids)
    store.pack()
    assert {path.relative_to(store.path).parts[0] for path in store.path.rglob("*")} <= {
        "store.json", "dataset.json", "parts", "features.h5", ".lock",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_packed_and_parts_are_read_as_one_in_the_order_asked(store, fill, check, ids):
    fill(store, ids[:6])
    store.pack()
    fill(store, ids[6:])
    for order in (ids, ids[::-1], ids[3:9], (ids[7], ids[1], ids[7]), (ids[2],), ()):
        check(store, order)


def test_a_part_is_newer_than_the_packed_sample(store, fill, check, ids):
    fill(store, ids)
    store.pack()
    fill(store, ids[4:5], version=1)
    check(store, ids[4:5], version=1)
    check(store, ids[5:])
    store.pack()
    check(store, ids[4:5], version=1)
    assert store.sources()[ids[4]]["version"] == 1


def test_times_and_sources(store, fill, features, ids):
    fill(store, ids[:5])
    store.pack()
    fill(store, ids[5:])
    asked = [ids[6], ids[0]]
    starts, times, offsets = store.read_times(asked)
    lengths = [len(features(i)) for i in asked]
    assert offsets.tolist() == [0, lengths[0], sum(lengths)]
    assert starts.tolist() == [16 * t for n in lengths for t in range(n)]
    np.testing.assert_allclose(times, [0.64 * t for n in lengths for t in range(n)])
    assert starts.dtype == np.int64
    assert times.dtype == np.float64
    assert store.sources()[ids[0]] == {"start": 0, "stop": 103, "version": 0}
    assert [array.shape for array in store.read_times([])] == [(0,), (0,), (1,)]


@pytest.mark.parametrize("shape", [(3,), (22, 3), (4, 2, 2), ()])
def test_any_shape(tmp_path, fingerprint, table, fill, check, ids, shape):
    from dataclasses import replace

    from aqa.cache import create_store

    store = create_store(tmp_path, table(), "maps", replace(fingerprint, shape=shape), {})
    fill(store, ids[:4])
    check(store, ids[:4])
    store.pack()
    check(store, ids[3::-1])
    assert store.read(ids[:1])[0].shape[1:] == shape


def test_half_precision_is_kept(make_store, ids):
    store = make_store(dtype="float16")
    store.write(ids[0], np.full((2, 6), 0.1, np.float32), [0, 1], [0, 1])
    assert store.read(ids[:1])[0].dtype == np.float16
    store.pack()
    np.testing.assert_array_equal(store.read(ids[:1])[0], np.full((2, 6), 0.1, np.float16))
    with pytest.raises(StoreError, match=r"3 features are NaN or infinite \(float16\)"):
        store.write(ids[1], np.array([[1e5, 1e5, -1e5, 0, 0, 0]], np.float32), [0], [0])
    assert make_store(dtype="float32").dtype == np.float16  # what is there stays as it is


@pytest.mark.parametrize(
    ("values", "starts", "times", "message"),
    [
        (np.zeros((2, 5), np.float32), [0, 1], [0, 1], r"\[2, 5\], not \[T, 6\]"),
        (np.zeros(6, np.float32), [0], [0], r"\[6\], not \[T, 6\]"),
        (np.zeros((0, 6), np.float32), [], [], "no clip"),
        (np.zeros((2, 6)), [0, 1], [0, 1], "float64, not float32 or float16"),
        (np.array([[np.nan, np.inf, -np.inf, 0, 0, 0]], np.float32), [0], [0], "3 features are NaN or infinite"),
        (np.zeros((2, 6), np.float32), [0], [0, 1], r"\[1\] for 2 clips.*starts"),
        (np.zeros((2, 6), np.float32), [0, 1], [0, 1, 2], r"\[3\] for 2 clips.*times"),
        (np.zeros((2, 6), np.float32), [0.5, 1.5], [0, 1], "no frame numbers"),
        (np.zeros((2, 6), np.float32), [0, 1], [0, np.inf], "time is infinite"),
    ],
)
def test_what_is_not_features_is_refused_and_the_old_ones_stay(store, fill, check, ids, values, starts, times, message):
    fill(store, ids[:1])
    with pytest.raises(StoreError, match=message) as caught:
        store.write(ids[0], values, starts, times)
    assert caught.value.sample == ids[0]
    check(store, ids[:1])


def test_a_source_that_is_no_json_is_refused(store, ids):
    for source in ({"x": float("nan")}, {"x": Path("a")}, {"x": np.float32(1)}):
        with pytest.raises(StoreError, match="not JSON"):
            store.write(ids[0], np.zeros((1, 6), np.float32), [0], [0], source)


def test_unknown_ids(store, fill, ids):
    with pytest.raises(StoreError, match=r"not a sample of set.*nobody"):
        fill(store, ["nobody"])
    fill(store, ids[:2])
    with pytest.raises(StoreError, match=r"no features of 2 samples: 06, 07.*extract") as caught:
        store.read([ids[0], "06", "07"])
    assert caught.value.sample == "06"
    with pytest.raises(StoreError, match="no features of 1 samples"):
        store.read_times(["06"])


def test_removing(store, fill, check, ids):
    fill(store, ids[:8])
    store.pack()
    fill(store, ids[6:])
    assert store.remove([ids[0], ids[7], ids[9], "nobody"]) == [ids[0], ids[7], ids[9]]
    left = [i for i in ids if i not in (ids[0], ids[7], ids[9])]
    assert store.ids() == left
    check(store, left)
    assert store.remove(ids) == left
    assert store.ids() == []
    assert not store.packed.exists()
    assert store.verify() == []


def test_opening_and_reading_open_each_file_once(store, fill, check, ids, monkeypatch):
    fill(store, ids[:8])
    store.pack()
    fill(store, ids[8:])
    opened = Counter()
    original = Path.open

    def counting(path, *args, **kwargs):
        opened[path.name] += 1
        return original(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", counting)
    fresh = open_store(store.path)
    opened.clear()
    check(fresh, ids[::-1])
    assert opened == {"features.h5": 1, **{f"{i}.h5": 1 for i in (*ids[9:], "z.h5")}}


def test_neighbours_are_one_read_of_exactly_their_bytes(store, fill, ids, features, monkeypatch):
    """The floor of a read is its bytes: nothing else is read once the index is known."""
    fill(store, ids)
    store.pack()
    store.ids()
    reads = []
    original = Path.open

    class Counting:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def readinto(self, buffer):
            reads.append(len(buffer))
            return self.file.readinto(buffer)

    monkeypatch.setattr(Path, "open", lambda path, *args, **kwargs: Counting(original(path, *args, **kwargs)))
    store.read(ids[2:9])
    assert reads == [sum(features(i).nbytes for i in ids[2:9])]
    reads.clear()
    store.read([ids[5], ids[6], ids[2]])
    assert reads == [features(ids[5]).nbytes + features(ids[6]).nbytes, features(ids[2]).nbytes]


def test_reading_takes_no_more_memory_than_the_features(tmp_path, fingerprint, table, ids, peak):
    from dataclasses import replace

    from aqa.cache import create_store

    store = create_store(tmp_path, table(), "wide", replace(fingerprint, shape=(4096,)), {})
    for i in ids:
        store.write(i, np.ones((20, 4096), np.float32), np.arange(20), np.arange(20))
    for _ in ("parts", "packed"):
        assert peak(lambda: store.read(ids)) < 1.1 * store.read(ids)[0].nbytes
        store.pack()


def test_the_packed_file_is_plain_hdf5_for_others(store, fill, check, features, ids, fingerprint):
    fill(store, ids)
    with h5py.File(store.pack(), "r") as file:
        assert file["features"].chunks is None
        assert file["features"].shape == (sum(len(features(i)) for i in ids), 6)
        assert file["ids"].asstr()[:].tolist() == list(ids)
        assert file["offsets"][-1] == len(file["features"])
        assert {name: file[name].dtype.str for name in ("offsets", "starts", "times")} == {
            "offsets": "<i8", "starts": "<i8", "times": "<f8",
        }  # fmt: skip
        assert json.loads(file["sources"].asstr()[0])["stop"] == 103
        plain = json.loads(file.attrs["fingerprint"])
        assert plain.pop("digest") == fingerprint.digest
        assert plain == fingerprint.to_json()
        assert len(file.attrs["checksum"]) == 64
        assert file.attrs["format"] == "1"
