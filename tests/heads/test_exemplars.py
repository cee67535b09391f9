"""Who is compared with whom: groups, borrowing, never oneself, on small sets and on the real labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from aqa.errors import UnmetNeeds
from aqa.heads import FeatureSet
from aqa.heads.exemplars import Bank, By, Partners, choose_by


def labels(difficulty: list[float], kind: list[str] | None = None, prefix: str = "t") -> FeatureSet:
    n = len(difficulty)
    return FeatureSet(
        ids=tuple(f"{prefix}{i}" for i in range(n)),
        streams={},
        score=np.arange(n, dtype=np.float64),
        range=(0, 10),
        difficulty=np.array(difficulty, dtype=np.float64),
        kind=tuple(kind or ()),
    )


TRAIN = labels([2.0, 2.0, 2.0, 3.0, 3.4, 3.4, 1.0], ["a", "a", "b", "b", "c", "c", "d"])


def test_exemplars_are_of_the_group_first_then_of_the_nearest_difficulty():
    bank = Bank.of(TRAIN, "difficulty", 4)
    chosen = bank.nearest(labels([2.0, 3.3, 3.4], prefix="q"), seed=0)
    assert set(chosen[0][:3]) == {0, 1, 2}
    assert set(chosen[0][3:]) <= {3, 6}  # 1.0 away on either side
    assert set(chosen[1]) == {3, 4, 5} | {chosen[1][3]}
    assert set(chosen[1][:2]) == {4, 5}
    assert set(chosen[2][:2]) == {4, 5}
    assert chosen[2][2] == 3


def test_exemplars_by_kind_borrow_by_difficulty():
    bank = Bank.of(TRAIN, "kind", 3)
    chosen = bank.nearest(labels([3.4, 2.9], ["c", "never seen"], prefix="q"), seed=0)
    assert set(chosen[0][:2]) == {4, 5}
    assert chosen[0][2] == 3
    assert chosen[1][0] == 3
    assert set(chosen[1][1:]) == {4, 5}


def test_nobody_is_compared_with_itself_and_the_bank_may_be_smaller_than_the_votes():
    bank = Bank.of(TRAIN, "any", 10)
    assert bank.votes == 6
    for i, row in enumerate(bank.nearest(TRAIN, seed=3)):
        assert sorted(row) == [j for j in range(7) if j != i]


def test_the_choice_depends_on_seed_and_sample_alone():
    train = labels([2.0] * 30)
    bank = Bank.of(train, "difficulty", 5)
    queries = labels([2.0, 2.0, 2.5], prefix="q")
    whole = bank.nearest(queries, seed=1)
    assert np.array_equal(bank.nearest(queries.take([2, 0]), seed=1), whole[[2, 0]])
    assert np.array_equal(whole, bank.nearest(queries, seed=1))
    assert not np.array_equal(whole, bank.nearest(queries, seed=2))


@pytest.mark.parametrize(("by", "queries"), [("difficulty", [2.0, np.nan]), ("kind", [2.0, 3.0])])
def test_what_exemplars_are_chosen_by_must_be_known(by: By, queries: list[float]):
    with pytest.raises(UnmetNeeds, match=f"exemplars by {by}"):
        Bank.of(TRAIN, by, 3).nearest(labels(queries), seed=0)
    with pytest.raises(UnmetNeeds, match=f"exemplars by {by}"):
        Bank.of(labels(queries), by, 3)


def test_one_train_sample_is_not_enough():
    with pytest.raises(UnmetNeeds, match="at least two"):
        Bank.of(labels([2.0]), "any", 3)


def test_the_closest_grouping_that_the_labels_allow():
    assert choose_by(TRAIN) == "difficulty"
    assert choose_by(labels([np.nan, 2.0], ["a", "b"])) == "kind"
    assert choose_by(labels([np.nan, 2.0], ["a", ""])) == "any"


@pytest.mark.parametrize("by", ["difficulty", "kind", "any"])
def test_partners_are_all_others_of_the_group_alike(by: By):
    partners = Partners(Bank.of(TRAIN, by, 1))
    draw = np.random.default_rng(0)
    drawn = np.stack([partners.draw(draw.random(7)) for _ in range(600)])
    allowed = {
        "difficulty": [{1, 2}, {0, 2}, {0, 1}, {4, 5}, {5}, {4}, {0, 1, 2}],  # 3.0 and 1.0 are alone
        "kind": [{1}, {0}, {3}, {2}, {5}, {4}, {0, 1, 2}],
        "any": [{j for j in range(7) if j != i} for i in range(7)],
    }[by]
    for i, wanted in enumerate(allowed):
        found, counts = np.unique(drawn[:, i], return_counts=True)
        assert set(found) == wanted
        assert counts.min() > 600 / len(wanted) * 0.6


def test_partners_at_the_ends_of_the_draw():
    partners = Partners(Bank.of(TRAIN, "any", 1))
    assert partners.draw(np.zeros(7)).tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert partners.draw(np.full(7, np.nextafter(1, 0))).tolist() == [6, 6, 6, 6, 6, 6, 5]


def test_two_samples_alone_with_unknown_difficulty_borrow_from_all():
    train = labels([np.nan] * 4, ["a", "b", "c", "c"])
    partners = Partners(Bank.of(train, "kind", 1))
    drawn = {int(partners.draw(np.full(4, u))[0]) for u in np.linspace(0, 0.99, 20)}
    assert drawn == {1, 2, 3}


def test_small_groups_of_mtl_aqa_are_those_of_the_specification(shared_data: Path):
    with (shared_data / "mtl-aqa" / "derived_mtl_aqa.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts = {}
    for part in ("train", "test"):
        some = [row for row in rows if row["split"] == part]
        parts[part] = labels([float(r["difficulty"]) for r in some], [r["dive_number"] for r in some], part)
    for by, alone, small in (("difficulty", 1, 14), ("kind", 16, 42)):
        bank = Bank.of(parts["train"], by, 10)
        keys = np.asarray(parts["train"].difficulty if by == "difficulty" else parts["train"].kind)
        of_test = parts["test"].difficulty if by == "difficulty" else parts["test"].kind
        assert sum(np.sum(keys == key) == 1 for key in keys) == alone
        assert sum(np.sum(keys == key) < 10 for key in of_test) == small
        for key, row in zip(of_test, bank.nearest(parts["test"], seed=0), strict=True):
            assert len(set(row)) == 10
            inside = keys[row] == key
            assert inside.sum() == min(10, np.sum(keys == key))
            assert inside[: inside.sum()].all()
