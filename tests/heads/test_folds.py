"""Out-of-fold judgements: who is judged by whom, the order, and all that a judgement holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from aqa.errors import UsageError
from aqa.heads import FeatureSet, Judgement, Needs, make_head, out_of_fold
from aqa.heads.check_data import synthetic
from aqa.heads.folds import inner_folds, splits

TRAIN = synthetic(make_head("svr").needs, 12, seed=0, prefix="train")
FOLDS = np.array([2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1])


@dataclass
class Remembers:
    """Judges a sample by the number of the train samples it has seen, and tells everything."""

    seen: tuple[str, ...]
    seed: int
    info: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def predict(self, data: FeatureSet) -> Judgement:
        assert not set(data.ids) & set(self.seen)
        self.asked.append(data.ids)
        number = np.array([float(i[-3:]) for i in data.ids])
        classes = 2 if "train-000" in self.seen else 3
        return Judgement(
            score=number + 100 * self.seed,
            spread=number,
            attributes={"position": np.eye(classes)[np.zeros(len(data), dtype=int)]},
            captions=data.ids,
            phases=np.stack([number, number], axis=1),
            exemplars=tuple(self.seen[:2] for _ in data.ids),
        )

    def save(self, folder: Path) -> None:
        raise AssertionError


@dataclass(frozen=True)
class Head:
    name: ClassVar[str] = "remembers"
    needs: ClassVar[Needs] = Needs()

    def fit(self, train: FeatureSet, val: Any, *, seeds: Any, device: str, log: Any = None) -> list[Any]:
        assert val is None
        return [Remembers(train.ids, seed) for seed in seeds]

    def load(self, folder: Path, device: str) -> Any:
        raise AssertionError


def test_every_sample_is_judged_once_by_a_head_that_has_not_seen_it() -> None:
    first, second = out_of_fold(Head(), TRAIN, folds=FOLDS, seeds=[0, 1])
    np.testing.assert_array_equal(first.score, np.arange(12))
    np.testing.assert_array_equal(second.score, np.arange(12) + 100)
    assert first.captions == TRAIN.ids
    assert first.spread is not None
    assert first.phases is not None
    np.testing.assert_array_equal(first.spread, np.arange(12))
    np.testing.assert_array_equal(first.phases[:, 1], np.arange(12))
    assert first.attributes["position"].shape == (12, 3)  # a class unknown to one part has probability 0 there
    for sample, fold, names in zip(TRAIN.ids, FOLDS, first.exemplars, strict=True):
        assert sample not in names
        assert all(FOLDS[TRAIN.ids.index(name)] != fold for name in names)


def test_it_is_the_same_as_fitting_by_hand() -> None:
    head = make_head("ridge")
    judged = out_of_fold(head, TRAIN, folds=FOLDS, seeds=[0, 1])
    assert judged[0].score is not None
    for fold in range(3):
        held_out = np.flatnonzero(fold == FOLDS)
        fitted = head.fit(TRAIN.take(np.flatnonzero(fold != FOLDS)), None, seeds=[0], device="cpu")[0]
        np.testing.assert_array_equal(judged[0].score[held_out], fitted.predict(TRAIN.take(held_out)).score)
    np.testing.assert_array_equal(judged[0].score, judged[1].score)


def test_a_head_that_the_seed_does_not_change_is_fitted_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.svm import SVR

    calls = {"fit": 0, "predict": 0}
    for name in calls:
        original = getattr(SVR, name)

        def counted(self: Any, *args: Any, name: str = name, original: Any = original, **more: Any) -> Any:
            calls[name] += 1
            return original(self, *args, **more)

        monkeypatch.setattr(SVR, name, counted)
    out_of_fold(make_head("svr"), TRAIN, folds=FOLDS, seeds=[0, 1, 2, 3])
    assert calls == {"fit": 3, "predict": 3}


@pytest.mark.parametrize("folds", [np.zeros(12), np.arange(11), np.zeros((12, 2))])
def test_folds_that_do_not_fit_are_refused(folds: np.ndarray) -> None:
    with pytest.raises(UsageError):
        out_of_fold(Head(), TRAIN, folds=folds, seeds=[0])


def test_folds_inside_train_divide_no_subject() -> None:
    people = tuple(f"subject {i % 7}" for i in range(12))
    folds = inner_folds(replace(TRAIN, subject=people))
    assert set(folds) == set(range(5))
    assert all(len({folds[i] for i in range(12) if people[i] == one}) == 1 for one in people)
    some = inner_folds(replace(TRAIN, subject=("a", "a", "a", *("",) * 9)))
    assert len(set(some[:3])) == 1
    assert np.bincount(some).tolist() == [3, 3, 2, 2, 2]


def test_folds_inside_train_of_nobody_or_of_one_person_divide_samples() -> None:
    nobody = inner_folds(replace(TRAIN, subject=()))
    assert np.bincount(nobody).tolist() == [3, 3, 2, 2, 2]
    np.testing.assert_array_equal(inner_folds(replace(TRAIN, subject=("one",) * 12)), nobody)
    np.testing.assert_array_equal(inner_folds(TRAIN.take([4])), [0])
    assert sorted(inner_folds(replace(TRAIN, subject=()).take([4, 5, 6]))) == [0, 1, 2]


def test_folds_inside_train_do_not_depend_on_the_order() -> None:
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_array_equal(inner_folds(TRAIN.take(order)), inner_folds(TRAIN)[order])


def test_splits_are_the_rows_of_a_fold_and_of_the_others() -> None:
    found = [(rest.tolist(), fold.tolist()) for rest, fold in splits(np.array([4, 1, 4, 7]))]
    assert found == [([0, 2, 3], [1]), ([1, 3], [0, 2]), ([0, 1, 2], [3])]
    assert list(splits(np.zeros(3))) == []
