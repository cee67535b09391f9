from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from aqa.leaderboard import table
from aqa.leaderboard.across import across
from aqa.leaderboard.comparison import wilcoxon_p
from aqa.leaderboard.runs import Run

MakeRun = Callable[..., Run]
NOISE = {"good": 3.0, "fair": 20.0, "bad": 60.0}


def on(make_run: MakeRun, names: list[str], **info) -> list[table.Section]:
    runs = [make_run(head, noise=noise, dataset=name, **info) for name in names for head, noise in NOISE.items()]
    return table.sections(runs, count=100)


def test_borda_over_two_sets(make_run: MakeRun):
    found = across(on(make_run, ["logo", "fis-v"]))
    assert found is not None
    assert [(row["head"], row["borda"], row["mean_rank"]) for row in found["heads"]] == [
        ("good", 4.0, 1.0),
        ("fair", 2.0, 2.0),
        ("bad", 0.0, 3.0),
    ]
    assert found["datasets"] == ["fis-v", "logo"]
    assert found["wilcoxon"] is None  # two sets cannot tell


def test_one_set_or_one_head_is_nothing_to_compare(make_run: MakeRun):
    assert across(on(make_run, ["logo"])) is None
    assert across([]) is None
    runs = [make_run("only", dataset=name) for name in ("logo", "fis-v")]
    assert across(table.sections(runs, count=100)) is None


def test_heads_that_a_set_lacks_are_named_and_left_out(make_run: MakeRun):
    runs = [make_run(head, dataset="logo") for head in ("a", "b", "c")]
    runs += [make_run(head, dataset="fis-v") for head in ("a", "b")]
    found = across(table.sections(runs, count=100))
    assert found is not None
    assert [row["head"] for row in found["heads"]] == ["a", "b"]
    assert found["left_out"] == ["c"]


def test_floors_synthetic_sets_and_rows_selected_on_test_do_not_count(make_run: MakeRun):
    sections = on(make_run, ["logo", "fis-v"])
    floors = [make_run("mean", dataset=name, floor=True) for name in ("logo", "fis-v")]
    sections += table.sections(floors, count=100) + on(make_run, ["demo"], flags=["synthetic"])
    sections += on(make_run, ["mtl-aqa"], flags=["selected-on-test"])
    found = across(sections)
    assert found is not None
    assert found["datasets"] == ["fis-v", "logo"]
    assert {row["head"] for row in found["heads"]} == set(NOISE)


def test_six_independent_sets_are_tested_and_sets_that_share_videos_are_one(make_run: MakeRun):
    names = ["logo", "fis-v", "jigsaws", "rhythmic-gymnastics", "mtl-aqa", "finediving"]
    found = across(on(make_run, names))
    assert found is not None
    assert found["independent"] == 5
    assert found["wilcoxon"] is None
    found = across(on(make_run, [*names, "ui-prmd"]))
    assert found is not None
    assert found["independent"] == 6
    wanted = wilcoxon_p(np.arange(18.0).reshape(6, 3))  # the order is the same on all sets
    assert {(pair["a"], pair["b"]) for pair in found["wilcoxon"]} == {
        ("bad", "fair"),
        ("bad", "good"),
        ("fair", "good"),
    }
    assert [pair["p_holm"] for pair in found["wilcoxon"]] == pytest.approx([wanted[0, 1]] * 3)


def test_the_average_over_groups_stands_for_a_set_that_has_groups(make_run: MakeRun):
    groups = ["one", "two"]
    noise = {"a": (3.0, 50.0), "b": (10.0, 10.0)}
    runs = [
        make_run(head, noise=n, group=group, groups=groups, dataset="aqa-7")
        for head, two in noise.items()
        for group, n in zip(groups, two, strict=True)
    ]
    runs += [make_run("a", dataset="logo", noise=5.0), make_run("b", dataset="logo", noise=9.0)]
    sections = table.sections(runs, count=100)
    average = next(section for section in sections if section.group == "average")
    found = across(sections)
    assert found is not None
    order = sorted(found["heads"], key=lambda row: row["ranks"]["aqa-7"])
    assert [row["head"] for row in order] == [row["head"] for row in average.rows]
