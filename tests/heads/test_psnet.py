"""`psnet`: size, shapes, network and loss by hand with torch's own layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aqa.errors import BadParameter
from aqa.heads import make_head
from aqa.heads.psnet import ProcedureNet, halved, transition_loss

TRUTH = torch.tensor([[4, 40], [13, 52], [0, 95], [-1, -1], [47, 48]])


def theirs(net: ProcedureNet, x: Tensor) -> Tensor:
    """The network with torch's convolutions, batch normalisation and pooling, in training."""
    for k, block in enumerate(net.blocks):
        x = F.max_pool1d(x, 2) if k else x
        for conv, norm in zip(block.convs, block.norms, strict=True):  # pyright: ignore
            x = F.conv1d(x, conv.weight.unflatten(1, (3, -1)).mT, conv.bias, padding=1)
            x = F.relu(F.batch_norm(x, None, None, norm.weight, norm.bias, training=True))
    assert x.shape[1] == 96
    for layer in (net.first, net.second):
        x = F.relu(F.linear(x, layer.weight, layer.bias))
    return F.linear(x, net.third.weight, net.third.bias)


def test_it_is_the_published_network_on_nine_clips_of_1024():
    torch.manual_seed(1)
    net, x = ProcedureNet(9, 1024, 128).double(), torch.randn(3, 9, 1024, dtype=torch.float64)
    assert net.frames(x).shape == (3, 96, 64)
    assert [tuple(layer.weight.shape) for layer in (net.first, net.second, net.third)] == [
        (128, 64),
        (64, 128),
        (2, 64),
    ]
    channels = [9, 12, 12, 24, 24, 48, 48, 96, 96, 96]
    convs = [(b.convs[0].in_features // 3, b.convs[0].out_features) for b in net.blocks]  # pyright: ignore
    assert convs == [(9, 12), (12, 24), (24, 48), (48, 96), (96, 96)]
    doubles = sum(
        3 * a * b + b + 2 * b + 3 * b * b + b + 2 * b for a, b in zip(channels[::2], channels[1::2], strict=True)
    )
    head = 64 * 128 + 128 + 128 * 64 + 64 + 64 * 2 + 2
    assert sum(p.numel() for p in net.parameters()) == doubles + head == 128_846
    assert torch.allclose(net(x), theirs(net, x), atol=1e-10)


@pytest.mark.parametrize(("width", "left"), [(1, 1), (12, 1), (16, 1), (17, 2), (48, 3), (4096, 256)])
def test_any_width_is_halved_four_times_and_rounded_up(width: int, left: int):
    net = ProcedureNet(3, width, 8)
    assert net.frames(torch.zeros(2, 3, width)).shape == (2, 96, left)
    assert net(torch.zeros(2, 3, width)).shape == (2, 96, 2)


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_halving_is_max_pooling(length: int):
    x = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(0))
    assert torch.equal(halved(x.mT).mT, F.max_pool1d(x, 2, ceil_mode=True))


def test_it_starts_from_one_frame_of_96():
    net = ProcedureNet(9, 64, 16)
    assert torch.sigmoid(net.third.bias).tolist() == pytest.approx([1 / 96] * 2)


def test_the_loss_is_binary_cross_entropy_of_every_frame_and_channel():
    z = torch.randn(5, 96, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    total = []
    for frames, (st, ed) in zip(z.numpy(), TRUTH.tolist(), strict=True):
        for t in range(96 if st >= 0 else 0):
            for channel, place in enumerate((st, ed)):
                p = 1 / (1 + math.exp(-frames[t, channel]))
                total.append(-math.log(p if t == place else 1 - p))
    assert len(total) == 4 * 96 * 2
    assert transition_loss(z, TRUTH).item() == pytest.approx(np.mean(total), abs=1e-12)


def test_samples_without_transitions_cost_nothing():
    z = torch.randn(2, 96, 2, generator=torch.Generator().manual_seed(9)).requires_grad_()
    loss = transition_loss(z, torch.full((2, 2), -1))
    loss.backward()
    assert loss.item() == 0
    assert z.grad is not None
    assert not z.grad.any()


def test_a_seed_with_running_statistics_judges_samples_one_by_one():
    torch.manual_seed(1)
    net, x = ProcedureNet(3, 32, 8), torch.randn(4, 3, 32)
    net(x)
    assert isinstance(net.eval(), nn.Module)
    assert torch.allclose(net(x)[:1], net(x[:1]), atol=1e-6)


def test_parameters_that_do_not_fit_are_refused():
    with pytest.raises(BadParameter):
        make_head("psnet", {"hidden": "1"})
