import random
from dataclasses import replace

import numpy as np
import pytest

from aqa.cache import create_store, open_store, packed, record
from aqa.cache import pack as pack_module
from aqa.errors import StoreError


@pytest.fixture
def undisturbed(make_store, fill, ids) -> bytes:
    store = make_store("undisturbed")
    fill(store, ids)
    return store.pack().read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_the_same_content_is_the_same_bytes_whatever_happened_before(make_store, fill, ids, undisturbed, seed):
    rng = random.Random(seed)
    store = make_store()
    for _ in range(12):
        some = rng.sample(ids, rng.randint(1, 5))
        fill(store, some, version=rng.randint(0, 2))
        rng.choice([store.pack, store.pack, lambda: store.remove(some[:2]), lambda: None])()  # noqa: B023
    fill(store, ids)
    assert store.pack().read_bytes() == undisturbed
    assert store.verify() == []


def test_packing_without_news_leaves_the_file_alone(store, fill, ids):
    fill(store, ids)
    before = store.pack().stat()
    assert store.pack().stat().st_ino == before.st_ino
    fill(store, ids[:1])
    store.pack()
    assert store.packed.stat().st_ino != before.st_ino


def test_another_order_of_the_data_set_is_packed_anew(store, fill, ids, table):
    fill(store, ids)
    store.pack()
    assert store.update_dataset(table(ids[::-1])) != []
    store.pack()
    assert store.ids() == list(ids[::-1])


def test_samples_that_the_set_lost_stay_at_the_end(store, fill, check, ids, table):
    fill(store, ids)
    store.update_dataset(table(ids[2:]))
    store.pack()
    assert store.ids() == [*ids[2:], *sorted(ids[:2])]
    check(store, ids)
    assert [finding.sample for finding in store.verify()] == sorted(ids[:2])


def test_nothing_to_pack(store):
    with pytest.raises(StoreError, match=r"no features to pack.*aqa extract"):
        store.pack()
    assert not store.packed.exists()


def test_packing_takes_one_block_of_memory(tmp_path, fingerprint, table, ids, monkeypatch, peak):
    monkeypatch.setattr(record, "BLOCK_BYTES", 1 << 16)
    store = create_store(tmp_path, table(), "wide", replace(fingerprint, shape=(1024,)), {})
    values = np.ones((100, 1024), np.float32)
    for half in (ids[:6], ids[6:]):  # the second time old features are copied too
        for i in half:
            store.write(i, values, np.arange(100), np.arange(100))
        assert peak(store.pack) < values.nbytes  # of twelve
    assert len(store.read(ids)[0]) == 1200


def test_a_part_written_anew_before_it_is_copied(store, fill, check, ids, monkeypatch):
    fill(store, ids)
    original, calls = packed.write_packed, []

    def write(*args):
        if not calls:
            fill(open_store(store.path), ids[:1], version=1)
        calls.append(1)
        original(*args)

    monkeypatch.setattr(packed, "write_packed", write)
    store.pack()
    assert len(calls) == 2
    check(store, ids[:1], version=1)
    check(store, ids[1:])
    assert not list(store.parts.glob("*.h5"))


def test_a_part_written_anew_after_it_was_copied_stays(store, fill, check, ids, monkeypatch):
    fill(store, ids)
    original = packed.write_packed

    def write(*args):
        original(*args)
        fill(open_store(store.path), ids[:1], version=1)

    monkeypatch.setattr(packed, "write_packed", write)
    store.pack()
    assert [path.name for path in store.parts.glob("*.h5")] == [store.part_path(ids[0]).name]
    check(store, ids[:1], version=1)
    check(store, ids[1:])


def test_parts_that_never_stand_still(store, fill, ids, monkeypatch):
    fill(store, ids)
    original = packed.write_packed

    def write(*args):
        fill(store, ids[:1], version=1)
        original(*args)

    monkeypatch.setattr(packed, "write_packed", write)
    with pytest.raises(StoreError, match="change faster"):
        store.pack()
    assert store.ids() == list(ids)


@pytest.mark.parametrize("moment", ["after listing the parts", "with the old file open"])
def test_readers_during_a_pack_see_the_old_state_or_the_new(store, fill, check, ids, monkeypatch, moment):
    fill(store, ids[:6])
    store.pack()
    fill(store, ids[6:])
    fill(store, ids[2:3], version=0)
    other = open_store(store.path)
    name = "part_paths" if moment == "after listing the parts" else "open_part"
    original, calls = getattr(store, name), []

    def packing(*args):
        if name == "open_part" and not calls:
            calls.append(1)
            other.pack()
        result = original(*args)
        if name == "part_paths" and not calls:
            calls.append(1)
            other.pack()
        return result

    monkeypatch.setattr(store, name, packing)
    check(store, ids)
    assert calls
    assert store.ids() == list(ids)


def test_a_damaged_part_stops_the_pack_and_nothing_is_lost(store, fill, check, ids):
    fill(store, ids[:6])
    before = store.pack().read_bytes()
    fill(store, ids[6:])
    path = store.part_path(ids[8])
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        store.pack()
    assert caught.value.file == str(path)
    assert "aqa cache verify" in str(caught.value)
    assert store.packed.read_bytes() == before
    assert len(list(store.parts.glob("*.h5"))) == 6
    fill(store, ids[8:9])
    store.pack()
    check(store, ids)


def test_damaged_packed_features_are_not_copied(store, fill, check, ids):
    fill(store, ids)
    content = bytearray(store.pack().read_bytes())
    content[-3] ^= 1  # the features come last, and the last sample is theirs
    store.packed.write_bytes(content)
    fill(store, ids[:1], version=1)
    with pytest.raises(StoreError, match=r"wrong checksum.*features\.h5, sample 08"):
        store.pack()
    assert store.packed.read_bytes() == content
    assert store.remove(["08"]) == ["08"]  # what verify names can be taken out
    check(store, ids[1:-1])
    assert store.verify() == []


def test_the_drop_keeps_parts_when_killed_between_rename_and_removal(store, fill, check, ids, undisturbed, monkeypatch):
    fill(store, ids)
    monkeypatch.setattr(pack_module, "_drop", lambda *args: None)
    store.pack()
    monkeypatch.undo()
    assert len(list(store.parts.glob("*.h5"))) == len(ids)
    check(store, ids)
    assert store.pack().read_bytes() == undisturbed
    assert not list(store.parts.glob("*.h5"))
