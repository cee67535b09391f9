"""`mscadc`: sizes of its parts and on the way, a branch and the losses in other words, tasks that are off, what it can
learn, refusals."""

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
from aqa.extract.backbones import backbone
from aqa.extract.backbones.matching import empty
from aqa.heads import FeatureSet, Ragged, load_head, make_head, published
from aqa.heads.batches import Batch
from aqa.heads.check_data import synthetic
from aqa.heads.mscadc import Branch, Mscadc, MscadcNet
from aqa.heads.noise import Live
from aqa.heads.torch_head import Spec, Step, built
from aqa.heads.training import fit

STEP = Step(0, 0)
CLASSES = {"position": 3, "armstand": 2, "rotation": 4, "somersaults": 10, "twists": 8}
WORDS = ["<eos>", "<sos>", "<unk>", "a", "dive", "good"]
SMALL: dict[str, Any] = {"narrow": 2, "caption_hidden": 8, "dropout": 0.0}
MakeSpec = Callable[..., Spec]


def made_of(**other: Any) -> dict[str, Any]:
    return {"classes": {"position": 3, "twists": 4}, "words": WORDS, "tokens": 5, "off": {}, **other}


def published_net(make_spec: MakeSpec) -> MscadcNet:
    constants = made_of(classes=CLASSES, words=[str(i) for i in range(5779)], tokens=100)
    with torch.device("meta"):
        return Mscadc().build(make_spec(streams={"x": (256, 2, 20, 20)}, constants=constants))


def count(*modules: torch.nn.Module | None) -> int:
    return sum(p.numel() for module in modules if module is not None for p in module.parameters())


def data(samples: int, seed: int = 0) -> FeatureSet:
    return synthetic(Mscadc.needs, samples, seed=seed, prefix=f"s{seed}")


def test_it_has_the_papers_number_of_parameters(make_spec: MakeSpec):
    net, body = published_net(make_spec), empty(backbone("mscadc"), "volume")
    assert count(net.score) == 437_065
    assert count(net.classifiers) == 445_515
    assert count(net.seen, net.captioner) == 14_511_059
    assert count(net, body) == 22_312_359


def test_sizes_on_the_way(make_spec: MakeSpec):
    net = published_net(make_spec)
    assert net.seen is not None
    sizes = []
    for part in (net.seen.narrow, *net.seen.context, net.seen.merge, net.seen.mix, *net.seen.last):
        part.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape[1:])))
    x = torch.empty(3, 1, 256, 2, 20, 20, device="meta")
    mask = torch.empty(3, 1, dtype=torch.bool, device="meta")
    h = net(x, mask)
    clip, there = net.told(x, mask, h)
    assert (clip.shape, there.shape) == ((3, 1, 1200), (3, 1))
    context = [(24, 20, 38, 38), (24, 18, 36, 36), (48, 14, 32, 32), (96, 6, 24, 24), (96, 4, 22, 22)]
    assert sizes == [(12, 4, 22, 22), *context, (12, 4, 22, 22), (12, 2, 11, 11), (12, 2, 11, 11)]
    assert [tuple(said.shape) for said in net.logits(h)] == [(3, n) for n in CLASSES.values()]
    assert net.said(h).shape == (3,)


def branch_by_hand(branch: Branch, x: torch.Tensor) -> list[np.ndarray]:
    w = dict(branch.named_parameters())

    def conv(name: str, x: torch.Tensor, padding: int = 0, dilation: int = 1) -> torch.Tensor:
        return F.conv3d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=padding, dilation=dilation)

    def layer(name: str, x: torch.Tensor, **more: int) -> torch.Tensor:
        scale, shift = w[f"{name}.norm.weight"], w[f"{name}.norm.bias"]
        return F.batch_norm(conv(f"{name}.conv", x, **more), None, None, scale, shift, training=True).relu()

    wide = np.pad(conv("narrow", x, 1).detach().numpy(), ((0, 0), (0, 0), (9, 9), (9, 9), (9, 9)), mode="edge")
    x = torch.from_numpy(wide)
    for k, dilation in enumerate((1, 1, 2, 4, 1)):
        x = layer(f"context.{k}", x, dilation=dilation)
    x = layer("merge", x)
    t, h, w_ = (side // 2 for side in x.shape[2:])
    halves = x[:, :, : 2 * t, : 2 * h, : 2 * w_].reshape(*x.shape[:2], t, 2, h, 2, w_, 2).amax(dim=(3, 5, 7))
    x = layer("mix", halves, padding=1)
    return [conv(f"last.{k}", x, 1).detach().numpy() for k in range(len(branch.last))]


def test_branches_and_losses_by_hand(make_spec: MakeSpec):
    head = Mscadc(**SMALL, alpha=0.7, beta=1.3, gamma=0.2)
    net: Any = built(head, make_spec(streams={"x": (4, 3, 5, 6)}, constants=made_of()), 0).double()
    draw = torch.Generator().manual_seed(1)
    for parameter in net.parameters():  # also the scales and shifts of the norms, which begin as 1 and 0
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    x = torch.randn(4, 1, 4, 3, 5, 6, generator=draw, dtype=torch.float64)
    score, there = torch.tensor([61.0, 40.5, 83.25, 70.0], dtype=torch.float64), torch.ones(4, 1, dtype=torch.bool)
    classes = torch.tensor([[0, 3], [2, 1], [1, -1], [2, 0]])
    said = torch.tensor([[1, 3, 4, 0, 0], [1, 5, 0, 0, 0], [0, 0, 0, 0, 0], [1, 3, 5, 4, 0]])
    none = torch.full((4,), np.nan, dtype=torch.float64)
    batch = Batch({"x": x}, {"x": there}, score, none, torch.zeros(4, 0), torch.ones(4, dtype=torch.bool))
    batch = batch._replace(targets={"classes": classes, "tokens": said})

    (one,) = branch_by_hand(net.score, x[:, 0])
    assert one.shape == (4, 1, 2, 3, 4)
    error = one.mean(axis=(1, 2, 3, 4)) - score.numpy() / 15
    wanted = 0.7 * ((error**2).mean() + np.abs(error).mean())
    for k, found in enumerate(branch_by_hand(net.classifiers, x[:, 0])):
        p = np.exp(found.mean(axis=(2, 3, 4)))
        p /= p.sum(axis=1, keepdims=True)
        wanted -= 1.3 * np.mean([np.log(p[i, c]) for i, c in enumerate(classes[:, k].tolist()) if c >= 0])
    (seen,) = branch_by_hand(net.seen, x[:, 0])
    windows = np.lib.stride_tricks.sliding_window_view(seen, (2, 2, 2), axis=(2, 3, 4)).max(axis=(5, 6, 7))
    assert windows.shape == (4, 2, 1, 2, 3)
    clip = torch.from_numpy(windows.reshape(4, 1, 12))  # channels, time, height, width
    logs = net.captioner(clip, there, said)  # tested in test_captioner.py
    ends = {0: 3, 1: 2, 3: 4}  # sample -> tokens after <sos>, with <eos>
    wanted -= 0.2 * sum(logs[i, t, said[i, t + 1]].item() for i, n in ends.items() for t in range(n)) / 3
    assert head.loss(net, batch, Live(draw), STEP).item() == pytest.approx(wanted, abs=1e-9)


def test_a_score_begins_at_the_mean(make_spec: MakeSpec):
    for divisor, unit in ((None, 15.0), (17.0, 17.0)):
        spec = make_spec(streams={"x": (4, 2, 2, 2)}, mean=60.0, sd=15.0, constants=made_of())
        net: Any = built(Mscadc(**SMALL, divisor=divisor), spec, 0)
        with torch.no_grad():
            net.score.last[0].weight.zero_()
        assert net.said(torch.zeros(2, 4, 2, 2, 2)).tolist() == pytest.approx([60 / unit] * 2)


@pytest.mark.parametrize(("classify", "caption"), [(False, False), (True, False), (False, True), (True, True)])
def test_every_choice_of_tasks(classify: bool, caption: bool, tmp_path: Path):
    train, test = data(7), data(3, 1)
    head = Mscadc(**SMALL, classify=classify, caption=caption, epochs=2)
    (fitted,) = head.fit(train, None, seeds=[0])
    judged = fitted.predict(test)
    assert np.isfinite(judged.score).all()
    assert {name: p.shape for name, p in judged.attributes.items()} == (
        {"position": (3, 3), "armstand": (3, 2)} if classify else {}
    )
    assert len(judged.captions) == 3 * caption
    off = {} if caption else {"captions": "caption=no"}
    assert fitted.info["off"] == (off if classify else {**dict.fromkeys(train.attributes, "classify=no"), **off})
    fitted.save(tmp_path)
    again = load_head(tmp_path).predict(test)
    assert np.array_equal(again.score, judged.score)
    assert again.captions == judged.captions


def test_with_nothing_but_scores_it_is_the_single_task():
    bare = replace(data(6), attributes={}, caption=())
    (fitted,) = Mscadc(**SMALL, epochs=1).fit(bare, None, seeds=[0])
    assert fitted.info["off"] == {"attributes": "there are none", "captions": "no train sample has a caption"}
    (alone,) = Mscadc(**SMALL, epochs=1, classify=False, caption=False).fit(bare, None, seeds=[0])
    assert np.array_equal(fitted.predict(bare).score, alone.predict(bare).score)
    assert fitted.info["parameters"] == count(fitted.net.score)


def test_several_clips_are_their_mean():
    train, test = data(6), data(4, 1)
    (fitted,) = Mscadc(**SMALL, epochs=1).fit(train, None, seeds=[0])
    (stream,) = test.streams.values()
    assert (stream.lengths > 1).all()
    means = np.stack([stream[i].mean(axis=0) for i in range(4)])
    pooled = replace(test, streams={"stream0": Ragged(means, np.arange(5))})
    assert fitted.predict(pooled).score == pytest.approx(fitted.predict(test).score, abs=1e-4)


def test_seeds_that_train_together_become_what_they_become_alone():
    train = data(7)
    # sgd: the gradient of a bias before its normalisation is rounding alone, along which Adam goes
    head = Mscadc(**SMALL, caption=False, epochs=2, optimiser="sgd", lr=1e-3)
    pair = fit(head, train, seeds=[3, 4], dtype=torch.float64, together=2)
    alone = fit(head, train, seeds=[4], dtype=torch.float64)[0]
    for name, value in pair[1].net.state_dict().items():
        assert torch.allclose(value, alone.net.state_dict()[name], atol=1e-8), name
    again = fit(head, train, seeds=[3, 4], dtype=torch.float64, together=2)
    assert np.array_equal(again[0].predict(train).score, pair[0].predict(train).score)
    assert not np.array_equal(pair[0].predict(train).score, pair[1].predict(train).score)


LEARNS: dict[str, Any] = {"lr": 1e-2, "epochs": 60, "batch": 4, "schedule": "cosine", "select": "last", "narrow": 3}


def test_it_learns_8_samples_by_heart():
    made = data(8)
    high = made.score > np.median(made.score)
    captions = tuple("a high score" if one else "low" for one in high)
    train = replace(made, attributes={"high": high.astype(np.int64)}, caption=captions)
    (fitted,) = Mscadc(**LEARNS, caption_hidden=16, dropout=0.0, gamma=0.3).fit(train, None, seeds=[0])
    judged = fitted.predict(train)
    assert np.abs(judged.score - train.score).max() < 0.15 * np.ptp(train.score)
    assert (judged.attributes["high"].argmax(axis=1) == high).all()
    assert judged.captions == captions


def test_it_learns_right_and_wrong():
    train = synthetic(Mscadc.needs, 8, seed=0, prefix="s", kind="binary")
    (fitted,) = Mscadc(**LEARNS, classify=False, caption=False).fit(train, None, seeds=[0])
    judged = fitted.predict(train).score
    assert judged[train.score == 1].min() > 0.7 > 0.45 > judged[train.score == 0].max()


def test_other_streams_are_refused_in_words():
    train = data(6)
    (stream,) = train.streams.values()
    flat = replace(train, streams={"i3d": Ragged(stream.values.reshape(len(stream.values), -1), stream.offsets)})
    with pytest.raises(UnmetNeeds, match=r"takes volumes \[C, T, H, W\] per clip, and stream 'i3d' has \[36\]"):
        Mscadc(**SMALL).fit(flat, None, seeds=[0])
    short = replace(train, streams={"i3d": Ragged(stream.values[:, :, :1], stream.offsets)})
    with pytest.raises(UnmetNeeds, match=r"of 2x2x2 or more, and 'i3d' has \(3, 1, 2, 3\)"):
        Mscadc(**SMALL).fit(short, None, seeds=[0])
    for settings in ({"narrow": "0"}, {"divisor": "0"}, {"classes": "position"}, {"dropout": "1"}, {"beta": "-1"}):
        with pytest.raises(BadParameter):
            make_head("mscadc", settings)


def test_the_papers_settings():
    head = make_head("mscadc", published=published("mscadc", "mtl-aqa", "", "score"))
    assert isinstance(head, Mscadc)
    assert (head.divisor, head.scale, head.select) == (17.0, "none", "test")
    assert (head.lr, head.batch, head.epochs, head.weight_decay) == (1e-4, 3, 100, 0.0)
    assert head.classes == ("position:3", "armstand:2", "rotation:4", "somersaults:10", "twists:8")
