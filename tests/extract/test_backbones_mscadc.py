"""The body of MSCADC: sizes on the way, the clips it takes, dropout, weights by our names and without a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from aqa.errors import BadParameter, WeightsError
from aqa.extract.backbones import backbone, parse, resolve
from aqa.extract.backbones.matching import empty


def test_mscadc_sizes_on_the_way() -> None:
    net = empty(backbone("mscadc"), "volume")
    sizes: dict[str, tuple[torch.Size, torch.Size]] = {}

    def note(name: str, x: torch.Tensor, out: torch.Tensor) -> None:
        sizes[name] = (x.shape[1:], out.shape[1:])

    for name, module in net.named_children():
        module.register_forward_hook(lambda _m, i, out, name=name: note(name, i[0], out))  # pyright: ignore[reportArgumentType]
    net(torch.empty(2, 3, 16, 180, 180, device="meta"))
    into = {name: tuple(sizes[name][0]) for name in sizes if name.startswith("conv")}
    assert into == {
        "conv1": (3, 16, 180, 180),
        "conv2": (32, 16, 90, 90),
        "conv3a": (64, 8, 45, 45),
        "conv3b": (128, 8, 45, 45),
        "conv4a": (128, 4, 22, 22),
        "conv4b": (256, 4, 22, 22),
        "conv5a": (256, 4, 22, 22),
        "conv5b": (256, 4, 22, 22),
    }
    assert tuple(sizes["dropout"][1]) == (256, 2, 20, 20)
    assert backbone("mscadc").layers["volume"](16, 180, 180) == (256, 2, 20, 20)


def test_mscadc_layers_follow_from_each_other() -> None:
    net: Any = resolve("mscadc").net
    x = torch.randn(1, 3, 16, 40, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = net(x)
        for name, padding, dilation, pool in (
            ("1", 1, 1, (1, 2, 2)),
            ("2", 1, 1, 2),
            ("3a", 1, 1, None),
            ("3b", 1, 1, 2),
            ("4a", 1, 1, None),
            ("4b", 1, 1, None),
            ("5a", 2, 2, None),
            ("5b", 1, 2, None),
        ):
            conv, norm = net.get_submodule(f"conv{name}"), net.get_submodule(f"norm{name}")
            x = F.conv3d(x, conv.weight, conv.bias, padding=padding, dilation=dilation)
            x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
            x = x if pool is None else F.max_pool3d(x, pool)
        assert found.shape == (1, 256, 2, 3, 4)
        torch.testing.assert_close(found, x)
        assert 0.1 < float(x.std()) < 6  # random weights neither fade nor burst


def test_mscadc_drops_half_of_the_volume_in_training_alone() -> None:
    net: Any = parse("mscadc")[0].build("volume")
    x = torch.randn(2, 3, 16, 64, 64)
    before = {}
    net.dropout.register_forward_hook(lambda _m, i, out: before.update({"x": i[0], "y": out}))
    net.train()(x)
    kept = before["y"][before["x"] > 0] > 0
    assert 0.4 < float(kept.float().mean()) < 0.6
    net.eval()(x)
    assert torch.equal(before["x"], before["y"])


@pytest.mark.parametrize("clip", [(8, 180, 180), (15, 180, 180), (16, 24, 180)])
def test_mscadc_refuses_smaller_clips_with_the_nearest(clip: tuple[int, int, int]) -> None:
    nearest = f"{max(clip[0], 16)}x{max(clip[1], 32)}x{max(clip[2], 32)}"
    with pytest.raises(BadParameter, match=f"published: 16 of 180x180.*the nearest is {nearest}"):
        resolve("mscadc").shape(*clip)


def test_mscadc_pixels_and_plan() -> None:
    found = backbone("mscadc")
    assert found.plan == "16of103"
    for weights in found.weights.values():
        assert (weights.pixels.resize, weights.pixels.crop) == ((360, 640), (180, 180))
        assert (weights.pixels.mean, weights.pixels.channels) == ((0.485, 0.456, 0.406), "rgb")


def test_mscadc_without_a_file_says_how_to_begin(tmp_path: Path) -> None:
    found, tag, layer = parse("mscadc.body")
    assert (found.arch, tag, layer) == ("mscadc", "body", "volume")
    said = r"needs a weight file.*C3D_small_PyTorch_Trained_12\.pth.*mscadc\.random begins without weights"
    with pytest.raises(WeightsError, match=said):
        resolve("mscadc.body")
    net = resolve("mscadc.random", seed=3).net
    save_file(net.state_dict(), tmp_path / "body.safetensors")
    again = resolve("mscadc.body", tmp_path / "body.safetensors")
    assert "how the released file names its tensors is not known" in again.warnings[0]
    assert all(torch.equal(value, again.net.state_dict()[name]) for name, value in net.state_dict().items())
