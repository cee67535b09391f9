"""`mtl`: size, its three losses on five samples, tasks that are off, and what it can learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from aqa.errors import BadParameter, UnmetNeeds
from aqa.heads import FeatureSet, make_head
from aqa.heads.batches import Batch
from aqa.heads.mtl import Mtl
from aqa.heads.noise import Live
from aqa.heads.torch_head import Spec, Step, built, spec_of

STEP = Step(0, 0)
CLASSES = {"position": 3, "armstand": 2, "rotation": 4, "somersaults": 10, "twists": 8}
MakeSpec = Callable[..., Spec]
Dives = Callable[..., FeatureSet]
SMALL: dict[str, Any] = {"hidden": 7, "caption_hidden": 5, "dropout": 0.0}


def made_of(**other: Any) -> dict[str, Any]:
    words = ["<eos>", "<sos>", "<unk>", "a", "dive", "good"]
    return {"classes": {"position": 3, "twists": 4}, "words": words, "tokens": 5, "off": {}, **other}


@pytest.fixture
def labelled(five: Batch) -> Batch:
    """`five` with two attributes, one of a sample unknown, and captions, of which one is missing."""
    classes = torch.tensor([[0, 3], [2, 1], [1, -1], [2, 0], [0, 2]])
    tokens = torch.tensor([[1, 3, 4, 0, 0], [1, 5, 0, 0, 0], [0, 0, 0, 0, 0], [1, 3, 5, 4, 0], [1, 4, 0, 0, 0]])
    return five._replace(targets={"classes": classes, "tokens": tokens})


def test_it_has_the_papers_number_of_parameters(make_spec: MakeSpec):
    spec = make_spec(8192, constants=made_of(classes=CLASSES, words=[str(i) for i in range(5779)], tokens=100))
    with torch.device("meta"):
        net = Mtl().build(spec)
    assert net.captioner is not None
    counts = [sum(p.numel() for p in part.parameters()) for part in (net.score, net.classifiers, net.captioner)]
    assert counts == [4_097, 110_619, 24_810_131]
    convolutions = 27_655_936  # of C3D up to pool5, which is in the features here
    assert sum(p.numel() for p in net.parameters()) + convolutions == 86_139_311


def test_the_loss_is_that_of_the_score_of_the_classes_and_of_the_captions(make_spec: MakeSpec, labelled: Batch):
    head = Mtl(**SMALL, alpha=0.7, beta=1.3, gamma=0.2)
    net: Any = built(head, make_spec(constants=made_of()), 0).double()
    w = {name: value.detach().numpy() for name, value in net.named_parameters()}
    clips, there = labelled.streams["x"].numpy(), labelled.masks["x"].numpy()
    means = np.stack([one[mask].mean(axis=0) for one, mask in zip(clips, there, strict=True)])
    hidden = np.maximum(means @ w["fc6.weight"].T + w["fc6.bias"], 0)
    error = (hidden @ w["score.weight"].T + w["score.bias"])[:, 0] - labelled.score.numpy() / 15
    wanted = 0.7 * ((error**2).mean() + np.abs(error).mean())
    for k in range(2):
        logits = hidden @ w[f"classifiers.{k}.weight"].T + w[f"classifiers.{k}.bias"]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        known = [(i, c) for i, c in enumerate(labelled.targets["classes"][:, k].tolist()) if c >= 0]
        wanted -= 1.3 * np.mean([np.log(p[i, c]) for i, c in known])
    said = labelled.targets["tokens"]
    logs = net.captioner(labelled.streams["x"], labelled.masks["x"], said)  # tested in test_captioner.py
    ends = {0: 3, 1: 2, 3: 4, 4: 2}  # sample -> tokens after <sos>, with <eos>
    wanted -= 0.2 * sum(logs[i, t, said[i, t + 1]].item() for i, n in ends.items() for t in range(n)) / 4
    assert head.loss(net, labelled, Live(torch.Generator()), STEP).item() == pytest.approx(wanted, abs=1e-12)


def test_an_attribute_that_nobody_in_the_batch_has_costs_nothing(make_spec: MakeSpec, labelled: Batch):
    head = Mtl(**SMALL)
    net: Any = built(head, make_spec(constants=made_of(words=[])), 0).double()
    unknown = labelled._replace(targets={"classes": torch.full((5, 2), -1)})
    loss = head.loss(net, unknown, Live(torch.Generator()), STEP)
    h = net(labelled.streams["x"], labelled.masks["x"])
    assert loss.item() == pytest.approx(net.loss(h, labelled.score).item())
    loss.backward()
    assert net.classifiers[0].weight.grad.abs().sum() == 0


@pytest.mark.parametrize("kind", ["score", "binary"])
def test_it_learns_32_samples_by_heart(dives: Dives, kind: Any):
    train = dives(32, width=48)
    if kind == "binary":
        truth = (train.score > np.median(train.score)).astype(np.float64)
        train = replace(train, score=truth, target_kind="binary", range=(0.0, 1.0), times_difficulty=False)
    training: dict[str, Any] = {"lr": 5e-3, "epochs": 150, "batch": 8, "schedule": "cosine", "select": "last"}
    head = Mtl(hidden=64, caption_hidden=32, dropout=0.0, gamma=0.3, **training)
    (fitted,) = head.fit(train, seeds=[0])
    judged = fitted.predict(train)
    assert np.abs(judged.score - train.score).max() < 0.1 * np.ptp(train.score)
    for name, truth in train.attributes.items():
        assert (judged.attributes[name].argmax(axis=1) == truth).all(), name
    assert judged.captions == tuple(caption.lower().replace(",", "").rstrip(".") for caption in train.caption)
    assert len(set(judged.captions)) == 6


def test_what_train_has_no_labels_for_is_off_and_said(dives: Dives):
    train = dives(20)
    bare = replace(train, caption=())
    (fitted,) = Mtl(**SMALL, epochs=1).fit(bare, seeds=[0])
    judged = fitted.predict(dives(4, 1))
    assert judged.captions == ()
    assert {name: table.shape for name, table in judged.attributes.items()} == {"group": (4, 3), "quality": (4, 4)}
    assert fitted.info["off"] == {"captions": "no train sample has a caption"}
    assert fitted.info["classes"] == {"group": 3, "quality": 4}

    unknown = {"group": np.full(20, -1), "quality": train.attributes["quality"], "year": np.arange(20) + 2000}
    (fitted,) = Mtl(**SMALL, epochs=1).fit(replace(train, attributes=unknown), seeds=[0])
    assert fitted.info["off"] == {
        "group": "unknown for every train sample",
        "year": "2020 classes for 20 train samples",
    }
    assert list(fitted.predict(train).attributes) == ["quality"]

    (fitted,) = Mtl(**SMALL, epochs=1, classify=False).fit(train, seeds=[0])
    assert fitted.info["off"] == {"group": "classify=no", "quality": "classify=no"}
    judged = fitted.predict(train)
    assert (judged.attributes, len(judged.captions)) == ({}, 20)
    (fitted,) = Mtl(**SMALL, epochs=1, caption=False).fit(train, seeds=[0])
    assert fitted.info["off"] == {"captions": "caption=no"}


def test_with_nothing_but_the_score_to_learn_it_is_refused(dives: Dives):
    train = dives(20)
    with pytest.raises(UnmetNeeds, match="no sample has attributes or a caption"):
        Mtl().fit(replace(train, attributes={}, caption=()), seeds=[0])
    with pytest.raises(UnmetNeeds, match=r"nothing but the score to learn .*caption=no\)\. Use mlp"):
        Mtl(caption=False).fit(replace(train, attributes={}), seeds=[0])


def test_the_vocabulary_and_the_length_of_captions_come_from_train(dives: Dives):
    train = dives(20)
    long = replace(train, caption=("one two three four five six seven", *train.caption[1:]))
    assert spec_of(Mtl(), long).constants["tokens"] == 9
    assert spec_of(Mtl(max_tokens=6), long).constants["tokens"] == 6
    assert "seven" in spec_of(Mtl(), long).constants["words"]
    assert "seven" not in spec_of(Mtl(min_count=2), long).constants["words"]
    (fitted,) = Mtl(**SMALL, epochs=1).fit(train, seeds=[0])
    before, elsewhere = fitted.predict(train), replace(train, caption=("nobody ever said this",) * 20)
    assert fitted.predict(elsewhere).captions == before.captions


def test_classes_may_be_given(dives: Dives):
    head = make_head("mtl", {"classes": "group:5,quality:9", "hidden": "7", "caption": "no", "epochs": "1"})
    (fitted,) = head.fit(dives(8), None, seeds=[0], device="cpu")
    assert {n: t.shape[1] for n, t in fitted.predict(dives(3, 1)).attributes.items()} == {"group": 5, "quality": 9}
    with pytest.raises(BadParameter, match=r"so 2 classes are too few.*Give group:3"):
        Mtl(classes=("group:2",)).fit(dives(20), seeds=[0])
    with pytest.raises(BadParameter, match="train has no attribute 'twists'"):
        Mtl(classes=("twists:2",)).fit(dives(20), seeds=[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"classify": "no", "caption": "no"},
        {"classes": "position"},
        {"classes": "position:none"},
        {"gamma": "-1"},
        {"dropout": "1"},
        {"max_tokens": "2"},
        {"min_count": "0"},
        {"caption_hidden": "0"},
    ],
)
def test_parameters_that_do_not_fit_are_refused(settings: dict[str, str]):
    with pytest.raises(BadParameter):
        make_head("mtl", settings)


def test_attributes_named_like_anything(dives: Dives, tmp_path):
    train = dives(12)
    odd = {"a.b": train.attributes["group"], "keys": train.attributes["group"], "": train.attributes["quality"]}
    (fitted,) = Mtl(**SMALL, epochs=1).fit(replace(train, attributes=odd), seeds=[0])
    fitted.save(tmp_path)
    assert list(Mtl().load(tmp_path).predict(train).attributes) == ["a.b", "keys", ""]
