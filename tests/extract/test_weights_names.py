"""Names and layouts of published weight files: every table against the real names, and what does not fit is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from aqa.errors import WeightsError
from aqa.extract.backbones import backbone, resolve, resolving
from aqa.extract.backbones.matching import COUNTER, empty, key_maps, match, own_names, random_network
from aqa.extract.keymaps import KEYMAPS, i3d_units

C3D_SHAPES = {
    "conv1": (64, 3),
    "conv2": (128, 64),
    "conv3a": (256, 128),
    "conv3b": (256, 256),
    "conv4a": (512, 256),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
    "fc6": (4096, 8192),
    "fc7": (4096, 4096),
    "fc8": (487, 4096),
}


def thin(*shape: int) -> torch.Tensor:
    """A tensor that takes four bytes in memory and in a torch file."""
    return torch.zeros(()).expand(shape)


def c3d_file(layers: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """`layers`: ours -> theirs; torch names and shapes."""
    state = {}
    for ours, theirs in layers.items():
        shape = C3D_SHAPES[ours]
        state[f"{theirs}.weight"] = thin(*shape, 3, 3, 3) if ours.startswith("conv") else thin(*shape)
        state[f"{theirs}.bias"] = thin(shape[0])
    return state


def save(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def i3d_state() -> dict[str, torch.Tensor]:
    """Random weights of I3D with logits, under our names, without counters."""
    state = random_network(backbone("i3d"), "logits", 0).state_dict()
    return {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER)}


# ------------------------------------------------------------------------------------------------------------ C3D

CONVS = ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
TABLES = {  # section 5.1 of the specification
    "own": dict(zip(C3D_SHAPES, C3D_SHAPES, strict=True)),
    "c3d-jfzhang95": {
        **{conv: f"features.{i}" for conv, i in zip(CONVS, (0, 3, 6, 8, 11, 13, 16, 18), strict=True)},
        "fc6": "classifier.0",
        "fc7": "classifier.3",
    },
    "c3d-mmaction2": {
        "conv1": "conv1a.conv",
        "conv2": "conv2a.conv",
        **{conv: f"{conv}.conv" for conv in CONVS[2:]},
        "fc6": "fc6",
        "fc7": "fc7",
    },
    "c3d-caffe": {
        "conv1": "conv1a",
        "conv2": "conv2a",
        **{conv: conv for conv in CONVS[2:]},
        "fc6": "fc6-1",
        "fc7": "fc7-1",
        "fc8": "fc8-1",
    },
}
C3D_FILES = {
    "own": ("c3d.pickle", "sports1m"),
    "c3d-jfzhang95": ("c3d-pretrained.pth", "sports1m_jfzhang95"),
    "c3d-mmaction2": ("c3d_sports1m_pretrain_20201016-dcc47ddc.pth", "sports1m_mmaction2"),
    "c3d-caffe": ("conv3d_deepnetA_sport1m_iter_1900000.npz", "sports1m"),
}


@pytest.mark.parametrize("keys", TABLES)
@pytest.mark.parametrize("layer", ["pool5", "fc6", "fc7"])
def test_c3d_files_by_their_names(keys: str, layer: str) -> None:
    found = backbone("c3d")
    keymap = own_names(found) if keys == "own" else KEYMAPS[keys]
    result = match(c3d_file(TABLES[keys]), keymap, empty(found, layer))
    assert not result.problems, str(result)
    assert set(result.tensors) == set(empty(found, layer).state_dict())


@pytest.mark.parametrize("keys", TABLES)
def test_the_tag_follows_from_the_file(keys: str, tmp_path: Path) -> None:
    name, tag = C3D_FILES[keys]
    resolved = resolve("c3d:pool5", save(tmp_path / name, c3d_file(TABLES[keys])))
    assert resolved.name == f"c3d.{tag}"
    assert resolved.pixels is backbone("c3d").weights[tag].pixels
    renamed = resolve("c3d:pool5", save(tmp_path / "weights.pth", {"state_dict": c3d_file(TABLES[keys])}))
    assert renamed.name == f"c3d.{tag}"


def test_weights_that_could_be_others_are_said(tmp_path: Path) -> None:
    path = save(tmp_path / "c3d.pickle", c3d_file(TABLES["own"]))
    (said,) = resolve("c3d:pool5", path).warnings
    assert "c3d.sports1m by its name" in said
    assert "c3d.sports1m_davidea or c3d.sports1m_ekosman" in said
    assert resolve("c3d.sports1m:pool5", path).warnings == ()
    davidea = resolve("c3d.sports1m_davidea:pool5", path)
    assert (davidea.name, davidea.pixels.channels, davidea.warnings) == ("c3d.sports1m_davidea", "rgb", ())


def test_a_file_that_is_not_the_published_one_is_said(tmp_path: Path) -> None:
    name, _ = C3D_FILES["c3d-mmaction2"]
    resolved = resolve("c3d:pool5", save(tmp_path / name, c3d_file(TABLES["c3d-mmaction2"])))
    assert resolved.warnings == (
        f"{name} is not the file as published: its sha256 is {resolved.sha256[:8]}..., not dcc47ddc...",
    )


def test_caffe_blobs_have_five_dimensions_each() -> None:
    blobs = {}
    for name, tensor in c3d_file(TABLES["c3d-caffe"]).items():
        blobs[name] = tensor if tensor.ndim == 5 else tensor[(None,) * (5 - tensor.ndim)]
    assert blobs["conv1a.bias"].shape == (1, 1, 1, 1, 64)
    assert blobs["fc6-1.weight"].shape == (1, 1, 1, 4096, 8192)
    result = match(blobs, KEYMAPS["c3d-caffe"], empty(backbone("c3d"), "fc8"))
    assert not result.problems, str(result)


def test_tensorflow_c3d() -> None:
    generator = torch.Generator().manual_seed(0)
    keymap = KEYMAPS["c3d-tf"]
    stems = ("c1", "c2", "c3a", "c3b", "c4a", "c4b", "c5a", "c5b", "d1", "d2", "out")
    state = {}
    for (ours, shape), stem in zip(C3D_SHAPES.items(), stems, strict=True):
        weight = thin(3, 3, 3, shape[1], shape[0]) if ours.startswith("conv") else thin(shape[1], shape[0])
        state[f"var_name/w{stem}:0"], state[f"var_name/b{stem}:0"] = weight, thin(shape[0])
    assert not match(state, keymap, empty(backbone("c3d"), "fc8")).problems
    assert keymap.ours("out") == "fc8.weight"
    # one window of a convolution in their layout
    window = torch.randn(3, 3, 3, 4, generator=generator)  # t, h, w, in
    kernel = torch.randn(3, 3, 3, 4, 6, generator=generator)  # t, h, w, in, out
    expected = torch.einsum("thwi,thwio->o", window, kernel)
    ours = F.conv3d(window.permute(3, 0, 1, 2)[None], keymap.to_ours(kernel)).flatten()
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    # their pool5 (batch, T, H, W, C) is moved to (batch, T, C, H, W) before wd1
    pool5 = torch.randn(2, 1, 4, 4, 512, generator=generator)
    wd1 = torch.randn(8192, 5, generator=generator)
    theirs = pool5.permute(0, 1, 4, 2, 3).reshape(2, 8192) @ wd1
    ours = F.linear(pool5.permute(0, 4, 1, 2, 3).flatten(1), keymap.to_ours(wd1))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("by_position", [True, False])
def test_keras_c3d(by_position: bool) -> None:
    keymap = KEYMAPS["c3d-keras"]
    positions = (0, 2, 4, 5, 7, 8, 10, 11, 15, 17, 19)
    state = {}
    for (ours, shape), position in zip(C3D_SHAPES.items(), positions, strict=True):
        weight, bias = ("param_0", "param_1") if by_position else (f"{ours}_W", f"{ours}_b")
        group = f"layer_{position}" if by_position else ours
        state[f"{group}/{weight}"] = thin(*shape, 3, 3, 3) if ours.startswith("conv") else thin(*shape[::-1])
        state[f"{group}/{bias}"] = thin(shape[0])
    assert not match(state, keymap, empty(backbone("c3d"), "fc8")).problems
    turned = torch.arange(27.0).reshape(1, 1, 3, 3, 3)  # each plane by 180 degrees, the planes in their order
    assert keymap.to_ours(turned)[0, 0, 1].tolist() == np.rot90(turned[0, 0, 1].numpy(), 2).tolist()


def test_mtl_aqa_takes_fc6_from_the_file_beside(tmp_path: Path) -> None:
    cnn = save(tmp_path / "model_CNN_94.pth", c3d_file({conv: conv for conv in CONVS}))
    pool5 = resolve("c3d:pool5", cnn)
    assert pool5.name == "c3d.mtl_aqa"
    assert ["has seen the training scores" in warning for warning in pool5.warnings] == [True]
    with pytest.raises(WeightsError, match=r"2 missing: fc6.weight, fc6.bias.*Put model_my_fc6_94.pth beside it"):
        resolve("c3d", cnn)
    weight = torch.randn(4096, generator=torch.Generator().manual_seed(0))[:, None].expand(4096, 8192)
    fc6 = save(tmp_path / "model_my_fc6_94.pth", {"fc.weight": weight.clone(), "fc.bias": thin(4096)})
    resolved = resolve("c3d", cnn)
    assert resolved.name == "c3d.mtl_aqa"
    assert torch.equal(resolved.net.state_dict()["fc6.weight"], weight)
    assert resolved.sha256.split("+")[0] == pool5.sha256
    assert len(resolved.sha256) == 64 + 1 + 64
    assert resolve("c3d:pool5", cnn).sha256 == pool5.sha256  # which does not need the other file
    fc6.unlink()
    with pytest.raises(WeightsError, match="beside it"):
        resolve("c3d.mtl_aqa", cnn)


# ------------------------------------------------------------------------------------------------------------ I3D


def test_i3d_has_the_287_names_of_piergiaj(i3d_state: dict[str, torch.Tensor]) -> None:
    units = [ours for ours, _, _ in i3d_units()]
    assert len(units) == 57
    parts = ("conv3d.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    expected = {f"{unit}.{part}" for unit in units for part in parts}
    assert set(i3d_state) == expected | {"logits.conv3d.weight", "logits.conv3d.bias"}
    assert len(i3d_state) == 287
    assert i3d_state["Mixed_4e.b2b.conv3d.weight"].shape == (64, 32, 3, 3, 3)


def test_i3d_takes_the_230_variables_of_deepmind(shared_data: Path) -> None:
    variables = {}
    for line in (shared_data / "weights/i3d_tf_rgb_imagenet_variables.txt").read_text().splitlines():
        name, _, rest = line.partition(" [")
        variables[name] = thin(*map(int, rest.partition("]")[0].split(",")))
    assert len(variables) == 230
    for layer in ("avgpool", "logits"):
        net = empty(backbone("i3d"), layer)
        result = match(variables, KEYMAPS["i3d-tf"], net)
        assert not result.problems, str(result)
        assert set(result.tensors) == {name for name in net.state_dict() if not name.endswith(COUNTER)}
    ours = [KEYMAPS["i3d-tf"].ours(name) for name in variables]
    assert len(set(ours)) == 230
    assert None not in ours


def test_i3d_tensorflow_file(i3d_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    theirs = KEYMAPS["i3d-tf"].to_theirs(i3d_state)
    assert len(theirs) == 230
    assert "RGB/inception_i3d/Mixed_5b/Branch_2/Conv3d_0a_3x3/conv_3d/w" in theirs
    # Kinetics-600 holds the norms as [1, 1, 1, 1, C]
    arrays = {name: (t.view(1, 1, 1, 1, -1) if "batch_norm" in name else t).numpy() for name, t in theirs.items()}
    np.savez(tmp_path / "rgb_imagenet.npz", **arrays)
    resolved = resolve("i3d:logits", tmp_path / "rgb_imagenet.npz")
    assert resolved.name == "i3d.rgb_kinetics"
    state = resolved.net.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in i3d_state.items())


@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("classes", [400, 157])
def test_i3d_files_of_any_class_count(
    counters: bool, classes: int, i3d_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    state = KEYMAPS["i3d-hassony2"].to_theirs(i3d_state)
    assert state["mixed_3b.branch_1.0.conv3d.weight"].shape == (96, 192, 1, 1, 1)
    state["conv3d_0c_1x1.conv3d.weight"], state["conv3d_0c_1x1.conv3d.bias"] = (
        thin(classes, 1024, 1, 1, 1),
        thin(classes),
    )
    if counters:
        state |= {name.replace("running_var", COUNTER): torch.tensor(7) for name in [*state] if "running_var" in name}
    path = save(tmp_path / "model_rgb.pth", state)
    resolved = resolve("i3d", path)
    assert resolved.name == "i3d.rgb_kinetics"
    assert "i3d.rgb_imagenet_norm" in resolved.warnings[0]
    assert resolve("i3d.rgb_imagenet_norm", path).warnings == ()
    assert torch.equal(resolved.net.state_dict()["Mixed_5c.b3b.bn.bias"], i3d_state["Mixed_5c.b3b.bn.bias"])
    if classes == 157 and counters:
        with pytest.raises(WeightsError, match=r"\[157, 1024, 1, 1, 1\] for logits.conv3d.weight \[400, 1024"):
            resolve("i3d:logits", path)


def test_flow_and_rgb_are_told_apart(i3d_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    flow = {**i3d_state, "Conv3d_1a_7x7.conv3d.weight": thin(64, 2, 7, 7, 7)}
    path = save(tmp_path / "flow_imagenet.pt", flow)
    assert resolve("i3d_flow", path).name == "i3d_flow.kinetics"
    with pytest.raises(WeightsError, match=r"\[64, 2, 7, 7, 7\].*The file fits i3d_flow:avgpool"):
        resolve("i3d", path)


# ------------------------------------------------------------------------------------------------- what does not fit


def test_weights_of_another_network_are_named(i3d_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = save(tmp_path / "c3d.pickle", KEYMAPS["i3d-hassony2"].to_theirs(i3d_state))
    with pytest.raises(WeightsError) as caught:
        resolve("c3d", path)
    text = str(caught.value)
    assert "do not fit c3d:fc6" in text
    assert "18 missing: conv1.weight, conv1.bias, conv2.weight, ..." in text
    assert "287 unexpected: conv3d_1a_7x7.conv3d.weight" in text
    assert str(path) in text
    assert "The file fits i3d:avgpool" in text
    own = save(tmp_path / "model_rgb.pth", c3d_file(TABLES["own"]))
    with pytest.raises(WeightsError, match="The file fits c3d:fc6"):
        resolve("i3d", own)
    with pytest.raises(WeightsError, match="The file fits c3d:fc6"):
        resolve("r3d_18.kinetics400", own)


def test_torchvision_networks_with_the_same_names_are_told_apart(tmp_path: Path) -> None:
    net = random_network(backbone("mc3_18"), "logits", 0)
    path = tmp_path / "weights.safetensors"
    save_file(net.state_dict(), path)
    assert resolve("mc3_18", path).name == "mc3_18.kinetics400"
    with pytest.raises(WeightsError, match=r"of another shape: layer2.*The file fits mc3_18:penultimate"):
        resolve("r3d_18", path)


def test_real_heads_are_no_backbone(shared_data: Path) -> None:
    with pytest.raises(WeightsError, match=r"2 unexpected: fc_final_score\.weight, fc_final_score\.bias"):
        resolve("c3d", shared_data / "weights/model_score_regressor_94.pth")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"conv3a.weight": None}, "1 missing: conv3a.weight"),
        ({"extra.weight": thin(3)}, "1 unexpected: extra.weight"),
        ({"conv1.weight": thin(64, 4, 3, 3, 3)}, r"1 of another shape: conv1.weight \[64, 4, 3, 3, 3\]"),
        ({"conv1.weight": thin(3, 64, 3, 3, 3)}, "1 of another shape"),
        ({"conv1.bias": None, "conv2.bias": None, "x": thin(1)}, "2 missing: conv1.bias, conv2.bias; 1 unexpected: x"),
    ],
)
def test_one_wrong_name_is_enough(
    change: dict[str, torch.Tensor | None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_fitting", lambda tensors: [])  # which takes a second, and is tested above
    state = {name: tensor for name, tensor in {**c3d_file(TABLES["own"]), **change}.items() if tensor is not None}
    path = save(tmp_path / "c3d.pickle", state)
    with pytest.raises(WeightsError, match=said):
        resolve("c3d.sports1m:pool5", path)


def test_loaded_networks_are_frozen_and_their_own(i3d_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    resolved = resolve("i3d", save(tmp_path / "rgb_imagenet.pt", i3d_state))
    tensors = [*resolved.net.parameters(), *resolved.net.buffers()]
    assert not any(tensor.requires_grad or tensor.is_meta for tensor in tensors)
    assert all(tensor.is_contiguous() for tensor in tensors)
    assert not resolved.net.training
    assert list(key_maps(resolved.backbone)) == ["own", "i3d-hassony2", "i3d-tf"]
