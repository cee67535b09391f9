"""`tpt`: size, parts and losses by hand, where parts look, rates, exemplars, companions, padding."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aqa.errors import BadParameter
from aqa.heads import FeatureSet, Ragged, fitted_torch, load_head, make_head
from aqa.heads.batches import Batch, Exemplars
from aqa.heads.noise import Live
from aqa.heads.together import Together
from aqa.heads.torch_head import Spec, Step, built, spec_of
from aqa.heads.tpt import Tpt, TptNet, focus, hinges
from aqa.heads.training import by_rate, make_optimiser, scheduled, set_rates

STEP, NOISE = Step(0, 0), Live(torch.Generator())
MakeSpec = Callable[..., Spec]
BOUNDS = [0, 1, 2, 4, 6, 9, 12, 15, 30]
SMALL = {"hidden": 32, "parts": 3}


def spec_for(make_spec: MakeSpec, width: int = 6, **other: Any) -> Spec:
    return make_spec(width, low=0.0, high=30.0, constants={"boundaries": BOUNDS}, **other)


def net_of(make_spec: MakeSpec, head: Tpt | None = None, **other: Any) -> TptNet:
    net: Any = built(head or Tpt(**SMALL), spec_for(make_spec, **other), 0).double()
    for name, value in net.named_parameters():  # norms begin as nothing, and biases as 0
        if "norms" in name or "bias" in name:
            nn.init.uniform_(value, 0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    return net


def of(net: nn.Module, prefix: str) -> Callable[[np.ndarray], np.ndarray]:
    """A linear layer of the network as a function."""
    weights = {name: value.detach().numpy() for name, value in net.named_parameters()}
    return lambda x: x @ weights[f"{prefix}.weight"].T + weights[f"{prefix}.bias"]


def normed(net: nn.Module, prefix: str, x: np.ndarray) -> np.ndarray:
    weights = {name: value.detach().numpy() for name, value in net.named_parameters()}
    centred = x - x.mean(axis=1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return unit * weights[f"{prefix}.weight"] + weights[f"{prefix}.bias"]


def among(net: TptNet, parts: np.ndarray) -> np.ndarray:
    """Torch's attention of eight heads with the same weights."""
    ours: Any = net.layers[0].among
    theirs = nn.MultiheadAttention(parts.shape[1], 8, batch_first=True).double()
    state = {
        "in_proj_weight": ours.inputs.weight,
        "in_proj_bias": ours.inputs.bias,
        "out_proj.weight": ours.output.weight,
        "out_proj.bias": ours.output.bias,
    }
    theirs.load_state_dict(state)
    one = torch.from_numpy(parts)[None]
    return theirs(one, one, one)[0][0].detach().numpy()


def parse(net: TptNet, clips: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Clips [T, D] of one sample -> parts [K, d] and what they look at in each layer, [K, T], by hand."""
    memory, parts, looks = of(net, "input")(clips), net.queries.detach().numpy(), []
    width = parts.shape[1]
    for k in range(2):
        here, norm = f"layers.{k}", 0
        if k == 0:
            parts, norm = normed(net, f"{here}.norms.0", parts + among(net, parts)), 1
        weight = net.get_parameter(f"{here}.time.inputs.weight").detach().numpy()
        bias = net.get_parameter(f"{here}.time.inputs.bias").detach().numpy()
        q, key, value = (
            x @ weight[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width]
            for i, x in enumerate((parts, memory, memory))
        )
        temperature = np.exp(net.get_parameter(f"{here}.time.temperature").item())
        assert temperature == pytest.approx(0.07, abs=1e-7)
        look = np.zeros((len(parts), len(clips)))
        for i in range(len(parts)):
            logits = np.array([q[i] @ key[t] / width / temperature for t in range(len(clips))])
            look[i] = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        looks.append(look)
        parts = normed(net, f"{here}.norms.{norm}", parts + of(net, f"{here}.time.output")(look @ value))
        inner = np.maximum(of(net, f"{here}.inner")(parts), 0)
        parts = normed(net, f"{here}.norms.{norm + 1}", parts + of(net, f"{here}.outer")(inner))
    return parts, looks


def compare(net: TptNet, exemplar: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parts twice -> log-probability and position of the 16 leaves."""
    pairs = []
    for e, q in zip(exemplar, query, strict=True):
        h = np.maximum(of(net, "pair.0")(np.concatenate([e, q])), 0)
        pairs.append(np.maximum(of(net, "pair.2")(h), 0))
    mean = np.mean(pairs, axis=0)
    leaf, place = (of(net, f"{x}.2")(np.maximum(of(net, f"{x}.0")(mean), 0)) for x in ("leaf", "place"))
    return leaf - np.log(np.exp(leaf).sum()), 1 / (1 + np.exp(-place))


def beside(look: np.ndarray, margin: float, sparsity: float) -> float:
    """Ranking and sparsity of one layer and one sample, its clips on the scale of 20."""
    clips = look.shape[1]
    where = [1 + 19 * t / max(clips - 1, 1) for t in range(clips)]
    centres = [sum(a * w for a, w in zip(row, where, strict=True)) for row in look]
    total = max(0.0, 1 - centres[0] + margin) + max(0.0, centres[-1] - 20 + margin)
    total += sum(max(0.0, a - b + margin) for a, b in pairwise(centres))
    for row, centre in zip(look, centres, strict=True):
        total += sparsity * sum(a * abs(w - centre) for a, w in zip(row, where, strict=True))
    return total


def clips_of(batch: Batch | Exemplars, i: int) -> np.ndarray:
    return batch.streams["x"][i][batch.masks["x"][i]].numpy()


@pytest.mark.parametrize("clips", [1, 20])
def test_number_of_parameters_for_any_length(make_spec: MakeSpec, clips: int):
    net = built(Tpt(), spec_for(make_spec, 1024, clips=clips), 0)
    attention, norm = 4 * (512 * 512 + 512), 2 * 512
    layers = 3 * attention + 2 * 2 * (512 * 512 + 512) + 5 * norm + 2
    compared = 1024 * 512 + 512 + 512 * 512 + 512 + 2 * (512 * 128 + 128 + 128 * 16 + 16)
    count = sum(p.numel() for p in net.parameters())
    assert count == 1024 * 512 + 512 + 5 * 512 + layers + compared == 5_657_890


def test_parts_by_hand(make_spec: MakeSpec, five: Batch):
    net = net_of(make_spec)
    parts, looks = net.parsed(five.streams["x"], five.masks["x"])
    for i in range(5):
        there = five.masks["x"][i].numpy()
        wanted, where = parse(net, clips_of(five, i))
        assert parts[i].detach().numpy() == pytest.approx(wanted, abs=1e-9)
        for look, by_hand in zip(looks, where, strict=True):
            assert look[i].detach().numpy()[:, there] == pytest.approx(by_hand, abs=1e-9)
            assert (look[i].detach().numpy()[:, ~there] == 0).all()


@pytest.mark.parametrize("times_difficulty", [False, True])
def test_the_loss_by_hand(make_spec: MakeSpec, pairs: Batch, times_difficulty: bool):
    head = Tpt(**SMALL, margin=2.5, ranking=0.7, sparsity=0.3)
    net, known = net_of(make_spec, head, times_difficulty=times_difficulty), pairs.exemplars
    assert isinstance(known, Exemplars)
    d = pairs.difficulty.numpy() if times_difficulty else np.ones(5)
    marks = pairs.score.numpy() / d, known.score.numpy() / d
    total = 0.0
    for batch in (pairs, known):
        for i in range(5):
            for look in parse(net, clips_of(batch, i))[1]:
                total += 0.7 * beside(look, 2.5, 0.3 / 0.7) / 10
    for backward in (False, True):
        inside: dict[int, list[float]] = {}
        for i in range(5):
            q, e = parse(net, clips_of(pairs, i))[0], parse(net, clips_of(known, i))[0]
            delta = marks[0][i] - marks[1][i]
            if backward:
                q, e, delta = e, q, -delta
            logs, positions = compare(net, e, q)
            k = max(j for j in range(8) if BOUNDS[j] <= abs(delta))
            leaf = 8 + k if delta >= 0 else 7 - k
            low = BOUNDS[k] if delta >= 0 else -BOUNDS[k + 1]
            total -= logs[leaf] / 5
            inside.setdefault(leaf, []).append((positions[leaf] - (delta - low) / (BOUNDS[k + 1] - BOUNDS[k])) ** 2)
        total += sum(np.mean(errors) for errors in inside.values())
    assert head.loss(net, pairs, NOISE, STEP).item() == pytest.approx(total, abs=1e-9)


def test_a_judgement_is_the_mean_over_exemplars(make_spec: MakeSpec, pairs: Batch):
    net, known = net_of(make_spec, times_difficulty=True), pairs.exemplars
    assert isinstance(known, Exemplars)
    rows = torch.tensor([3, 1, 2, 0, 4, 4])  # two samples, three exemplars each
    two = Batch(*[{"x": v["x"][:2]} if isinstance(v, dict) else v[:2] for v in pairs[:6]])
    three = Exemplars(*[{"x": v["x"][rows]} if isinstance(v, dict) else v[rows] for v in known[:4]])
    said = Tpt(**SMALL).judge(net, two._replace(exemplars=three))
    edges = np.array([*[-b for b in BOUNDS[::-1]], *BOUNDS[1:]])
    for i in range(2):
        votes = []
        for row in rows[3 * i : 3 * i + 3].tolist():
            logs, positions = compare(net, parse(net, clips_of(known, row))[0], parse(net, clips_of(two, i))[0])
            k = int(np.argmax(logs))
            delta = edges[k] + (edges[k + 1] - edges[k]) * positions[k]
            votes.append(((known.score[row] / known.difficulty[row]).item() + delta) * two.difficulty[i].item())
        assert said["score"][i].item() == pytest.approx(np.mean(votes))
        assert said["spread"][i].item() == pytest.approx(np.std(votes))


def test_twenty_clips_stand_at_their_numbers_and_others_spread_as_far():
    looks, mask = torch.eye(20, dtype=torch.float64)[None], torch.ones(1, 20, dtype=torch.bool)
    centre, distance = focus(looks, mask)
    assert centre[0].tolist() == pytest.approx(list(range(1, 21)))
    assert distance.abs().max() < 1e-12
    short = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0]], dtype=torch.bool)
    looks = torch.tensor([[[0.5, 0, 0.5, 0, 0]], [[1, 0, 0, 0, 0]], [[0.25, 0.75, 0, 0, 0]]], dtype=torch.float64)
    centre, distance = focus(looks, short)
    assert centre[:, 0].tolist() == pytest.approx([10.5, 1, 15.25])  # 1, 10.5, 20; 1; 1, 20
    assert distance[:, 0].tolist() == pytest.approx([9.5, 0, 0.25 * 14.25 + 0.75 * 4.75])


def test_centres_are_to_be_in_order_and_away_from_the_ends():
    centres = torch.tensor([[4.2, 7.4, 10.6, 13.8, 16.8], [10.5] * 5, [16.8, 13.6, 10.4, 7.2, 4.0]])
    # 19 / 6 = 3.17 clips are left for each of six distances of 3.2: five parts cannot quite be without loss.
    assert hinges(centres, 3.2).tolist() == pytest.approx([0.2, 4 * 3.2, 4 * 6.4], abs=1e-5)
    assert hinges(torch.tensor([[2.0, 19.0]]), 3.2).tolist() == pytest.approx([2.2 + 2.2], abs=1e-5)
    assert hinges(centres, 0.0).tolist() == pytest.approx([0, 0, 4 * 3.2], abs=1e-5)


def test_parts_learn_their_order_where_clips_can_be_told_apart():
    draw = np.random.default_rng(0)
    clips = np.concatenate([np.eye(10) + 0.1 * draw.normal(size=(10, 10)) for _ in range(16)])
    stream = Ragged(clips.astype(np.float32), np.arange(17) * 10)
    data = FeatureSet(tuple(f"s{i}" for i in range(16)), {"x": stream}, draw.uniform(0, 10, 16), (0, 10))
    missed = {}
    for ranking in (0.0, 1.0):
        head = Tpt(hidden=32, epochs=80, batch=8, lr=3e-3, ranking=ranking, scale="none")
        (fitted,) = head.fit(data, seeds=[0])
        mask = torch.ones(16, 10, dtype=torch.bool)
        with torch.no_grad():
            looks = fitted.net.parsed(torch.from_numpy(clips.astype(np.float32)).unflatten(0, (16, 10)), mask)[1]
        missed[ranking] = hinges(focus(looks[-1], mask)[0], 3.2).mean().item()
    assert missed[0.0] > 5
    assert missed[1.0] < 1.5


def test_padding_changes_neither_loss_nor_gradient_nor_judgement(make_spec: MakeSpec, pairs: Batch):
    head, results, known = Tpt(**SMALL), [], pairs.exemplars
    assert isinstance(known, Exemplars)

    def padded(x: dict[str, Tensor], extra: int, value: float, last: tuple[int, ...] = ()) -> dict[str, Tensor]:
        return {"x": nn.functional.pad(x["x"], (*last, 0, extra), value=value)}

    for extra, more in ((0, 0), (9, 4)):
        net = net_of(make_spec, head)
        others = known._replace(
            streams=padded(known.streams, more, -9.0, (0, 0)), masks=padded(known.masks, more, False)
        )
        batch = pairs._replace(
            streams=padded(pairs.streams, extra, 55.0, (0, 0)),
            masks=padded(pairs.masks, extra, False),
            exemplars=others,
        )
        loss = head.loss(net, batch, NOISE, STEP)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        results.append((loss.detach(), gradient, head.judge(net, batch)["score"].detach()))
    for short, long in zip(*results, strict=True):
        assert torch.allclose(short, long, atol=1e-9)


def test_companions_do_not_matter(make_spec: MakeSpec, five: Batch):
    net = net_of(make_spec)
    together = net.seen(five.streams["x"], five.masks["x"])
    for i in range(5):
        alone = net.seen(five.streams["x"][i : i + 1], five.masks["x"][i : i + 1])
        assert torch.allclose(alone[0], together[i], atol=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_what_compares_has_a_rate_of_its_own(dives: Callable[..., FeatureSet], schedule: Any):
    head = Tpt(**SMALL, schedule=schedule, epochs=10)
    nets = Together(head, spec_of(head, dives(5)), [0], "cpu", torch.float32)
    optimiser = make_optimiser(head, by_rate(head, nets))
    factor = {"constant": 1.0, "cosine": 0.505}[schedule]
    set_rates(optimiser, scheduled(head, 5))
    rates = {id(leaf): group["lr"] for group in optimiser.param_groups for leaf in group["params"]}
    assert len(rates) == len(nets.leaves)
    for name, leaf in nets.leaves.items():
        own = name.split(".")[1] in ("pair", "leaf", "place")
        assert rates[id(leaf)] == pytest.approx(factor * (1e-3 if own else 1e-4)), name


def test_it_learns_32_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32)
    (fitted,) = Tpt(epochs=60, hidden=64, batch=8, lr=3e-4).fit(train, seeds=[0])
    assert np.corrcoef(fitted.predict(train).score, train.score)[0, 1] > 0.98


def test_exemplars_are_of_train_and_never_the_sample_itself(dives: Callable[..., FeatureSet], tmp_path, monkeypatch):
    train, test = dives(60), dives(10, 1)
    (fitted,) = Tpt(epochs=1, hidden=32).fit(train, seeds=[4])
    difficulty = dict(zip(train.ids, train.difficulty, strict=True))
    judged = fitted.predict(test)
    for d, names in zip(test.difficulty, judged.exemplars, strict=True):
        assert len(set(names)) == 10
        assert {difficulty[name] for name in names} == {d}
    for sample, names in zip(train.ids, fitted.predict(train).exemplars, strict=True):
        assert sample not in names
    fitted.save(tmp_path)
    again = load_head(tmp_path).predict(test)
    assert again.exemplars == judged.exemplars
    assert np.array_equal(again.score, judged.score)
    monkeypatch.setattr(fitted_torch, "CLIPS", 100)  # of 4 clips each: two samples with their exemplars at once
    assert fitted.predict(test).score == pytest.approx(judged.score, abs=1e-3)


@pytest.mark.parametrize(
    "settings",
    [{"hidden": "20"}, {"parts": "0"}, {"margin": "-1"}, {"comparing_lr": "0"}, {"sparsity": "-1"}, {"votes": "0"}],
)
def test_parameters_that_do_not_fit_are_refused(settings: dict[str, str]):
    with pytest.raises(BadParameter):
        make_head("tpt", settings)
