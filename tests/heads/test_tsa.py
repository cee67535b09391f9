"""`tsa`: size, loss and judgement by hand on maps, when the true transitions stop cutting, maps of one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aqa.errors import BadParameter, UnmetNeeds
from aqa.heads import FeatureSet, Ragged, make_head
from aqa.heads.batches import Batch, Exemplars, exemplars_of
from aqa.heads.check import check_head
from aqa.heads.check_data import synthetic
from aqa.heads.noise import Live
from aqa.heads.phases import decode
from aqa.heads.torch_head import Spec, Step, built, spec_of
from aqa.heads.training import fit
from aqa.heads.tsa import Tsa, TsaNet, told_updates

from .stages_by_hand import cross_block, linear, regressed, resampled, weights

STEP, NOISE = Step(0, 0), Live(torch.Generator(), torch.float64)
TRUTH = torch.tensor([[10, 60], [1, 95], [-1, -1]])
OTHERS = torch.tensor([[20, 50], [-1, -1], [40, 90]])
MakeSpec = Callable[..., Spec]


@pytest.fixture
def maps() -> Batch:
    """Three pairs of 1 to 3 clips of maps [32, 2, 2], in float64."""
    draw = torch.Generator().manual_seed(12)
    x = torch.randn(2, 3, 3, 32, 2, 2, generator=draw, dtype=torch.float64)
    mask = torch.arange(3) < torch.tensor([[3, 2, 1], [3, 1, 3]])[..., None]
    score = torch.tensor([[60.0, 45.0, 71.5], [50.0, 80.0, 66.0]], dtype=torch.float64)
    one = torch.ones(3, dtype=torch.float64)
    other = Exemplars({"x": x[1]}, {"x": mask[1]}, score[1], one, {"transitions": OTHERS})
    return Batch({"x": x[0]}, {"x": mask[0]}, score[0], one, torch.zeros(3, 0), one > 0, other, {"transitions": TRUTH})


def net_of(make_spec: MakeSpec, head: Tsa, shape: tuple[int, ...] = (32, 2, 2), **other: Any) -> TsaNet:
    spec = make_spec(streams={"x": shape}, clips=3, **other)
    return built(head, spec, 0).double()  # pyright: ignore[reportReturnType]


def test_size(make_spec: MakeSpec):
    net = built(Tsa(), make_spec(streams={"x": (1024, 7, 7)}, clips=9), 0)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    block = 4 * 64 * 64 + 64 + 3 * 2 * 64 + (64 * 256 + 256) + (256 * 64 + 64)
    regressor = (64 * 256 + 256) + (256 * 64 + 64) + 65
    wanted = {"units": 0, "procedure": 128_846, "widen": 0, "decoder": 3 * block, "regressor": regressor}
    assert sizes == wanted
    assert sum(sizes.values()) == 311_759
    vectors = built(Tsa(), make_spec(width=1024, clips=9), 0)
    assert sum(p.numel() for p in vectors.parameters()) == 311_759


def parsed_by_hand(net: TsaNet, of: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames [B, 96, 64], logits [B, 96, 2] and maps [B, places, 96, 64], place by place, in evaluation."""
    w = weights(net)
    frames, logits, maps = [], [], []
    for x, m in zip(of.streams["x"].numpy(), of.masks["x"].numpy(), strict=True):
        clips = resampled(x[m].reshape(m.sum(), -1), 0, m.sum() - 1, 3).reshape(3, 32, 4)
        rows = [clips.mean(axis=2), *(clips[:, :, place] for place in range(4))]
        with torch.no_grad():  # its layers have tests of their own
            found = [net.procedure.frames(torch.tensor(row)[None])[0].numpy() for row in rows]
        wide = [linear(w, "widen", one) for one in found]
        h = found[0]
        for layer in ("first", "second"):
            h = np.maximum(linear(w, f"procedure.{layer}", h), 0)
        frames.append(wide[0])
        logits.append(linear(w, "procedure.third", h))
        maps.append(wide[1:])
    return np.array(frames), np.array(logits), np.array(maps)


def better_by_hand(net: TsaNet, frames: np.ndarray, at: np.ndarray, maps: np.ndarray, other_at: np.ndarray) -> float:
    w, said = weights(net), []
    cuts = [((0, st - 1), (st, ed - 1), (ed, 95)) for st, ed in (at, other_at)]
    for (first, last), (low, high) in zip(*cuts, strict=True):
        x = resampled(frames, first, last, 5)
        memory = np.concatenate([resampled(place, low, high, 5) for place in maps])
        for layer in range(3):
            x = cross_block(w, f"decoder.blocks.{layer}", x, memory, 8)
        said.append(regressed(w, "regressor", x))
    return float(np.mean(said))


@pytest.mark.parametrize("done", [0, 8])
def test_the_loss_by_hand(make_spec: MakeSpec, maps: Batch, done: int):
    """After the told updates the transitions that are found cut."""
    head = Tsa(epochs=4, hidden=16)
    net = net_of(make_spec, head, updates=4).eval()  # batch normalisation by its running means
    assert net.told == 8
    net.done.fill_(done)
    known = exemplars_of(maps)
    parts = [parsed_by_hand(net, of) for of in (maps, known)]
    frames, logits, places = (np.concatenate(pair) for pair in zip(*parts, strict=True))
    truth = np.concatenate([TRUTH.numpy(), OTHERS.numpy()])
    found = decode(torch.tensor(logits)).numpy()
    at = np.where(truth >= 0, truth, found) if done < 8 else found
    aqa = 0.0
    for i, j in [(0, 3), (1, 4), (2, 5), (3, 0), (4, 1), (5, 2)]:
        marks = torch.cat([maps.score, known.score]).numpy()
        said = better_by_hand(net, frames[i], at[i], places[j], at[j])
        aqa += (said - (marks[i] - marks[j]) / 15) ** 2
    tas = []
    for z, (st, ed) in zip(logits, truth, strict=True):
        if st >= 0:
            p, y = 1 / (1 + np.exp(-z)), np.zeros((96, 2))
            y[st, 0] = y[ed, 1] = 1
            tas.append(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
    wanted = 15.25**2 * aqa / 3 + np.mean(tas)
    assert head.loss(net, maps, NOISE, STEP).item() == pytest.approx(wanted, rel=1e-10)


def test_a_judgement_by_hand(make_spec: MakeSpec, maps: Batch):
    head = Tsa(hidden=16)
    net = net_of(make_spec, head).eval()
    net.told = 10**9  # judging does not look at the truth, whatever the epoch
    with torch.no_grad():
        said = head.judge(net, maps)
    (frames, logits, _), (_, others, places) = (parsed_by_hand(net, of) for of in (maps, exemplars_of(maps)))
    at, other_at = (decode(torch.tensor(z)).numpy() for z in (logits, others))
    for i in range(3):
        gain = 15 * better_by_hand(net, frames[i], at[i], places[i], other_at[i])
        assert said["score"][i].item() == pytest.approx(exemplars_of(maps).score[i].item() + gain, rel=1e-10)
    assert np.array_equal(said["phases"].T, at)


def test_swapping_a_pair_keeps_the_loss_and_is_not_a_change_of_sign(make_spec: MakeSpec, maps: Batch):
    head, known = Tsa(hidden=16), exemplars_of(maps)
    net = net_of(make_spec, head)
    other = known._replace(**{field: getattr(maps, field) for field in known._fields[:5]})
    turned = Batch(*known[:4], *maps[4:6], other, known.targets)
    losses = [head.loss(net, one, NOISE, STEP).item() for one in (maps, turned)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-10)
    tokens = [{"tokens": torch.randn(2, 3, 5, 64).double(), "maps": torch.randn(2, 3, 20, 64).double()} for _ in "ab"]
    assert not torch.allclose(net.better(*tokens), -net.better(*tokens[::-1]))


def test_the_true_transitions_cut_in_the_first_quarter_of_the_epochs(dives: Callable[..., FeatureSet]):
    # epoch / epochs <= .25, from epoch 0: 51 of 200 epochs of 7 updates
    assert told_updates(0.25, 200, 7) == 51 * 7
    assert told_updates(0.25, 4, 3) == 2 * 3
    assert told_updates(1.0, 4, 3) == 4 * 3
    assert told_updates(0.0, 4, 3) == 0
    train = dives(20, width=32)
    fitted = {told: fit(Tsa(epochs=3, told=told), train, seeds=[0]) for told in (0.0, 0.34, 1.0)}
    for told, steps in ((0.0, 0), (0.34, 6), (1.0, 9)):
        (one,) = fitted[told]
        assert isinstance(one.net, TsaNet)
        assert (one.net.told, one.net.done.item()) == (steps, 9)
    losses = [one.info["loss"] for (one,) in fitted.values()]
    assert len(set(losses)) == 3


def test_vectors_are_maps_of_one_place_and_joints_are_flattened(dives: Callable[..., FeatureSet]):
    data, judged = dives(12, width=32), []
    stream = data.streams["x"]
    for shape in ((32,), (32, 1, 1), (16, 2)):
        shaped = replace(data, streams={"x": Ragged(stream.values.reshape(-1, *shape), stream.offsets)})
        (fitted,) = Tsa(epochs=2, scale="none").fit(shaped, None, seeds=[0])
        judged.append(fitted.predict(shaped).score)
    assert np.array_equal(judged[0], judged[1])
    assert np.array_equal(judged[0], judged[2])


def test_padding_changes_nothing(make_spec: MakeSpec, maps: Batch):
    head, results = Tsa(hidden=16), []
    for extra in (0, 4):
        net, known = net_of(make_spec, head), exemplars_of(maps)
        x = [{"x": F.pad(of.streams["x"], (0, 0) * 3 + (0, extra), value=9.0)} for of in (maps, known)]
        m = [{"x": F.pad(of.masks["x"], (0, extra))} for of in (maps, known)]
        longer = maps._replace(streams=x[0], masks=m[0], exemplars=known._replace(streams=x[1], masks=m[1]))
        loss = head.loss(net, longer, NOISE, STEP)
        loss.backward()
        results.append(
            torch.cat([loss.detach()[None], *(p.grad.flatten() for p in net.parameters() if p.grad is not None)])
        )
    assert torch.allclose(*results, atol=1e-9)


def test_it_keeps_the_contract_with_maps():
    data = synthetic(replace(Tsa.needs, shape=3), 30, seed=2, prefix="maps")
    check_head(make_head("tsa", {"epochs": "2", "votes": "3"}), data=data)


def test_it_learns_32_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32, width=64)
    (fitted,) = Tsa(epochs=30, votes=5, by="any", batch=4).fit(train, None, seeds=[0])
    assert np.corrcoef(fitted.predict(train).score, train.score)[0, 1] > 0.95
    assert spec_of(Tsa(), train).clips == 4


def test_what_does_not_fit_is_refused(dives: Callable[..., FeatureSet]):
    with pytest.raises(UnmetNeeds, match="no sample has phases"):
        Tsa(epochs=1).fit(replace(dives(8), phases=()), None, seeds=[0])
    for settings in ({"hidden": "1"}, {"told": "1.1"}, {"told": "-0.1"}):
        with pytest.raises(BadParameter):
            make_head("tsa", settings)
