from __future__ import annotations

import numpy as np
import pytest

from aqa.catalog.protocols import grouped_folds, holdout, leave_one_out
from aqa.errors import SplitError

IDS = [f"v{i:03d}" for i in range(100)]
UNITS = [f"s{i % 13}" for i in range(100)]


def test_grouped_folds_divide_no_unit_and_test_everything_once():
    folds = grouped_folds(IDS, UNITS, 5, seed=0, group="g")
    of = dict(zip(IDS, UNITS, strict=True))
    assert sorted(i for fold in folds for i in fold.test) == IDS
    for fold in folds:
        assert fold.group == "g"
        assert set(fold.train) | set(fold.test) == set(IDS)
        assert not {of[i] for i in fold.train} & {of[i] for i in fold.test}
        assert 14 <= len(fold.test) <= 24


def test_folds_depend_on_the_seed_and_not_on_the_order():
    backwards = grouped_folds(IDS[::-1], UNITS[::-1], 5, seed=0)
    assert [set(f.test) for f in grouped_folds(IDS, UNITS, 5, seed=0)] == [set(f.test) for f in backwards]
    assert [set(f.test) for f in grouped_folds(IDS, UNITS, 5, seed=1)] != [set(f.test) for f in backwards]


def test_unknown_units_stand_alone_and_few_units_make_few_folds():
    assert [len(fold.test) for fold in grouped_folds(IDS, [None] * 100, 5, seed=0)] == [20] * 5
    assert len(grouped_folds(["a", "b", "c"], ["x", "y", "y"], 5, seed=0)) == 2
    with pytest.raises(SplitError, match="folds"):
        grouped_folds(["a", "b"], ["x", "x"], 5, seed=0)


def test_leave_one_out_is_named_after_the_unit():
    folds = leave_one_out(["a", "b", "c"], ["y", "x", "y"])
    assert [(fold.name, fold.train, fold.test) for fold in folds] == [
        ("x", ("a", "c"), ("b",)),
        ("y", ("b",), ("a", "c")),
    ]
    with pytest.raises(SplitError, match="only one"):
        leave_one_out(["a", "b"], ["x", "x"])


@pytest.mark.parametrize("fraction", [0.05, 0.15, 0.3, 0.5, 0.95])
def test_holdout_divides_no_subject(fraction: float):
    for seed in range(20):
        fit, val = holdout(IDS, UNITS, fraction, seed=seed)
        of = dict(zip(IDS, UNITS, strict=True))
        assert sorted(fit + val) == IDS
        assert fit
        assert val
        assert not {of[i] for i in fit} & {of[i] for i in val}
        assert abs(len(val) - 100 * fraction) <= 8


def test_holdout_is_decided_by_ids_and_seed_alone():
    fit, val = holdout(IDS, UNITS, seed=3)
    order = np.random.default_rng(0).permutation(100)
    again = holdout([IDS[i] for i in order], [UNITS[i] for i in order], seed=3)
    assert set(again[1]) == set(val)
    assert list(again[1]) == [IDS[i] for i in order if IDS[i] in val]
    assert holdout(IDS, UNITS, seed=4)[1] != val
    assert list(fit) == sorted(fit)


def test_holdout_without_subjects_takes_the_fraction():
    for unknown in (None, ""):
        fit, val = holdout(IDS, [unknown] * 100, 0.15)
        assert (len(fit), len(val)) == (85, 15)


def test_holdout_of_one_subject_holds_nothing():
    assert holdout(["a", "b"], ["x", "x"]) == (("a", "b"), ())


def test_holdout_of_two_large_subjects_takes_one():
    fit, val = holdout(IDS, ["x"] * 60 + ["y"] * 40)
    assert (len(fit), len(val)) == (60, 40)
