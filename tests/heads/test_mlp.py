"""`mlp`: size, loss on five samples, and what it can learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from aqa.errors import BadParameter
from aqa.heads import FeatureSet, make_head
from aqa.heads.batches import Batch
from aqa.heads.mlp import Mlp
from aqa.heads.noise import Live
from aqa.heads.torch_head import Spec, Step, built
from aqa.heads.training import fit

STEP, NOISE = Step(0, 0), Live(torch.Generator())
MakeSpec = Callable[..., Spec]


def forward(net: torch.nn.Module, batch: Batch) -> np.ndarray:
    """The network by hand: [B]."""
    weights = {name: value.detach().numpy() for name, value in net.named_parameters()}
    x, mask = batch.streams["x"].numpy(), batch.masks["x"].numpy()
    said = []
    for clips, there in zip(x, mask, strict=True):
        hidden = np.maximum(weights["fc6.weight"] @ clips[there].mean(axis=0) + weights["fc6.bias"], 0)
        said.append(float((weights["score.weight"] @ hidden + weights["score.bias"])[0]))
    return np.array(said)


def test_it_has_the_papers_number_of_parameters(make_spec: MakeSpec):
    with torch.device("meta"):
        net = Mlp().build(make_spec(8192))
    assert sum(p.numel() for p in net.fc6.parameters()) == 33_558_528
    assert sum(p.numel() for p in net.score.parameters()) == 4_097


def test_the_loss_is_squared_plus_absolute_error_of_score_over_sd(make_spec: MakeSpec, five: Batch):
    head = Mlp(hidden=7)
    net = built(head, make_spec(), 0).double()
    error = forward(net, five) - five.score.numpy() / 15
    loss = head.loss(net, five, NOISE, STEP)
    assert loss.item() == pytest.approx((error**2).mean() + np.abs(error).mean(), abs=1e-12)
    assert np.allclose(head.judge(net, five)["score"].detach(), forward(net, five) * 15)


def test_the_loss_of_a_binary_target_is_cross_entropy(make_spec: MakeSpec, five: Batch):
    head = Mlp(hidden=7)
    net = built(head, make_spec(target_kind="binary", low=0.0, high=1.0, mean=0.4, sd=0.5), 0).double()
    truth = np.array([1.0, 0, 0, 1, 1])
    p = 1 / (1 + np.exp(-forward(net, five)))
    loss = head.loss(net, five._replace(score=torch.from_numpy(truth)), NOISE, STEP)
    assert loss.item() == pytest.approx(-(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean(), abs=1e-12)
    assert np.allclose(head.judge(net, five)["score"].detach(), p)


def test_it_begins_at_the_mean_of_train(make_spec: MakeSpec):
    net = built(Mlp(hidden=7), make_spec(mean=60.0, sd=15.0), 0)
    assert net.get_parameter("score.bias").item() == pytest.approx(4)


def test_it_learns_32_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32)
    head = Mlp(hidden=64, lr=3e-3, epochs=200, select="last")
    (fitted,) = head.fit(train, seeds=[0])
    assert np.abs(fitted.predict(train).score - train.score).max() < 0.1 * np.ptp(train.score)
    assert fitted.info["parameters"] == 12 * 64 + 64 + 64 + 1


def test_it_learns_32_binary_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32)
    truth = (train.score > np.median(train.score)).astype(np.float64)
    train = replace(train, score=truth, target_kind="binary", range=(0.0, 1.0), times_difficulty=False)
    (fitted,) = fit(Mlp(hidden=64, lr=3e-3, epochs=100), train, seeds=[0])
    score = fitted.predict(train).score
    assert ((score > 0.5) == (truth == 1)).all()
    assert ((score >= 0) & (score <= 1)).all()


def test_maps_are_flattened_channels_first(make_spec: MakeSpec, five: Batch):
    head = Mlp(hidden=7)
    net = built(head, make_spec(streams={"x": (3, 1, 2)}), 0).double()
    maps = five._replace(streams={"x": five.streams["x"].unflatten(2, (3, 1, 2))})
    assert torch.equal(head.judge(net, maps)["score"], head.judge(net, five)["score"])


@pytest.mark.parametrize("settings", [{"hidden": "0"}, {"epochs": "0"}, {"lr": "0"}, {"optimiser": "lbfgs"}])
def test_parameters_that_do_not_fit_are_refused(settings: dict[str, str]):
    with pytest.raises(BadParameter):
        make_head("mlp", settings)
