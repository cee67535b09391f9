"""A data set that changes after its features were made."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqa.cache import media_source, open_store
from aqa.catalog.base import Fold, Media, Problem, Protocol, Sample, Target
from aqa.errors import StoreError


def with_sample(dataset, sample, **changes):
    samples = tuple(replace(s, **changes) if s.id == sample else s for s in dataset.samples)
    return replace(dataset, samples=samples)


def test_nothing_changed(store, table):
    before = (store.path / "dataset.json").stat()
    assert store.update_dataset(table()) == []
    assert (store.path / "dataset.json").stat().st_mtime_ns == before.st_mtime_ns


def test_where_the_media_lie_is_no_change(store, table):
    moved = tuple(replace(s, media=replace(s.media, path=Path("/elsewhere"))) for s in table().samples)
    assert store.update_dataset(replace(table(), samples=moved)) == []


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"targets": {"score": 84.15}}, ["sample 06: target score 9.0 -> 84.15"]),
        ({"judges": (8.0, 8.5)}, ["sample 06: judges () -> (8.0, 8.5)"]),
        ({"difficulty": 3.2, "kind": "107B"}, ["sample 06: difficulty none -> 3.2", "sample 06: kind none -> 107B"]),
        ({"attributes": {"twists": 2}}, ["sample 06: attribute twists none -> 2"]),
        ({"media": Media(Path("v"), 12, None)}, ["sample 06: frames 9:112 -> 12:"]),
        ({"media": None}, ["sample 06: frames 9:112 -> none"]),
        ({"caption": "x" * 100}, [f"sample 06: caption none -> {'x' * 57}..."]),
    ],
)
def test_a_sample_that_changed_is_named(store, table, changes, lines):
    assert store.update_dataset(with_sample(table(), "06", **changes)) == lines
    again = open_store(store.path)
    assert again.dataset.digest() == store.dataset.digest() == with_sample(table(), "06", **changes).digest()
    assert again.update_dataset(table()) != []


def test_folds_that_changed_are_named(store, table, ids):
    folds = (Fold("0", ids[1:-2], ids[-1:]), Fold("louo", ids[:1], ids[1:2], "vault"))
    changed = replace(table(), protocols=(Protocol("official", folds, flags=("odd",)), Protocol("random", folds[:1])))
    assert store.update_dataset(changed) == [
        "protocol official, fold 0: train -1 (b 02) +0",
        "protocol official, fold 0: test -1 (07) +0",
        "protocol official, fold vault louo: added",
        "protocol official: flags [] -> ['odd']",
        "protocol random: added",
    ]
    assert store.update_dataset(replace(changed, protocols=(replace(changed.protocols[0], folds=folds[:1]),))) == [
        "protocol official, fold vault louo: removed",
        "protocol random: removed",
    ]


def test_everything_that_changes_the_digest_is_named(store, table, ids):
    base = table()
    for changed, word in [
        (replace(base, samples=(*base.samples, Sample("new", {}))), "sample new: added"),
        (replace(base, samples=base.samples[::-1]), "samples: another order"),
        (replace(base, targets=(Target("score", unit="marks"),)), "target score: unit points -> marks"),
        (replace(base, protocols=()), "protocol official: removed"),
        (replace(base, protocols=(replace(base.protocols[0], folds=(Fold("0", ids[-3::-1], ids[-2:]),)),)), "order"),
        (replace(base, synthetic=True), "synthetic: False -> True"),
        (replace(base, problems=(Problem("06", "judges", "45.0"),)), "problems: [] ->"),
        (replace(base, stream_flags={"p3d": ("tuned",)}), "stream_flags: {} ->"),
        (replace(base, plans={"c3d": "10x16@103"}), "plans: "),
    ]:
        assert base.digest() != changed.digest()
        lines = store.update_dataset(changed)
        assert len(lines) == 1
        assert word in lines[0]
        assert store.update_dataset(base) != []


def test_folds_in_another_order_have_no_words_but_are_noticed(store, table, ids):
    folds = (Fold("0", ids[:3], ids[3:4]), Fold("1", ids[:3], ids[4:5]))
    store.update_dataset(replace(table(), protocols=(Protocol("official", folds),)))
    lines = store.update_dataset(replace(table(), protocols=(Protocol("official", folds[::-1]),)))
    assert len(lines) == 1
    assert "digest" in lines[0]


def test_another_data_set_is_refused(store, table):
    with pytest.raises(StoreError, match="features of set, not other"):
        store.update_dataset(table(name="other"))


def test_a_changed_frame_range_makes_its_features_stale(store, fill, table, ids):
    fill(store, ids[:4])
    store.pack()
    fill(store, ids[4:])
    assert store.stale() == {}
    changed = with_sample(with_sample(table(), ids[1], media=Media(Path("v"), 1, 90)), "06", media=Media(Path("v"), 0))
    store.update_dataset(changed)
    assert store.stale() == {ids[1]: "stop 104 -> 90", "06": "start 9 -> 0"}
    assert open_store(store.path).stale(table().samples) == {}
    assert store.stale([changed.by_id["06"]]) == {"06": "start 9 -> 0"}


def write(store, sample, source):
    store.write(sample, np.zeros((1, 6), np.float32), [0], [0.0], source)


def test_a_changed_file_makes_its_features_stale(store, ids, tmp_path):
    video = tmp_path / "v 1.mp4"
    video.write_bytes(b"x" * 100)
    os.utime(video, (1_700_000_000,) * 2)
    sample = Sample(ids[0], {"score": 1.0}, Media(video, 3, 106))
    assert media_source(sample) == {"start": 3, "stop": 106, "size": 100, "mtime": 1_700_000_000}
    write(store, ids[0], {**media_source(sample), "decoded": 103})
    assert store.stale([sample]) == {}
    os.utime(video, (1_700_000_002,) * 2)  # copied to a file system that counts in twos
    assert store.stale([sample]) == {}
    os.utime(video, (1_700_000_010,) * 2)
    assert store.stale([sample]) == {ids[0]: "mtime 1700000000 -> 1700000010"}
    video.write_bytes(b"x" * 99)
    assert store.stale([sample]) == {ids[0]: "size 100 -> 99"}
    video.unlink()  # the features are what is left of it
    assert store.stale([sample]) == {}


def test_a_changed_folder_of_frames_makes_its_features_stale(store, ids, tmp_path):
    for n in range(3):
        (tmp_path / f"{n:08d}.jpg").write_bytes(b"x" * 10)
        os.utime(tmp_path / f"{n:08d}.jpg", (1_700_000_000 + n,) * 2)
    sample = Sample(ids[0], {"score": 1.0}, Media(tmp_path))
    source = media_source(sample)
    assert source == {"start": 0, "stop": None, "files": 3, "size": 30, "mtime": 1_700_000_002}
    write(store, ids[0], source)
    (tmp_path / "00000001.jpg").write_bytes(b"x" * 11)
    assert store.stale([sample])[ids[0]].startswith("size 30 -> 31")
    (tmp_path / "00000002.jpg").unlink()
    assert store.stale([sample]) == {ids[0]: "files 3 -> 2"}


def test_imports_and_samples_without_media_are_never_stale(store, ids):
    write(store, ids[0], {"import": {"file": "a.npy", "size": 3}})
    write(store, ids[1], {})
    assert media_source(Sample("a", {})) == {}
    assert store.stale() == {}
    assert store.stale([Sample(ids[0], {}), Sample("nobody", {})]) == {}


def test_the_table_survives_without_scores_and_with_all_fields(make_store, table):
    rich = Sample(
        "rich", {"tes": 1.5, "pcs": 2.0}, Media(Path("v"), 1, 2), "ball", 0.0, (1.0, 2.0), "107B", "final", "Ann",
        {"armstand": 1, "position": "pike"}, "a dive", (0, 1, 1),
    )  # fmt: skip
    data = table(("a", "b", "c"))
    data = replace(data, name="rich", samples=(*data.samples, rich, Sample("bare", {})), targets=data.targets)
    store = make_store(dataset=data)
    assert open_store(store.path).dataset.to_json() == data.to_json()
    assert json.loads((store.path / "dataset.json").read_text())["digest"] == data.digest()
    assert open_store(store.path).dataset.by_id["bare"].targets == {}
