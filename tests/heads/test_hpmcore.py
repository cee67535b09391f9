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
from aqa.heads.check_data import synthetic
from aqa.heads.hpmcore import HpMcore, HpMcoreNet, PoseBlock, StageMlp, inclusive, stage_contrast
from aqa.heads.stages import stage_tokens
from aqa.heads.torch_head import Spec, built, spec_of

from .stages_by_hand import cosines, cross_block, gelu, linear, normed, regressed, softmax, weights

SMALL: dict[str, Any] = {"hidden": 8, "channels": 8, "gcn": 4, "votes": 3}
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
    assert first.tolist() == [[0, 2, 5], [0, 0, 7], [0, 0, 0]]
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


def test_the_fusion_by_hand():
    torch.manual_seed(5)
    block = PoseBlock(8, 6).double()
    with torch.no_grad():
        block.weight.fill_(300.0)  # at first it is .001, and hardly to be seen
    x, poses = torch.randn(2, 10, 8).double(), 40 * torch.randn(2, 10, 6).double()
    w = weights(block)
    for i in range(2):
        q, k, v = np.split(normed(w, "norms.0", x[i].numpy()) @ w["inputs.weight"].T, 3, axis=1)
        e = linear(w, "embed", 0.01 * poses[i].numpy())
        found = []
        for h in (slice(0, 4), slice(4, 8)):
            a = q[:, h] @ k[:, h].T / np.sqrt(4) + 300.0 * (e @ e.T) / 64
            found.append(softmax(a) @ v[:, h])
        y = x[i].numpy() + linear(w, "output", np.concatenate(found, axis=1))
        y = y + linear(w, "outer", gelu(linear(w, "inner", normed(w, "norms.1", y))))
        assert block(x, poses)[i].detach().numpy() == pytest.approx(y, abs=1e-10)
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
