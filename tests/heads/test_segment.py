"""`segment`: size, the axis of its loss and the loss by hand, dropout."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aqa.errors import BadParameter
from aqa.heads import make_head
from aqa.heads.noise import Live
from aqa.heads.segment import Segmenter, segmentation_loss

TRUTH = torch.tensor([[4, 40], [13, 52], [0, 95], [-1, -1], [47, 48]])


@pytest.fixture
def z() -> torch.Tensor:
    return torch.randn(5, 96, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def by_hand(z: np.ndarray, truth: np.ndarray) -> float:
    """-(1 / 2N) sum over n of log softmax over FRAMES of channel 0 at st and twice that of channel 1 at ed."""
    total, count = 0.0, 0
    for frames, (st, ed) in zip(z, truth, strict=True):
        if st < 0:
            continue
        for channel, (place, weight) in enumerate(((st, 1), (ed, 2))):
            powers = [math.exp(frames[t, channel]) for t in range(96)]
            total += weight * math.log(powers[place] / math.fsum(powers))
        count += 1
    return -total / (2 * count)


def test_the_loss_is_cross_entropy_over_frames(z: torch.Tensor):
    loss = segmentation_loss(z, TRUTH)
    assert loss.item() == pytest.approx(by_hand(z.numpy(), TRUTH.numpy()), abs=1e-12)
    known = TRUTH[:, 0] >= 0
    soft = torch.zeros(5, 96, 2, dtype=torch.float64)
    for n, (st, ed) in enumerate(TRUTH.tolist()):
        soft[n, st, 0], soft[n, ed, 1] = 1.0, 2.0
    # torch's classes are axis 1: here the frames, as in the released code
    assert loss.item() == pytest.approx(F.cross_entropy(z[known], soft[known]).item(), abs=1e-12)
    over_channels = F.cross_entropy(z[known].mT, soft[known].mT).item()
    assert abs(loss.item() - over_channels) > 0.1


def test_equal_logits_cost_one_and_a_half_times_the_log_of_96():
    assert segmentation_loss(torch.zeros(3, 96, 2), TRUTH[:3]).item() == pytest.approx(1.5 * math.log(96), rel=1e-6)


def test_samples_without_transitions_cost_nothing(z: torch.Tensor):
    nothing = torch.full((5, 2), -1)
    z.requires_grad_()
    loss = segmentation_loss(z, nothing)
    loss.backward()
    assert loss.item() == 0
    assert z.grad is not None
    assert not z.grad.any()
    rest = torch.tensor([0, 1, 2, 4])
    assert segmentation_loss(z, TRUTH).item() == pytest.approx(segmentation_loss(z[rest], TRUTH[rest]).item())


@pytest.mark.parametrize(("inputs", "count"), [(368, 1_630_978), (1024, 3_079_426)])
def test_it_has_as_many_parameters_as_torchs_gru_and_a_linear_layer(inputs: int, count: int):
    net = Segmenter(inputs, 368, 0.5)
    theirs = [torch.nn.GRU(inputs, 368, bidirectional=True), torch.nn.Linear(736, 2)]
    assert sum(p.numel() for p in net.parameters()) == count
    assert sum(p.numel() for one in theirs for p in one.parameters()) == count


def test_dropout_is_before_the_linear_layer_and_only_in_training():
    torch.manual_seed(0)
    net, x = Segmenter(6, 4, 0.5).double(), torch.randn(3, 96, 6, dtype=torch.float64)
    noise = Live(torch.Generator().manual_seed(2), torch.float64)
    found = net(x, noise)
    assert noise.asked == [("uniform", (3, 96, 8))]
    kept = torch.rand((3, 96, 8), generator=torch.Generator().manual_seed(2), dtype=torch.float64) >= 0.5
    assert torch.allclose(found, net.out(net.gru(x) * kept * 2))
    assert torch.equal(net(x), net.out(net.gru(x)))


@pytest.mark.parametrize("settings", [{"hidden": "0"}, {"dropout": "1"}, {"dropout": "-0.1"}])
def test_parameters_that_do_not_fit_are_refused(settings: dict[str, str]):
    with pytest.raises(BadParameter):
        make_head("segment", settings)
