"""I3D: TensorFlow's padding for any size, the pooling windows, RGB and flow."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from aqa.extract.backbones import backbone, resolve
from aqa.extract.backbones.i3d import AveragePool, same_padding
from aqa.extract.backbones.matching import empty, random_network


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        (224, 7, 2, (2, 3)),
        (225, 7, 2, (3, 3)),
        (112, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (7, 2, 2, (0, 1)),
        (8, 2, 2, (0, 0)),
        (5, 3, 1, (1, 1)),
        (9, 1, 1, (0, 0)),
        (1, 7, 2, (3, 3)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == padding


def tensorflow_i3d(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Mixed_5c by the book: zeros are written around everything, max-pools too, and nothing else is padded."""
    state = net.state_dict()

    def padded(x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
        sides: list[int] = []
        for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
            total = max((-(-size // s) - 1) * s + k - size, 0)
            sides += [total // 2, total - total // 2]
        return F.pad(x, sides)

    def unit(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = state[f"{name}.conv3d.weight"]
        x = F.conv3d(padded(x, tuple(weight.shape[2:]), (stride,) * 3), weight, stride=stride)
        mean, var, scale, shift = (
            state[f"{name}.bn.{part}"].view(-1, 1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (var + 1e-3).sqrt() * scale + shift).relu()

    def pool(x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
        return F.max_pool3d(padded(x, kernel, stride), kernel, stride)

    def mixed(name: str, x: torch.Tensor) -> torch.Tensor:
        b1, b2 = unit(f"{name}.b1a", x), unit(f"{name}.b2a", x)
        b3 = unit(f"{name}.b3b", pool(x, (3, 3, 3), (1, 1, 1)))
        return torch.cat([unit(f"{name}.b0", x), unit(f"{name}.b1b", b1), unit(f"{name}.b2b", b2), b3], 1)

    x = pool(unit("Conv3d_1a_7x7", x, 2), (1, 3, 3), (1, 2, 2))
    x = pool(unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", x)), (1, 3, 3), (1, 2, 2))
    x = pool(mixed("Mixed_3c", mixed("Mixed_3b", x)), (3, 3, 3), (2, 2, 2))
    for block in "bcdef":
        x = mixed(f"Mixed_4{block}", x)
    return mixed("Mixed_5c", mixed("Mixed_5b", pool(x, (2, 2, 2), (2, 2, 2))))


def ordinary_norms(net: torch.nn.Module) -> torch.nn.Module:
    """Batch-norm statistics as after training, so that they matter."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif ".bn." in name and not name.endswith("num_batches_tracked"):
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    return net


@pytest.mark.parametrize("clip", [(8, 64, 64), (9, 67, 81), (13, 70, 65), (11, 95, 97), (16, 64, 96)])
def test_i3d_pads_like_tensorflow_for_any_size(clip: tuple[int, int, int]) -> None:
    found = backbone("i3d")
    net = ordinary_norms(random_network(found, "mixed_5c", 0))
    x = torch.randn(1, 3, *clip, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        features, expected = net(x), tensorflow_i3d(net, x)
    assert tuple(features.shape[1:]) == found.layers["mixed_5c"](*clip)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


def test_i3d_pools_over_windows_of_2x7x7_or_all_there_is() -> None:
    generator = torch.Generator().manual_seed(0)
    long = torch.randn(2, 5, 4, 9, 8, generator=generator)
    torch.testing.assert_close(AveragePool((2, 7, 7))(long), F.avg_pool3d(long, (2, 7, 7), 1))
    eight_frames = torch.randn(2, 5, 1, 7, 7, generator=generator)
    torch.testing.assert_close(AveragePool((2, 7, 7))(eight_frames), F.avg_pool3d(eight_frames, (1, 7, 7), 1))
    at_112_pixels = torch.randn(2, 5, 2, 4, 4, generator=generator)
    torch.testing.assert_close(AveragePool((2, 7, 7))(at_112_pixels)[..., 0, 0, 0], at_112_pixels.mean((2, 3, 4)))


def test_i3d_features_are_the_pooled_map() -> None:
    x = torch.randn(1, 3, 24, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        state = resolve("i3d:logits").net.state_dict()
        made = {}
        for layer in ("mixed_5c", "map", "avgpool", "logits"):
            net = backbone("i3d").build(layer).eval()
            net.load_state_dict({name: state[name] for name in net.state_dict()})
            made[layer] = net(x)
        assert made["mixed_5c"].shape == (1, 1024, 3, 2, 2)
        assert torch.equal(made["map"], made["mixed_5c"].mean(2))  # what TSA looks at
        pooled = F.avg_pool3d(made["mixed_5c"], (2, 2, 2), 1)
        torch.testing.assert_close(made["avgpool"], pooled.mean((2, 3, 4)))
        weight, bias = state["logits.conv3d.weight"], state["logits.conv3d.bias"]
        torch.testing.assert_close(made["logits"], F.conv3d(pooled, weight, bias).mean((2, 3, 4)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("frames", "size", "shape"), [(16, 224, (2, 7, 7)), (8, 224, (1, 7, 7)), (16, 112, (2, 4, 4))])
def test_i3d_map_sizes(frames: int, size: int, shape: tuple[int, int, int]) -> None:
    resolved = resolve("i3d:mixed_5c")
    assert resolved.shape(frames, size, size) == (1024, *shape)
    assert resolve("i3d").shape(frames, size, size) == (1024,)


def test_i3d_refuses_small_clips() -> None:
    found = backbone("i3d")
    assert "8x224x224" in (found.allowed(7, 224, 224) or "")
    assert "16x64x224" in (found.allowed(16, 40, 224) or "")


def test_i3d_pixels() -> None:
    weights = backbone("i3d").weights
    kinetics, papers = weights["rgb_kinetics"].pixels, weights["rgb_imagenet_norm"].pixels
    assert (kinetics.mean, kinetics.std, kinetics.resize) == ((0.5,) * 3, (0.5,) * 3, 256)  # 0..1 -> -1..1
    assert (papers.mean, papers.resize) == ((0.485, 0.456, 0.406), (256, 455))
    assert weights["rgb_kinetics"].files == weights["rgb_imagenet_norm"].files
    flow = backbone("i3d_flow").weights["kinetics"].pixels
    assert (flow.channels, flow.mean) == ("flow", (0.5, 0.5))
    assert empty(backbone("i3d_flow"), "avgpool").state_dict()["Conv3d_1a_7x7.conv3d.weight"].shape[1] == 2
