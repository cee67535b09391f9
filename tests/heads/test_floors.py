"""Floors: by hand on a few samples, and the published figures on the real MTL-AQA annotations."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from aqa.errors import UnmetNeeds
from aqa.heads import FeatureSet, load_head, make_head, unmet


def samples(*rows: tuple[float, float, str, str, str]) -> FeatureSet:
    """Rows of score, difficulty, group, kind, event."""
    score, difficulty, group, kind, event = zip(*rows, strict=True)
    return FeatureSet(
        ids=tuple(f"s{i}" for i in range(len(rows))),
        streams={},
        score=np.array(score),
        range=(0.0, 100.0),
        difficulty=np.array(difficulty),
        group=group,
        kind=kind,
        event=event,
    )


TRAIN = samples(
    (10, 1, "a", "101B", "x"),
    (20, 2, "a", "101B", "y"),
    (40, 2, "a", "407C", "x"),
    (70, 3, "b", "407C", "y"),
)
NAN = float("nan")
QUERY = samples(
    (NAN, 1, "a", "101B", "x"),
    (NAN, 4, "b", "101B", "z"),
    (NAN, 2, "a", "999Z", "x"),
    (NAN, 2, "c", "", ""),
)


def judged(name: str, train: FeatureSet = TRAIN, query: FeatureSet = QUERY) -> np.ndarray:
    return make_head(name).fit(train, None, seeds=[0], device="cpu")[0].predict(query).score


def test_mean() -> None:
    np.testing.assert_array_equal(judged("mean"), [35, 35, 35, 35])


def test_difficulty_is_the_least_squares_line() -> None:
    slope, intercept = np.polyfit(TRAIN.difficulty, TRAIN.score, 1)
    np.testing.assert_allclose(judged("difficulty"), intercept + slope * QUERY.difficulty)
    same = replace(TRAIN, difficulty=np.full(4, 2.0))
    np.testing.assert_array_equal(judged("difficulty", same), 35)


def test_group_mean_falls_back_to_the_group_and_then_to_all() -> None:
    np.testing.assert_array_equal(judged("group-mean"), [15, 70, 70 / 3, 35])


def test_metadata_falls_back_to_the_kind_and_then_to_all() -> None:
    np.testing.assert_array_equal(judged("metadata"), [10, 15, 35, 35])


def test_random_is_drawn_by_seed_and_id() -> None:
    head = make_head("random")
    first, second = (one.predict(QUERY).score for one in head.fit(TRAIN, None, seeds=[0, 1], device="cpu"))
    assert not np.array_equal(first, second)
    many = replace(QUERY.take(np.zeros(4000, dtype=int)), ids=tuple(f"q{i}" for i in range(4000)))
    draws = judged("random", query=many)
    assert draws.mean() == pytest.approx(35, abs=3 * TRAIN.score.std() / np.sqrt(4000))
    assert draws.std() == pytest.approx(TRAIN.score.std(), rel=0.05)


@pytest.mark.parametrize("name", ["mean", "difficulty", "group-mean", "metadata", "random"])
def test_a_binary_target_gets_probabilities(name: str) -> None:
    train = replace(TRAIN, score=np.array([0.0, 0.0, 1.0, 1.0]), target_kind="binary", range=(0.0, 1.0))
    score = judged(name, train, replace(QUERY, difficulty=np.array([-9.0, 1, 2, 90])))
    assert ((score >= 0) & (score <= 1)).all()
    if name == "metadata":
        np.testing.assert_array_equal(score, [0, 0, 0.5, 0.5])


def test_what_is_missing_is_refused_by_name() -> None:
    blank = replace(TRAIN, difficulty=np.array([1.0, NAN, 2, 3]), kind=("",) * 4, group=("",) * 4)
    assert unmet(make_head("difficulty"), blank) == ["the difficulty is unknown for 1 of 4 samples: s1"]
    assert unmet(make_head("metadata"), blank) == ["no sample has a kind (dive number, action type) or a group"]
    assert unmet(make_head("mean"), blank) == []
    with pytest.raises(UnmetNeeds, match="the difficulty is unknown for 1 of 4 samples: s1"):
        judged("difficulty", blank)
    with pytest.raises(UnmetNeeds, match="2 of 4 samples: s0, s3"):
        judged("difficulty", query=replace(QUERY, difficulty=np.array([NAN, 1, 2, NAN])))


def test_a_saved_floor_is_one_readable_file(tmp_path: Path) -> None:
    fitted = make_head("metadata").fit(TRAIN, None, seeds=[0], device="cpu")[0]
    fitted.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["head.json"]
    np.testing.assert_array_equal(load_head(tmp_path).predict(QUERY).score, fitted.predict(QUERY).score)


@pytest.fixture(scope="module")
def mtl_aqa(shared_data: Path) -> tuple[FeatureSet, FeatureSet]:
    with (shared_data / "mtl-aqa" / "derived_mtl_aqa.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    whole = samples(
        *((float(r["final_score"]), float(r["difficulty"]), "", r["dive_number"], r["video"]) for r in rows)
    )
    part = np.array([r["split"] for r in rows])
    return whole.take(np.flatnonzero(part == "train")), whole.take(np.flatnonzero(part == "test"))


@pytest.mark.parametrize(("name", "rho"), [("difficulty", 0.5595), ("group-mean", 0.596), ("metadata", 0.6496)])
def test_floors_of_mtl_aqa(mtl_aqa: tuple[FeatureSet, FeatureSet], name: str, rho: float) -> None:
    train, test = mtl_aqa
    assert (len(train), len(test)) == (1059, 353)
    assert spearmanr(judged(name, train, test), test.score).statistic == pytest.approx(rho, abs=5e-4)


def test_the_mean_floor_of_mtl_aqa(mtl_aqa: tuple[FeatureSet, FeatureSet]) -> None:
    train, test = mtl_aqa
    assert np.mean((judged("mean", train, test) - test.score) ** 2) == pytest.approx(329.8, abs=0.05)


def phased(*spans: tuple[int, int] | None) -> tuple[tuple[int, ...], ...]:
    """Labels of 96 frames whose second and last phase begin at these frames; None: unknown."""
    return tuple(() if s is None else (1,) * s[0] + (12,) * (s[1] - s[0]) + (36,) * (96 - s[1]) for s in spans)


def transitions(name: str, train: FeatureSet, query: FeatureSet = QUERY) -> list[list[int]] | None:
    found = make_head(name).fit(train, None, seeds=[0], device="cpu")[0].predict(query).phases
    return None if found is None else found.tolist()


def test_phases_of_floors_are_medians_of_train() -> None:
    train = replace(TRAIN, phases=phased((10, 80), (20, 60), (31, 61), (40, 70)))
    # of four the second smallest, st and ed each for itself; of two the smaller; 999Z and "" are no kinds of train
    assert transitions("mean", train) == [[20, 61]] * 4
    for name in ("group-mean", "metadata"):
        assert transitions(name, train) == [[10, 60], [10, 60], [20, 61], [20, 61]]
    some = replace(train, phases=phased(None, (20, 60), (30, 50), None))
    assert transitions("group-mean", some) == [[20, 60], [20, 60], [20, 50], [20, 50]]
    unknown = replace(train, kind=("", "", "407C", "407C"))
    assert transitions("group-mean", unknown)[3] == [20, 61]  # pyright: ignore[reportOptionalSubscript]


@pytest.mark.parametrize("name", ["mean", "group-mean", "metadata"])
def test_floors_without_phases_in_train_say_none(name: str, tmp_path: Path) -> None:
    assert transitions(name, TRAIN) is None
    assert transitions(name, replace(TRAIN, phases=((1, 2),) * 4)) is None
    fitted = make_head(name).fit(replace(TRAIN, phases=phased(*[(20, 60)] * 4)), None, seeds=[0], device="cpu")[0]
    fitted.save(tmp_path)
    np.testing.assert_array_equal(load_head(tmp_path).predict(QUERY).phases, fitted.predict(QUERY).phases)
    assert fitted.predict(QUERY.take([])).phases.shape == (0, 2)  # pyright: ignore[reportOptionalMemberAccess]


def test_floors_that_know_no_phases_say_none() -> None:
    train = replace(TRAIN, phases=phased(*[(20, 60)] * 4))
    assert transitions("difficulty", train) is None
    assert transitions("random", train) is None
