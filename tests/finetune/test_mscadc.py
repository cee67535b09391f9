"""MSCADC as it was trained: body and head together, with the paper's recipe, from random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from aqa.extract.backbones import resolve
from aqa.extract.plan import parse_plan
from aqa.finetune.live import live
from aqa.finetune.loop import Training
from aqa.finetune.recipe import recipe_for


def test_the_recipe_is_found_whatever_the_weights():
    for spec in ("mscadc", "mscadc.body", "mscadc.random"):
        recipe = recipe_for((spec,), "mscadc")
        assert recipe is not None
        assert (recipe.backbones, recipe.norms, recipe.shifts) == (("mscadc",), "train", (-3, 3))
    assert recipe_for(("mscadc",), "mlp") is None


def test_body_and_head_train_together(training: Callable[..., Training]):
    found = resolve("mscadc.random")
    pixels = replace(found.pixels, resize=(36, 54), crop=(32, 32))
    stream = live(replace(found, weights=replace(found.weights, pixels=pixels)), parse_plan("16of16"))
    assert (stream.name, stream.clips, stream.shape) == ("mscadc.tuned", 1, (256, 2, 2, 2))
    before = {name: value.clone() for name, value in found.net.state_dict().items()}
    settings: dict[str, Any] = {"epochs": "1", "batch": "6", "narrow": "2", "caption_hidden": "8"}
    one = training("mscadc", settings, streams=[stream], norms="train", flip=0.5)
    one.run()
    assert one.progress.history[-1]["loss"] > 0
    body = one.net.backbones[0].state_dict()
    for name in ("conv1.weight", "norm5b.weight", "norm5b.running_mean"):
        assert not torch.equal(body[name], before[name]), name
    assert one.judge.spec.constants["classes"] == {"bright": 2}
