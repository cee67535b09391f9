from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from aqa.catalog.pickles import load_pickle
from aqa.errors import AnnotationError, UnsafePickle

PLAIN = {
    (1, 1): {"final_score": 88.0, "position": 2, "name": "407C", "text": "Kür", "none": None, "yes": True},
    "lists": [1, (2, 3), {4, 5}, b"bytes", 2**70, -1.5],
}


def written(folder: Path, value: object, protocol: int) -> Path:
    path = folder / f"{protocol}.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(1, 6))
def test_plain_data_comes_back(tmp_path: Path, protocol: int):
    value = {k: v for k, v in PLAIN.items() if k != "lists"} if protocol < 4 else PLAIN  # sets are a global before 4
    assert load_pickle(written(tmp_path, value, protocol)) == value


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    "array",
    [
        np.array([9.5, 9.0, 8.5]),
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([1, 2], dtype=">i2"),
        np.array(["a", "bcd"]),
        np.array([True, False]),
        np.zeros((0, 4), np.float32),
    ],
    ids=["float64", "int32", "fortran", "big-endian", "str", "bool", "empty"],
)
def test_numpy_arrays_come_back(tmp_path: Path, array: np.ndarray, protocol: int):
    found = load_pickle(written(tmp_path, {"judges": array}, protocol))["judges"]
    np.testing.assert_array_equal(np.asarray(found), array)
    assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("value", [np.int64(7), np.float32(0.5), np.uint8(255), np.str_("ab"), np.bool_(True)])
def test_numpy_scalars_come_back(tmp_path: Path, value: np.generic, protocol: int):
    found = load_pickle(written(tmp_path, {(value, 1): value}, protocol))
    assert found == {(value, 1): value}
    assert type(found[value, 1]) is type(value)


def test_old_names_of_numpy_and_latin1_text_of_python_2(tmp_path: Path):
    path = tmp_path / "old.pkl"
    path.write_bytes(  # protocol 2 of Python 2: numpy.core, raw bytes as a string
        b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02i8K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbU\x08\xe9\x00\x00\x00\x00\x00\x00\x00\x86R."
    )
    assert load_pickle(path) == 233
    path.write_bytes(b"\x80\x02U\x03K\xfcrq\x00.")
    assert load_pickle(path) == "Kür"


class Calls:
    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_is_refused_by_name_and_not_made(tmp_path: Path, protocol: int):
    made = tmp_path / "made"
    path = written(tmp_path, {"a": Calls(Path.touch, made)}, protocol)
    with pytest.raises(UnsafePickle) as caught:
        load_pickle(path)
    assert path.name in str(caught.value)
    assert not made.exists()


def test_the_global_is_named(tmp_path: Path):
    with pytest.raises(UnsafePickle, match=r"collections\.OrderedDict"):
        load_pickle(written(tmp_path, OrderedDict(a=1), 3))
    path = tmp_path / "system.pkl"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafePickle, match=r"os\.system"):
        load_pickle(path)


def test_a_short_allow_list_refuses_numpy_too(tmp_path: Path):
    with pytest.raises(UnsafePickle, match="numpy"):
        load_pickle(written(tmp_path, np.arange(3), 3), allow={})


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    "array",
    [np.array([None, "a"], dtype=object), np.zeros(2, dtype=[("a", "<i4"), ("b", "O")]), np.zeros(2, dtype="V8")],
    ids=["objects", "records", "raw"],
)
def test_arrays_of_more_than_numbers_are_refused(tmp_path: Path, array: np.ndarray, protocol: int):
    with pytest.raises(UnsafePickle):
        load_pickle(written(tmp_path, array, protocol))


def test_a_dtype_that_hides_its_fields_is_refused(tmp_path: Path):
    path = tmp_path / "forged.pkl"  # i8, then a state that says: an array of records
    path.write_bytes(b"\x80\x02cnumpy\ndtype\nU\x02i8K\x00K\x01\x87R(K\x03U\x01<NU\x01ANJ\x08\x00\x00\x00K\x01K\x00tb.")
    with pytest.raises(UnsafePickle, match="records"):
        load_pickle(path)


@pytest.mark.parametrize("state", [b"}U\x08__call__K\x01s", b"N}U\x05_callK\x01s\x86"])
def test_permitted_functions_cannot_be_changed(tmp_path: Path, state: bytes):
    path = tmp_path / "build.pkl"
    path.write_bytes(b"\x80\x02c_codecs\nencode\n" + state + b"b.")
    with pytest.raises(UnsafePickle, match="change"):
        load_pickle(path)
    assert load_pickle(written(tmp_path, np.arange(3), 2)).tolist() == [0, 1, 2]


def test_persistent_ids_are_refused(tmp_path: Path):
    path = tmp_path / "persistent.pkl"
    path.write_bytes(b"Pid\n.")
    with pytest.raises(UnsafePickle, match="outside"):
        load_pickle(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        pickle.dumps(PLAIN, 4)[:-7],
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\x05\x85NK\x00U\x00tb.",
    ],
    ids=["empty", "lfs", "cut", "huge frame", "array without dtype"],
)
def test_damaged_files_are_said_to_be_damaged(tmp_path: Path, data: bytes):
    path = tmp_path / "damaged.pkl"
    path.write_bytes(data)
    with pytest.raises((AnnotationError, UnsafePickle), match=r"damaged\.pkl"):
        load_pickle(path)


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(AnnotationError, match="cannot be read"):
        load_pickle(tmp_path / "none.pkl")


def test_the_real_files_need_numbers_only(shared_data: Path):
    plain = ["mtl-aqa/info/final_annotations_dict.pkl", "jigsaws/info/label.pkl", "mtl-aqa/info/test_split_0.pkl"]
    for name in plain:
        assert load_pickle(shared_data / name, allow={})
    captions = load_pickle(shared_data / "mtl-aqa/captions/final_captions_dict.pkl")
    assert len(captions) == 1416
    assert captions[1, 1][:3] == ["<sos>", "and", "a"]
