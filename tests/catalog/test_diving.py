from __future__ import annotations

import math

import pytest

from aqa.catalog.diving import counted_marks, disagreement, usable_judges


@pytest.mark.parametrize(
    ("judges", "mark"),
    [
        ([9.5, 9.0, 9.5, 9.0, 8.5, 9.5, 8.5], 27.5),  # times 3.2 is 88.0
        ([8.0, 8.5, 7.5], 24.0),
        ([8.0, 8.0, 8.0, 8.0, 8.0], 24.0),
        ([8.0] * 6, None),
        ([], None),
    ],
)
def test_counted_marks(judges: list[float], mark: float | None):
    assert counted_marks(judges) == pytest.approx(mark)


def test_marks_in_range_are_left_alone():
    assert usable_judges("a", [0.0, 10.0, 7.5], "f") == ((0.0, 10.0, 7.5), [])


def test_a_slipped_point_is_put_right():
    judges, (problem,) = usable_judges("a", [4.0, 45.0], "f.pkl")
    assert judges == (4.0, 4.5)
    assert problem.message == "45.0 in f.pkl is outside of 0..10: 4.5 is used"


@pytest.mark.parametrize("mark", [-1.0, 12.0, 450.0, math.nan, math.inf])
def test_other_impossible_marks_drop_the_judges(mark: float):
    judges, (problem,) = usable_judges("a", [4.0, mark], "f")
    assert judges == ()
    assert problem.field == "judge_2"


def test_disagreement():
    judges = [9.5, 9.0, 9.5, 9.0, 8.5, 9.5, 8.5]
    assert disagreement("a", judges, 3.2, 88.05) == []
    assert disagreement("a", [], 3.2, 12.0) == []
    (problem,) = disagreement("a", judges, 3.2, 88.10)
    assert "88.00" in problem.message
    assert "88.10" in problem.message
