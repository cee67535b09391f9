"""`core`: size, the leaves of the real labels, the loss on five pairs by hand, and who is compared with whom."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat

from aqa.errors import BadParameter, UnmetNeeds
from aqa.heads import FeatureSet, load_head, make_head
from aqa.heads.batches import Batch, Exemplars
from aqa.heads.core import Core, CoreNet, leaf_boundaries
from aqa.heads.noise import Live
from aqa.heads.torch_head import Spec, Step, built, spec_of

STEP, NOISE = Step(0, 0), Live(torch.Generator())
MakeSpec = Callable[..., Spec]
# Of the specification: positive halves, from the train labels.
MTL = {
    "difficulty": (30, [0, 0.9118, 1.5, 2.5, 3.0, 4.5, 6.0, 8.5, 30]),
    "dive_number": (30, [0, 0.5, 1.5, 2.5, 3.0, 4.5, 6.0, 8.5, 30]),
    "any": (100, [0, 3.6, 7.35, 11.2, 15.7, 20.8, 27.2, 36.3, 100]),
}
AQA7 = {
    1: ((21.6, 102.6), [0, 3.148, 6.667, 10.0, 14.074, 18.889, 25.556, 37.778, 100]),
    2: ((12.3, 16.87), [0, 4.376, 8.315, 12.91, 17.505, 23.195, 30.197, 40.481, 100]),
    3: ((8, 50), [0, 4.762, 11.905, 19.048, 28.571, 38.095, 50, 64.286, 100]),
    4: ((8, 50), [0, 4.762, 11.905, 21.429, 33.333, 42.857, 57.143, 71.429, 100]),
    5: ((46.2, 104.88), [0, 3.374, 9.202, 16.871, 27.096, 35.276, 44.99, 55.215, 100]),
    6: ((49.8, 99.36), [0, 4.843, 10.714, 20.823, 32.688, 44.552, 57.748, 70.46, 100]),
}


@pytest.mark.parametrize("by", MTL)
def test_leaves_of_mtl_aqa(by: str, shared_data: Path):
    with (shared_data / "mtl-aqa" / "derived_mtl_aqa.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    assert len(rows) == 1059
    score = np.array([float(row["final_score"]) for row in rows])
    top, wanted = MTL[by]
    if by == "any":
        groups = np.zeros(len(rows), dtype=np.int64)
    else:
        score = score / np.array([float(row["difficulty"]) for row in rows])
        groups = np.unique([row[by] for row in rows], return_inverse=True)[1]
    assert leaf_boundaries(score, groups, top) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("sport", AQA7)
def test_leaves_of_aqa7(sport: int, shared_data: Path):
    table = loadmat(shared_data / "aqa7" / "Split_4" / "split_4_train_list.mat")["consolidated_train_list"]
    score = table[table[:, 0] == sport, 2]
    (low, high), wanted = AQA7[sport]
    score = 100 * (score - low) / (high - low)
    bounds = leaf_boundaries(score, np.zeros(len(score), dtype=np.int64), 100)
    assert bounds == pytest.approx(wanted, abs=1e-3)


def test_leaves_where_there_is_little_to_go_by():
    one_each = np.arange(4)
    assert leaf_boundaries(np.arange(4.0), one_each, 8).tolist() == list(range(9))
    same = leaf_boundaries(np.full(5, 3.0), np.zeros(5, dtype=np.int64), 10)
    assert same.tolist() == [0] * 8 + [10]
    beyond = leaf_boundaries(np.array([0.0, 40, 80, 120]), np.zeros(4, dtype=np.int64), 30)
    assert beyond[-1] == 120


def constants(bounds: list[float]) -> dict[str, object]:
    return {"mean": 20.0, "sd": 4.0, "low": 0.0, "high": 30.0, "constants": {"boundaries": bounds}}


def net_of(make_spec: MakeSpec, bounds: list[float], **other: object) -> CoreNet:
    return built(Core(), make_spec(**{**constants(bounds), **other}), 0).double()  # pyright: ignore[reportReturnType]


def test_it_has_the_published_number_of_parameters(make_spec: MakeSpec):
    net = built(Core(), make_spec(1024, **constants(MTL["difficulty"][1])), 0)
    assert sum(p.numel() for p in net.parameters()) == 2_510_382


def test_leaves_are_half_open_mirrored_and_closed_at_the_ends(make_spec: MakeSpec):
    net = net_of(make_spec, [0, 1, 2, 3, 4, 5, 6, 7, 30])
    assert net.low.tolist() == [-30, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7]
    assert net.width.tolist() == [23, *[1] * 14, 23]
    delta = torch.tensor([0, 0.99, 1, -0.5, -1, 7, 30, 99, -30, -99, -7, -6.99], dtype=torch.float64)
    member = net.members(delta)
    assert (member.sum(dim=1) == 1).all()
    assert member.int().argmax(dim=1).tolist() == [8, 8, 9, 7, 6, 15, 15, 15, 0, 0, 0, 1]


def test_empty_leaves_have_no_members_and_a_width(make_spec: MakeSpec):
    net = net_of(make_spec, [0, 0, 0, 2, 2, 5, 6, 7, 30])
    delta = torch.tensor([0, 1, 2, 4, -1, -2], dtype=torch.float64)
    assert net.members(delta).int().argmax(dim=1).tolist() == [10, 10, 12, 12, 5, 3]
    assert net.width.tolist() == [23, 1, 1, 3, 1, 2, 1, 1, 1, 1, 2, 1, 3, 1, 1, 23]


def tree(net: CoreNet, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One input through the tree by hand: log-probability and position of the 16 leaves."""
    w = {name: value.detach().numpy() for name, value in net.named_parameters()}
    nodes = [(0.0, np.maximum(w["first.weight"] @ row + w["first.bias"], 0))]
    for depth in range(4):
        below = []
        for k, (log, h) in enumerate(nodes):
            out = h @ w[f"nodes.{depth}.weight"][k] + w[f"nodes.{depth}.bias"][k, 0]
            split = out[:2] - np.log(np.exp(out[:2]).sum())
            for child in range(2):
                features = out[2 + 256 * child : 2 + 256 * (child + 1)]
                below.append((log + split[child], np.maximum(features, 0)))
        nodes = below
    logs = np.array([log for log, _ in nodes])
    positions = [float((h @ w["leaf.weight"][k] + w["leaf.bias"][k, 0])[0]) for k, (_, h) in enumerate(nodes)]
    return logs, np.array(positions)


@pytest.mark.parametrize("times_difficulty", [False, True])
def test_the_loss_is_of_leaf_and_position_in_both_directions(make_spec: MakeSpec, pairs: Batch, times_difficulty: bool):
    bounds = [0, 1, 2, 4, 6, 9, 12, 15, 30]
    net = net_of(make_spec, bounds, times_difficulty=times_difficulty)
    known = pairs.exemplars
    assert isinstance(known, Exemplars)
    d = pairs.difficulty.numpy() if times_difficulty else np.ones(5)
    marks = pairs.score.numpy() / d, known.score.numpy() / d

    def mean(clips: torch.Tensor, i: int) -> np.ndarray:
        return clips.numpy()[i][pairs.masks["x"][i].numpy()].mean(axis=0)

    total = 0.0
    for backward in (False, True):
        inside: dict[int, list[float]] = {}
        for i in range(5):
            q, e = mean(pairs.streams["x"], i), mean(known.streams["x"], i)
            mq, me = marks[0][i], marks[1][i]
            if backward:
                q, e, mq, me = e, q, me, mq
            delta = mq - me
            logs, positions = tree(net, np.concatenate([e, q, [me / 30]]))
            k = max(j for j in range(8) if bounds[j] <= abs(delta))
            leaf = 8 + k if delta >= 0 else 7 - k
            low = bounds[k] if delta >= 0 else -bounds[k + 1]
            total -= logs[leaf] / 5
            inside.setdefault(leaf, []).append((positions[leaf] - (delta - low) / (bounds[k + 1] - bounds[k])) ** 2)
        total += sum(np.mean(errors) for errors in inside.values())
    assert Core().loss(net, pairs, NOISE, STEP).item() == pytest.approx(total, abs=1e-10)


def test_a_judgement_is_the_mean_over_exemplars_of_the_likeliest_leaf(make_spec: MakeSpec, pairs: Batch):
    bounds = [0, 1, 2, 4, 6, 9, 12, 15, 30]
    net = net_of(make_spec, bounds, times_difficulty=True)
    known = pairs.exemplars
    assert isinstance(known, Exemplars)
    rows = torch.tensor([3, 1, 2, 0, 4, 4])  # two samples, three exemplars each
    two = Batch(*[{"x": v["x"][:2]} if isinstance(v, dict) else v[:2] for v in pairs[:6]])
    three = Exemplars(*[{"x": v["x"][rows]} if isinstance(v, dict) else v[rows] for v in known[:4]])
    said = Core().judge(net, two._replace(exemplars=three))
    edges = np.array([*[-b for b in bounds[::-1]], *bounds[1:]])
    for i in range(2):
        q = two.streams["x"][i][two.masks["x"][i]].mean(dim=0).numpy()
        votes = []
        for row in rows[3 * i : 3 * i + 3].tolist():
            e = known.streams["x"][row][known.masks["x"][row]].mean(dim=0).numpy()
            mark = (known.score[row] / known.difficulty[row]).item()
            logs, positions = tree(net, np.concatenate([e, q, [mark / 30]]))
            k = int(np.argmax(logs))
            delta = edges[k] + (edges[k + 1] - edges[k]) * positions[k]
            votes.append((mark + delta) * two.difficulty[i].item())
        assert said["score"][i].item() == pytest.approx(np.mean(votes))
        assert said["spread"][i].item() == pytest.approx(np.std(votes))


def test_it_learns_32_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32)
    (fitted,) = Core(epochs=25, lr=3e-4).fit(train, seeds=[0])
    assert np.corrcoef(fitted.predict(train).score, train.score)[0, 1] > 0.98


def test_exemplars_are_ten_of_train_of_the_same_difficulty(dives: Callable[..., FeatureSet], tmp_path: Path):
    train, test = dives(60), dives(10, 1)
    (fitted,) = Core(epochs=1).fit(train, seeds=[4])
    difficulty = dict(zip(train.ids, train.difficulty, strict=True))
    judged = fitted.predict(test)
    for d, names in zip(test.difficulty, judged.exemplars, strict=True):
        assert len(set(names)) == 10
        assert {difficulty[name] for name in names} == {d}
    for sample, names in zip(train.ids, fitted.predict(train).exemplars, strict=True):
        assert sample not in names
    fitted.save(tmp_path)
    again = load_head(tmp_path).predict(test)
    assert again.exemplars == judged.exemplars
    assert np.array_equal(again.score, judged.score)
    assert np.array_equal(again.spread, judged.spread)


def test_what_is_compared_follows_the_labels_and_the_parameters(dives: Callable[..., FeatureSet]):
    train = dives(20)
    for settings, data, by, mark in (
        ({}, train, "difficulty", True),
        ({"use_difficulty": "no"}, train, "any", False),
        ({"by": "kind"}, train, "kind", True),
        ({"by": "any"}, train, "any", True),
        ({}, replace(train, difficulty=np.zeros(0)), "kind", False),
        ({}, replace(train, difficulty=np.zeros(0), kind=()), "any", False),
        ({}, replace(train, times_difficulty=False), "difficulty", False),
    ):
        head = make_head("core", settings)
        assert isinstance(head, Core)
        assert head.grouping(data) == by
        assert head.models_mark(data) == mark


def test_theta_is_the_largest_mark(dives: Callable[..., FeatureSet]):
    train = dives(20)
    assert spec_of(Core(theta=30), train).high == 30
    marks = train.score / train.difficulty
    assert spec_of(Core(), train).high == pytest.approx(1.1 * marks.max())
    assert spec_of(Core(use_difficulty=False), train).high == 123
    boundaries = spec_of(Core(theta=30), train).constants["boundaries"]
    assert boundaries[0] == 0
    assert boundaries[-1] == 30
    assert boundaries == sorted(boundaries)


def test_what_does_not_fit_is_refused(dives: Callable[..., FeatureSet]):
    with pytest.raises(UnmetNeeds, match="exemplars by kind"):
        Core(epochs=1, by="kind").fit(replace(dives(20), kind=()), seeds=[0])
    with pytest.raises(UnmetNeeds, match="at least two"):
        Core(epochs=1).fit(dives(1), seeds=[0])
    for settings in ({"votes": "0"}, {"theta": "-1"}, {"by": "sport"}):
        with pytest.raises(BadParameter):
            make_head("core", settings)
