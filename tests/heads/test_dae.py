"""`dae` and `dae-mt`: size, likelihood on five samples, what sigma means, and data without difficulty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from aqa.errors import UnmetNeeds
from aqa.heads import FeatureSet, Ragged, make_head
from aqa.heads.batches import Batch
from aqa.heads.dae import Dae, DaeMt
from aqa.heads.noise import Live, Replay
from aqa.heads.torch_head import Spec, Step, built

STEP = Step(0, 0)
MakeSpec = Callable[..., Spec]


def forward(net: torch.nn.Module, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """mu [B] and log variance [B] by hand."""
    w = {name: value.detach().numpy() for name, value in net.named_parameters()}
    mus, logvars = [], []
    for clips, there in zip(batch.streams["x"].numpy(), batch.masks["x"].numpy(), strict=True):
        h = np.maximum(w["encoder.0.weight"] @ clips[there].mean(axis=0) + w["encoder.0.bias"], 0)
        h = np.maximum(w["encoder.2.weight"] @ h + w["encoder.2.bias"], 0)
        mus.append((w["mu.weight"] @ h + w["mu.bias"])[0])
        raw = (w["logvar.weight"] @ h + w["logvar.bias"])[0]
        logvars.append(-6 + np.log1p(np.exp(raw + 6)))
    return np.array(mus), np.array(logvars)


def test_it_has_the_published_number_of_parameters(make_spec: MakeSpec):
    net = built(Dae(), make_spec(1024), 0)
    assert sum(p.numel() for p in net.parameters()) == 295_554


@pytest.mark.parametrize(
    ("alpha", "beta", "sampling", "temper"), [(0.5, 0.5, 0.0, 0.0), (0.5, 0.5, 0.0, 0.5), (0.6, 0.4, 0.3, 0.0)]
)
def test_the_loss_is_the_gaussian_likelihood(
    make_spec: MakeSpec, five: Batch, alpha: float, beta: float, sampling: float, temper: float
):
    head = Dae(alpha=alpha, beta=beta, sampling=sampling, temper=temper)
    net = built(head, make_spec(), 0).double()
    eps = torch.tensor([0.3, -1.2, 0.0, 2.0, -0.5], dtype=torch.float64)
    mu, logvar = forward(net, five)
    sigma, g = np.exp(logvar / 2), (five.score.numpy() - 60) / 15
    each = (alpha * (g - mu) ** 2 / sigma**2 + beta * np.log(sigma**2)) * sigma ** (2 * temper)
    each = each + sampling * (mu + sigma * eps.numpy() - g) ** 2
    assert head.loss(net, five, Replay([eps]), STEP).item() == pytest.approx(each.mean(), abs=1e-12)
    said = head.judge(net, five)
    assert np.allclose(said["score"].detach(), 60 + 15 * mu)
    assert np.allclose(said["spread"].detach(), 15 * sigma)


def test_the_loss_of_the_mark_is_the_likelihood_of_the_final_score(make_spec: MakeSpec, five: Batch):
    head = DaeMt(temper=0.0)
    net = built(head, make_spec(times_difficulty=True, mean=20.0, sd=4.0), 0).double()
    mu, logvar = forward(net, five)
    d, truth = five.difficulty.numpy(), five.score.numpy()
    final, sigma = (20 + 4 * mu) * d, 4 * np.exp(logvar / 2) * d
    wanted = (0.5 * ((truth - final) / sigma) ** 2 + 0.5 * np.log(sigma**2)).mean()
    constant = 0.5 * np.log((4 * d) ** 2).mean()  # of the difficulties and the unit alone
    loss = head.loss(net, five, Live(torch.Generator()), STEP)
    assert loss.item() == pytest.approx(wanted - constant, abs=1e-12)
    said = head.judge(net, five)
    assert np.allclose(said["score"].detach(), final)
    assert np.allclose(said["spread"].detach(), sigma)


@pytest.mark.parametrize("times_difficulty", [False, True])
@pytest.mark.parametrize(
    ("kind", "epoch", "of_z", "of_mu"),
    [("released", 3, 1, 1), ("mse", 0, 1, 0), ("v1", 0, 0.6, 0.4), ("v1", 9, 1, 0), ("v1", 20, 0.6, 0.4)],
)
def test_the_published_losses_are_squared_errors_of_a_sample_and_of_mu(
    make_spec: MakeSpec, five: Batch, times_difficulty: bool, kind: Any, epoch: int, of_z: float, of_mu: float
):
    head = (DaeMt if times_difficulty else Dae)(loss_kind=kind)
    net = built(head, make_spec(times_difficulty=times_difficulty), 0).double()
    eps = torch.tensor([0.3, -1.2, 0.0, 2.0, -0.5], dtype=torch.float64)
    mu, logvar = forward(net, five)
    d = five.difficulty.numpy() if times_difficulty else np.ones(5)
    g = (five.score.numpy() / d - 60) / 15
    z = mu + np.exp(logvar / 2) * eps.numpy()
    wanted = (of_z * (d * (z - g)) ** 2 + of_mu * (d * (mu - g)) ** 2).mean()
    assert head.loss(net, five, Replay([eps]), Step(epoch, 0)).item() == pytest.approx(wanted, abs=1e-12)


def test_sigma_becomes_the_error_of_unlike_samples():
    draw = np.random.default_rng(0)
    sure = draw.random(600) < 0.5
    noise = np.where(sure, 1.0, 8.0) * draw.normal(size=600)
    values = np.stack([sure, draw.normal(size=600)], axis=1).astype(np.float32)
    data = FeatureSet(
        ids=tuple(map(str, range(600))),
        streams={"x": Ragged(values, np.arange(601))},
        score=50 + noise,
        range=(0, 100),
    )
    (fitted,) = Dae(lr=1e-3, epochs=15, batch=32).fit(data.take(range(500)), seeds=[0])
    test = data.take(range(500, 600))
    spread = fitted.predict(test).spread
    assert spread is not None
    assert spread[sure[500:]].mean() == pytest.approx(1.0, rel=0.35)
    assert spread[~sure[500:]].mean() == pytest.approx(8.0, rel=0.35)


@pytest.mark.parametrize("name", ["dae", "dae-mt"])
def test_it_learns_32_samples_by_heart(name: str, dives: Callable[..., FeatureSet]):
    train = dives(32)
    (fitted,) = make_head(name, {"lr": "1e-3", "epochs": "120"}).fit(train, None, seeds=[0], device="cpu")
    judged = fitted.predict(train)
    assert np.abs(judged.score - train.score).max() < 0.1 * np.ptp(train.score)
    assert judged.spread is not None
    assert judged.spread.max() < train.score.std() / 2


def test_spread_grows_with_the_difficulty(dives: Callable[..., FeatureSet]):
    (fitted,) = DaeMt(epochs=2).fit(dives(20), seeds=[0])
    test = dives(5, 1)
    once, twice = fitted.predict(test), fitted.predict(replace(test, difficulty=2 * test.difficulty))
    assert np.allclose(twice.score, 2 * once.score)
    assert once.spread is not None
    assert np.allclose(twice.spread, 2 * once.spread)


def test_data_without_difficulty_is_refused(dives: Callable[..., FeatureSet]):
    train = dives(20)
    head = DaeMt(epochs=1)
    without = replace(train, difficulty=np.where(np.arange(20) == 3, np.nan, train.difficulty))
    with pytest.raises(UnmetNeeds, match=r"difficulty is unknown for 1 of 20 samples: dive-0-3"):
        head.fit(without, seeds=[0])
    with pytest.raises(UnmetNeeds, match="a mark times the difficulty, and these are not"):
        head.fit(replace(train, times_difficulty=False), seeds=[0])
    with pytest.raises(UnmetNeeds, match="unknown for 1 of 20 samples: dive-0-2"):
        head.fit(replace(train, difficulty=np.where(np.arange(20) == 2, 0.0, train.difficulty)), seeds=[0])
    (fitted,) = head.fit(train, seeds=[0])
    with pytest.raises(UnmetNeeds, match="1 of 20 samples: dive-0-3"):
        fitted.predict(without)


def test_dae_judges_without_difficulty(dives: Callable[..., FeatureSet]):
    (fitted,) = Dae(epochs=1).fit(dives(20), seeds=[0])
    bare = replace(dives(5, 1), difficulty=np.zeros(0))
    assert np.isfinite(fitted.predict(bare).score).all()


def test_an_error_that_is_large_where_sigma_was_small_widens_it_again(make_spec: MakeSpec, five: Batch):
    net = built(Dae(), make_spec(), 0).double()
    torch.nn.init.constant_(net.get_parameter("logvar.bias"), -9.0)
    Dae(temper=0.0).loss(net, five, Live(torch.Generator()), STEP).backward()
    gradient = net.get_parameter("logvar.bias").grad
    assert gradient is not None
    assert gradient.item() < -1
