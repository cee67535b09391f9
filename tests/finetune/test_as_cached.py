"""Fine-tuning of a network that stays as it is, without chances, is training on its cached features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from aqa.extract.engine import Done, Job, extract
from aqa.finetune.live import Live
from aqa.finetune.loop import Training
from aqa.heads import FeatureSet, Ragged
from aqa.heads.training import fit

Make = Callable[..., Training]


def cached(films: Any, stream: Live) -> FeatureSet:
    """The films with the features that extraction makes."""
    r = stream.resolved
    job = Job("x", r.net, r.pixels, stream.plan)
    found = {}
    for event in extract(list(films.media.items()), [job], workers=0):
        assert isinstance(event, Done)
        found[event.id] = event.features
    values = [found[name] for name in films.data.ids]
    offsets = np.concatenate([[0], np.cumsum([len(v) for v in values])])
    return replace(films.data, streams={stream.name: Ragged(np.concatenate(values), offsets)})


@pytest.mark.parametrize(
    ("head", "settings"),
    [
        ("mlp", {"hidden": "16"}),
        ("mlp", {"hidden": "16", "scale": "standard", "schedule": "cosine"}),
        ("mtl", {"hidden": "16", "dropout": "0", "caption_hidden": "8"}),
        ("core", {"votes": "3"}),
        ("attention", {"hidden": "8"}),
        ("cofinal", {"hidden": "16", "dropout": "0", "heads": "2"}),
        ("mean-teacher", {"hidden": "8", "noise_sd": "0"}),
    ],
)
def test_frozen_is_cached(head: str, settings: dict[str, str], films: Any, small: Live, training: Make):
    # sgd: Adam makes rounding of a gradient that is nearly 0 as large as any other
    live = training(head, {"optimiser": "sgd", **settings}, freeze=("all",), streams=[small])
    live.run()
    data = cached(films, small)
    one = fit(live.judge.head, data.take(range(12)), data.take(range(12, 16)), seeds=[0])[0]
    epoch, _ = live.load_kept()
    assert epoch == one.info["epoch"]
    assert live.progress.history[-1]["loss"] == pytest.approx(one.info["loss"], rel=1e-4)
    theirs = dict(one.net.named_parameters())
    for name, value in live.net.head.named_parameters():
        assert torch.allclose(value, theirs[name], atol=2e-5), name
    rows = live.judge.features(live.net, films.data.take(range(12, 16)))[0]
    train, _ = live.judge.features(live.net, films.data.take(range(12)))
    found = live.judge.fitted(live.net, train, one.fitted_on, one.info).predict(rows)
    assert found.score == pytest.approx(one.predict(data.take(range(12, 16))).score, abs=1e-3)
