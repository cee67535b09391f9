"""Trainings one after the other begin alike, and a loss does not reach where it should not."""

from __future__ import annotations

from collections.abc import Callable

import torch

from aqa.finetune.live import Live
from aqa.finetune.loop import Training
from aqa.heads import make_head
from aqa.heads.batches import Batch
from aqa.heads.noise import Live as LiveNoise
from aqa.heads.torch_head import Spec, Step

Make = Callable[..., Training]


def test_a_training_leaves_nothing_to_the_next(small: Live, training: Make, tmp_path):
    """A network that has seen the train part of one fold would have seen the test part of another."""
    before = {name: value.clone() for name, value in small.net.state_dict().items()}
    first = training("mlp", {"hidden": "8"}, streams=[small], folder=tmp_path / "first", rates=(1e-3,), flip=0.5)
    first.run()
    moved = first.net.backbones[0].state_dict()
    assert not all(torch.equal(value, moved[name]) for name, value in before.items())
    assert all(torch.equal(value, small.net.state_dict()[name]) for name, value in before.items())
    second = training("mlp", {"hidden": "8"}, streams=[small], folder=tmp_path / "second", rates=(1e-3,), flip=0.5)
    second.run()
    other = second.net.backbones[0].state_dict()
    assert all(torch.equal(value, other[name]) for name, value in moved.items())


def test_the_segment_to_be_recovered_is_not_made_easy():
    """Without a stop a backbone would learn features that are alike for all segments."""
    head = make_head("s4aqa", {"alignment": "0", "recovery": "1", "hidden": "8"})
    spec = Spec({"x": (6,)}, 4, 8, "score", False, 0.0, 1.0, 0.5, 0.3, 0, {})
    net = head.build(spec)
    x = torch.randn(8, 4, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = torch.ones(8, 4, dtype=torch.bool)
    batch = Batch({"x": x}, {"x": mask}, torch.rand(8), torch.ones(8), torch.zeros(8, 0), mask[:, 0])
    noise = LiveNoise(torch.Generator().manual_seed(1))
    head.loss(net, batch, noise, Step(0, 0)).backward()
    assert x.grad is not None
    unlabelled = x.grad[4:].abs().sum(dim=2)
    assert ((unlabelled == 0).sum(dim=1) == 1).all()  # the masked one of each sample, and no other
    assert (unlabelled > 0).sum() == 4 * 3
