"""A network that gives a row per frame, trained with heads over frames: `mcore`, `hpmcore` beside clips and poses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aqa.extract.backbones import resolve
from aqa.extract.backbones.tuned import TrainedOn, write_tuned
from aqa.extract.engine import Done, Job, extract
from aqa.extract.plan import parse_plan
from aqa.finetune.live import Live, live, seen_at
from aqa.finetune.loop import Training
from aqa.finetune.network import Computing
from aqa.heads import FeatureSet, Ragged
from aqa.heads.needs import FittedOn

from .conftest import FRAMES, Films, fresh

Make = Callable[..., Training]
PLAN = "1x8of8"
MCORE = {"hidden": "16", "votes": "3", "epochs": "2", "select": "last"}


@pytest.fixture
def phased(films: Films) -> Films:
    """The films in three phases, of which two begin elsewhere in every film."""
    labels = tuple(
        np.repeat([1, 2, 3], [4 + k % 4, 8, FRAMES - 12 - k % 4]).astype(np.int64) for k in range(len(films.data))
    )
    return replace(films, data=replace(films.data, phases=labels))


def shifted(plan: str = PLAN, weights: Path | None = None) -> Live:
    tag = "" if weights else ".random"
    return live(seen_at(resolve(f"regnet_y_400mf_gsm{tag}", weights), (36, 54), (32, 32)), parse_plan(plan))


def state(made: Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in made.net.backbones[0].state_dict().items()}


def test_a_stream_has_a_row_for_each_frame():
    one, two = shifted(), shifted("2x4of8")
    assert (one.name, one.clips, one.rows, one.shape) == ("regnet_y_400mf_gsm.tuned", 1, 8, (440,))
    assert (two.clips, two.rows, two.shape) == (2, 8, (440,))
    plain = fresh()
    assert (plain.clips, plain.rows, plain.shape) == (2, 2, (64,))


def test_mcore_opens_the_gates_and_extraction_agrees(phased: Films, training: Make, tmp_path: Path):
    made = training("mcore", MCORE, streams=[shifted()], films=phased, rates=(1e-4,), flip=0.5, micro=2)
    before = state(made)
    made.run()
    after = state(made)
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {name for name in before if name.startswith("shifts.") and ".gate." in name} <= moved
    assert "stem.0.weight" in moved
    assert not any("running" in name for name in moved), "batch normalisation is frozen, that of the gates too"

    def made_of(rows: range) -> FeatureSet:
        return made.judge.features(made.net, phased.data.take(rows))[0]

    train, test = made_of(range(12)), made_of(range(12, 16))
    assert {name: (s.shape, s.lengths.tolist()) for name, s in test.streams.items()} == {
        "regnet_y_400mf_gsm.tuned": ((440,), [8] * 4)
    }
    fitted = made.judge.fitted(made.net, train, FittedOn.of(made.judge.head, train), {"seed": 0})
    said = fitted.predict(test)
    assert said.phases is not None

    # the weights as a file, and extraction with them
    (stream,) = made.net.streams
    path, seen = tmp_path / "backbone.safetensors", TrainedOn("films", "", "", train.ids, "regnet_y_400mf_gsm.random")
    write_tuned(path, after, "regnet_y_400mf_gsm", "penultimate", stream.resolved.weights, seen)
    tuned = resolve("regnet_y_400mf_gsm", path)
    assert (tuned.name, tuned.pixels.crop) == ("regnet_y_400mf_gsm.tuned", (32, 32))
    job = Job("x", tuned.net, tuned.pixels, stream.plan, shape=tuned.shape(8, 32, 32), rows=tuned.backbone.rows)
    found = {}
    for event in extract([(i, phased.media[i]) for i in test.ids], [job], workers=0, batch=3):
        assert isinstance(event, Done)
        assert (event.features.shape, event.starts.tolist()) == ((8, 440), stream.plan.indexes(FRAMES)[0].tolist())
        found[event.id] = event.features
    live_rows = test.streams[stream.name]
    for k, name in enumerate(test.ids):
        assert found[name] == pytest.approx(live_rows[k], abs=1e-4 * float(np.abs(live_rows[k]).max()))
    values = np.concatenate([found[name] for name in test.ids])
    again = fitted.predict(replace(test, streams={stream.name: Ragged(values, live_rows.offsets)}))
    assert again.score == pytest.approx(said.score, abs=1e-2)
    assert np.array_equal(again.phases, said.phases)


def test_training_goes_on_from_tuned_gates(phased: Films, training: Make, tmp_path: Path):
    made = training("mcore", MCORE | {"epochs": "1"}, streams=[shifted()], films=phased, rates=(1e-4,))
    made.run()
    weights, path = made.net.streams[0].resolved.weights, tmp_path / "backbone.safetensors"
    seen = TrainedOn("films", "", "", ("film00",), "regnet_y_400mf_gsm.random")
    write_tuned(path, state(made), "regnet_y_400mf_gsm", "penultimate", weights, seen)
    again = training("mcore", MCORE, streams=[shifted(weights=path)], films=phased, folder=tmp_path / "again")
    began, ended = state(again), state(made)
    assert all(torch.equal(value, ended[name]) for name, value in began.items())


def test_clips_of_a_batch_are_apart_in_training_too(phased: Films, training: Make):
    made = training("mcore", MCORE, streams=[shifted("2x4of8")], films=phased)
    with torch.no_grad():
        for name, parameter in made.net.backbones[0].named_parameters():
            if ".gate." in name:
                parameter.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(len(name)))
    made.net.eval()
    draw = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 255, (3, 2, 4, 32, 32, 3), dtype=torch.uint8, generator=draw)
    zeros = torch.zeros(clips.shape[:3], dtype=torch.bool)
    cpu = torch.device("cpu")
    with torch.no_grad():
        whole = made.net.features(0, clips, zeros, Computing(cpu))
        parts = made.net.features(0, clips, zeros, Computing(cpu, at_once=1))
        other = clips.clone()
        other[1, 1] = 255 - other[1, 1]
        changed = made.net.features(0, other, zeros, Computing(cpu))
    assert whole.shape == (3, 8, 440)
    torch.testing.assert_close(whole, parts, rtol=1e-3, atol=1e-4)
    apart = (whole != changed).any(dim=2)
    assert apart[1, 4:].all()
    assert not apart[1, :4].any()
    assert not apart[[0, 2]].any()


def test_hpmcore_takes_it_beside_clips_and_poses(phased: Films, training: Make):
    count, draw = len(phased.data), np.random.default_rng(0)
    poses = draw.normal(size=(count * FRAMES, 17, 3)).astype(np.float32) * 10 + 50
    poses[..., 2] = 1
    cached = {"pose": Ragged(poses, np.arange(count + 1, dtype=np.int64) * FRAMES)}
    films = replace(phased, data=replace(phased.data, streams=cached))
    settings: dict[str, Any] = {"hidden": "8", "channels": "8", "gcn": "4", "votes": "2", "epochs": "1", "batch": "6"}
    made = training("hpmcore", settings, streams=[fresh("2x8@16"), shifted()], films=films, rates=(1e-4,))
    assert made.judge.spec.constants["roles"] == ["c3d_small.tuned", "regnet_y_400mf_gsm.tuned", "pose"]
    made.run()
    assert np.isfinite(made.progress.history[-1]["loss"])
    assert all(p.grad is not None for n, p in made.net.backbones[1].named_parameters() if ".gate." in n)
