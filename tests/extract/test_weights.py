"""Weight files of every container: read the same, or refused with a reason; nothing in them is run."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from aqa.errors import AqaError, UnsafePickle, WeightsError
from aqa.extract import weights
from aqa.extract.weights import file_kind, load_weights, sha256

STATE = OrderedDict(
    (("fc.weight", torch.arange(6.0).reshape(2, 3)), ("fc.bias", torch.tensor([0.5, -1.0])), ("n", torch.tensor(3)))
)


def write(path: Path, kind: str, state: dict[str, torch.Tensor]) -> Path:
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    if kind in ("torch", "legacy"):
        torch.save(state, path, _use_new_zipfile_serialization=kind == "torch")
    elif kind == "safetensors":
        save_file(state, path)
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
            file.attrs["keras_version"] = "1.0"
            file["note"] = "text is not a tensor"
    return path


KINDS = ("torch", "legacy", "safetensors", "npz", "hdf5")


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_gives_the_same(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "weights.dat", kind, STATE)  # the name says nothing
    assert file_kind(path) == kind
    found = load_weights(path)
    assert set(found) == set(STATE)
    assert all(torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in STATE.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_becomes_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save({"x": torch.tensor([1.5, -2.0], dtype=dtype), "n": torch.tensor(3)}, tmp_path / "w.pth")
    found = load_weights(tmp_path / "w.pth")
    assert (found["x"].dtype, found["n"].dtype) == (torch.float32, torch.int64)
    assert found["x"].tolist() == [1.5, -2.0]


def test_big_endian_and_nested_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{"RGB/conv/w": np.arange(3, dtype=">f4"), "scalar": np.float32(2)})
    found = load_weights(tmp_path / "w.npz")
    assert found["RGB/conv/w"].tolist() == [0, 1, 2]
    assert found["scalar"].shape == ()


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": STATE},
        {"model_state_dict": STATE, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}},
        # as CoRe writes them: NumPy scalars beside the weights
        {"base_model": STATE, "epoch": 3, "rho_best": np.float64(0.9), "L2_min": np.float32(2), "n": np.int64(1)},
        {f"module.{name}": tensor for name, tensor in STATE.items()},
        {"state_dict": {f"module.backbone.{n}": t for n, t in STATE.items()} | {"module.head.weight": torch.ones(2)}},
        {**STATE, "epoch": 3},
        OrderedDict((name, torch.nn.Parameter(t) if t.is_floating_point() else t) for name, t in STATE.items()),
    ],
)
@pytest.mark.parametrize("new", [True, False])
def test_wrappers(wrapped: Any, new: bool, tmp_path: Path) -> None:
    torch.save(wrapped, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
    found = load_weights(tmp_path / "w.pth")
    assert list(found) == list(STATE)
    assert not any(tensor.requires_grad for tensor in found.values())
    assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())


class OldStorage:
    """Pickled as torch 0.1 to 0.3 named a storage on a GPU."""

    def __init__(self, key: str, values: list[float]) -> None:
        self.key, self.values = key, values


class OldTensor:
    """Pickled through `_rebuild_tensor`, which had no requires_grad and no hooks."""

    def __init__(self, storage: OldStorage, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.parts = (storage, 0, size, stride)

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor, self.parts


class OldPickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, OldStorage):
            return ("storage", torch.FloatStorage, obj.key, "cuda:0", len(obj.values), None)
        return None


def test_the_oldest_torch_files(tmp_path: Path) -> None:
    storages = [OldStorage("94", [1, 2, 3, 4, 5, 6]), OldStorage("7", [0.5, -1])]
    state = OrderedDict(weight=OldTensor(storages[0], (2, 3), (3, 1)), bias=OldTensor(storages[1], (2,), (1,)))
    buffer = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
        pickle.dump(part, buffer, protocol=2)
    OldPickler(buffer, protocol=2).dump(state)
    pickle.dump(["94", "7"], buffer, protocol=2)
    for storage in storages:
        buffer.write(struct.pack(f"<q{len(storage.values)}f", len(storage.values), *storage.values))
    (tmp_path / "c3d.pickle").write_bytes(buffer.getvalue())
    found = load_weights(tmp_path / "c3d.pickle")
    assert found["weight"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found["bias"].tolist() == [0.5, -1]


def test_real_heads_of_mtl_aqa(shared_data: Path) -> None:
    expected = json.loads((shared_data / "weights/mtl_heads_94_expected.json").read_text())
    for file, wanted in expected.items():
        found = load_weights(shared_data / "weights" / file)
        tensors = {name: facts for name, facts in wanted.items() if "::" not in name}
        assert set(found) == set(tensors)
        for name, facts in tensors.items():
            assert list(found[name].shape) == facts["shape"]
            assert hashlib.sha256(found[name].numpy().astype("<f4").tobytes()).hexdigest() == facts["sha256_le_f32"]
            assert found[name].flatten()[:5].tolist() == facts["first5"]


# ------------------------------------------------------------------------------------------------------ bad files


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_anywhere(kind: str, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", kind, {"x": torch.arange(3000.0)}).read_bytes()
    path = tmp_path / "cut.pth"
    for length in {1, 9, 40, 300, len(whole) // 2, len(whole) * 9 // 10, len(whole) - 3}:
        path.write_bytes(whole[:length])
        with pytest.raises((WeightsError, UnsafePickle), match=r"cut\.pth") as caught:
            load_weights(path)
        assert caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_never_escape_as_another_error(kind: str, tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path / "whole", kind, STATE).read_bytes())
    path, places = tmp_path / "flipped.pth", np.random.default_rng(0).integers(0, len(whole), 150)
    read = refused = 0
    for place in places:
        damaged = whole.copy()
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            load_weights(path)
            read += 1
        except AqaError as error:
            assert error.file == str(path)
            refused += 1
    assert (read + refused, refused > 0) == (150, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><html>quota exceeded", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (gzip.compress(b"weights", mtime=0), "Unpack it"),
        (b"\x0a\x05C3D\x12\x34" * 20, "docs/backbones.md"),
        (b"RGB/inception_i3d/Conv3d_1a_7x7/batch_norm/beta [64]", "docs/backbones.md"),
    ],
)
def test_other_files_say_what_they_are(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "c3d.pickle").write_bytes(content)
    with pytest.raises(WeightsError, match=said) as caught:
        load_weights(tmp_path / "c3d.pickle")
    assert caught.value.file == str(tmp_path / "c3d.pickle")
    assert caught.value.exit_code == 3


def test_other_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("c3d.pickle", "inside")
    with pytest.raises(WeightsError, match=r"neither torch's nor NumPy's.*Unpack it"):
        load_weights(tmp_path / "w.zip")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for name in ("s/data.pkl", "s/constants.pkl", "s/code/__torch__.py"):
            archive.writestr(name, "")
    with pytest.raises(WeightsError, match="TorchScript"):
        load_weights(tmp_path / "script.pt")


def test_missing_folder_and_forbidden(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weight file"):
        load_weights(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(tmp_path)
    with pytest.raises(WeightsError, match="no such weight file"):
        sha256(tmp_path / "none.pth")


@pytest.mark.parametrize("found", [torch.ones(3), {"epoch": 1, "lr": [0.1]}, [torch.ones(1)], {}])
def test_no_tensors_by_name(found: Any, tmp_path: Path) -> None:
    torch.save(found, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="no tensors by name"):
        load_weights(tmp_path / "w.pth")


class Code:
    """Leaves a trace if it is run."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle2", "pickle4", "npz"])
def test_code_is_refused_and_not_run(form: str, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "weights.pth"
    state = {"x": torch.ones(2), "code": Code(trace)}
    if form in ("torch", "legacy"):
        torch.save(state, path, _use_new_zipfile_serialization=form == "torch")
    elif form == "npz":
        with path.open("wb") as file:
            np.savez(file, x=np.ones(2), code=np.array([Code(trace)], dtype=object))
    else:
        path.write_bytes(pickle.dumps(state["code"], protocol=int(form[-1])))
    with pytest.raises(UnsafePickle) as caught:
        load_weights(path)
    assert not trace.exists()
    assert caught.value.hint
    if form in ("torch", "legacy"):
        assert f"{os.mkdir.__module__}.mkdir" in str(caught.value)


def test_a_whole_module_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(UnsafePickle, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict"):
        load_weights(tmp_path / "model.pth")


def test_the_allow_list_is_put_back(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    load_weights(write(tmp_path / "w.pth", "torch", STATE))
    assert set(torch.serialization.get_safe_globals()) == before


# --------------------------------------------------------------------------------------------------------- digest


def test_digest_is_computed_once_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "w.pth", []
    path.write_bytes(b"first")
    digest = hashlib.file_digest

    def counted(file: Any, name: Any) -> Any:
        read.append(name)
        return digest(file, name)

    monkeypatch.setattr(weights.hashlib, "file_digest", counted)
    assert sha256(path) == sha256(str(path)) == hashlib.sha256(b"first").hexdigest()
    assert len(read) == 1
    path.write_bytes(b"second")
    assert sha256(path) == hashlib.sha256(b"second").hexdigest()
    assert len(read) == 2
