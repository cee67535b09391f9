"""`dae-musdl` and `dae-core`: size, the loss on five samples by hand, what their spread is made of, learning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from aqa.heads import FeatureSet, make_head
from aqa.heads.batches import Batch, Exemplars
from aqa.heads.core import Core, CoreNet
from aqa.heads.dae_plugged import DaeCore, DaeMusdl
from aqa.heads.noise import Live, Replay
from aqa.heads.torch_head import Spec, Step, built

STEP, NOISE = Step(0, 0), Live(torch.Generator())
MakeSpec = Callable[..., Spec]
BOUNDS = [0, 1, 2, 4, 6, 9, 12, 15, 30]
JUDGES = {"mean": 6.5, "sd": 1.25}
LEAVES = {"mean": 20.0, "sd": 4.0, "low": 0.0, "high": 30.0, "constants": {"boundaries": BOUNDS}}


def bounded(raw: np.ndarray) -> np.ndarray:
    return -6 + np.log1p(np.exp(raw + 6))


def test_sizes(make_spec: MakeSpec):
    panel = built(DaeMusdl(), make_spec(1024, judges=7, constants=JUDGES), 0)
    assert sum(p.numel() for p in panel.parameters()) == 7 * 295_554
    tree = built(DaeCore(), make_spec(1024, **LEAVES), 0)
    assert sum(p.numel() for p in tree.parameters()) == 2_510_382 + 16 * 257


def test_defaults_are_those_of_core():
    head = DaeCore()
    for name in ("batch", "lr", "weight_decay", "epochs", "votes", "by", "theta"):
        assert getattr(head, name) == getattr(Core(), name), name
    assert head.calibrate


def judged(net: torch.nn.Module, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """mu and log variance of every judge, [B, J], by hand."""
    w = {name: value.detach().numpy() for name, value in net.named_parameters()}
    x = np.stack([c[m].mean(axis=0) for c, m in zip(*(s["x"].numpy() for s in batch[:2]), strict=True)])
    out = []
    for j in range(batch.judges.shape[1]):
        h = np.maximum(x @ w["layers.0.weight"][j] + w["layers.0.bias"][j], 0)
        h = np.maximum(h @ w["layers.1.weight"][j] + w["layers.1.bias"][j], 0)
        out.append(h @ w["layers.2.weight"][j] + w["layers.2.bias"][j])
    said = np.stack(out, axis=1)
    return said[..., 0], bounded(said[..., 1])


@pytest.mark.parametrize("sampling", [0.0, 0.3])
def test_the_loss_of_the_panel_is_added_up_over_judges(make_spec: MakeSpec, five: Batch, sampling: float):
    head = DaeMusdl(sampling=sampling, temper=0.0, alpha=0.6, beta=0.4)
    marks = np.random.default_rng(3).integers(8, 20, (5, 5)) / 2
    batch = five._replace(judges=torch.from_numpy(marks))
    net = built(head, make_spec(times_difficulty=True, judges=5, constants=JUDGES), 0).double()
    mu, logvar = judged(net, batch)
    eps = np.random.default_rng(4).normal(size=(5, 5))
    g = (marks - 6.5) / 1.25
    each = 0.6 * (g - mu) ** 2 / np.exp(logvar) + 0.4 * logvar
    each = each + sampling * (mu + np.exp(logvar / 2) * eps - g) ** 2
    loss = head.loss(net, batch, Replay([torch.from_numpy(eps)]), STEP)
    assert loss.item() == pytest.approx(each.sum(axis=1).mean(), abs=1e-12)
    said = head.judge(net, batch)
    for i in range(5):
        middle = np.argsort(mu[i])[1:4]
        d = five.difficulty[i].item()
        assert said["score"][i].item() == pytest.approx((6.5 + 1.25 * mu[i, middle]).sum() * d)
        assert said["spread"][i].item() == pytest.approx(1.25 * np.sqrt(np.exp(logvar[i, middle]).sum()) * d)


@pytest.mark.parametrize("kind", ["likelihood", "mse"])
def test_inside_its_leaf_a_pair_has_the_loss_of_dae(make_spec: MakeSpec, pairs: Batch, kind: str):
    head = DaeCore(loss_kind=kind, temper=0.0)  # pyright: ignore[reportArgumentType]
    net = built(head, make_spec(times_difficulty=True, **LEAVES), 0).double()
    assert isinstance(net, CoreNet)
    known = pairs.exemplars
    assert isinstance(known, Exemplars)
    eps = np.random.default_rng(4).normal(size=(10, 16))
    q, e = (
        torch.stack([c[m].mean(dim=0) for c, m in zip(of.streams["x"], of.masks["x"], strict=True)])
        for of in (pairs, known)
    )
    mq, me = pairs.score / pairs.difficulty, known.score / known.difficulty
    logs, said = net(torch.cat([e, q]), torch.cat([q, e]), torch.cat([me, mq]))  # the tree: see test_core
    logs, said = logs.numpy(force=True), said.numpy(force=True)
    total, inside = 0.0, {}
    for r, delta in enumerate(torch.cat([mq - me, me - mq]).tolist()):
        k = max(j for j in range(8) if BOUNDS[j] <= abs(delta))
        leaf, low = (8 + k, BOUNDS[k]) if delta >= 0 else (7 - k, -BOUNDS[k + 1])
        target = (delta - low) / (BOUNDS[k + 1] - BOUNDS[k])
        mu, logvar = said[r, leaf, 0], bounded(said[r, leaf, 1])
        one = 0.5 * (target - mu) ** 2 / np.exp(logvar) + 0.5 * logvar
        if kind == "mse":
            one = (mu + np.exp(logvar / 2) * eps[r, leaf] - target) ** 2
        inside.setdefault((r // 5, leaf), []).append(one)
        total -= logs[r, leaf] / 5
    total += sum(np.mean(ones) for ones in inside.values())
    loss = head.loss(net, pairs, Replay([torch.from_numpy(eps)]), STEP)
    assert loss.item() == pytest.approx(total, abs=1e-10)


def test_the_spread_is_of_all_votes_as_one_distribution(make_spec: MakeSpec, pairs: Batch):
    head = DaeCore()
    net = built(head, make_spec(times_difficulty=True, **LEAVES), 0).double()
    known = pairs.exemplars
    assert isinstance(known, Exemplars)
    rows = torch.tensor([3, 1, 2, 0, 4, 4])  # two samples, three exemplars each
    two = Batch(*[{"x": v["x"][:2]} if isinstance(v, dict) else v[:2] for v in pairs[:6]])
    three = Exemplars(*[{"x": v["x"][rows]} if isinstance(v, dict) else v[rows] for v in known[:4]])
    judged_two = head.judge(net, two._replace(exemplars=three))
    edges = np.array([*[-b for b in BOUNDS[::-1]], *BOUNDS[1:]])
    for i in range(2):
        q, d = two.streams["x"][i][two.masks["x"][i]].mean(dim=0), two.difficulty[i].item()
        means, variances = [], []
        for row in rows[3 * i : 3 * i + 3].tolist():
            e = known.streams["x"][row][known.masks["x"][row]].mean(dim=0)
            mark = known.score[row] / known.difficulty[row]
            logs, said = net(e[None], q[None], mark[None])
            k = int(logs.argmax())
            mu, raw = said[0, k].tolist()
            means.append((mark.item() + edges[k] + (edges[k + 1] - edges[k]) * mu) * d)
            variances.append(np.exp(bounded(np.array(raw))) * ((edges[k + 1] - edges[k]) * d) ** 2)
        assert judged_two["score"][i].item() == pytest.approx(np.mean(means))
        assert judged_two["spread"][i].item() == pytest.approx(np.sqrt(np.mean(variances) + np.var(means)))


@pytest.mark.parametrize(
    ("name", "settings"), [("dae-musdl", {"lr": "1e-3", "epochs": "80"}), ("dae-core", {"lr": "3e-4", "epochs": "25"})]
)
def test_it_learns_32_samples_by_heart(name: str, settings: dict[str, str], dives: Callable[..., FeatureSet]):
    train = dives(32)
    (fitted,) = make_head(name, settings).fit(train, None, seeds=[0], device="cpu")
    assert np.corrcoef(fitted.predict(train).score, train.score)[0, 1] > 0.98
