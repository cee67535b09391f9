"""`hgcn`: size, network and loss by hand, what the masks hide, padding, crops, no sampling when judging."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aqa.errors import BadParameter, UnmetNeeds
from aqa.heads import FeatureSet, make_head
from aqa.heads.batches import Batch
from aqa.heads.hgcn import Hgcn, HgcnNet
from aqa.heads.noise import Live, Replay
from aqa.heads.torch_head import Spec, Step, built

STEP = Step(0, 0)
MakeSpec = Callable[..., Spec]
Array = np.ndarray


def net_of(make_spec: MakeSpec, head: Hgcn | None = None, **other: Any) -> HgcnNet:
    """With what starts as ones and identities moved from there, so that it hides nothing."""
    net: Any = built(head or Hgcn(), make_spec(**other), 0).double()
    draw = torch.Generator().manual_seed(1)
    graphs = (net.context, net.belonging, net.order)
    with torch.no_grad():
        for value in (net.share, net.amount, *(v for graph in graphs for v in (graph.alpha, graph.prior))):
            value.add_(0.2 * torch.randn(value.shape, generator=draw, dtype=value.dtype))
    return net


def softmax(rows: Array) -> Array:
    powers = [np.exp(row - row.max()) for row in rows]
    return np.array([row / row.sum() for row in powers])


def by_hand(net: HgcnNet, x: Array, groups: int, mask: str) -> tuple[Array, Array]:
    """mu, log variance [7] of one sample x [D, T] without padding, as the specification writes it."""
    weights = {name: value.detach().numpy() for name, value in net.named_parameters()}
    steps = x.shape[1]

    def conv(name: str, nodes: Array, groups: int = groups) -> Array:
        if f"{name}.weight" in weights:
            return weights[f"{name}.weight"] @ nodes + weights[f"{name}.bias"][:, None]
        out = []
        for g, part in enumerate(np.split(nodes, groups)):
            made = weights[f"{name}.copies.weight"][g].T @ part
            bias = weights.get(f"{name}.copies.bias")
            out.append(made if bias is None else made + bias[g].T)
        return np.concatenate(out)

    def att(name: str, nodes: Array, width: int, groups: int = groups) -> Array:
        q, k = conv(f"{name}.query", nodes, groups), conv(f"{name}.key", nodes, groups)
        n = nodes.shape[1]
        assert q.shape == (width, n)
        return weights[f"{name}.alpha"] * q.T @ k / np.sqrt(width) + weights[f"{name}.prior"][:n, :n]

    def band(k: int) -> Array:
        return np.array([[float(abs(i - j) < k) for j in range(steps)] for i in range(steps)])

    u = np.maximum(conv("compared", x), 0)
    a = np.zeros((steps, steps))
    for n in range(steps):
        for m in range(steps):
            a[n, m] = np.tanh(u[:, n] - u[:, m]).mean() + (n == m)
    shot = np.maximum(conv("shot", x @ (a * band(2))), 0)
    lifted = np.maximum(conv("lifted", shot @ softmax(band(3) + att("context", shot, 128))), 0)
    a2 = softmax(band(3) + att("belonging", shot, 128, 1))
    share = weights["share"][:, :steps] + weights["amount"] * np.maximum(conv("assigned", shot @ a2), 0)
    scene = np.zeros((256, 7))
    for m in range(7):
        for t in range(steps):
            scene[:, m] += lifted[:, t] * share[m, t]
    looks = att("order", scene, 64)
    for i in range(7):
        for j in range(i + 1, 7):
            looks[i, j] = 0 if mask == "released" else -np.inf
    v = np.maximum(conv("value", scene @ softmax(looks)), 0)
    return conv("mu", v)[0], conv("logvar", v)[0]


def all_by_hand(net: HgcnNet, batch: Batch, groups: int = 1, mask: str = "released") -> tuple[Array, Array]:
    """[B, 7] each."""
    pairs = zip(batch.streams["x"].numpy(), batch.masks["x"].numpy(), strict=True)
    mu, logvar = zip(*(by_hand(net, clips[there].T, groups, mask) for clips, there in pairs), strict=True)
    return np.array(mu), np.array(logvar)


def first(batch: Batch, count: int) -> Batch:
    """The first `count` samples."""
    parts = [getattr(batch, field) for field in Batch._fields[:6]]
    return Batch(*[{"x": part["x"][:count]} if isinstance(part, dict) else part[:count] for part in parts])


@pytest.mark.parametrize(("groups", "parameters"), [(8, 275_660), (1, 1_250_508)])
def test_it_has_the_published_number_of_parameters(make_spec: MakeSpec, groups: int, parameters: int):
    net = built(Hgcn(groups=groups), make_spec(1024, clips=10), 0)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("mask", ["released", "inf"])
@pytest.mark.parametrize("groups", [1, 2])
def test_it_is_the_published_network_on_the_clips_that_are_there(
    make_spec: MakeSpec, five: Batch, groups: int, mask: Any
):
    three = first(five, 3)  # of 4, 2 and 1 clips
    net = net_of(make_spec, Hgcn(groups=groups, mask=mask))
    mu, logvar = net(three.streams["x"], three.masks["x"])
    wanted_mu, wanted_logvar = all_by_hand(net, three, groups, mask)
    assert np.allclose(mu.detach(), wanted_mu, rtol=1e-10)
    assert np.allclose(logvar.detach(), wanted_logvar, rtol=1e-10)


def test_weights_start_as_published(make_spec: MakeSpec):
    net: Any = built(Hgcn(), make_spec(), 0)
    for graph, nodes in ((net.context, 4), (net.belonging, 4), (net.order, 7)):
        assert torch.equal(graph.prior, torch.eye(nodes))
        assert graph.alpha == 1
    assert torch.equal(net.share, torch.ones(7, 4))
    assert net.amount == 1


@pytest.mark.parametrize("divisor", [None, 30.0])
@pytest.mark.parametrize("times_difficulty", [False, True])
def test_loss_and_judgement_by_hand(make_spec: MakeSpec, five: Batch, times_difficulty: bool, divisor: float | None):
    head = Hgcn(divisor=divisor)
    net = net_of(make_spec, head, times_difficulty=times_difficulty)
    mu, logvar = all_by_hand(net, five)
    eps = torch.randn(5, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    difficulty = five.difficulty.numpy() if times_difficulty else 1.0
    origin, unit = (60.0, 15.0) if divisor is None else (0.0, 30.0)
    z = mu + np.exp(logvar / 2) * eps.numpy()
    error = difficulty * (origin + unit * 7 * z.mean(axis=1)) - five.score.numpy()
    assert head.loss(net, five, Replay([eps]), STEP).item() == pytest.approx(((error / unit) ** 2).mean(), rel=1e-10)
    judged = head.judge(net, five)
    assert np.allclose(judged["score"].detach(), difficulty * (origin + unit * mu.sum(axis=1)), rtol=1e-10)
    sd = difficulty * unit * np.sqrt(np.exp(logvar).sum(axis=1))
    assert np.allclose(judged["spread"].detach(), sd, rtol=1e-10)


def test_noise_is_of_training_alone(make_spec: MakeSpec, five: Batch):
    head = Hgcn()
    net = net_of(make_spec)
    losses = {head.loss(net, five, Live(torch.Generator().manual_seed(s), torch.float64), STEP).item() for s in (1, 2)}
    assert len(losses) == 2
    torch.manual_seed(0)
    judged = [head.judge(one, five)["score"] for one in (net.train(), net.eval(), net)]
    assert torch.equal(judged[0], judged[1])
    assert torch.equal(judged[1], judged[2])


def test_what_a_scene_must_not_look_at(make_spec: MakeSpec):
    scenes = torch.randn(2, 7, 256, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    later = torch.ones(7, 7).triu(1).bool()
    nets = {mask: net_of(make_spec, Hgcn(mask=mask)) for mask in ("released", "inf")}
    looks = {mask: net.sequence(scenes) for mask, net in nets.items()}
    for one in looks.values():
        assert torch.allclose(one.sum(dim=2), torch.ones(2, 7, dtype=torch.float64))
    assert (looks["released"][:, later] > 0).all()  # all alike: exp(0) over the row's sum
    assert torch.allclose(looks["released"][:, 0, 1:], looks["released"][:, 0, 1:2].expand(-1, 6))
    assert (looks["inf"][:, later] == 0).all()
    assert torch.equal(looks["inf"][:, 0, 0], torch.ones(2, dtype=torch.float64))
    visible = looks["released"].masked_fill(later, 0)
    assert torch.allclose(looks["inf"], visible / visible.sum(dim=2, keepdim=True))
    assert torch.equal(looks["released"][:, 6], looks["inf"][:, 6])  # the last one looks at all


def test_padding_changes_neither_loss_nor_gradient_nor_judgement(make_spec: MakeSpec, five: Batch):
    head, results = Hgcn(), []
    eps = torch.randn(5, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    for extra in (0, 9):
        net = net_of(make_spec)
        more = five._replace(
            streams={"x": nn.functional.pad(five.streams["x"], (0, 0, 0, extra), value=55.0)},
            masks={"x": nn.functional.pad(five.masks["x"], (0, extra))},
        )
        draws = [torch.rand(5, dtype=torch.float64), eps] if extra else [eps]  # a start is asked for, and is 0
        loss = head.loss(net, more, Replay(draws), STEP)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        judged = head.judge(net, more)
        results.append((loss.detach(), gradient, judged["score"].detach(), judged["spread"].detach()))
    for short, long in zip(*results, strict=True):
        assert torch.allclose(short, long, rtol=1e-10, atol=1e-10)


def test_companions_change_no_judgement(make_spec: MakeSpec, five: Batch):
    head, net = Hgcn(), net_of(make_spec)
    together = head.judge(net, five)
    wild = five._replace(streams={"x": torch.cat([five.streams["x"][:1], 100 * five.streams["x"][1:]])})
    for batch in (first(five, 1), wild):
        for name, value in head.judge(net, batch).items():
            assert torch.allclose(value[:1], together[name][:1], rtol=1e-12)


def test_long_samples_are_cropped_at_random_in_training_and_in_the_middle_when_judged(make_spec: MakeSpec):
    draw = torch.Generator().manual_seed(6)
    clips = torch.randn(2, 9, 6, generator=draw, dtype=torch.float64)
    mask = torch.arange(9) < torch.tensor([9, 6])[:, None]
    net = net_of(make_spec, Hgcn(crop=3), clips=9)
    assert net.context.prior.shape == (3, 3)
    whole = torch.ones(2, 3, dtype=torch.bool)
    middle = torch.stack([clips[0, 3:6], clips[1, 1:4]])
    assert torch.equal(net(clips, mask)[0], net(middle, whole)[0])
    start = Replay([torch.tensor([0.99, 0.0], dtype=torch.float64)])
    ends = torch.stack([clips[0, 6:9], clips[1, 0:3]])
    assert torch.equal(net(clips, mask, start)[0], net(ends, whole)[0])


def test_it_learns_32_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32)
    (fitted,) = Hgcn(groups=4, lr=2e-3, batch=32).fit(train, seeds=[0])
    judged = fitted.predict(train)
    assert np.abs(judged.score - train.score).max() < 0.1 * np.ptp(train.score)
    assert judged.spread is not None
    assert (judged.spread > 0).all()


@pytest.mark.parametrize("settings", [{"groups": "3"}, {"mask": "zeros"}, {"crop": "0"}, {"divisor": "-1"}])
def test_parameters_that_do_not_fit_are_refused(settings: dict[str, str]):
    with pytest.raises(BadParameter):
        make_head("hgcn", settings)


def test_features_that_cannot_be_divided_are_refused(dives: Callable[..., FeatureSet]):
    with pytest.raises(UnmetNeeds, match="12 numbers into 8 groups"):
        make_head("hgcn", {"groups": "8"}).fit(dives(8), None, seeds=[0], device="cpu")
