"""`aqa leaderboard` and `aqa compare` on made-up runs."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aqa.leaderboard.runs import Run
from aqa.pipelines.cli import app

MakeRun = Callable[..., Run]
Aqa = Callable[..., Result]


@pytest.fixture
def aqa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aqa:
    """Run a verb on the runs of `make_run`."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, [*map(str, words), "--runs", str(tmp_path / "runs")], catch_exceptions=False)

    return run


@pytest.fixture
def two(make_run: MakeRun) -> list[Run]:
    return [make_run("ridge", noise=5.0, dataset="csv"), make_run("bad", noise=60.0, dataset="csv")]


def table(*words: object) -> tuple[object, ...]:
    return ("leaderboard", "csv", "--resamples", 200, *words)


def test_json_has_rows_pairs_published_and_what_holds_over_data_sets(two: list[Run], aqa: Aqa):
    found = json.loads(aqa(*table("--json")).stdout)
    assert found.keys() == {"rows", "pairs", "published", "across"}
    assert [row["head"] for row in found["rows"]] == ["ridge", "bad"]
    assert found["pairs"][0].keys() == (
        {"dataset", "protocol", "target", "group", "a", "b", "difference", "ci_low", "ci_high", "p_holm"}
    )
    assert (found["published"], found["across"]) == ([], None)


def test_published_numbers_stand_apart(make_run: MakeRun, aqa: Aqa):
    make_run("ridge", dataset="mtl-aqa")
    words = ("leaderboard", "mtl-aqa", "--resamples", 200)
    found = json.loads(aqa(*words, "--json").stdout)
    assert len(found["rows"]) == 1
    assert {"CoRe", "USDL"} <= {entry["method"] for entry in found["published"]}
    assert all(entry["source"] and entry["protocol"] == "official" for entry in found["published"])
    text = aqa(*words, "--format", "md").stdout
    board, quoted = text.split("Published numbers, quoted and not run here:")
    assert "CoRe" in quoted
    assert "CoRe" not in board
    assert "selected on test" in quoted
    assert "published, not run here:" in aqa(*words).stdout


@pytest.mark.parametrize(
    ("name", "starts"),
    [("t.md", "### csv"), ("t.csv", "dataset,"), ("t.json", "{"), ("t.tex", r"\begin{table}"), ("t.html", "<!DOCTYPE")],
)
def test_a_file_is_written_by_its_ending_whole(two: list[Run], aqa: Aqa, tmp_path: Path, name: str, starts: str):
    done = aqa(*table("-o", name))
    assert done.exit_code == 0
    assert (done.stdout, done.stderr) == ("", f"wrote {name}\n")
    assert (tmp_path / name).read_text(encoding="utf-8").lstrip().startswith(starts)
    assert {path.name for path in tmp_path.iterdir()} == {"runs", name}


def test_the_format_that_is_said_wins_over_the_ending(two: list[Run], aqa: Aqa, tmp_path: Path):
    aqa(*table("-o", "t.txt", "--format", "csv"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.txt").read_text())))
    assert [row["head"] for row in rows] == ["ridge", "bad"]
    aqa(*table("-o", "u.txt", "--format", "text"))
    assert "ridge" in (tmp_path / "u.txt").read_text()


def test_an_unknown_ending_is_refused(two: list[Run], aqa: Aqa):
    done = aqa(*table("-o", "t.xlsx"))
    assert done.exit_code == 2
    assert ".html" in done.stderr


def test_a_damaged_run_is_named_and_the_table_is_printed(two: list[Run], aqa: Aqa):
    (two[1].folder / "predictions.csv").write_text("id,part\n")
    done = aqa(*table())
    assert done.exit_code == 1
    assert "ridge" in done.stdout
    assert "left out: cannot be read" in done.stderr
    assert "1 runs could not be read" in done.stderr


def test_a_page_without_the_extra_says_what_to_install(two: list[Run], aqa: Aqa, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = aqa(*table("-o", "t.html"))
    assert done.exit_code == 4
    assert "pip install 'aqa[page]'" in done.stderr


def test_compare(two: list[Run], aqa: Aqa):
    a, b = (run.info["run_id"] for run in two)
    found = json.loads(aqa("compare", a, b, "--top", 3, "--resamples", 500, "--json").stdout)
    assert found["spearman"]["p"] < 0.05
    assert len(found["samples"]) == 3
    text = aqa("compare", two[0].folder, b, "--top", 3).stdout
    assert "Spearman a - b: +" in text
    assert "they differ" in text
    assert found["samples"][0]["id"] in text
    assert "they cannot be told apart" in aqa("compare", a, a).stdout


def test_compare_refuses(two: list[Run], make_run: MakeRun, aqa: Aqa):
    a = two[0].info["run_id"]
    assert aqa("compare", a, "nothing").exit_code == 2
    other = make_run("short", n=30, dataset="csv").info["run_id"]
    refused = aqa("compare", a, other)
    assert refused.exit_code == 3
    assert "10 differ: s-0-30" in refused.stderr
