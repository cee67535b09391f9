"""`attention`: size, network and loss by hand, padding, companions, and what it can learn that a mean cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aqa.errors import BadParameter
from aqa.heads import FeatureSet, Ragged, make_head
from aqa.heads.attention import Attention, AttentionNet
from aqa.heads.batches import Batch
from aqa.heads.noise import Live
from aqa.heads.torch_head import Spec, Step, built
from aqa.heads.training import fit

STEP, NOISE = Step(0, 0), Live(torch.Generator())
MakeSpec = Callable[..., Spec]
BINARY = {"target_kind": "binary", "low": 0.0, "high": 1.0, "mean": 0.4, "sd": 0.5}


def net_of(make_spec: MakeSpec, **other: Any) -> AttentionNet:
    return built(Attention(hidden=7), make_spec(**other), 0).double()  # pyright: ignore[reportReturnType]


def forward(net: nn.Module, batch: Batch) -> np.ndarray:
    """The network by hand, clip by clip: [B]."""
    w = {name: value.detach().numpy() for name, value in net.named_parameters()}
    said = []
    for clips, there in zip(batch.streams["x"].numpy(), batch.masks["x"].numpy(), strict=True):
        hidden, weights = [], []
        for clip in clips[there]:
            h = np.maximum(w["project.weight"] @ clip + w["project.bias"], 0)
            hidden.append(h)
            weights.append(np.exp(w["weigh.2.weight"][0] @ np.tanh(w["weigh.0.weight"] @ h + w["weigh.0.bias"])))
        mean = sum(a * h for a, h in zip(weights, hidden, strict=True)) / sum(weights)
        inner = np.maximum(w["regress.0.weight"] @ mean + w["regress.0.bias"], 0)
        said.append(float((w["regress.2.weight"] @ inner + w["regress.2.bias"])[0]))
    return np.array(said)


@pytest.mark.parametrize("clips", [1, 300])
def test_it_has_the_same_number_of_parameters_for_any_length(make_spec: MakeSpec, clips: int):
    net = built(Attention(), make_spec(1024, clips=clips), 0)
    by_hand = (1024 + 1) * 256 + (256 + 1) * 128 + 128 + (256 + 1) * 128 + 128 + 1
    assert sum(p.numel() for p in net.parameters()) == 328_449 == by_hand


@pytest.mark.parametrize("times_difficulty", [False, True])
def test_the_loss_is_the_squared_error_of_the_score_over_sd(make_spec: MakeSpec, five: Batch, times_difficulty: bool):
    net = net_of(make_spec, times_difficulty=times_difficulty)
    points = (60 + 15 * forward(net, five)) * (five.difficulty.numpy() if times_difficulty else 1)
    loss = Attention().loss(net, five, NOISE, STEP)
    assert loss.item() == pytest.approx((((points - five.score.numpy()) / 15) ** 2).mean(), abs=1e-12)
    assert np.allclose(Attention().judge(net, five)["score"].detach(), points, atol=1e-10)


def test_the_loss_of_a_binary_target_is_cross_entropy(make_spec: MakeSpec, five: Batch):
    net, truth = net_of(make_spec, **BINARY), np.array([1.0, 0, 0, 1, 1])
    p = 1 / (1 + np.exp(-forward(net, five)))
    loss = Attention().loss(net, five._replace(score=torch.from_numpy(truth)), NOISE, STEP)
    assert loss.item() == pytest.approx(-(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean(), abs=1e-12)
    assert np.allclose(Attention().judge(net, five)["score"].detach(), p)


def test_padding_and_companions_change_neither_loss_nor_gradient_nor_judgement(make_spec: MakeSpec, five: Batch):
    head, results = Attention(), []
    for extra in (0, 9):
        net = net_of(make_spec)
        more = five._replace(
            streams={"x": nn.functional.pad(five.streams["x"], (0, 0, 0, extra), value=55.0)},
            masks={"x": nn.functional.pad(five.masks["x"], (0, extra))},
        )
        loss = head.loss(net, more, NOISE, STEP)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        results.append((loss.detach(), gradient, head.judge(net, more)["score"].detach()))
    for short, long in zip(*results, strict=True):
        assert torch.allclose(short, long, atol=1e-12)
    alone = five._replace(**{f: _first(getattr(five, f)) for f in Batch._fields[:6]})
    assert torch.allclose(head.judge(net_of(make_spec), alone)["score"], results[0][2][:1], atol=1e-12)


def _first(value: Any) -> Any:
    return {"x": value["x"][:1]} if isinstance(value, dict) else value[:1]


def test_difficulties_are_used_where_scores_are_made_of_them(dives: Callable[..., FeatureSet]):
    train = dives(12)
    assert Attention().models_mark(train)
    assert not Attention(use_difficulty=False).models_mark(train)
    assert not Attention().models_mark(replace(train, times_difficulty=False))
    assert not Attention().models_mark(replace(train, difficulty=np.zeros(12)))


def one_telling_clip(count: int, seed: int) -> FeatureSet:
    """Of 12 clips one, anywhere, is marked in the first feature and tells the score in the second; the others' second
    feature is as large and tells nothing."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(count, 12, 4)).astype(np.float32)
    values[:, :, 0] = 0
    where = draw.integers(0, 12, count)
    values[np.arange(count), where, 0] = 3
    ids, offsets = tuple(f"{seed}-{i}" for i in range(count)), 12 * np.arange(count + 1)
    score = 50 + 10 * values[np.arange(count), where, 1].astype(np.float64)
    return FeatureSet(ids, {"x": Ragged(values.reshape(-1, 4), offsets)}, score, (0.0, 100.0))


def test_it_finds_the_clip_that_tells_the_score_which_a_mean_does_not():
    train, test = one_telling_clip(200, 0), one_telling_clip(100, 1)
    rho = {}
    for name in ("attention", "dae"):
        (fitted,) = make_head(name, {"lr": "3e-3", "epochs": "40"}).fit(train, None, seeds=[0], device="cpu")
        rho[name] = np.corrcoef(fitted.predict(test).score, test.score)[0, 1]
    assert rho["attention"] > 0.95
    assert rho["dae"] < 0.6


def test_it_learns_32_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32)
    (fitted,) = Attention(hidden=64, lr=3e-3, epochs=150).fit(train, seeds=[0])
    assert np.abs(fitted.predict(train).score - train.score).max() < 0.1 * np.ptp(train.score)


def test_it_learns_32_binary_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32)
    truth = (train.score > np.median(train.score)).astype(np.float64)
    train = replace(train, score=truth, target_kind="binary", range=(0.0, 1.0), times_difficulty=False)
    (fitted,) = fit(Attention(hidden=64, lr=3e-3, epochs=100), train, seeds=[0])
    score = fitted.predict(train).score
    assert ((score > 0.5) == (truth == 1)).all()
    assert ((score >= 0) & (score <= 1)).all()


def test_maps_are_flattened(make_spec: MakeSpec, five: Batch):
    net = net_of(make_spec, streams={"x": (3, 1, 2)})
    maps = five._replace(streams={"x": five.streams["x"].unflatten(2, (3, 1, 2))})
    assert torch.equal(Attention().judge(net, maps)["score"], Attention().judge(net, five)["score"])


@pytest.mark.parametrize("settings", [{"hidden": "0"}, {"epochs": "0"}, {"use_difficulty": "maybe"}])
def test_parameters_that_do_not_fit_are_refused(settings: dict[str, str]):
    with pytest.raises(BadParameter):
        make_head("attention", settings)
