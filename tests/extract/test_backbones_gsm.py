"""Gate-shift modules: closed gates change nothing, open ones move channels by a frame, and never from clip to clip."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aqa.errors import WeightsError
from aqa.extract.backbones import BACKBONES, backbone, resolve
from aqa.extract.backbones.regnet_gsm import GateShift, GateShiftRegNet


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def opened(net: nn.Module) -> nn.Module:
    """`net` with gates that are neither closed nor the same everywhere."""
    with torch.no_grad():
        for k, shift in enumerate(module for module in net.modules() if isinstance(module, GateShift)):
            shift.gate.weight.copy_(0.3 * noise(*shift.gate.weight.shape, seed=k))
            shift.gate.bias.copy_(noise(2, seed=k))
    return net


@pytest.fixture(scope="module")
def plain_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torchvision's plain network with norms that do something, under the name of its file for ImageNet."""
    from torchvision.models import get_model

    torch.manual_seed(0)
    net = get_model("regnet_y_400mf", weights=None)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / "regnet_y_400mf-c65dace8.pth"
    torch.save(net.state_dict(), path)
    return path


def test_closed_gates_are_torchvisions_network_bit_for_bit(plain_file: Path) -> None:
    from torchvision.models import get_model

    theirs = get_model("regnet_y_400mf", weights=None).eval()
    theirs.load_state_dict(torch.load(plain_file, weights_only=True))
    found, logits = resolve("regnet_y_400mf_gsm", plain_file), resolve("regnet_y_400mf_gsm:logits", plain_file)
    assert (found.name, found.shape(6, 64, 64), found.kept(6, 64, 64)) == (
        "regnet_y_400mf_gsm.imagenet1k",
        (6, 440),
        (440,),
    )
    assert not found.net.training
    clips = noise(2, 3, 6, 64, 96)
    frames = clips.transpose(1, 2).flatten(0, 1)
    with torch.inference_mode():
        assert torch.equal(logits.net(clips), theirs(frames).unflatten(0, (2, 6)))
        assert torch.equal(theirs.fc(found.net(clips)), logits.net(clips))
        one = resolve("regnet_y_400mf", plain_file).net(frames[:, :, None])
        assert torch.equal(found.net(clips).flatten(0, 1), one)


def test_random_weights_are_those_of_the_plain_network_and_closed_gates() -> None:
    both = ("regnet_y_400mf_gsm.random", "regnet_y_400mf.random")
    mine, plain = (resolve(spec, seed=3).net.state_dict() for spec in both)
    assert all(torch.equal(mine[name], value) for name, value in plain.items())
    assert all(not mine[name].any() for name in mine if ".gate." in name)


def test_a_file_with_a_part_of_the_gates_is_refused(
    plain_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {arch: where for arch, where in BACKBONES.items() if arch.startswith("regnet")}
    monkeypatch.setattr("aqa.extract.backbones.BACKBONES", both)  # a refusal tries all that there are
    state = torch.load(plain_file, weights_only=True)
    torch.save({**state, "shifts.0.gate.bias": torch.zeros(2)}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"missing: shifts\.0\.norm\.weight"):
        resolve("regnet_y_400mf_gsm", tmp_path / "part.pth")
    torch.save(opened(GateShiftRegNet()).state_dict(), tmp_path / "whole.pth")
    assert resolve("regnet_y_400mf_gsm", tmp_path / "whole.pth").net.state_dict()["shifts.3.gate.bias"].all()
    with pytest.raises(WeightsError, match="fits regnet_y_400mf_gsm:penultimate"):
        resolve("regnet_y_400mf", tmp_path / "whole.pth")


@pytest.mark.parametrize(("channels", "fold"), [(32, 8), (48, 12), (104, 28), (208, 52), (440, 112), (10, 4), (4, 4)])
def test_a_quarter_of_the_channels_rounded_up_to_fours_is_moved(channels: int, fold: int) -> None:
    shift = GateShift(channels)
    assert (shift.fold, tuple(shift.gate.weight.shape)) == (fold, (2, fold // 2, 3, 3, 3))
    x = noise(5, channels, 2, 2)
    with torch.no_grad():
        assert torch.equal(shift.eval()(x, 5), x)
        opened(shift)
        changed = (shift(x, 5) != x).flatten(2).any(dim=2).any(dim=0)
    assert changed.tolist() == [True] * fold + [False] * (channels - fold)


def test_a_shift_by_hand() -> None:
    """Three frames of one pixel: half of the first two channels goes a frame back, a quarter of the next two ahead."""
    shift = GateShift(5).eval()
    with torch.no_grad():
        shift.gate.bias.copy_(torch.tensor([math.atanh(0.5), math.atanh(0.25)]))
        x = torch.tensor([[4.0, 40, 8, 80, 1], [6, 60, 12, 120, 2], [10, 100, 16, 160, 3]])[..., None, None]
        found = shift(x, 3)[..., 0, 0]
    wanted = [
        [2 + 3, 20 + 30, 6 + 0, 60 + 0, 1],
        [3 + 5, 30 + 50, 9 + 2, 90 + 20, 2],
        [5 + 0, 50 + 0, 12 + 3, 120 + 30, 3],
    ]
    assert found == pytest.approx(np.array(wanted), rel=1e-6)


def test_a_module_is_what_the_formulas_say() -> None:
    """Two clips of four frames of 3 x 2, with a norm that does something, against loops in double precision."""
    shift = opened(GateShift(11)).double().eval()
    norm, fold, half, frames, height, width = shift.norm, 4, 2, 4, 3, 2
    with torch.no_grad():
        for k, tensor in enumerate((norm.weight, norm.bias, norm.running_mean, norm.running_var)):
            assert tensor is not None
            tensor.copy_(noise(fold, seed=9 + k).abs() + 0.1)
        x = noise(2 * frames, 11, height, width, dtype=torch.float64)
        found = shift(x, frames).numpy()
    scale, offset, mean, var, weight, bias = (
        t.double().detach().numpy()
        for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var, shift.gate.weight, shift.gate.bias)
        if t is not None
    )
    for clip in range(2):
        mine = x.numpy()[clip * frames : (clip + 1) * frames]
        seen = np.zeros((frames + 2, fold, height + 2, width + 2))
        for c in range(fold):
            normed = (mine[:, c] - mean[c]) / math.sqrt(var[c] + norm.eps) * scale[c] + offset[c]
            seen[1:-1, c, 1:-1, 1:-1] = np.maximum(normed, 0)
        gates = np.empty((frames, 2, height, width))
        for t, g, i, j in np.ndindex(gates.shape):
            window = seen[t : t + 3, g * half : (g + 1) * half, i : i + 3, j : j + 3]
            gates[t, g, i, j] = math.tanh((window * weight[g].transpose(1, 0, 2, 3)).sum() + bias[g])
        wanted = mine.copy()
        for t, c in np.ndindex(frames, fold):
            source = t + 1 if c < half else t - 1
            wanted[t, c] = mine[t, c] - gates[t, c // half] * mine[t, c]
            if 0 <= source < frames:
                wanted[t, c] += gates[source, c // half] * mine[source, c]
        assert found[clip * frames : (clip + 1) * frames] == pytest.approx(wanted, abs=1e-12)


def test_clips_of_a_batch_see_nothing_of_each_other() -> None:
    net = opened(GateShiftRegNet()).eval()
    clips = noise(3, 3, 5, 32, 32)
    other = clips.clone()
    other[1] = noise(3, 5, 32, 32, seed=1)
    later = clips.clone()
    later[1, :, 4] += 1
    with torch.inference_mode():
        whole, changed, nudged = net(clips), net(other), net(later)
        alone = torch.cat([net(clip[None]) for clip in clips])
    assert torch.equal(whole[[0, 2]], changed[[0, 2]])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)
    moved = (nudged - whole).abs().amax(dim=2)
    assert (moved[1] > 1e-6).all(), "frames of a clip are seen by the others"
    assert not moved[[0, 2]].any()


def test_closed_gates_have_a_gradient_to_open_by() -> None:
    net = resolve("regnet_y_400mf_gsm.random").net.requires_grad_(True)
    net(noise(1, 3, 4, 32, 32)).square().mean().backward()
    for shift in net.get_submodule("shifts").children():
        assert isinstance(shift, GateShift)
        for parameter in (shift.gate.weight, shift.gate.bias):
            assert parameter is not None
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            assert parameter.grad.any()


def test_what_it_takes() -> None:
    found = backbone("regnet_y_400mf_gsm")
    assert found.allowed(2, 32, 32) is None
    assert found.allowed(*(found.clip_length, *found.weights["imagenet1k"].pixels.crop)) is None
    assert "2x32x224" in (found.allowed(1, 16, 224) or "")
    assert "1x96of96" in (found.allowed(1, 224, 224) or "")
    mine, plain = (
        {tag: (one.files, one.pixels, one.sha256) for tag, one in known.weights.items()}
        for known in (found, backbone("regnet_y_400mf"))
    )
    assert mine == plain
