"""`hpmcore`: size, stages of unlike streams, contrast, fusion and the whole difference by hand, roles of the streams,
unknown phases, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aqa.errors import BadParameter, UnmetNeeds
from aqa.heads import FeatureSet, Ragged, load_head, make_head
from aqa.heads.batches import Batch, Exemplars, exemplars_of, select
from aqa.heads.check_data import synthetic
from aqa.heads.hpmcore import HpMcore, HpMcoreNet, PoseBlock, StageMlp, inclusive, stage_contrast
from aqa.heads.noise import Live
from aqa.heads.stages import stage_tokens
from aqa.heads.torch_head import Spec, Step, built, spec_of

from . import skeleton_by_hand as encoders
from .skeleton_by_hand import padded
from .stages_by_hand import (
    cosines,
    cross_block,
    gelu,
    linear,
    normed,
    regressed,
    resampled,
    segmentation,
    softmax,
    weights,
)

SMALL: dict[str, Any] = {"hidden": 8, "channels": 8, "gcn": 4, "votes": 3}
UNITS = ("score", "difficulty")
ROLES = {"roles": ["clips", "frames", "pose"], "clips": 9}


def net_of(make_spec: Callable[..., Spec], clips: int = 1024, frames: int = 368, **head: Any) -> HpMcoreNet:
    streams = {"frames": (frames,), "clips": (clips,), "pose": (16, 2)}
    return built(HpMcore(**head), make_spec(streams=streams, constants=ROLES), 0)  # pyright: ignore[reportReturnType]


def test_size(make_spec: Callable[..., Spec]):
    sizes = {n: sum(p.numel() for p in part.parameters()) for n, part in net_of(make_spec).named_children()}
    mlp = (256 * 1024 + 1024) + (1024 * 256 + 256)
    cross = 4 * 256 * 256 + 256 + 3 * 2 * 256 + mlp
    fuse = 4 * 256 * 256 + 256 + 2 * 2 * 256 + mlp + (128 * 256 + 256) + 1
    regressor = (256 * 256 + 256) + (256 * 64 + 64) + 65
    gcn = sizes.pop("gcn")  # has tests of its own
    assert sizes == {
        "units": 0,
        "narrow": 0,
        "segmenter": 1_630_978,
        "dynamic": 3 * ((1024 * 1152 + 1152) + (1152 * 256 + 256)),
        "static": 3 * ((368 * 496 + 496) + (496 * 256 + 256)),
        "fuse": 3 * fuse,
        "decoders": 2 * 4 * cross,
        "regressors": 2 * regressor,
    }
    assert sum(sizes.values()) + gcn + 3 == 16_106_458  # and the weights of the stages


def test_stages_share_their_borders():
    first, last = inclusive(torch.tensor([[28, 62], [1, 95]]), 96)
    assert first.tolist() == [[0, 28, 61], [0, 1, 94]]
    assert last.tolist() == [[28, 62, 95], [1, 95, 95]]
    assert (last - first + 1)[0].tolist() == [28 + 1, 62 - 28 + 1, 96 - 62 + 1]  # st + 1, ed - st + 1, T - ed + 1
    first, last = inclusive(torch.tensor([[28, 62], [1, 95], [9, 10]]), 9)  # 9 clips begin ten frames apart
    assert first.tolist() == [[0, 2, 5], [0, 0, 8], [0, 0, 0]]
    assert last.tolist() == [[2, 6, 8], [0, 8, 8], [0, 1, 8]]
    for rows in (1, 2, 7, 9, 50, 96, 300):  # whatever the transitions: rows that are there, in order
        every = torch.tensor([[st, ed] for st in range(1, 95) for ed in range(st + 1, 96)])
        first, last = inclusive(every, rows)
        assert (first <= last).all()
        assert int(first.min()) == 0
        assert int(last.max()) == rows - 1
    x = torch.randn(1, 96, 4, dtype=torch.float64)
    found = stage_tokens(x, *inclusive(torch.tensor([[28, 62]]), 96), 10)
    for k, part in enumerate((x[:, :29], x[:, 28:63], x[:, 61:])):
        assert torch.allclose(found[:, k], F.interpolate(part.mT, size=10, mode="linear", align_corners=True).mT)


def contrast_by_hand(a: np.ndarray, b: np.ndarray, tau: float) -> float:
    """Tokens [3, L, d] of one pair."""
    losses = []
    for one, other in ((a.mean(axis=1), b.mean(axis=1)), (b.mean(axis=1), a.mean(axis=1))):
        within, across = np.exp(cosines(one, one) / tau), np.exp(cosines(one, other) / tau)
        for i in range(3):
            others = [j for j in range(3) if j != i]
            losses.append(-np.log(across[i, i] / (across[i, i] + within[i, others].sum() + across[i, others].sum())))
    return float(np.mean(losses))


def test_the_contrast_by_hand():
    torch.manual_seed(4)
    one, other = torch.randn(2, 4, 3, 10, 7, dtype=torch.float64)
    wanted = [contrast_by_hand(a.numpy(), b.numpy(), 0.1) for a, b in zip(one, other, strict=True)]
    assert stage_contrast(one, other, 0.1).numpy() == pytest.approx(np.array(wanted), abs=1e-12)
    assert torch.allclose(stage_contrast(one, other, 0.1), stage_contrast(other, one, 0.1))


def fused_by_hand(w: dict[str, np.ndarray], name: str, x: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """x [L, 8], poses [L, P] -> [L, 8]; `name`: of the block, with its dot."""
    q, k, v = np.split(normed(w, f"{name}norms.0", x) @ w[f"{name}inputs.weight"].T, 3, axis=1)
    e = linear(w, f"{name}embed", 0.01 * poses)
    found = []
    for h in (slice(0, 4), slice(4, 8)):
        a = q[:, h] @ k[:, h].T / np.sqrt(4) + w[f"{name}weight"] * (e @ e.T) / 64
        found.append(softmax(a) @ v[:, h])
    y = x + linear(w, f"{name}output", np.concatenate(found, axis=1))
    return y + linear(w, f"{name}outer", gelu(linear(w, f"{name}inner", normed(w, f"{name}norms.1", y))))


def test_the_fusion_by_hand():
    torch.manual_seed(5)
    block = PoseBlock(8, 6).double()
    with torch.no_grad():
        block.weight.fill_(300.0)  # at first it is .001, and hardly to be seen
    x, poses = torch.randn(2, 10, 8).double(), 40 * torch.randn(2, 10, 6).double()
    for i in range(2):
        wanted = fused_by_hand(weights(block), "", x[i].numpy(), poses[i].numpy())
        assert block(x, poses)[i].detach().numpy() == pytest.approx(wanted, abs=1e-10)
    assert not torch.allclose(block(x, poses), block(x, poses.flip(1)))
    assert PoseBlock(8, 6).weight.item() == pytest.approx(1e-3)


def test_every_stage_has_layers_of_its_own():
    mlp = StageMlp(5, 7, 4).double()
    x, w = torch.randn(2, 3, 10, 5).double(), weights(mlp)
    for k in range(3):
        h = x[:, k].numpy()
        for layer in (0, 1):
            h = np.maximum(h @ w[f"layers.{layer}.weight"][k] + w[f"layers.{layer}.bias"][k], 0)
        assert mlp(x)[:, k].detach().numpy() == pytest.approx(h, abs=1e-12)


def test_the_difference_by_hand(make_spec: Callable[..., Spec]):
    net = net_of(make_spec, 12, 8, hidden=8, channels=8, gcn=4).double()
    assert net.stages.exp().tolist() == pytest.approx([2.0] * 3)
    with torch.no_grad():
        net.stages.copy_(torch.tensor([0.1, 0.7, -0.4]))
    w = weights(net)
    one, other = ({n: torch.randn(2, 3, 10, 8).double() for n in ("fused", "static")} for _ in range(2))
    a = np.exp(w["stages"])
    for i in range(2):
        total = 0.0
        for k in range(3):
            for s, name in enumerate(("fused", "static")):
                x, y = one[name][i, k].numpy(), other[name][i, k].numpy()
                for layer in range(4):
                    x = cross_block(w, f"decoders.{s}.blocks.{layer}", x, y, 2)
                total += a[k] * regressed(w, f"regressors.{s}", x).mean() / a.sum() / 2
        assert net.better(one, other)[i].sum().item() == pytest.approx(total, rel=1e-10)
    assert not torch.allclose(net.better(one, other), -net.better(other, one))


def data(count: int, seed: int = 0) -> FeatureSet:
    return synthetic(HpMcore.needs, count, seed=seed, prefix=f"s{seed}")


def test_roles_follow_shapes_and_lengths():
    made = data(6)
    clips, frames, pose = made.streams.values()
    for names in (("c", "f", "p"), ("f", "p", "c"), ("p", "c", "f")):
        by_name = {"c": clips, "f": frames, "p": pose}
        head = HpMcore(**SMALL)
        spec = spec_of(head, head.prepared(replace(made, streams={n: by_name[n] for n in names})))
        assert spec.constants == {"roles": ["c", "f", "p"], "clips": int(clips.lengths.max())}
        assert spec.streams["p"] == (16, 2)


def test_streams_that_do_not_fit_are_refused():
    made = data(6)
    clips, frames, pose = made.streams.values()
    eight = Ragged(pose.values[:, :8], pose.offsets)
    for streams, what in (
        ({"a": clips, "b": frames}, "takes 3 streams of features, got a, b"),
        ({"a": clips, "b": frames, "c": clips}, r"vectors, vectors, joints \[J, 3\] per clip, got .*'c' \[12\]"),
        ({"a": clips, "b": frames, "c": eight}, r"joints \[J, 3\] of .*stream 'c' has \[8, 3\]"),
    ):
        with pytest.raises(UnmetNeeds, match=what):
            HpMcore(**SMALL, epochs=1).fit(replace(made, streams=streams), None, seeds=[0])
    with pytest.raises(UnmetNeeds, match="no sample has phases"):
        HpMcore(**SMALL, epochs=1).fit(replace(made, phases=()), None, seeds=[0])
    for settings in ({"channels": "3"}, {"gcn": "6"}, {"dropout": "1"}, {"hidden": "0"}):
        with pytest.raises(BadParameter):
            make_head("hpmcore", settings)


def test_all_streams_are_looked_at_and_it_is_the_same_from_disk(tmp_path: Path):
    train, test = data(12), data(4, 1)
    train = replace(train, phases=((), *train.phases[1:]))  # of one they are not known
    (fitted,) = HpMcore(**SMALL, epochs=2).fit(train, None, seeds=[0])
    said = fitted.predict(test)
    fitted.save(tmp_path)
    loaded = load_head(tmp_path).predict(test)
    assert np.array_equal(loaded.score, said.score)
    assert np.array_equal(loaded.phases, said.phases)  # pyright: ignore[reportArgumentType]
    assert list(said.parts) == ["takeoff", "flight", "entry"]
    with torch.no_grad():
        for block in fitted.net.fuse:
            block.weight.fill_(1e4)  # at .001 what a pose says is about rounding: see the page
    said = fitted.predict(test)
    for name, stream in test.streams.items():
        wild = np.random.default_rng(1).normal(size=stream.values.shape).astype(np.float32)
        other = replace(test, streams={**test.streams, name: Ragged(wild, stream.offsets)})
        assert not np.array_equal(fitted.predict(other).score, said.score), name


def test_it_learns_32_samples_by_heart():
    train = data(32)
    (fitted,) = HpMcore(**{**SMALL, "channels": 16}, epochs=10, lr=3e-3, by="any", batch=4).fit(train, None, seeds=[0])
    assert np.corrcoef(fitted.predict(train).score, train.score)[0, 1] > 0.9


TRUTH = np.array([[10, 60], [1, 95], [30, 70], [-1, -1], [40, 90], [20, 50], [47, 48], [-1, -1], [5, 60], [33, 66]])
LENGTHS = {"clips": [9, 3, 1, 6, 9, 2, 9, 4, 5, 9], "frames": [12, 5, 9, 1, 7, 12, 3, 8, 2, 10]}
LENGTHS["pose"] = [8, 20, 3, 20, 11, 20, 5, 9, 1, 14]
WIDTHS = {"clips": (6,), "frames": (7,), "pose": (16, 2)}


class ByHand:
    """The whole loss in numpy, sample by sample and stage by stage; rows 0 to 4 are samples, 5 to 9 their exemplars."""

    def __init__(self, net: HpMcoreNet, rows: dict[str, list[np.ndarray]]) -> None:
        self.w, self.rows = weights(net), rows
        self.poses = self.skeleton(net)
        self.frames = [resampled(linear(self.w, "narrow", x), 0, len(x) - 1, 96) for x in rows["frames"]]
        self.clips = [resampled(x, 0, len(x) - 1, 9) for x in rows["clips"]]
        self.logits = np.array([self.segmenter(x) for x in self.frames])

    def skeleton(self, net: HpMcoreNet) -> list[np.ndarray]:
        """[96, 8] of each sample: the nearest frames, normalised over all of the batch, through five units."""
        places = [[int(k * (len(x) - 1) / 95 + 0.5) for k in range(96)] for x in self.rows["pose"]]
        wide = [x[at].reshape(96, -1) for x, at in zip(self.rows["pose"], places, strict=True)]
        wide = encoders.normed(wide, self.w["gcn.input_norm.weight"], self.w["gcn.input_norm.bias"])
        parts = [x.reshape(96, 16, 2) for x in wide]
        for k, unit in enumerate(net.gcn.units):
            parts = encoders.hierarchical(parts, unit, first=k == 0)  # pyright: ignore[reportArgumentType]
        return [x.mean(axis=1) for x in parts]

    def segmenter(self, x: np.ndarray) -> np.ndarray:
        """[96, 2]: a gated recurrent unit from either end, and a linear layer."""
        inputs, recur = (
            [(self.w[f"segmenter.gru.{n}.weight"][k], self.w[f"segmenter.gru.{n}.bias"][k, 0]) for k in (0, 1)]
            for n in ("inputs", "recur")
        )
        ways = []
        for k, frames in enumerate((x, x[::-1])):
            h, out = np.zeros(8), []
            for frame in frames:
                (ri, zi, ni), (rh, zh, nh) = (
                    np.split(row @ one[k][0] + one[k][1], 3) for row, one in ((frame, inputs), (h, recur))
                )
                r, z = 1 / (1 + np.exp(-(ri + rh))), 1 / (1 + np.exp(-(zi + zh)))
                h = (1 - z) * np.tanh(ni + r * nh) + z * h
                out.append(h)
            ways.append(np.array(out if k == 0 else out[::-1]))
        return linear(self.w, "segmenter.out", np.concatenate(ways, axis=1))

    def at(self, i: int) -> tuple[int, int]:
        st, ed = TRUTH[i]
        if st >= 0:
            return st, ed
        return max(int(self.logits[i, :48, 0].argmax()), 1), 48 + int(self.logits[i, 48:, 1].argmax())

    @staticmethod
    def cut(x: np.ndarray, st: int, ed: int) -> list[np.ndarray]:
        """Ten tokens of each stage, whose ends are in it."""
        parts = (x[: st + 1], x[st : ed + 1], x[ed - 1 :])
        assert [len(part) for part in parts] == [st + 1, min(ed + 1, len(x)) - st, len(x) - ed + 1]
        return [resampled(part, 0, len(part) - 1, 10) for part in parts]

    def tokens(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """[3, 10, 8] of the fused and of the static stream."""
        st, ed = self.at(i)
        fused, static = [], []
        cuts = (self.cut(self.clips[i], st // 10, ed // 10), self.cut(self.poses[i], st, ed))
        for k, (clips, poses, frames) in enumerate(zip(*cuts, self.cut(self.frames[i], st, ed), strict=True)):
            for name, x, into in (("dynamic", clips, fused), ("static", frames, static)):
                for layer in (0, 1):
                    x = np.maximum(x @ self.w[f"{name}.layers.{layer}.weight"][k] + self.bias(name, layer, k), 0)
                into.append(x if name == "static" else fused_by_hand(self.w, f"fuse.{k}.", x, poses))
        return np.array(fused), np.array(static)

    def bias(self, name: str, layer: int, k: int) -> np.ndarray:
        return self.w[f"{name}.layers.{layer}.bias"][k, 0]

    def better(self, one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> float:
        """By how many deviations."""
        a, total = np.exp(self.w["stages"]), 0.0
        for s in (0, 1):
            for k in range(3):
                x = one[s][k]
                for layer in range(4):
                    x = cross_block(self.w, f"decoders.{s}.blocks.{layer}", x, other[s][k], 2)
                total += a[k] * regressed(self.w, f"regressors.{s}", x).mean() / a.sum() / 2
        return total


@pytest.mark.parametrize("times_difficulty", [True, False])
def test_the_whole_loss_by_hand(make_spec: Callable[..., Spec], pairs: Batch, times_difficulty: bool):
    spec = make_spec(streams=WIDTHS, constants=ROLES, times_difficulty=times_difficulty)
    head = HpMcore(**{**SMALL, "hidden": 8, "dropout": 0.0})
    net: Any = encoders.shaken(built(head, spec, 0))
    with torch.no_grad():
        for block in net.fuse:
            block.weight.fill_(3e4)  # so that poses count
    draw = np.random.default_rng(6)
    rows = {n: [draw.normal(size=(length, *WIDTHS[n])) for length in LENGTHS[n]] for n in WIDTHS}
    both = {name: padded(parts, extra=2, value=9.0) for name, parts in rows.items()}
    streams, masks = ({name: pair[k] for name, pair in both.items()} for k in (0, 1))
    score, difficulty = (torch.cat([getattr(of, f) for of in (pairs, exemplars_of(pairs))]) for f in UNITS)
    whole = Batch(streams, masks, score, difficulty, torch.zeros(10, 0), score > 0)
    truth = torch.tensor(TRUTH)
    query, other = (select(whole, torch.arange(start, start + 5)) for start in (0, 5))
    batch = query._replace(targets={"transitions": truth[:5]})
    batch = batch._replace(exemplars=Exemplars(*other[:4], {"transitions": truth[5:]}))
    ours = head.loss(net, batch, Live(torch.Generator(), torch.float64), Step(0, 0)).item()

    hand = ByHand(net, rows)
    tokens = [hand.tokens(i) for i in range(10)]
    mark = (score / difficulty if times_difficulty else score).numpy()
    aqa, unlike = 0.0, []
    for i in range(5):
        gap = (mark[i] - mark[5 + i]) / 15.0
        aqa += (hand.better(tokens[i], tokens[5 + i]) - gap) ** 2 + (hand.better(tokens[5 + i], tokens[i]) + gap) ** 2
        if (TRUTH[[i, 5 + i], 0] >= 0).all():
            unlike.append(sum(contrast_by_hand(tokens[i][s], tokens[5 + i][s], 0.1) for s in (0, 1)))
    assert len(unlike) == 3
    wanted = 15.25**2 * aqa / 5 + segmentation(hand.logits, TRUTH) + 10 * np.mean(unlike)
    assert ours == pytest.approx(wanted, rel=1e-9)
