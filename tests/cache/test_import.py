from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from aqa.cache import create_store
from aqa.cache.export_features import export_features
from aqa.cache.import_features import import_features
from aqa.cache.match import match
from aqa.errors import BadParameter, DataError, StoreError, UnsafePickle

IDS = ("01_05", "01_12", "02_01")


def clips(seed, rows=4, width=8, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(dtype)


ARRAYS = {i: clips(k, rows=k + 2) for k, i in enumerate(IDS)}


def same(found, arrays):
    got = dict(found)
    assert list(got) == list(arrays)
    for i, array in arrays.items():
        np.testing.assert_array_equal(got[i], array)
        assert got[i].dtype == np.float32


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("01_05", "01_05"),  # TPT
        ("01_05", "1-abr-5"),  # RICA2
        ("01_5", "Pose/01/pred_comp_5"),  # FineDiving-Pose
        ("01_05", "features_20_958/01_05"),
        ("diving-007", "diving-out/007"),  # AQA-7 of TPT
        ("sync_diving_3m-012", "AQA_7/features/sync_diving_3m-out/012"),
        ("Ball_001", "swintx_avg_fps25_clip32/Ball_001"),  # GDLT
        ("1", "fis-v/1"),
        ("WorldChampionship2019_free_final_0", "logo_feats/WorldChampionship2019_free_final_0"),
        ("a/b c", "a%2Fb%20c"),
        ("跳水_01", "跳水_1"),
    ],
)
def test_names_that_people_give_to_files(sample, name):
    assert match([sample], [name, "else"], "here") == {sample: name}


def test_names_that_belong_to_nobody_or_to_several():
    assert match(["01_05"], ["01_06", "105", "0105", "x_01_05_y"], "here") == {}
    assert match(["1", "01"], ["1", "01"], "here") == {"1": "1", "01": "01"}  # an exact name goes first
    with pytest.raises(DataError, match="several could be this sample: a/01_05, b/01_05"):
        match(["01_05"], ["a/01_05", "b/01_05"], "here")
    with pytest.raises(DataError, match="could be this sample or 1-5"):
        match(["1-5", "01_05"], ["1-abr-5"], "here")


def test_npy_folder(tmp_path):
    (tmp_path / "i3d").mkdir()
    for i, array in ARRAYS.items():
        np.save(tmp_path / "i3d" / f"{i}.npy", array)
    np.save(tmp_path / "i3d" / "09_09.npy", clips(9))
    (tmp_path / "train.txt").write_text("01_05 3.5\n")
    found = import_features(tmp_path, [*IDS, "03_01"])
    assert found.missing == ("03_01",)
    assert found.unused == ("i3d/09_09.npy",)
    assert found.shape == (8,)
    assert not found.by_order
    assert len(found) == 3
    same(found, ARRAYS)
    same(found, ARRAYS)  # again
    assert found.source("01_05") == {"import": {"file": "01_05.npy", "size": 128 + 64}}


def test_npz_and_mat_and_h5_folders(tmp_path):
    for i, array in ARRAYS.items():
        video, sample = map(int, i.split("_"))
        for folder in ("npz", "mat", "h5"):
            (tmp_path / folder).mkdir(exist_ok=True)
        np.savez(tmp_path / "npz" / f"{video}-abr-{sample}.npz", array)
        savemat(tmp_path / "mat" / f"{i}.mat", {"feat": array, "labels": np.zeros(3)})
        with h5py.File(tmp_path / "h5" / f"{i}.h5", "w") as file:
            file["features"], file["times"] = array, np.zeros(len(array))
    for folder in ("npz", "mat", "h5"):
        same(import_features(tmp_path / folder, IDS), ARRAYS)


def test_pt_files_are_read_by_whoever_may(tmp_path):
    for i in IDS:
        (tmp_path / f"{i}.pt").write_text(i)
    with pytest.raises(DataError, match="Pass load_pt"):
        _ = import_features(tmp_path, IDS).shape
    same(import_features(tmp_path, IDS, load_pt=lambda path: ARRAYS[path.stem]), ARRAYS)
    same(import_features(tmp_path, IDS, load_pt=lambda path: {"x": ARRAYS[path.stem], "y": np.zeros(1)}), ARRAYS)


@pytest.mark.parametrize("suffix", ["npz", "h5", "mat", "v7.3.mat"])
def test_one_file_with_an_array_per_id(tmp_path, suffix):
    path = tmp_path / f"all.{suffix}"
    if suffix == "npz":
        np.savez(path, **ARRAYS, extra=np.zeros(2))
    elif suffix == "mat":
        savemat(path, {f"v_{i}": array for i, array in ARRAYS.items()} | {"extra": np.zeros(2)})
    else:
        turned = suffix == "v7.3.mat"
        with h5py.File(path, "w", userblock_size=512 if turned else 0) as file:
            for i, array in ARRAYS.items():
                file[i if turned else f"{i}/features"] = array.T if turned else array
            file["extra"] = np.zeros(2)
        if turned:
            with path.open("r+b") as raw:
                raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    ids = {f"v_{i}": array for i, array in ARRAYS.items()} if suffix == "mat" else ARRAYS
    found = import_features(path, list(ids))
    assert found.unused == ("extra",)
    same(found, ids)
    same(import_features(tmp_path, list(ids)), ids)  # the only file of a folder


@pytest.mark.parametrize("suffix", ["npz", "h5"])
@pytest.mark.parametrize("name", ["ids", "names"])
def test_one_file_with_ids_features_and_offsets(tmp_path, suffix, name):
    path = tmp_path / f"all.{suffix}"
    arrays = {
        name: [*reversed(IDS), "09_09"],
        "features": np.concatenate([*reversed(ARRAYS.values()), clips(9, 1)]),
        "offsets": np.cumsum([0, 4, 3, 2, 1]),
    }
    if suffix == "npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            file.update(arrays)
    found = import_features(path, IDS)
    assert found.unused == ("09_09",)
    assert not found.by_order
    same(found, ARRAYS)
    np.savez(tmp_path / "wrong.npz", **{**arrays, "offsets": np.array([0, 4, 7, 9, 11])})
    with pytest.raises(DataError, match="offsets are not those of the 10 rows") as caught:
        import_features(tmp_path / "wrong.npz", IDS)
    assert caught.value.field == "offsets"
    np.savez(tmp_path / "wrong.npz", **{**arrays, name: IDS})
    with pytest.raises(DataError, match="for 4 samples"):
        import_features(tmp_path / "wrong.npz", IDS)


def test_one_file_without_ids_is_in_the_order_of_the_data_set(tmp_path):
    path = tmp_path / "p3d.npz"
    np.savez(path, x=clips(0, 3), score=np.zeros(3))
    found = import_features(tmp_path, IDS)
    assert found.by_order
    same(found, {i: clips(0, 3)[k : k + 1] for k, i in enumerate(IDS)})
    np.savez(path, features=np.stack([clips(k) for k in range(3)]))
    same(import_features(path, IDS), {i: clips(k) for k, i in enumerate(IDS)})
    with pytest.raises(DataError, match="3 samples in the file, 2 in the data set"):
        import_features(path, IDS[:2])


def test_a_file_with_several_arrays_needs_a_key(tmp_path):
    path = tmp_path / "skeletons.npz"
    np.savez(path, positions=clips(0, 9), angles=clips(1, 9), offsets=np.array([0, 2, 5, 9]))
    with pytest.raises(DataError, match=r"positions \[9, 8\], angles \[9, 8\].*key") as caught:
        import_features(tmp_path, IDS)
    assert caught.value.field == "key"
    same(import_features(path, IDS, key="angles"), dict(zip(IDS, np.split(clips(1, 9), [2, 5]), strict=True)))
    with pytest.raises(DataError, match="no array 'angle'"):
        import_features(path, IDS, key="angle")
    assert import_features(path, IDS, key="angles").digest() != import_features(path, IDS, key="positions").digest()


def test_shapes(tmp_path):
    np.save(tmp_path / "01_05.npy", np.zeros(8, np.float32))  # one clip
    np.save(tmp_path / "01_12.npy", np.zeros((3, 8)))  # float64
    np.save(tmp_path / "02_01.npy", np.zeros((1, 5, 8), np.float16))  # a batch of one
    found = import_features(tmp_path, IDS, shape=(8,))
    assert [(array.shape, str(array.dtype)) for _, array in found] == [
        ((1, 8), "float32"), ((3, 8), "float32"), ((5, 8), "float16"),
    ]  # fmt: skip
    np.save(tmp_path / "02_01.npy", np.zeros((5, 7), np.float32))
    with pytest.raises(DataError, match=r"features are \[5, 7\], not \[T, 8\]") as caught:
        list(import_features(tmp_path, IDS))
    assert caught.value.file == str(tmp_path / "02_01.npy")
    assert caught.value.sample == "02_01"
    np.save(tmp_path / "02_01.npy", np.zeros((8, 5), np.float32))
    with pytest.raises(DataError, match=r"It looks like \[D, T\]"):
        list(import_features(tmp_path, IDS))
    np.save(tmp_path / "01_05.npy", np.zeros((2, 22, 3), np.float32))
    assert import_features(tmp_path, IDS).shape == (22, 3)


def test_a_digest_of_what_was_imported(tmp_path):
    for i, array in ARRAYS.items():
        np.save(tmp_path / f"{i}.npy", array)
    before = import_features(tmp_path, IDS).digest()
    assert len(before) == 64
    assert import_features(tmp_path, IDS[::-1]).digest() == before
    np.save(tmp_path / "01_05.npy", ARRAYS["01_05"] + 1)
    assert import_features(tmp_path, IDS).digest() != before


def test_bad_input(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        import_features(tmp_path / "nowhere", IDS)
    with pytest.raises(DataError, match="found no file of features"):
        import_features(tmp_path, IDS)
    path = tmp_path / "01_05.npy"
    np.save(path, ARRAYS["01_05"])
    content = path.read_bytes()
    for broken in (b"", b"text", content[:50], content[:-8]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"cannot be read as \.npy") as caught:
            list(import_features(tmp_path, IDS))
        assert caught.value.file == str(path)
    for array in (np.array(["a"]), np.array(3.0), np.zeros(2, complex), np.zeros(2, bool)):
        np.save(path, array)
        with pytest.raises(DataError):
            list(import_features(tmp_path, IDS))
    path.unlink()
    for name, broken in (("01_05.npz", b"PK rubbish"), ("01_05.h5", b"\x89HDF"), ("01_05.mat", b"x" * 200)):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(DataError, match="cannot be read"):
            list(import_features(tmp_path, IDS))
        (tmp_path / name).unlink()
    np.save(tmp_path / "01_05.npy", ARRAYS["01_05"])
    np.savez(tmp_path / "01_05.npz", ARRAYS["01_05"])
    with pytest.raises(DataError, match="several formats: 01_05"):
        import_features(tmp_path, IDS)
    with pytest.raises(DataError, match="Expected names like nobody; found 01_05, 01_12"):
        (tmp_path / "01_05.npz").rename(tmp_path / "01_12.npz")
        import_features(tmp_path, ["nobody"])


class Bomb:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_nothing_is_unpickled(tmp_path, suffix, capsys):
    array = np.array([Bomb()], dtype=object)
    path = tmp_path / f"01_05.{suffix}"
    np.save(path, array, allow_pickle=True) if suffix == "npy" else np.savez(path, array)
    with pytest.raises(UnsafePickle, match="pickled Python objects"):
        list(import_features(tmp_path, IDS))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
def test_what_is_exported_can_be_imported(store, fill, check, ids, tmp_path, fingerprint, table, kind):
    fill(store, ids[:7])
    store.pack()
    fill(store, ids[7:11])
    written = export_features(store, tmp_path / "out", kind)
    assert written == (tmp_path / "out" if kind == "npy" else tmp_path / "out" / f"c3d.{kind}")
    found = import_features(written, ids)
    assert found.missing == ids[11:]
    assert not found.unused
    copy = create_store(tmp_path, table(), "copy", replace(fingerprint, backbone="import"), {})
    for sample, array in found:
        copy.write(sample, array, np.arange(len(array)), np.arange(len(array)), found.source(sample))
    check(copy, ids[:11])
    with pytest.raises(StoreError, match="is there already"):
        export_features(store, tmp_path / "out", kind)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    export_features(store, tmp_path / "out", kind, overwrite=True)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_an_exported_npz_has_the_times(store, fill, ids, tmp_path):
    fill(store, ids)
    with np.load(export_features(store, tmp_path / "out", "npz"), allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == list(ids)
        for name, column in zip(("starts", "times", "offsets"), store.read_times(ids), strict=True):
            np.testing.assert_array_equal(arrays[name], column)
        np.testing.assert_array_equal(arrays["features"], store.read(ids)[0])


def test_bad_exports(store, fill, ids, tmp_path):
    with pytest.raises(StoreError, match="no features to export"):
        export_features(store, tmp_path / "out")
    fill(store, ids)
    with pytest.raises(BadParameter, match="cannot export as 'csv'"):
        export_features(store, tmp_path / "out", "csv")
    assert not (tmp_path / "out").exists()


def test_unlv_dive(shared_data):
    ids = [f"unlv-{row:03d}" for row in range(370)]
    found = import_features(shared_data / "unlv-dive", ids)
    assert found.by_order
    assert found.shape == (2048,)
    with np.load(shared_data / "unlv-dive" / "unlv_dive_p3d.npz") as arrays:
        np.testing.assert_array_equal(np.concatenate([array for _, array in found]), arrays["x"])


def test_ui_prmd(shared_data):
    found = import_features(shared_data / "ui-prmd", [f"s{row}" for row in range(400)], (66,), key="angles")
    lengths = [len(array) for _, array in found]
    assert lengths[:2] == [84, 73]
    assert sum(lengths) == 30994
