import json
from dataclasses import replace

import pytest

from aqa.cache import create_store, find_stores, open_store, select_store
from aqa.cache.fingerprint import Fingerprint
from aqa.errors import BadParameter, FingerprintMismatch, StoreError, UsageError


def test_a_store_is_a_folder_per_data_set_stream_and_fingerprint(make_store, fingerprint, table, tmp_path):
    store = make_store(stream="c3d:pool5", flags=("fine-tuned",))
    assert store.path == tmp_path / "cache" / "set" / "c3d%3Apool5" / fingerprint.digest[:8]
    again = open_store(store.path)
    assert again.stream == "c3d:pool5"
    assert again.fingerprint == fingerprint
    assert again.provenance == {"torch": "2.10"}
    assert again.flags == ("fine-tuned",)
    assert again.dataset_name == "set"
    assert again.dataset.digest() == table().digest()
    assert again.name == f"c3d:pool5@{fingerprint.digest[:8]}"


def test_making_it_again_opens_it(make_store, fill, check, ids):
    fill(make_store(), ids[:3])
    store = make_store(flags=("later",))
    check(store, ids[:3])
    assert store.flags == ()


def test_a_half_made_store_is_completed(make_store, fill, check, ids):
    """As after a SIGKILL before store.json, which is written last."""
    store = make_store()
    (store.path / "store.json").unlink()
    (store.path / ".tmp-elsewhere-1-0123abcd").write_text("rubbish")
    with pytest.raises(StoreError, match="no feature store"):
        open_store(store.path)
    store = make_store()
    assert not list(store.path.glob(".tmp-*"))
    fill(store, ids)
    check(store, ids)


def test_another_fingerprint_names_the_field(make_store, fingerprint):
    """Two digests may begin alike, and folders get copied: then store.json tells."""
    store = make_store()
    about = json.loads((store.path / "store.json").read_text())
    about["fingerprint"]["plan"] = "dense:16:8"
    (store.path / "store.json").write_text(json.dumps(about))
    with pytest.raises(FingerprintMismatch, match="plan 'dense:16:8', not '10x16@103'") as caught:
        make_store()
    assert caught.value.field == "plan"
    assert caught.value.file == str(store.path / "store.json")


def test_packed_features_of_another_store_are_refused(make_store, fingerprint, table, tmp_path, fill, ids):
    mine, other = make_store(), create_store(tmp_path, table(), "c3d", replace(fingerprint, short="loop"), {})
    fill(other, ids)
    other.pack().rename(mine.packed)
    with pytest.raises(StoreError, match="another fingerprint"):
        mine.ids()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "dataset": "a", "stream": 1, "fingerprint": {}}']
)
def test_a_damaged_store_json_is_named(make_store, text):
    store = make_store()
    (store.path / "store.json").write_text(text)
    with pytest.raises(StoreError, match=r"store\.json"):
        open_store(store.path)


def test_a_newer_format_is_refused(make_store):
    file = make_store().path / "store.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(StoreError, match=r"cache format 2, but this aqa reads 1.*Update aqa"):
        open_store(file.parent)


def test_names_that_cannot_be(make_store, fingerprint, table, tmp_path):
    for stream in ("", "c3d@1"):
        with pytest.raises(BadParameter, match="stream"):
            make_store(stream=stream)
    with pytest.raises(BadParameter, match="float32 or float16, not float64"):
        make_store(dtype="float64")
    with pytest.raises(BadParameter, match="shape"):
        create_store(tmp_path, table(), "c3d", replace(fingerprint, shape=(0,)), {})


def test_finding(make_store, table, tmp_path):
    assert find_stores(tmp_path / "nowhere") == []
    make_store(stream="i3d")
    make_store(stream="c3d")
    make_store(dataset=table(name="other/set"))
    assert [(s.dataset_name, s.stream) for s in find_stores(tmp_path / "cache")] == [
        ("other/set", "c3d"), ("set", "c3d"), ("set", "i3d"),
    ]  # fmt: skip
    assert [s.stream for s in find_stores(tmp_path / "cache", "set")] == ["c3d", "i3d"]


def test_selecting(make_store, fingerprint, table, tmp_path):
    root = tmp_path / "cache"
    first = make_store()
    assert select_store(root, "set", "c3d").path == first.path
    second = create_store(root, table(), "c3d", replace(fingerprint, plan="dense:16:8", precision="bf16"), {})
    with pytest.raises(UsageError) as caught:
        select_store(root, "set", "c3d")
    message = str(caught.value)
    for store in (first, second):
        assert store.name in message
        assert f"plan {store.fingerprint.plan}, precision {store.fingerprint.precision}" in message
    assert "weights" not in message  # in which they do not differ
    assert select_store(root, "set", f"c3d@{second.digest[:4]}").path == second.path
    assert select_store(root, "set", first.name).path == first.path


def test_selecting_what_is_not_there_says_which_command_makes_it(make_store, tmp_path):
    make_store()
    for name in ("i3d", "c3d@zz"):
        with pytest.raises(
            StoreError, match=rf"no features '{name}' of set.*There are c3d@.*aqa extract set --backbone"
        ):
            select_store(tmp_path / "cache", "set", name)
    with pytest.raises(StoreError, match="aqa cache import set PATH --as c3d"):
        select_store(tmp_path, "set", "c3d")


def test_the_digest_is_frozen():
    """It names folders that people have: a change here makes every store unfindable."""
    plain = Fingerprint("c3d.sports1m", "fc6", (4096,), "ab", {}, "10x16@103", "edge", "fp32", 1)
    assert plain.digest == "0707e1a0b4e8deb1"
