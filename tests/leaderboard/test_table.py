from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from aqa.leaderboard import formats, table


def test_rows_are_sorted_and_have_mean_sd_and_interval(make_run):
    for seed in range(3):
        make_run("good", noise=3.0, seed=seed)
        make_run("bad", noise=40.0, seed=seed)
    runs = [make_run("good", noise=3.0, seed=s) for s in range(3)] + [
        make_run("bad", noise=40.0, seed=s) for s in range(3)
    ]
    rows = table.rows(runs, count=500)
    assert [row["head"] for row in rows] == ["good", "bad"]
    good = rows[0]
    per_seed = [stats.spearmanr(r.predictions["truth"], r.predictions["score"])[0] for r in runs[:3]]
    assert good["spearman"] == pytest.approx(np.mean(per_seed))
    assert good["spearman_sd"] == pytest.approx(np.std(per_seed, ddof=1))
    averaged = np.mean([r.predictions["score"] for r in runs[:3]], axis=0)
    ensemble = stats.spearmanr(runs[0].predictions["truth"], averaged)[0]
    assert good["ci_low"] < ensemble < good["ci_high"]
    assert good["flags"] == []


def test_folds_are_averaged_by_fisher(make_run):
    runs = [make_run(noise=20.0, fold=f, folds=4) for f in range(4)]
    row = table.rows(runs, count=200)[0]
    rho = [stats.spearmanr(r.predictions["truth"], r.predictions["score"])[0] for r in runs]
    assert row["spearman"] == pytest.approx(np.tanh(np.arctanh(rho).mean()))
    assert (row["folds"], row["n"], row["averaged"]) == (4, 160, "fisher")


def test_pooled_folds_are_one_correlation(make_run):
    runs = [make_run(noise=20.0, fold=f, folds=2, pooled=True) for f in range(2)]
    row = table.rows(runs, count=200)[0]
    truth = np.concatenate([r.predictions["truth"] for r in runs])
    score = np.concatenate([r.predictions["score"] for r in runs])
    assert row["spearman"] == pytest.approx(stats.spearmanr(truth, score)[0])
    assert row["averaged"] == "pooled"


def test_a_row_over_groups_appears_when_every_group_has_run(make_run):
    groups = ["diving", "vault"]
    one = make_run(group="diving", groups=groups, noise=10.0)
    assert [r["group"] for r in table.rows([one], count=100)] == ["diving"]
    two = make_run(group="vault", groups=groups, noise=30.0)
    rows = table.rows([one, two], count=400)
    assert [r["group"] for r in rows] == ["diving", "vault", "average"]
    average = rows[-1]
    assert average["spearman"] == pytest.approx(np.tanh(np.mean(np.arctanh([r["spearman"] for r in rows[:2]]))))
    assert average["n"] == 80
    assert average["ci_low"] < average["spearman"] < average["ci_high"]


def test_flags(make_run):
    row = table.rows([make_run(folds=3, flags=["synthetic"])], count=100)[0]
    assert row["flags"] == ["synthetic", "fewer-than-three-seeds", "1-of-3-folds"]
    assert table.rows([make_run("svr", seeded=False)], count=100)[0]["flags"] == []


def test_a_seed_with_missing_folds_is_left_out_and_said(make_run):
    runs = [make_run(fold=f, seed=s, folds=2) for f, s in ((0, 0), (1, 0), (0, 1))]
    row = table.rows(runs, count=100)[0]
    assert row["seeds"] == 1
    assert "unfinished-seeds-left-out" in row["flags"]


def test_constant_predictions_are_null_and_last(make_run):
    rows = table.rows([make_run("mean", noise=0.0, floor=True), make_run("ridge")], count=100)
    assert rows[0]["spearman"] == 1.0  # noise 0 is the truth itself
    constant = make_run("mean2")
    frame = constant.predictions
    frame["score"] = 3.0
    rows = table.rows([constant, make_run("ridge")], count=100)
    assert [r["head"] for r in rows] == ["ridge", "mean2"]
    assert (rows[1]["spearman"], rows[1]["ci_low"]) == (None, None)


def test_formats(make_run):
    runs = [make_run("a|b", changed={"C": 1}), make_run("mean", floor=True, noise=50.0)]
    sections = table.sections(runs, count=100)
    (section,) = sections
    rows = section.rows
    assert json.loads(formats.to_json(sections))["rows"] == json.loads(json.dumps(rows))
    lines = list(csv.DictReader(io.StringIO(formats.to_csv(sections))))
    assert [line["head"] for line in lines] == [row["head"] for row in rows]
    assert float(lines[0]["spearman"]) == rows[0]["spearman"]
    text = formats.to_markdown(sections)
    assert "a\\|b C=1" in text
    assert "floor" in text
    assert "0..104.5 (rules)" in text
    terminal = Console(width=200, record=True, file=io.StringIO())
    terminal.print(formats.to_terminal(sections))
    shown = terminal.export_text()
    assert "a|b C=1" in shown
    assert f"{rows[0]['spearman']:.3f}" in shown
    assert formats.to_markdown([]) == "no runs\n"


def test_spreads_are_judged_and_shown_where_a_head_gives_them(make_run):
    without = table.sections([make_run("ridge")], count=100)
    (ridge,) = without[0].rows
    assert (ridge["coverage"], ridge["nll"], ridge["sharpness"]) == (None, None, None)
    assert "own cov." not in formats.to_markdown(without)
    assert "NLL" not in formats.to_markdown(without)
    runs = [make_run("dae", noise=5.0, spread=sd, seed=seed) for seed, sd in ((0, 5.0), (1, 1.0))]
    dae = table.rows(runs, count=100)[0]
    inside = [np.abs(r.predictions["score"] - r.predictions["truth"]) <= 1.645 * r.predictions["spread"] for r in runs]
    assert dae["coverage"] == pytest.approx(np.mean(inside))
    assert 0.3 < dae["coverage"] < 0.8
    assert dae["sharpness"] == 3.0
    both = table.sections([*runs, make_run("ridge")], count=100)
    text = formats.to_markdown(both)
    lines = text.splitlines()
    header, ridge = (next(line for line in lines if line.startswith(start)) for start in ("| head", "| ridge"))
    cells = dict(zip(header.split("|"), ridge.split("|"), strict=True))
    assert cells[" own cov. "].strip() == cells[" NLL "].strip() == ""
    assert f"| {dae['coverage']:.3f} | {dae['nll']:.2f} |" in text
    assert "own cov.: of the 90% intervals by the heads' own spreads" in text
    for other, wanted in ((6.0, 5.0), (None, None)):
        folds = [make_run(f"dae{other}", spread=sd, fold=fold, folds=2) for fold, sd in ((0, 4.0), (1, other))]
        assert table.rows(folds, count=100)[0]["sharpness"] == wanted


@pytest.mark.parametrize("width", [44, 80, 100, 140, 200])
def test_a_narrow_terminal_goes_without_columns_and_says_which(make_run, width: int):
    sections = table.sections(
        [make_run("svr", changed={"C": 100.0}), make_run("mean", floor=True, noise=50.0)], count=100
    )
    rows = sections[0].rows
    terminal = Console(width=width, record=True, file=io.StringIO())
    terminal.print(formats.to_terminal(sections))
    shown = terminal.export_text()
    assert "svr C=100" in shown
    assert f"[{rows[0]['ci_low']:.3f}, {rows[0]['ci_high']:.3f}]" in shown
    assert ("no room for: parameters" in " ".join(shown.split())) == (width < 200)
    assert ("floor" in shown) == (width >= 80)
