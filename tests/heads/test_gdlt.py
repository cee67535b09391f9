"""`gdlt`: size, the published network on samples without padding, padding, the triplet loss by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aqa.errors import BadParameter
from aqa.heads import FeatureSet, make_head
from aqa.heads.batches import Batch
from aqa.heads.gdlt import Gdlt, GdltNet
from aqa.heads.grades import grade_triplets
from aqa.heads.noise import Live
from aqa.heads.torch_head import Spec, Step, built, spec_of

STEP = Step(0, 0)
MakeSpec = Callable[..., Spec]
Triplets = Callable[..., float]


def net_of(make_spec: MakeSpec, head: Gdlt | None = None, **other: Any) -> GdltNet:
    return built(head or Gdlt(), make_spec(**other), 0).double()  # pyright: ignore[reportReturnType]


def noise() -> Live:
    return Live(torch.Generator().manual_seed(0), torch.float64)


def published(net: GdltNet) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """The same network out of torch's layers, with the same weights: clips [B, T, D] -> score [B], grades [B, 4, d]."""
    encoder = nn.TransformerEncoderLayer(256, 1, 768, 0.0, batch_first=True)
    decoders = [nn.TransformerDecoderLayer(256, 1, 768, 0.0, batch_first=True) for _ in range(2)]
    norms = [nn.BatchNorm1d(512), nn.BatchNorm1d(256)]
    names = {
        "self_attn.in_proj_": "attention.inputs.",
        "self_attn.out_proj.": "attention.output.",
        "multihead_attn.in_proj_": "cross.inputs.",
        "multihead_attn.out_proj.": "cross.output.",
        "linear1.": "inner.",
        "linear2.": "outer.",
        "norm1.": "norms.0.",
        "norm2.": "norms.1.",
        "norm3.": "norms.2.",
    }
    for theirs, ours in zip([encoder, *decoders], [net.encoder, *net.decoder], strict=True):
        state = {}
        for name in theirs.state_dict():
            prefix = next(one for one in names if name.startswith(one))
            state[name] = ours.get_parameter(names[prefix] + name.removeprefix(prefix))
        theirs.load_state_dict(state)
    modules = nn.ModuleList([encoder, *decoders, *norms]).double().train(net.training)

    def forward(clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert len(modules) == 5
        x = norms[0](net.inputs[0](clips).transpose(1, 2)).relu().transpose(1, 2)
        x = norms[1](net.inputs[1](x).transpose(1, 2)).transpose(1, 2)
        memory, q = net.ends[0](encoder(x)), net.grades.expand(len(x), -1, -1)
        for layer in decoders:
            q = layer(q, memory)
        q = net.ends[1](q)
        s = torch.sigmoid(torch.diagonal(net.asked(q), dim1=1, dim2=2))
        a = s / s.sum(dim=1, keepdim=True)
        return a @ net.weights, q

    return forward


@pytest.mark.parametrize("clips", [1, 68])
def test_it_has_the_published_number_of_parameters_for_any_length(make_spec: MakeSpec, clips: int):
    net = built(Gdlt(), make_spec(1024, clips=clips), 0)
    assert sum(p.numel() for p in net.parameters()) == 3_163_396


@pytest.mark.parametrize("training", [True, False])
def test_it_is_the_published_network_where_nothing_is_padded(make_spec: MakeSpec, training: bool):
    net = net_of(make_spec).train(training)
    clips = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    score, grades = net(clips, torch.ones(5, 4, dtype=torch.bool))
    wanted_score, wanted_grades = published(net)(clips)
    assert torch.allclose(score, wanted_score, atol=1e-10)
    assert torch.allclose(grades, wanted_grades, atol=1e-10)


def test_the_triplet_loss_takes_the_hardest_of_each_anchor(triplets: Triplets):
    grades = torch.randn(5, 4, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for margin, distinct in ((1.0, False), (0.2, False), (1.0, True), (0.2, True)):
        loss = grade_triplets(grades, margin, distinct=distinct).item()
        assert loss == pytest.approx(triplets(grades.numpy(), margin, distinct), abs=1e-12)
    same = torch.eye(4, dtype=torch.float64).expand(3, 4, 4)
    assert grade_triplets(same, 1.0).item() == pytest.approx(0)
    assert grade_triplets(grades[:1], 1.0).item() == 0
    alone = triplets(grades[:1].numpy(), 1.0, distinct=True)
    assert grade_triplets(grades[:1], 1.0, distinct=True).item() == pytest.approx(alone, abs=1e-12)


@pytest.mark.parametrize("times_difficulty", [False, True])
def test_the_loss_is_squared_error_of_the_score_and_triplets(
    make_spec: MakeSpec, five: Batch, triplets: Triplets, times_difficulty: bool
):
    head = Gdlt(triplet=0.7)
    net = net_of(make_spec, head, times_difficulty=times_difficulty)
    whole = five._replace(masks={"x": torch.ones(5, 4, dtype=torch.bool)})
    mark, grades = published(net.train())(whole.streams["x"])
    said = (mark * five.difficulty if times_difficulty else mark).detach().numpy()
    wanted = ((said - five.score.numpy()) ** 2).mean() + 0.7 * triplets(grades.detach().numpy(), 1.0)
    assert head.loss(net, whole, noise(), STEP).item() == pytest.approx(wanted, abs=1e-9)


def test_theta_and_divisor_make_the_original_of_scores_over_25_and_grades_from_0_to_1(
    make_spec: MakeSpec, five: Batch, dives: Callable[..., FeatureSet], triplets: Triplets
):
    head = Gdlt(theta=25.0, divisor=25.0, use_difficulty=False)
    spec = spec_of(head, dives(12))
    assert (spec.low, spec.high) == (0, 25)
    net = net_of(make_spec, head, low=spec.low, high=spec.high)
    assert (net.weights / 25).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    whole = five._replace(masks={"x": torch.ones(5, 4, dtype=torch.bool)})
    net.weights /= 25
    share, grades = published(net.train())(whole.streams["x"])
    net.weights *= 25
    wanted = (share - five.score / 25).square().mean().item() + triplets(grades.detach().numpy(), 1.0)
    assert head.loss(net, whole, noise(), STEP).item() == pytest.approx(wanted, abs=1e-9)


def test_padding_changes_neither_loss_nor_gradient_nor_judgement(make_spec: MakeSpec, five: Batch):
    head, results = Gdlt(), []
    for extra in (0, 9):
        net = net_of(make_spec)
        more = five._replace(
            streams={"x": nn.functional.pad(five.streams["x"], (0, 0, 0, extra), value=55.0)},
            masks={"x": nn.functional.pad(five.masks["x"], (0, extra))},
        )
        loss = head.loss(net.train(), more, noise(), STEP)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        statistics = torch.cat([b.flatten() for b in net.buffers()])
        results.append((loss.detach(), gradient, statistics, head.judge(net.eval(), more)["score"].detach()))
    for short, long in zip(*results, strict=True):
        assert torch.allclose(short, long, atol=1e-9)


def test_a_score_stays_inside_the_range_of_the_grades(make_spec: MakeSpec, five: Batch):
    net = net_of(make_spec, low=10.0, high=40.0).eval()
    assert net.weights.tolist() == pytest.approx([10, 20, 30, 40])
    wild = five._replace(streams={"x": 1e4 * five.streams["x"]})
    score = Gdlt().judge(net, wild)["score"]
    assert (score >= 10).all()
    assert (score <= 40).all()


def test_dropout_and_crops_are_noise_of_training_alone(make_spec: MakeSpec, five: Batch):
    head = Gdlt(dropout=0.3, crop=2)
    net = net_of(make_spec, head)
    losses = {
        seed: head.loss(net, five, Live(torch.Generator().manual_seed(seed), torch.float64), STEP) for seed in (1, 2)
    }
    assert losses[1] != losses[2]
    assert torch.equal(head.judge(net.eval(), five)["score"], Gdlt().judge(net, five)["score"])
    asked = Live(torch.Generator(), torch.float64)
    head.loss(net.train(), five, asked, STEP)
    assert asked.asked[0] == ("uniform", (5,))
    assert ("uniform", (5, 1, 4, 2)) in asked.asked  # attention of 4 grades over 2 clips


def test_it_learns_32_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32)
    (fitted,) = Gdlt(epochs=25, lr=3e-4, batch=8).fit(train, seeds=[0])
    assert np.corrcoef(fitted.predict(train).score, train.score)[0, 1] > 0.98


@pytest.mark.parametrize("settings", [{"heads": "3"}, {"dropout": "1"}, {"crop": "0"}, {"theta": "-3"}])
def test_parameters_that_do_not_fit_are_refused(settings: dict[str, str]):
    with pytest.raises(BadParameter):
        make_head("gdlt", settings)
