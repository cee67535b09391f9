"""Comparisons, flags and intervals of a table, and what it does with runs that are odd."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from aqa.errors import StoreError
from aqa.leaderboard import formats, table
from aqa.leaderboard.columns import columns_of, note_of
from aqa.leaderboard.conformal import factor
from aqa.leaderboard.flags import meaning
from aqa.leaderboard.page.ranking import learning
from aqa.leaderboard.runs import Run, iter_runs

MakeRun = Callable[..., Run]


def one(runs: list[Run], count: int = 500) -> table.Section:
    (section,) = table.sections(runs, count=count)
    return section


def everything(sections: list[table.Section]) -> str:
    """All formats, so that none of them fails."""
    terminal = Console(width=120, record=True, file=io.StringIO())
    terminal.print(formats.to_terminal(sections))
    texts = (formats.to_markdown, formats.to_csv, formats.to_json, formats.to_latex)
    return terminal.export_text() + "".join(write(sections) for write in texts)


def test_rows_are_told_apart_in_pairs_on_the_same_resamples(make_run: MakeRun):
    section = one([make_run("good", noise=3.0), make_run("same", noise=3.0), make_run("bad", noise=60.0)], 2000)
    rows = {row["head"]: row for row in section.rows}
    assert [rows[head]["letters"] for head in ("good", "same", "bad")] == ["a", "a", "b"]
    assert rows["good"]["p_best"] == rows["same"]["p_best"] == 0.5
    assert (rows["good"]["ci_low"], rows["good"]["ci_high"]) == (rows["same"]["ci_low"], rows["same"]["ci_high"])
    pairs = {(pair["a"], pair["b"]): pair for pair in section.pairs()}
    assert len(pairs) == 3
    far = pairs["good (c3d)", "bad (c3d)"]
    assert far["p_holm"] < 0.01
    assert 0 < far["ci_low"] < far["difference"] < far["ci_high"]
    equal = pairs["good (c3d)", "same (c3d)"]
    assert (equal["difference"], equal["ci_low"], equal["ci_high"], equal["p_holm"]) == (0, 0, 0, 1)


def test_the_interval_is_conformal_and_its_coverage_is_that_of_the_test_part(make_run: MakeRun):
    runs = [make_run("dae", noise=5.0, held=30, seed=seed) for seed in range(2)]
    (row,) = one(runs).rows
    held = [run.part("val") for run in runs]
    said = np.mean([part["score"] for part in held], axis=0)
    wide = factor(held[0]["truth"].to_numpy(), said)
    assert wide is not None
    tests = [run.part("test") for run in runs]
    error = np.abs(tests[0]["truth"] - np.mean([part["score"] for part in tests], axis=0))
    assert row["interval_coverage"] == pytest.approx(np.mean(error <= wide))
    assert row["interval_width"] == pytest.approx(2 * wide)
    assert row["interval_form"] == "plain"
    text = formats.to_markdown([one(runs)])
    assert f"| {row['interval_coverage']:.3f} | {row['interval_width']:.1f} |" in text
    assert "split conformal prediction, checked on test" in text


def test_a_head_with_a_spread_gets_the_weighted_interval(make_run: MakeRun):
    (row,) = one([make_run("dae", noise=5.0, spread=2.5, held=30)]).rows
    assert row["interval_form"] == "weighted"
    (plain,) = one([make_run("ridge", noise=5.0, held=30)]).rows
    assert row["interval_width"] == pytest.approx(plain["interval_width"])  # all spreads are equal here


@pytest.mark.parametrize(("held", "info"), [(0, {}), (8, {}), (30, {"target_kind": "binary", "range": [0.0, 1.0]})])
def test_no_interval_without_enough_held_out_samples_or_for_a_class(make_run: MakeRun, held: int, info: dict[str, Any]):
    (row,) = one([make_run(held=held, **info)]).rows
    assert (row["interval_coverage"], row["interval_width"], row["interval_form"]) == (None, None, None)


def test_a_row_that_does_not_reach_the_best_floor_is_flagged(make_run: MakeRun):
    floors = [make_run("metadata", noise=20.0, floor=True), make_run("difficulty", noise=60.0, floor=True)]
    section = one([make_run("good", noise=3.0), make_run("bad", noise=200.0), *floors])
    flags = {row["head"]: row["flags"] for row in section.rows}
    assert "below-metadata-floor" in flags["bad"]
    assert not [flag for head in ("good", "metadata", "difficulty") for flag in flags[head] if "floor" in flag]
    lucky = [make_run("random", noise=1.0, floor=True), make_run("worse", noise=90.0)]
    assert not [flag for row in one(lucky).rows for flag in row["flags"] if flag.startswith("below")]


def test_phases_are_held_against_the_floors_that_give_them(make_run: MakeRun, with_phases: MakeRun):
    plain = make_run("svr", noise=3.0)
    runs = [
        with_phases(make_run("tsa", noise=4.0)),
        with_phases(make_run("hasty", noise=4.5), late=18, of=1),
        with_phases(make_run("mean", floor=True), late=18),
        with_phases(make_run("group-mean", noise=9.0, floor=True), late=12),
        plain,
        make_run("random", noise=90.0, floor=True),
    ]
    rows = {row["head"]: row for row in one(runs).rows}
    assert rows["hasty"]["aiou_75"] < rows["mean"]["aiou_75"] == rows["group-mean"]["aiou_75"] < rows["tsa"]["aiou_75"]
    assert rows["tsa"]["aiou_75"] == 1
    assert "aiou_75" not in rows["svr"]
    flags = {head: [flag for flag in row["flags"] if "floor" in flag] for head, row in rows.items()}
    assert flags.pop("hasty") == ["below-group-mean-phases-floor"]
    assert not any(flags.values())
    assert "sees no frame" in meaning("below-mean-phases-floor")
    (alone,) = one([plain]).rows
    assert not [name for name in alone if "aiou" in name]


def streams(text: str) -> dict[str, Any]:
    return {"c3d": {"fingerprint": {"backbone": "c3d.random", "precision": text}}}


def test_streams_of_one_name_made_in_two_ways_are_flagged(make_run: MakeRun):
    runs = [make_run(head, streams=streams(how)) for head, how in (("a", "fp32"), ("b", "bf16"))]
    assert all("mixed-fingerprints" in row["flags"] for row in one(runs).rows)
    assert "mixed-fingerprints" not in one(runs[:1]).rows[0]["flags"]
    groups = ["one", "two"]
    mixed = [
        make_run(group=g, groups=groups, streams=streams(how)) for g, how in zip(groups, ("fp32", "bf16"), strict=True)
    ]
    average = table.sections(mixed, count=100)[-1].rows[0]
    assert "mixed-fingerprints" in average["flags"]


def test_rows_with_other_test_samples_are_shown_and_not_compared(make_run: MakeRun):
    runs = [make_run("a"), make_run("b", noise=9.0), make_run("c", n=30)]
    section = one(runs)
    rows = {row["head"]: row for row in section.rows}
    assert "other-test-set" in rows["c"]["flags"]
    assert (rows["c"]["letters"], rows["c"]["p_best"]) == ("", None)
    assert "other-test-set" not in rows["a"]["flags"]
    assert {pair["a"] for pair in section.pairs()} | {pair["b"] for pair in section.pairs()} == {"a (c3d)", "b (c3d)"}


def test_groups_have_resamples_of_their_own_and_heads_share_them(make_run: MakeRun):
    groups = ["diving", "vault"]
    runs = [make_run(head, noise=n, group=g, groups=groups) for g in groups for head, n in (("x", 9.0), ("y", 40.0))]
    diving, vault, average = table.sections(runs, count=400)
    assert average.group == "average"
    assert not np.array_equal(diving.lines[0].draws, vault.lines[0].draws)
    z = np.mean([np.arctanh(section.lines[0].draws) for section in (diving, vault)], axis=0)
    assert average.lines[0].draws == pytest.approx(np.tanh(z))
    assert [row["letters"] for row in average.rows] == ["a", "b"]


def break_score(run: Run, text: str) -> Run:
    file = run.folder / "predictions.csv"
    lines = file.read_text().splitlines()
    cells = lines[3].split(",")
    cells[3] = text
    lines[3] = ",".join(cells)
    file.write_text("\n".join(lines) + "\n")
    return Run(run.folder, run.info)


@pytest.mark.parametrize("text", ["nan", "inf", "", "high"])
def test_a_run_with_a_score_that_is_no_number_is_left_out_and_named(make_run: MakeRun, text: str):
    runs = [make_run("good"), break_score(make_run("broken"), text)]
    with pytest.raises(StoreError, match=r"predictions\.csv"):
        table.sections(runs, count=100)
    failed: list[StoreError] = []
    (section,) = table.sections(runs, count=100, failed=failed.append)
    assert [row["head"] for row in section.rows] == ["good"]
    assert len(failed) == 1
    if text != "high":
        assert failed[0].sample == "s-0-02"
        assert failed[0].field == "score"
        assert "aqa runs rm" in str(failed[0])


def test_one_sample(make_run: MakeRun):
    section = one([make_run("a", n=1), make_run("b", n=1)])
    assert all(row["spearman"] is row["ci_low"] is None for row in section.rows)
    assert all(row["p_best"] is None and row["letters"] == "" for row in section.rows)
    assert section.pairs() == []
    assert "MAE" in everything([section])


def test_two_samples_and_ties(make_run: MakeRun):
    section = one([make_run("a", n=2), make_run("b", n=2, noise=0.0)])
    assert section.rows[0]["spearman"] == pytest.approx(1.0)
    everything([section])


def test_a_constant_head_is_a_row_without_a_correlation(make_run: MakeRun):
    constant = make_run("mean")
    constant.predictions["score"] = 60.0
    section = one([constant, make_run("ridge")])
    assert [row["head"] for row in section.rows] == ["ridge", "mean"]
    assert (section.rows[1]["letters"], section.rows[1]["p_best"], section.rows[1]["ci_low"]) == ("", None, None)
    assert section.rows[0]["p_best"] == 1.0
    everything([section])
    assert one([constant]).rows[0]["p_best"] is None


def test_seeds_with_labels_of_their_own_are_not_averaged_into_one_prediction(make_run: MakeRun):
    seeds = [make_run("a", labelled=0.1, noise=40.0, seed=k, held=30) for k in range(5)]
    section = one([*seeds, *(make_run("b", noise=40.0, seed=k) for k in range(5))], count=2000)
    row, usual = (line.row for line in sorted(section.lines, key=lambda line: line.row["head"]))
    assert row["spearman_averaged"] == pytest.approx(row["spearman"])
    assert row["ci_low"] < row["spearman"] < row["ci_high"]
    assert usual["spearman_averaged"] > usual["spearman"] + 0.1  # the mean of five predictions errs less
    alone = [one([run]).lines[0].row["interval_coverage"] for run in seeds]
    assert row["interval_coverage"] == pytest.approx(np.mean(alone))
    (pair,) = section.pairs()
    assert abs(pair["difference"]) == pytest.approx(usual["spearman_averaged"] - row["spearman"])
    assert "of rows with fewer labels of the seeds' mean correlation" in note_of(section)


def test_a_learning_curve_is_drawn_for_heads_with_several_shares(make_run: MakeRun):
    noise = {0.1: 40.0, 0.5: 20.0, 1.0: 5.0}
    runs = [make_run("a", labelled=share, noise=sd, seed=seed) for share, sd in noise.items() for seed in (0, 1)]
    others = [make_run("b", config={"k": k}, changed={"k": k}) for k in (1, 2)]  # all labels: no curve
    picture = learning(one([*runs, *others]), "curves")
    assert picture is not None
    assert picture.data["head"].tolist() == ["a (c3d)"] * 3
    assert picture.data["labelled"].tolist() == [0.1, 0.5, 1.0]
    assert (np.diff(picture.data["spearman"]) > 0).all()
    fewest, most = picture.data["spearman"].iloc[[0, -1]]
    assert f"a (c3d) {fewest:.3f} at 10%" in picture.alt
    assert picture.data["ci_low"].iloc[-1] < most < picture.data["ci_high"].iloc[-1]
    assert learning(one([*others, make_run("a")]), "curves") is None


def test_a_missing_seed_is_no_matter(make_run: MakeRun):
    section = one([make_run("a", seed=s) for s in (0, 1, 4)] + [make_run("b", seed=s) for s in (0, 1, 2, 3)])
    assert {row["head"]: row["seeds"] for row in section.rows} == {"a": 3, "b": 4}
    assert len(section.pairs()) == 1


def test_unicode_and_signs_in_names(make_run: MakeRun):
    runs = [
        make_run("kopf-漢字", dataset="sprünge_100% & mehr", changed={"größe": "a|b"}),
        make_run("b", dataset="sprünge_100% & mehr"),
    ]
    text = everything([one(runs)])
    assert "kopf-漢字" in text
    assert r"größe=a\|b" in text
    assert r"sprünge\_100\% \& mehr" in text


def test_no_runs():
    assert table.sections([]) == []
    assert "no runs" in everything([])


@pytest.mark.slow
def test_3000_rows(make_run: MakeRun, tmp_path: Path):
    for k in range(3000):
        make_run("head", noise=1 + k / 30, config={"k": k}, changed={"k": k})
    section = one(list(iter_runs(tmp_path / "runs")), table.RESAMPLES)
    assert len(section.rows) == 3000
    assert section.resamples == 1000
    assert len(section.compared) == 100
    assert "the 100 best rows on the same test samples are compared" in note_of(section)
    assert sum(row["letters"] != "" for row in section.rows) == 100
    everything([section])


def test_the_point_the_bootstrap_resamples_is_in_the_row(make_run: MakeRun):
    runs = [make_run(noise=20.0, seed=seed) for seed in range(3)]
    (row,) = one(runs).rows
    mean = np.mean([run.part("test")["score"] for run in runs], axis=0)
    assert row["spearman_averaged"] == pytest.approx(stats.spearmanr(runs[0].part("test")["truth"], mean)[0])


def test_latex_has_the_columns_of_a_paper_and_the_flags_in_its_caption(make_run: MakeRun):
    section = one([make_run("svr", flags=["synthetic"], seeded=False, changed={"C": 1, "a_b": 2})])
    text = formats.to_latex([section])
    assert r"\toprule" in text
    assert r"svr C=1 a\_b=2 & c3d &" in text
    assert r"Flags: synthetic (svr C=1 a\_b=2)." in text
    assert r"95\% interval" in text
    assert "ms/sample" not in text


def test_columns_are_those_that_some_row_fills_and_all_say_what_they_mean(make_run: MakeRun):
    plain = [column.title for column in columns_of(one([make_run()]))]
    assert not {"labelled", "accuracy", "AUC", "own cov.", "NLL", "coverage", "sd"} & set(plain)
    some = columns_of(one([make_run("a", labelled=0.4, spread=2.0, held=30), make_run("b")]))
    assert {"labelled", "own cov.", "NLL", "sharpness", "coverage", "width"} <= {column.title for column in some}
    assert all(column.meaning for column in some)
