"""C3D: its layers, the clips it takes, the pixels of each of its weight files."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from aqa.errors import BadParameter
from aqa.extract.backbones import backbone, parse, resolve


def test_c3d_layers_follow_from_each_other() -> None:
    clip = torch.randn(1, 3, 16, 112, 112, generator=torch.Generator().manual_seed(0))
    full = resolve("c3d:fc8").net
    seen: dict[str, torch.Tensor] = {}
    for name in ("conv5b", "fc6", "fc7"):
        full.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.clone()}))
    with torch.inference_mode():
        logits = full(clip)
        conv5b = seen["conv5b"]
        assert conv5b.shape == (1, 512, 2, 7, 7)
        padded = F.pad(conv5b.relu(), (1, 1, 1, 1), value=float("-inf"))
        pool5 = padded.unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2).amax((5, 6, 7))
        assert pool5.shape == (1, 512, 1, 4, 4)
        pool5 = pool5.reshape(1, 8192)  # (C, T, H, W)
        fc6 = F.linear(pool5, full.fc6.weight, full.fc6.bias).relu()
        fc7 = F.linear(fc6, full.fc7.weight, full.fc7.bias).relu()
        torch.testing.assert_close(logits, F.linear(fc7, full.fc8.weight, full.fc8.bias))
        for layer, expected in (("pool5", pool5), ("fc6", fc6), ("fc7", fc7)):
            net = parse(f"c3d:{layer}")[0].build(layer).eval()
            net.load_state_dict({name: full.state_dict()[name] for name in net.state_dict()})
            torch.testing.assert_close(net(clip), expected)


@pytest.mark.parametrize("clip", [(8, 112, 112), (16, 224, 224), (17, 112, 112), (16, 112, 128)])
def test_c3d_refuses_other_clips_with_the_nearest(clip: tuple[int, int, int]) -> None:
    found = backbone("c3d")
    assert "16x112x112" in (found.allowed(*clip) or "")
    assert found.allowed(16, 112, 112) is None
    with pytest.raises(BadParameter, match="16x112x112"):
        resolve("c3d:pool5").shape(*clip)


def test_c3d_pixels_are_those_of_each_source() -> None:
    weights = backbone("c3d").weights
    table = {
        "sports1m": ((128, 171), "bgr", 255.0, (90.25, 97.66, 101.41)),
        "sports1m_jfzhang95": ((128, 171), "bgr", 255.0, (90.0, 98.0, 102.0)),
        "sports1m_mmaction2": (128, "rgb", 255.0, (104.0, 117.0, 128.0)),
        "sports1m_davidea": ((112, 200), "rgb", 255.0, (0.0, 0.0, 0.0)),
        "mtl_aqa": ((128, 171), "rgb", 1.0, (0.485, 0.456, 0.406)),
    }
    for tag, (resize, channels, scale, mean) in table.items():
        pixels = weights[tag].pixels
        assert (pixels.resize, pixels.channels, pixels.scale, pixels.mean) == (resize, channels, scale, mean), tag
        assert pixels.crop == (112, 112)
        assert pixels.std == ((0.229, 0.224, 0.225) if tag == "mtl_aqa" else (1.0, 1.0, 1.0))
