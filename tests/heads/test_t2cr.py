"""`t2cr`: size, its parts, loss and judgement by hand in numpy, one stream and two, what swapping a pair changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from aqa.errors import BadParameter, UnmetNeeds
from aqa.heads import FeatureSet, Ragged, fit_head, load_head, make_head
from aqa.heads.batches import Batch, Exemplars
from aqa.heads.check import check_head
from aqa.heads.check_data import synthetic
from aqa.heads.noise import Live
from aqa.heads.t2cr import T2cr, T2crNet
from aqa.heads.t2cr_blocks import ClipAttention, SeparableAttention, SqueezeExcite, contrast
from aqa.heads.torch_head import Spec, Step, built, spec_of

from .t2cr_by_hand import ByHand, clips_of, nt_xent, square

STEP, NOISE = Step(0, 0), Live(torch.Generator())
MakeSpec = Callable[..., Spec]


def net_of(make_spec: MakeSpec, streams: str, **other: Any) -> T2crNet:
    constants = {"full": 4, "thin": 3 if len(streams) == 2 else 2}
    spec = make_spec(streams=dict.fromkeys(streams, (6,)), constants=constants, **other)
    return built(T2cr(), spec, 0).double()  # pyright: ignore[reportReturnType]


def two(pairs: Batch) -> Batch:
    """`pairs` with a second stream of one to three clips, for samples and exemplars."""
    draw = torch.Generator().manual_seed(21)
    thin = torch.randn(2, 5, 3, 6, generator=draw, dtype=torch.float64)
    mask = torch.arange(3) < torch.tensor([[3, 2, 1, 3, 2], [1, 3, 3, 2, 3]])[..., None]
    known = pairs.exemplars
    assert isinstance(known, Exemplars)
    known = known._replace(streams={**known.streams, "y": thin[1]}, masks={**known.masks, "y": mask[1]})
    return pairs._replace(streams={**pairs.streams, "y": thin[0]}, masks={**pairs.masks, "y": mask[0]}, exemplars=known)


def test_size_and_how_it_differs_from_the_published_one(make_spec: MakeSpec):
    net = built(T2cr(), make_spec(streams={"a": (1024,), "b": (1024,)}, constants={"full": 10, "thin": 8}), 0)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    cross = 4 * 64 * 64 + 64 + (64 * 256 + 256) + (256 * 64 + 64) + 3 * 128
    regressor = (64 * 256 + 256) + (256 * 64 + 64) + 2 * 64 * 4 + 65
    assert sizes == {
        "units": 0,
        "widen": 3 * 10 * (8 + 10) + 2 * 20,
        "features": 2 * 1024 * 64,
        "clips": 2 * 10 + 2 * 3,
        "inner": 1024 * 256 + 256,
        "outer": 256 * 64 + 64,
        "side": 65,
        "mix": 2 * (10 * 10 + 10),
        "decoder": 3 * cross + 64 * 129 + 129 + 64 * 64 + 64,
        "regressor": regressor,
    }
    assert sum(sizes.values()) == 606_781
    classes = 64 * 58 + 58  # which the published count has and its loss does not use
    assert 618_784 - 606_781 - classes == 8_233  # not to be had from the text


def test_parts_by_hand():
    torch.manual_seed(3)
    x = torch.randn(5, 4, 48, dtype=torch.float64)
    for part, name in ((SqueezeExcite(48), "squeeze_excite"), (ClipAttention(4), "cbam")):
        wanted = getattr(ByHand(torch.nn.ModuleDict({"it": part.double()})), name)("it", x.numpy())
        assert part(x).detach().numpy() == pytest.approx(wanted, abs=1e-12)
    attention = SeparableAttention(48).double()
    wanted = ByHand(torch.nn.ModuleDict({"it": attention})).separable("it", x.numpy())
    assert attention(x).detach().numpy() == pytest.approx(wanted, abs=1e-12)


def test_contrast_tells_partners_from_all_others_of_the_batch():
    torch.manual_seed(4)
    one, other = torch.randn(2, 5, 7, dtype=torch.float64)
    for tau in (0.1, 1.0):
        assert contrast(one, other, tau).item() == pytest.approx(nt_xent(one.numpy(), other.numpy(), tau), abs=1e-12)
    rows = torch.nn.functional.normalize(torch.cat([one, other]), dim=1).numpy()
    logits = rows @ rows.T / 0.1 - 1e9 * np.eye(10)
    wanted = -np.mean([log_softmax(logits, axis=1)[i, (i + 5) % 10] for i in range(10)])
    assert contrast(one, other, 0.1).item() == pytest.approx(wanted)


def test_a_single_pair_has_nothing_to_be_told_from():
    one, other = torch.randn(2, 1, 7, requires_grad=True)
    loss = contrast(one, other, 0.1)
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("times_difficulty", [True, False])
@pytest.mark.parametrize("streams", ["x", "xy"])
def test_the_loss_by_hand(make_spec: MakeSpec, pairs: Batch, streams: str, times_difficulty: bool, training: bool):
    batch = two(pairs) if streams == "xy" else pairs
    net = net_of(make_spec, streams, times_difficulty=times_difficulty).train(training)
    by_hand, known = ByHand(net, training=training), batch.exemplars
    assert isinstance(known, Exemplars)
    d = batch.difficulty.numpy() if times_difficulty else np.ones(5)
    y1, y2 = batch.score.numpy() / d, known.score.numpy() / d
    both = by_hand.tokens(*(np.concatenate(v) for v in zip(clips_of(batch), clips_of(known), strict=True)))
    (l1, l3), (l2, l4) = (tuple(x[part] for x in both) for part in (slice(0, 5), slice(5, 10)))
    wanted = square(l1 - l3) + square(l2 - l4)
    wanted += nt_xent(l1.mean(axis=1), l3.mean(axis=1), 0.1) + nt_xent(l2.mean(axis=1), l4.mean(axis=1), 0.1)
    wanted += square(by_hand.better((l1, l3), (l2, l4)) - (y1 - y2))
    wanted += square(by_hand.better((l2, l4), (l1, l3)) - (y2 - y1))
    for tokens, y in ((l1, y1), (l2, y2), (l3, y1), (l4, y2)):
        wanted += square(by_hand.regress(tokens) - y) + square(by_hand.side(tokens) - y)
    wanted += 10 * (square(by_hand.itself((l1, l3))) + square(by_hand.itself((l2, l4))))
    assert T2cr().loss(net, batch, NOISE, STEP).item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("streams", ["x", "xy"])
def test_a_judgement_by_hand(make_spec: MakeSpec, pairs: Batch, streams: str):
    batch = two(pairs) if streams == "xy" else pairs
    net, known = net_of(make_spec, streams, times_difficulty=True).eval(), batch.exemplars
    assert isinstance(known, Exemplars)
    rows = torch.tensor([3, 1, 2, 0, 4, 4])  # two samples, three exemplars each
    first, chosen = _rows(batch, torch.arange(2)), _rows(known, rows)
    said = T2cr().judge(net, first._replace(exemplars=chosen))
    assert said.keys() == {"score"}
    by_hand = ByHand(net)
    one, other = by_hand.tokens(*clips_of(first)), by_hand.tokens(*clips_of(chosen))
    for i in range(2):
        query = one[0][i : i + 1], one[1][i : i + 1]
        votes = []
        for k in range(3 * i, 3 * i + 3):
            mark = (chosen.score[k] / chosen.difficulty[k]).item()
            better = by_hand.better(query, (other[0][k : k + 1], other[1][k : k + 1]))[0]
            votes.append((better + mark + by_hand.regress(query[0])[0]) / 2)
        wanted = np.mean(votes) * first.difficulty[i].item()
        assert said["score"][i].item() == pytest.approx(wanted, rel=1e-12)


def _rows(of: Any, rows: torch.Tensor) -> Any:
    """A batch or exemplars, of these rows alone."""
    parts = [{n: v[rows] for n, v in one.items()} if isinstance(one, dict) else one[rows] for one in of[:6]]
    return type(of)(*parts)


def test_swapping_a_pair_swaps_the_two_relative_marks(make_spec: MakeSpec, pairs: Batch):
    batch = two(pairs)
    known = batch.exemplars
    assert isinstance(known, Exemplars)
    swapped = Batch(*known[:4], *batch[4:6], exemplars=Exemplars(*batch[:4]))
    net = net_of(make_spec, "xy").eval()
    relative = []
    for one in (batch, swapped):
        other = one.exemplars
        assert isinstance(other, Exemplars)
        mixed = [net.mixed(net.tokens(*net.seen(of))) for of in (one, other)]
        relative.append((net.better(*mixed), net.better(*mixed[::-1])))
    (first, second), (again, then) = relative
    assert torch.equal(first, then)
    assert torch.equal(second, again)
    assert not torch.allclose(first, -second)
    losses = [T2cr().loss(net.train(), one, NOISE, STEP).item() for one in (batch, swapped)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def even(data: FeatureSet, clips: int) -> FeatureSet:
    """`data` with `clips` clips for every sample, and a second stream of every other one."""
    stream = data.streams["x"]
    values = np.concatenate([stream[i][np.arange(clips) % len(stream[i])] for i in range(len(data))])
    values += np.random.default_rng(len(data)).normal(0, 0.1, values.shape).astype(np.float32)
    thin = values.reshape(len(data), clips, -1)[:, ::2]
    at = np.arange(len(data) + 1)
    streams = {"x": Ragged(values, clips * at), "y": Ragged(thin.reshape(-1, values.shape[1]), thin.shape[1] * at)}
    return replace(data, streams=streams)


@pytest.mark.parametrize("clips", [1, 4, 5])
def test_one_stream_is_two_of_which_the_second_has_every_other_clip(dives: Callable[..., FeatureSet], clips: int):
    said = []
    train, test = even(dives(12), clips), even(dives(5, 1), clips)
    for names in ("x", "xy"):
        head = make_head("t2cr", {"epochs": "2", "scale": "none"})
        one, other = (replace(data, streams={n: data.streams[n] for n in names}) for data in (train, test))
        (fitted,) = fit_head(head, one, None, seeds=[3])
        assert fitted.info["clips"] == clips
        assert fitted.info["thin_clips"] == (clips + 1) // 2
        said.append(fitted.predict(other))
    assert np.array_equal(said[0].score, said[1].score)
    assert said[0].exemplars == said[1].exemplars


def test_both_streams_are_looked_at_and_found_again_by_name(dives: Callable[..., FeatureSet], tmp_path: Path):
    train, test = even(dives(12), 4), even(dives(5, 1), 4)
    other = replace(test, streams={**test.streams, "y": even(dives(5, 2), 4).streams["y"]})
    # In the files streams are in the order of their names; what a head was fitted on says which is the full one.
    train, test, other = (replace(d, streams={"z": d.streams["x"], "y": d.streams["y"]}) for d in (train, test, other))
    (fitted,) = T2cr(epochs=2).fit(train, None, seeds=[0])
    fitted.save(tmp_path)
    turned = replace(test, streams={name: test.streams[name] for name in "yz"})
    for one in (fitted, load_head(tmp_path)):
        assert np.array_equal(one.predict(turned).score, fitted.predict(test).score)
    assert not np.allclose(fitted.predict(other).score, fitted.predict(test).score)


def test_it_keeps_the_contract_with_two_streams():
    data = synthetic(replace(T2cr.needs, streams=2, further_streams=0), 30, seed=2, prefix="two")
    assert len(data.streams) == 2
    check_head(make_head("t2cr", {"epochs": "2", "votes": "3"}), data=data)


def test_what_does_not_fit_is_refused(dives: Callable[..., FeatureSet]):
    data = dives(8)
    wide = Ragged(np.zeros((8, 13), np.float32), np.arange(9))
    with pytest.raises(UnmetNeeds, match=r"streams of one backbone.*'x' \[12\], 'y' \[13\]"):
        T2cr(epochs=1).fit(replace(data, streams={**data.streams, "y": wide}), None, seeds=[0])
    for settings in ({"votes": "0"}, {"clips": "0"}, {"by": "sport"}):
        with pytest.raises(BadParameter):
            make_head("t2cr", settings)


def test_it_is_built_for_the_clips_of_train_and_takes_any_number(dives: Callable[..., FeatureSet]):
    train, long = dives(12, clips=9), dives(5, 1, clips=30)
    assert spec_of(T2cr(), train).constants == {"full": 9, "thin": 5}
    assert spec_of(T2cr(clips=4), train).constants == {"full": 4, "thin": 2}
    (fitted,) = T2cr(epochs=1, clips=4).fit(train, None, seeds=[0])
    stream = long.streams["x"]
    four = [stream[i][np.floor(np.linspace(0, len(stream[i]) - 1, 4) + 0.5).astype(int)] for i in range(len(long))]
    short = replace(long, streams={"x": Ragged(np.concatenate(four), 4 * np.arange(6))})
    assert np.array_equal(fitted.predict(long).score, fitted.predict(short).score)


def test_it_learns_32_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32)
    (fitted,) = T2cr(epochs=40, lr=1e-3).fit(train, None, seeds=[0])
    judged = fitted.predict(train)
    assert judged.spread is None
    assert np.corrcoef(judged.score, train.score)[0, 1] > 0.98
    assert np.abs(judged.score - train.score).mean() < 0.15 * train.score.std()


def test_exemplars_are_of_train_and_of_the_same_difficulty(dives: Callable[..., FeatureSet]):
    train, test = dives(60), dives(6, 1)
    (fitted,) = T2cr(epochs=1).fit(train, None, seeds=[4])
    difficulty = dict(zip(train.ids, train.difficulty, strict=True))
    for d, names in zip(test.difficulty, fitted.predict(test).exemplars, strict=True):
        assert len(set(names)) == 10
        assert {difficulty[name] for name in names} == {d}
