"""`mcore`: size, stages, the contrast and the whole loss by hand, judgements by hand, unknown phases, padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from aqa.catalog.phases import transitions_of
from aqa.errors import BadParameter, UnmetNeeds
from aqa.heads import FeatureSet, load_head, make_head
from aqa.heads.batches import Batch, exemplars_of
from aqa.heads.mcore import Mcore, McoreNet, token_contrast
from aqa.heads.noise import Live
from aqa.heads.phases import decode
from aqa.heads.stages import apart, stage_tokens
from aqa.heads.torch_head import Spec, Step, built
from aqa.heads.training import fit

from .stages_by_hand import cosines, cross_block, linear, regressed, resampled, segmentation, weights

STEP, NOISE = Step(0, 0), Live(torch.Generator(), torch.float64)
HEAD = Mcore(hidden=16, dropout=0.0)
TRUTH = torch.tensor([[10, 60], [1, 95], [30, 70], [-1, -1], [40, 90]])
OTHERS = torch.tensor([[20, 50], [47, 48], [-1, -1], [5, 60], [33, 66]])
MakeSpec = Callable[..., Spec]


def net_of(make_spec: MakeSpec, head: Mcore = HEAD, **other: Any) -> McoreNet:
    return built(head, make_spec(**other), 0).double()  # pyright: ignore[reportReturnType]


def told(pairs: Batch, truth: Tensor = TRUTH, others: Tensor = OTHERS) -> Batch:
    known = exemplars_of(pairs)._replace(targets={"transitions": others})
    return pairs._replace(targets={"transitions": truth}, exemplars=known)


@pytest.mark.parametrize(("width", "more"), [(368, 0), (1024, 1024 * 368 + 368)])
def test_size(make_spec: MakeSpec, width: int, more: int):
    net = built(Mcore(), make_spec(width=width), 0)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    block = 4 * 368 * 368 + 368 + 3 * 2 * 368 + (368 * 1472 + 1472) + (1472 * 368 + 368)
    regressor = (368 * 256 + 256) + (256 * 64 + 64) + 65
    wanted = {"units": 0, "narrow": more, "segmenter": 1_630_978, "decoder": 3 * block, "regressor": regressor}
    assert sizes == wanted
    assert sum(sizes.values()) - more == 6_630_467


def test_stages_are_cut_before_the_transitions_and_none_is_empty():
    first, last = apart(torch.tensor([[28, 62], [1, 95]]))
    assert first.tolist() == [[0, 28, 62], [0, 1, 95]]
    assert last.tolist() == [[27, 61, 95], [0, 94, 95]]
    frames = torch.arange(96.0, dtype=torch.float64)[None, :, None].expand(2, -1, -1)
    found = stage_tokens(frames, first, last, 5)[..., 0]
    assert found[0].tolist() == [[0, 6.75, 13.5, 20.25, 27], [28, 36.25, 44.5, 52.75, 61], [62, 70.25, 78.5, 86.75, 95]]
    assert found[1, 0].tolist() == [0] * 5
    assert found[1, 2].tolist() == [95] * 5
    wild = torch.randn(1, 96, 3, dtype=torch.float64)
    wanted = F.interpolate(wild[:, 28:62].mT, size=5, mode="linear", align_corners=True).mT
    assert torch.allclose(stage_tokens(wild, first[:1], last[:1], 5)[:, 1], wanted)


def contrast_by_hand(z1: np.ndarray, z2: np.ndarray, tau: float) -> float:
    """Tokens [3, L, d] of one pair."""
    losses = []
    for one, other in ((z1, z2), (z2, z1)):
        for a, b in zip(one, other, strict=True):
            within, across = np.exp(cosines(a, a) / tau), np.exp(cosines(a, b) / tau)
            for i in range(len(a)):
                below = within[i].sum() + across[i].sum() - within[i, i]
                losses.append(-np.log(across[i, i] / below))
    return float(np.mean(losses))


def test_the_contrast_by_hand():
    torch.manual_seed(4)
    one, other = torch.randn(2, 4, 3, 5, 7, dtype=torch.float64)
    for tau in (0.5, 1.0):
        wanted = [contrast_by_hand(a.numpy(), b.numpy(), tau) for a, b in zip(one, other, strict=True)]
        assert token_contrast(one, other, tau).numpy() == pytest.approx(np.array(wanted), abs=1e-12)
    near = token_contrast(one, one + 1e-3 * other, 0.5)
    assert (near < token_contrast(one, other, 0.5)).all()


class ByHand:
    def __init__(self, net: McoreNet) -> None:
        self.net, self.w = net, weights(net)

    def frames(self, of: Any) -> np.ndarray:
        """[B, 96, 16]."""
        clips, there = of.streams["x"].detach().numpy(), of.masks["x"].numpy()
        rows = [linear(self.w, "narrow", x[m]) for x, m in zip(clips, there, strict=True)]
        return np.stack([resampled(x, 0, len(x) - 1, 96) for x in rows])

    def logits(self, frames: np.ndarray) -> np.ndarray:
        """By torch's own GRU, with the network's numbers."""
        gru = torch.nn.GRU(16, 16, batch_first=True, bidirectional=True).double()
        for k, suffix in enumerate(("", "_reverse")):
            for ours, theirs in (("inputs", "ih"), ("recur", "hh")):
                getattr(gru, f"weight_{theirs}_l0{suffix}").data = torch.tensor(
                    self.w[f"segmenter.gru.{ours}.weight"][k].T
                )
                getattr(gru, f"bias_{theirs}_l0{suffix}").data = torch.tensor(
                    self.w[f"segmenter.gru.{ours}.bias"][k, 0]
                )
        return linear(self.w, "segmenter.out", gru(torch.tensor(frames))[0].detach().numpy())

    @staticmethod
    def tokens(frames: np.ndarray, at: np.ndarray) -> np.ndarray:
        """[B, 3, 5, 16]."""
        cuts = [((0, st - 1), (st, ed - 1), (ed, 95)) for st, ed in at]
        return np.array([[resampled(x, *ends, 5) for ends in c] for x, c in zip(frames, cuts, strict=True)])

    def better(self, one: np.ndarray, other: np.ndarray) -> float:
        """Tokens [3, 5, 16] of one pair -> the difference in deviations."""
        said = []
        for x, y in zip(one, other, strict=True):
            for layer in range(3):
                x = cross_block(self.w, f"decoder.blocks.{layer}", x, y, 8)
            said.append(regressed(self.w, "regressor", x))
        return float(np.mean(said))


@pytest.mark.parametrize("times_difficulty", [True, False])
def test_the_loss_by_hand(make_spec: MakeSpec, pairs: Batch, times_difficulty: bool):
    batch = told(pairs)
    net = net_of(make_spec, times_difficulty=times_difficulty)
    hand, known = ByHand(net), exemplars_of(batch)
    frames = np.concatenate([hand.frames(batch), hand.frames(known)])
    logits, truth = hand.logits(frames), np.concatenate([TRUTH.numpy(), OTHERS.numpy()])
    found = decode(torch.tensor(logits)).numpy()
    tokens = hand.tokens(frames, np.where(truth >= 0, truth, found))
    d = (batch.difficulty, known.difficulty) if times_difficulty else (1, 1)
    marks = (batch.score / d[0]).numpy(), (known.score / d[1]).numpy()
    aqa = 0.0
    for i in range(5):
        gap = (marks[0][i] - marks[1][i]) / 15.0
        aqa += (hand.better(tokens[i], tokens[5 + i]) - gap) ** 2 + (hand.better(tokens[5 + i], tokens[i]) + gap) ** 2
    both = [i for i in range(5) if truth[i, 0] >= 0 and truth[5 + i, 0] >= 0]
    assert both == [0, 1, 4]
    unlike = np.mean([contrast_by_hand(tokens[i], tokens[5 + i], 0.5) for i in both])
    wanted = 15.25**2 * aqa / 5 + segmentation(logits, truth) + 10 * unlike
    assert HEAD.loss(net, batch, NOISE, STEP).item() == pytest.approx(wanted, rel=1e-10)


def test_a_judgement_by_hand(make_spec: MakeSpec, pairs: Batch):
    net = net_of(make_spec, times_difficulty=True).eval()
    hand, known = ByHand(net), exemplars_of(pairs)
    with torch.no_grad():
        said = HEAD.judge(net, pairs)
    frames = hand.frames(pairs), hand.frames(known)
    at = [decode(torch.tensor(hand.logits(x))).numpy() for x in frames]
    query, other = (hand.tokens(x, cut) for x, cut in zip(frames, at, strict=True))
    for i in range(5):
        mark = known.score[i].item() / known.difficulty[i].item() + 15.0 * hand.better(query[i], other[i])
        assert said["score"][i].item() == pytest.approx(mark * pairs.difficulty[i].item(), rel=1e-10)
        gain = said["parts"][:, i].sum().item()
        assert gain == pytest.approx(15.0 * hand.better(query[i], other[i]) * pairs.difficulty[i].item(), rel=1e-10)
    assert np.array_equal(said["phases"].T, at[0])


def test_swapping_a_pair_swaps_its_two_differences_and_keeps_the_loss(make_spec: MakeSpec, pairs: Batch):
    batch, net = told(pairs), net_of(make_spec)
    known = exemplars_of(batch)
    turned = Batch(*known[:4], *batch[4:6], batch.exemplars, known.targets)
    turned = turned._replace(exemplars=known._replace(**{f: getattr(batch, f) for f in known._fields[:5]}))
    losses = [HEAD.loss(net, one, NOISE, STEP).item() for one in (batch, turned)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    one, other = ({"tokens": torch.randn(2, 3, 5, 16, dtype=torch.float64)} for _ in range(2))
    assert not torch.allclose(net.better(one, other), -net.better(other, one))  # nothing makes it antisymmetric


def test_unknown_phases_teach_the_score_alone(make_spec: MakeSpec, pairs: Batch):
    nothing = torch.full((5, 2), -1)
    net, batch = net_of(make_spec), told(pairs, nothing, nothing)
    loss = HEAD.loss(net, batch, NOISE, STEP)
    loss.backward()
    grads = {name: p.grad for name, p in net.named_parameters()}
    assert all(g is None or not g.any() for name, g in grads.items() if name.startswith("segmenter."))
    last = grads["regressor.4.weight"]
    assert last is not None
    assert last.any()


def test_padding_and_companions_change_neither_loss_nor_gradient(make_spec: MakeSpec, pairs: Batch):
    batch, results = told(pairs), []
    for extra in (0, 9):
        net = net_of(make_spec)
        one, two = batch, exemplars_of(batch)
        for_x = [{"x": F.pad(of.streams["x"], (0, 0, 0, extra), value=55.0)} for of in (one, two)]
        there = [{"x": F.pad(of.masks["x"], (0, extra))} for of in (one, two)]
        longer = one._replace(
            streams=for_x[0], masks=there[0], exemplars=two._replace(streams=for_x[1], masks=there[1])
        )
        loss = HEAD.loss(net, longer, NOISE, STEP)
        loss.backward()
        results.append((loss.detach(), torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])))
    for short, long in zip(*results, strict=True):
        assert torch.allclose(short, long, atol=1e-9)


def test_it_learns_32_samples_by_heart_and_their_phases(dives: Callable[..., FeatureSet], tmp_path: Path):
    train = dives(32)
    head: Any = make_head("mcore", {"hidden": "32", "epochs": "40", "lr": "2e-3", "votes": "5", "by": "any"})
    (fitted,) = head.fit(train, None, seeds=[0], device="cpu")
    judged = fitted.predict(train)
    assert np.corrcoef(judged.score, train.score)[0, 1] > 0.97
    truth = transitions_of(train.phases)
    assert judged.phases is not None
    assert np.abs(judged.phases - truth)[truth[:, 0] >= 0].mean() < 8
    kinds = dict(zip(train.ids, train.kind, strict=True))
    assert all(
        set(names) <= kinds.keys() and name not in names
        for name, names in zip(train.ids, judged.exemplars, strict=True)
    )
    fitted.save(tmp_path)
    again = load_head(tmp_path).predict(train)
    assert np.array_equal(again.score, judged.score)
    assert again.phases is not None
    assert np.array_equal(again.phases, judged.phases)
    assert {name: part.tolist() for name, part in again.parts.items()} == {
        n: p.tolist() for n, p in judged.parts.items()
    }


def test_exemplars_are_of_the_kind_where_there_are_enough(dives: Callable[..., FeatureSet]):
    train = dives(20)
    lone = replace(train, kind=("5237D", *train.kind[1:]))  # a singleton, and fewer than ten of each kind
    (fitted,) = Mcore(hidden=8, epochs=1, by="kind").fit(lone, None, seeds=[0], device="cpu")
    test = replace(dives(4, 1), kind=("5237D", "107B", "407C", "never seen"))
    kinds = dict(zip(lone.ids, lone.kind, strict=True))
    for kind, names in zip(test.kind, fitted.predict(test).exemplars, strict=True):
        same = [kinds[name] == kind for name in names]
        assert len(set(names)) == 10
        assert same == sorted(same, reverse=True)  # first its own kind, then the others
        assert sum(same) == min(10, list(kinds.values()).count(kind))
    assert lone.ids[0] not in fitted.predict(lone.take([0])).exemplars[0]


def test_what_does_not_fit_is_refused(dives: Callable[..., FeatureSet]):
    with pytest.raises(UnmetNeeds, match="no sample has phases"):
        Mcore(epochs=1).fit(replace(dives(8), phases=()), None, seeds=[0])
    for settings in ({"hidden": "12"}, {"dropout": "1"}, {"votes": "0"}):
        with pytest.raises(BadParameter):
            make_head("mcore", settings)


@pytest.mark.parametrize("together", [1, 2])
def test_an_exemplar_is_encoded_once_in_a_judging(
    dives: Callable[..., FeatureSet], monkeypatch: pytest.MonkeyPatch, together: int
):
    """However many samples are compared with it, and however many seeds judge at once."""
    looked: list[int] = []

    def seen(net: Any, streams: Any, masks: Any, noise: Any) -> dict[str, Tensor]:
        if noise is None:
            looked.append(len(masks["x"]))
        return whole(net, streams, masks, noise)

    whole = McoreNet.seen
    monkeypatch.setattr(McoreNet, "seen", seen)
    train, val = dives(80), dives(70, 1)
    head = Mcore(hidden=8, epochs=2, votes=30, by="any")
    fitted = fit(head, train, val, seeds=[0, 1], together=together)
    bank = fitted[0].bank
    assert bank is not None
    once = [[0, 1]] if together == 2 else [[0], [1]]
    chosen = [np.unique([bank.nearest(val, seed) for seed in seeds]) for seeds in once]
    assert sum(looked) == 2 * sum(70 + len(rows) for rows in chosen)  # in either epoch
    looked.clear()
    names = fitted[0].predict(val).exemplars
    assert sum(looked) == 70 + len({name for row in names for name in row})
