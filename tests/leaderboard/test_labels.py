from __future__ import annotations

import numpy as np
import pytest

from aqa.leaderboard.labels import label_columns, label_metrics, label_names, overlaps, reached


def test_aiou_is_the_share_of_samples_that_reach_the_threshold():
    columns = {"phases": ["20 60", "20 60", "30 40", "1 2"], "true phases": ["20 60", "30 70", "20 60", ""]}
    wanted = {"aiou_50": 2 / 3, "aiou_75": 1 / 3, "tiou": (1 + 0.6 + 0.25) / 3}
    assert label_metrics(columns) == pytest.approx(wanted)
    assert label_metrics({"phases": ["1 2"], "true phases": [""]}) == dict.fromkeys(wanted)
    assert label_names([label_metrics(columns)]) == list(wanted)


def test_a_sample_that_overlaps_by_exactly_three_quarters_counts():
    columns = {"phases": ["20 50", "20 49"], "true phases": ["20 60", "20 60"]}
    found = label_metrics(columns)
    assert (found["aiou_50"], found["aiou_75"]) == (1.0, 0.5)


def test_the_columns_of_phases():
    said, truth = np.array([[4, 40], [13, 52]]), np.array([[5, 41], [-1, -1]])
    assert label_columns({}, (), {}, ("", ""), said, truth) == {
        "phases": ["4 40", "13 52"],
        "true phases": ["5 41", ""],
    }
    assert label_columns({}, (), {}, ("", ""), None, truth) == {}
    assert label_columns({}, (), {}, ("", ""), said)["true phases"] == ["", ""]


def test_two_conventions_where_a_sample_has_several_predictions():
    tious = np.array([[1.0, 0.4], [0.8, 0.8], [0.7, 0.7], [0.9, 0.5]])
    assert reached(tious, 0.75, "mean").tolist() == [0, 1, 0, 0]  # means .7, .8, .7, .7
    assert reached(tious, 0.75, "pairs").tolist() == [0.5, 1, 0, 0.5]
    assert reached(tious, 0.75, "mean").mean() == 1 / 4  # videos
    assert reached(tious, 0.75, "pairs").mean() == 4 / 8  # pairs of a video and a voter
    assert reached(tious, 0.5, "mean").tolist() == [1, 1, 1, 1]
    assert reached(tious, 0.5, "pairs").tolist() == [0.5, 1, 1, 1]
    one = tious[:, :1]
    assert reached(one, 0.75, "mean").tolist() == reached(one, 0.75, "pairs").tolist() == [1, 1, 0, 1]


def test_overlaps_of_voters_with_the_truth_where_it_is_known():
    found = overlaps([["20 60", "1 2"], ["30 70", "1 2"]], ["20 60", ""])
    assert found[0] == pytest.approx([1, 0.6])
    assert np.isnan(found[1]).all()
