from __future__ import annotations

import pytest

from aqa.leaderboard.labels import label_metrics, label_names, overlap


@pytest.mark.parametrize(
    ("said", "truth", "wanted"),
    [
        ((20, 60), (20, 60), 1.0),
        ((20, 60), (30, 70), 30 / 50),
        ((30, 40), (20, 60), 10 / 40),
        ((0, 10), (50, 60), 0.0),
        ((20, 20), (20, 20), 0.0),
    ],
)
def test_overlap_of_phases(said: tuple[float, float], truth: tuple[float, float], wanted: float):
    assert overlap(said, truth) == pytest.approx(wanted)
    assert overlap(truth, said) == pytest.approx(wanted)


def test_aiou_is_the_share_of_samples_that_reach_the_threshold():
    columns = {"phases": ["20 60", "20 60", "30 40", "1 2"], "true phases": ["20 60", "30 70", "20 60", ""]}
    assert label_metrics(columns) == pytest.approx({"aiou_50": 2 / 3, "aiou_75": 1 / 3})
    assert label_metrics({"phases": ["1 2"], "true phases": [""]}) == {"aiou_50": None, "aiou_75": None}
    assert label_names([label_metrics(columns)]) == ["aiou_50", "aiou_75"]
