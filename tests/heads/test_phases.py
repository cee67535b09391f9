"""What `segment` and `psnet` share: decoding with its guards, what they learn from, which epoch they keep, what they
say, and that they learn phases which their clips tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aqa.catalog.phases import FRAMES, overlap, transitions_of
from aqa.errors import UnmetNeeds
from aqa.heads import FeatureSet, Ragged, load_head, make_head, unmet
from aqa.heads.phases import HALF, decode
from aqa.heads.training import fit

SMALL = {"segment": {"hidden": "8", "lr": "5e-3"}, "psnet": {"hidden": "16"}}
both = pytest.mark.parametrize("name", SMALL)


def logits(*places: tuple[int, int]) -> torch.Tensor:
    """[B, 96, 2] with the highest numbers at these frames."""
    z = torch.zeros(len(places), FRAMES, 2)
    for row, (st, ed) in zip(z, places, strict=True):
        row[st, 0] = row[ed, 1] = 1.0
    return z


def test_st_is_sought_in_the_first_half_and_ed_in_the_second():
    z = logits((28, 62), (47, 48), (1, 95))
    assert decode(z).tolist() == [[28, 62], [47, 48], [1, 95]]
    z[:, HALF:, 0], z[:, :HALF, 1] = 9.0, 9.0  # what lies in the other half is not looked at
    assert decode(z).tolist() == [[28, 62], [47, 48], [1, 95]]


def test_no_segment_is_empty():
    for st, ed in decode(torch.cat([logits((0, 95), (0, 48)), torch.zeros(1, FRAMES, 2)])).tolist():
        segments = range(st), range(st, ed), range(ed, FRAMES)
        assert all(len(segment) for segment in segments)
    assert decode(logits((0, 95))).tolist() == [[1, 95]]
    assert decode(torch.zeros(1, FRAMES, 2)).tolist() == [[1, 48]]  # of equal ones the first
    near = logits((28, 62))
    near[0, 30, 0] += 1 + 1e-6
    assert decode(near).tolist() == [[28, 62]]  # rounding does not decide
    near[0, 30, 0] += 1e-3
    assert decode(near).tolist() == [[30, 62]]
    every = torch.randn(500, FRAMES, 2, generator=torch.Generator().manual_seed(0))
    found = decode(every)
    assert found.dtype == torch.int64
    assert int(found[:, 0].min()) >= 1
    assert int(found[:, 0].max()) < HALF <= int(found[:, 1].min())


def told(count: int, seed: int, frames: int = 40, width: int = 6) -> FeatureSet:
    """Samples of `frames` to `frames` + 9 clips, a clip a frame, of which the first three of `width` numbers say
    the phase, with noise."""
    draw = np.random.default_rng(seed)
    values, phases, lengths = [], [], []
    for _ in range(count):
        length = frames + int(draw.integers(0, 10))
        labels = np.repeat(
            [1, 12, 36], np.diff([0, *np.round(length * draw.uniform((0.1, 0.6), (0.4, 0.9))), length]).astype(int)
        )
        clips = np.eye(3, width)[np.searchsorted([1, 12, 36], labels)] + 0.3 * draw.normal(size=(length, width))
        values.append(clips.astype(np.float32))
        phases.append(tuple(int(label) for label in labels))
        lengths.append(length)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids, score = tuple(f"{seed}-{i}" for i in range(count)), draw.uniform(0, 100, count)
    return FeatureSet(ids, {"x": Ragged(np.concatenate(values), offsets)}, score, (0.0, 100.0), phases=tuple(phases))


def tiou(fitted: Any, data: FeatureSet) -> np.ndarray:
    return overlap(fitted.predict(data).phases, transitions_of(data.phases))


def test_segment_learns_phases_that_the_clips_tell_and_finds_them_in_others():
    train, test = told(60, 0), told(30, 1)
    (fitted,) = make_head("segment", {**SMALL["segment"], "epochs": "30"}).fit(train, None, seeds=[0], device="cpu")
    (floor,) = make_head("mean").fit(train, None, seeds=[0], device="cpu")
    assert tiou(fitted, test).mean() > 0.9
    assert tiou(floor, test).mean() < 0.75


@both
def test_32_samples_are_learned_by_heart(name: str):
    train = told(32, 2, width=64)
    settings = {"segment": {"hidden": "16", "lr": "5e-3", "epochs": "40"}, "psnet": {"epochs": "80"}}
    head = make_head(name, settings[name])
    (fitted,) = head.fit(train, None, seeds=[0], device="cpu")
    assert (tiou(fitted, train) > 0.85).mean() > 0.95


@both
def test_the_score_is_the_train_mean_and_a_class_its_share(name: str, dives: Callable[..., FeatureSet]):
    train = dives(12)
    head = make_head(name, {**SMALL[name], "epochs": "1"})
    (fitted,) = head.fit(train, None, seeds=[0], device="cpu")
    judged = fitted.predict(dives(5, 1))
    assert judged.score == pytest.approx(np.full(5, train.score.mean()), rel=1e-6)
    assert judged.phases is not None
    assert judged.phases.shape == (5, 2)
    binary = replace(train, score=np.arange(12) % 3 // 2 * 1.0, target_kind="binary", range=(0.0, 1.0))
    (fitted,) = head.fit(binary, None, seeds=[0], device="cpu")
    assert fitted.predict(dives(5, 1)).score == pytest.approx(np.full(5, 1 / 3))


@both
def test_samples_without_phases_are_not_learned_from(name: str, dives: Callable[..., FeatureSet]):
    train = dives(12)
    head = make_head(name, {**SMALL[name], "epochs": "2", "batch": "12"})
    wrong = tuple((1,) * 9 + (2,) * 9 if transitions_of([p])[0, 0] < 0 else p for p in train.phases)
    first, second = (
        head.fit(replace(train, phases=phases), None, seeds=[0], device="cpu")[0].info["loss"]
        for phases in (train.phases, wrong)
    )
    assert (transitions_of(train.phases)[:, 0] < 0).sum() == 1
    assert first == second
    nothing = tuple(p if k in (3, 4) else () for k, p in enumerate(train.phases))
    one_by_one = make_head(
        name, {**SMALL[name], "epochs": "1", "batch": "1"}
    )  # most batches have nothing to learn from
    (fitted,) = one_by_one.fit(replace(train, phases=nothing), None, seeds=[0], device="cpu")
    assert np.isfinite(fitted.info["loss"])


@both
def test_without_any_phases_it_is_refused_before_work_starts(name: str, dives: Callable[..., FeatureSet]):
    for phases in ((), ((1, 1, 2),) * 12, ((1, None, 3),) * 12):
        data = replace(dives(12), phases=phases)
        assert unmet(make_head(name), data) == ["no sample has phases"]
        assert unmet(make_head(name), data, judging=True) == []
        with pytest.raises(UnmetNeeds, match="no sample has phases"):
            make_head(name).fit(data, None, seeds=[0], device="cpu")


@both
def test_the_epoch_with_the_highest_overlap_on_the_held_out_part_is_kept(name: str):
    train, val = told(24, 3), told(12, 4)
    rows: list[Any] = []
    head = make_head(name, {**SMALL[name], "epochs": "6"})
    for one in head.fit(train, val, seeds=[0, 1], device="cpu", log=rows.append):
        mine = [row for row in rows if row["seed"] == one.info["seed"]]
        assert [row.keys() >= {"val_tiou", "val_frames"} for row in mine] == [True] * 6
        best = max(row["val_tiou"] for row in mine)
        kept = mine[one.info["epoch"] - 1]
        assert kept["val_tiou"] == best
        assert kept["val_frames"] == min(row["val_frames"] for row in mine if row["val_tiou"] == best)
        assert one.info["selected_on"] == "val"
        assert tiou(one, val).mean() == pytest.approx(best)
        said, truth = one.predict(val).phases, transitions_of(val.phases)
        assert said is not None
        assert np.abs(said - truth).mean() == pytest.approx(kept["val_frames"])


@both
def test_a_held_out_part_without_phases_chooses_nothing(name: str):
    train, val = told(12, 3), told(6, 4)
    head = make_head(name, {**SMALL[name], "epochs": "2"})
    blank = replace(val, phases=())
    assert head.fit(train, blank, seeds=[0], device="cpu")[0].info["selected_on"] == "last"
    half = replace(val, phases=tuple(p if k % 2 else () for k, p in enumerate(val.phases)))
    rows: list[list[Any]] = [[], []]
    for data, log in zip((half, val.take([1, 3, 5])), rows, strict=True):
        head.fit(train, data, seeds=[0], device="cpu", log=log.append)
    assert rows[0] == rows[1]


@both
def test_padding_and_companions_change_neither_loss_nor_gradient_nor_judgement(name: str, five: Any, make_spec: Any):
    head: Any = make_head(name, SMALL[name] | ({"dropout": "0"} if name == "segment" else {}))
    truth = torch.tensor([[10, 60], [-1, -1], [30, 70], [20, 50], [40, 90]])
    five = five._replace(targets={"transitions": truth})
    from aqa.heads.noise import Live
    from aqa.heads.torch_head import Step, built

    results = []
    for extra in (0, 9):
        net = built(head, make_spec(), 0).double()
        more = five._replace(
            streams={"x": nn.functional.pad(five.streams["x"], (0, 0, 0, extra), value=55.0)},
            masks={"x": nn.functional.pad(five.masks["x"], (0, extra))},
        )
        loss = head.loss(net, more, Live(torch.Generator(), torch.float64), Step(0, 0))
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        said = net.eval()(more.streams["x"], more.masks["x"])
        results.append((loss.detach(), gradient, said.detach()))
    for short, long in zip(*results, strict=True):
        assert torch.allclose(short, long, atol=1e-12)
    alone = net(five.streams["x"][:1], five.masks["x"][:1])
    assert torch.allclose(alone, results[0][2][:1], atol=1e-12)


@both
def test_any_number_of_clips_is_judged(name: str, dives: Callable[..., FeatureSet]):
    (fitted,) = make_head(name, {**SMALL[name], "epochs": "1"}).fit(dives(12), None, seeds=[0], device="cpu")
    for clips in (1, 2, 40, 200):
        data = told(3, 5)
        stream = Ragged(np.random.default_rng(0).normal(size=(3 * clips, 12)).astype(np.float32), clips * np.arange(4))
        judged = fitted.predict(replace(data, streams={"x": stream}))
        assert judged.phases is not None
        assert judged.phases.shape == (3, 2)


@both
def test_it_is_the_same_from_disk_and_again(name: str, tmp_path: Path):
    train, test = told(12, 3), told(8, 4)
    head = make_head(name, {**SMALL[name], "epochs": "2"})
    first, again = (head.fit(train, None, seeds=[7], device="cpu")[0] for _ in range(2))
    first.save(tmp_path)
    loaded = load_head(tmp_path)
    for one in (again, loaded):
        np.testing.assert_array_equal(one.predict(test).phases, first.predict(test).phases)
    assert json.loads((tmp_path / "head.json").read_text())["head"] == name


@both
def test_maps_and_joints_are_flattened(name: str):
    data = told(8, 3)
    stream = data.streams["x"]
    maps = replace(data, streams={"x": Ragged(stream.values.reshape(-1, 2, 3, 1), stream.offsets)})
    head = make_head(name, {**SMALL[name], "epochs": "1", "scale": "none"})
    flat, shaped = (fit(head, one, seeds=[0])[0].predict(one).phases for one in (data, maps))
    np.testing.assert_array_equal(flat, shaped)
