from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from aqa.errors import SplitError, UsageError
from aqa.leaderboard.compare import compare
from aqa.leaderboard.runs import Run

MakeRun = Callable[..., Run]


def test_the_difference_is_paired_and_the_odd_samples_are_found(make_run: MakeRun):
    good = [make_run("good", noise=3.0, seed=seed) for seed in range(2)]
    bad = [make_run("bad", noise=40.0, seed=seed) for seed in range(2)]
    found = compare(good, bad, count=2000, top=5)
    rho = found["spearman"]
    assert rho["ci_low"] < rho["difference"] < rho["ci_high"]
    assert rho["ci_low"] > 0
    assert rho["p"] < 0.01
    assert rho["difference"] == pytest.approx(found["a"]["spearman_averaged"] - found["b"]["spearman_averaged"])
    a, b = (np.mean([run.part("test")["score"] for run in side], axis=0) for side in (good, bad))
    truth = good[0].part("test")["truth"].to_numpy()
    assert found["mae"]["difference"] == pytest.approx(np.mean(np.abs(a - truth) - np.abs(b - truth)))
    assert found["mae"]["ci_high"] < 0
    assert len(found["samples"]) == 5
    first = int(np.argmax(np.abs(a - b)))
    assert found["samples"][0] == {
        "id": good[0].part("test")["id"][first],
        "truth": pytest.approx(truth[first]),
        "a": pytest.approx(a[first]),
        "b": pytest.approx(b[first]),
        "nearer": "a",
    }


def test_it_is_antisymmetric(make_run: MakeRun):
    one, two = [make_run("one", noise=10.0)], [make_run("two", noise=14.0)]
    there, back = compare(one, two, count=500), compare(two, one, count=500)
    assert there["spearman"]["difference"] == -back["spearman"]["difference"]
    assert there["spearman"]["p"] == pytest.approx(back["spearman"]["p"])
    assert there["spearman"]["ci_low"] == pytest.approx(-back["spearman"]["ci_high"])


def test_a_head_against_itself(make_run: MakeRun):
    run = make_run()
    found = compare([run], [run], count=200)
    assert found["spearman"] == {"difference": 0, "ci_low": 0, "ci_high": 0, "p": 1}
    assert {row["nearer"] for row in found["samples"]} == {"both"}


def test_folds_are_compared_fold_by_fold(make_run: MakeRun):
    sides = [[make_run(head, noise=n, fold=f, folds=3) for f in range(3)] for head, n in (("a", 5.0), ("b", 30.0))]
    found = compare(*sides, count=500)
    assert found["n"] == 120
    assert found["spearman"]["p"] < 0.05


def test_a_constant_head_has_no_correlation_to_compare(make_run: MakeRun):
    constant = make_run("mean")
    constant.predictions["score"] = 60.0
    found = compare([constant], [make_run()], count=200)
    assert found["spearman"]["difference"] is found["spearman"]["p"] is found["spearman"]["ci_low"] is None
    assert found["mae"]["ci_low"] > 0


def test_other_test_samples_are_refused_and_named(make_run: MakeRun):
    with pytest.raises(SplitError, match=r"10 differ: s-0-30, s-0-31"):
        compare([make_run("a")], [make_run("b", n=30)])


def test_other_truths_are_refused(make_run: MakeRun):
    other = make_run("b")
    other.predictions.loc[3, "truth"] += 1
    with pytest.raises(SplitError, match=r"1 differ: s-0-03"):
        compare([make_run("a")], [other])


def test_two_models_on_one_side_are_refused(make_run: MakeRun):
    with pytest.raises(UsageError, match="2 different models"):
        compare([make_run("a"), make_run("b")], [make_run("c")])


def test_other_groups_are_refused(make_run: MakeRun):
    with pytest.raises(UsageError, match="group: 'x' and 'y'"):
        compare([make_run(group="x")], [make_run(group="y")])


def test_a_seed_without_all_folds_is_refused(make_run: MakeRun):
    runs = [make_run(fold=0, seed=0, folds=2), make_run(fold=1, seed=1, folds=2)]
    with pytest.raises(UsageError, match="no seed of ridge has all its folds"):
        compare(runs, [make_run("b")])


def test_phases_are_compared_sample_by_sample_where_both_sides_find_them(make_run: MakeRun, with_phases: MakeRun):
    good = [with_phases(make_run("good", seed=seed), late=3 * seed) for seed in range(2)]
    bad = [with_phases(make_run("bad", seed=seed), late=14) for seed in range(2)]
    whole = compare(good, bad, count=2000)
    found = whole["aiou_75"]
    a, b = ([run.part("test") for run in side] for side in (good, bad))

    def hits(tests: list[pd.DataFrame], least: float | None = 0.75) -> list[float]:
        """Of every sample with known phases the share of seeds whose span, shortened by `late`, is three quarters, or
        the mean of what is left of it."""
        shares = []
        for rows in zip(*(test[["phases", "true phases"]].itertuples(index=False) for test in tests), strict=True):
            spans = [[[int(n) for n in text.split()] for text in row] for row in rows if row[1]]
            if spans:
                parts = np.array([(said[1] - said[0]) / (true[1] - true[0]) for said, true in spans])
                shares.append((parts if least is None else parts >= least).mean())
        return shares

    first, second = hits(a), hits(b)
    assert len(first) == 36
    assert found["difference"] == pytest.approx(np.mean(first) - np.mean(second))
    assert 0 < found["ci_low"] < found["difference"] < found["ci_high"]
    mean = np.mean(hits(a, None)) - np.mean(hits(b, None))
    assert whole["tiou"]["difference"] == pytest.approx(mean)
    assert 0 < whole["tiou"]["ci_low"] < mean < whole["tiou"]["ci_high"]
    again = compare(bad, good, count=2000)["aiou_75"]
    assert (again["difference"], again["ci_low"]) == pytest.approx((-found["difference"], -found["ci_high"]))
    same = compare(good, good, count=200)
    assert same["aiou_75"] == {"difference": 0, "ci_low": 0, "ci_high": 0}
    assert (same["a"]["aiou_75"], same["a"]["tiou"]) == pytest.approx((np.mean(first), np.mean(hits(a, None))))
    assert compare(good, [make_run("plain")], count=200)["aiou_75"] is None


def test_other_true_phases_are_refused_and_named(make_run: MakeRun, with_phases: MakeRun):
    other = with_phases(make_run("b"))
    other.predictions.loc[3, "true phases"] = "1 90"
    with pytest.raises(SplitError, match=r"the true phases of 1 test samples differ: s-0-03"):
        compare([with_phases(make_run("a"))], [other], count=200)


def test_phases_that_nobody_knows_are_not_compared(make_run: MakeRun, with_phases: MakeRun):
    sides = [with_phases(make_run(head)) for head in "ab"]
    for run in sides:
        run.predictions["true phases"] = ""
    assert compare(*([run] for run in sides), count=200)["aiou_75"] is None
