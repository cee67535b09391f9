"""Phases on the whole way: fit, table in every format, two heads compared, a run that is shared. The clips are made up
and tell the phases of the embedded set, which is read without its videos."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aqa import catalog
from aqa.catalog.phases import overlap, transitions

FIT = (
    "fit",
    "demo",
    "--cache",
    "cache",
    "--seeds",
    2,
    "--set",
    "segment.hidden=8",
    "--set",
    "segment.epochs=12",
    "--set",
    "segment.lr=1e-2",
)
HEADS = [word for head in ("segment", "mean", "group-mean", "difficulty") for word in ("--head", head)]


@pytest.fixture
def imported(aqa, value, tmp_path: Path) -> Path:
    """A clip of eight numbers for every frame of `demo`, of which three say the phase, with noise."""
    draw, folder = np.random.default_rng(0), tmp_path / "features"
    folder.mkdir()
    for sample in catalog.read("demo").samples:
        st, ed = transitions(sample.phases, len(sample.phases))
        phase = np.searchsorted([st, ed], np.arange(len(sample.phases)), side="right")
        clips = np.eye(3, 8)[phase] + 0.5 * draw.normal(size=(len(phase), 8))
        np.save(folder / f"{sample.id}.npy", clips.astype(np.float32))
    words = ("cache", "import", "demo", folder, "--as", "told", "--cache", "cache", "--root", tmp_path, "--json")
    assert value(aqa(*words))["done"] == 240
    return tmp_path


def test_phases_come_through(imported: Path, aqa, value):
    fitted = value(aqa(*FIT, *HEADS, "--json"))
    truth = {sample.id: transitions(sample.phases) for sample in catalog.read("demo").samples}
    for row in fitted:
        with (Path(row["run"]) / "predictions.csv").open(encoding="utf-8", newline="") as file:
            lines = [line for line in csv.DictReader(file) if line["part"] == "test"]
        assert len(lines) == 96
        if row["head"] == "difficulty":
            assert "phases" not in lines[0]
            assert "aiou_75" not in row["metrics"]
            continue
        said, true = ([[int(n) for n in line[name].split()] for line in lines] for name in ("phases", "true phases"))
        assert [tuple(pair) for pair in true] == [truth[line["id"]] for line in lines]
        for key, least in (("aiou_50", 0.5), ("aiou_75", 0.75)):
            assert row["metrics"][key] == pytest.approx((overlap(np.array(said), np.array(true)) >= least).mean())
        assert row["metrics"]["tiou"] == pytest.approx(overlap(np.array(said), np.array(true)).mean())
        if row["head"] == "segment":
            assert row["metrics"]["spearman"] is None

    table = value(aqa("leaderboard", "demo", "--json", "--resamples", 200))["rows"]
    rows: dict[str, Any] = {row["head"]: row for row in table}
    mine = [row["metrics"]["aiou_75"] for row in fitted if row["head"] == "segment"]
    assert rows["segment"]["aiou_75"] == pytest.approx(np.mean(mine))
    # Median phases of the dive number reach .75 in every dive of this set, so only tIoU can tell.
    assert rows["segment"]["aiou_75"] == rows["group-mean"]["aiou_75"] == rows["mean"]["aiou_75"] == 1
    assert rows["segment"]["tiou"] > rows["group-mean"]["tiou"] > rows["mean"]["tiou"]
    assert rows["segment"]["spearman"] is rows["segment"]["ci_low"] is None
    assert "below-difficulty-floor" in rows["segment"]["flags"]  # it says nothing of the score
    assert not [flag for flag in rows["segment"]["flags"] if "phases" in flag]
    assert "aiou_75" not in rows["difficulty"]
    for form in ("md", "csv", "tex"):
        text = aqa("leaderboard", "demo", "--format", form, "--resamples", 200).stdout
        assert ("AIoU@0.75" in text, "aiou_75" in text) == (form == "md", form == "csv")
    page = imported / "page.html"
    aqa("leaderboard", "demo", "-o", page, "--resamples", 200)
    assert "AIoU@0.75" in page.read_text(encoding="utf-8")

    runs = {row["head"]: Path(row["run"]).parent for row in fitted}
    found = value(aqa("compare", runs["segment"], runs["group-mean"], "--json", "--resamples", 500))
    assert found["aiou_75"] == {"difference": 0, "ci_low": 0, "ci_high": 0}
    found = found["tiou"]
    assert found["difference"] == pytest.approx(rows["segment"]["tiou"] - rows["group-mean"]["tiou"])
    assert 0 < found["ci_low"] < found["difference"] < found["ci_high"]
    said = aqa("compare", runs["segment"], runs["group-mean"], "--resamples", 500).stdout
    assert "AIoU@0.75 a - b: +0.000 [+0.000, +0.000]" in said
    assert f"tIoU a - b: {found['difference']:+.3f} [" in said
    other = aqa("compare", runs["segment"], runs["difficulty"], "--resamples", 500)
    assert value(aqa("compare", runs["segment"], runs["difficulty"], "--json", "--resamples", 500))["aiou_75"] is None
    assert "AIoU@0.75 a - b" not in other.stdout

    assert aqa("runs", "export", "mine.zip", runs["segment"]).exit_code == 0
    assert len(value(aqa("runs", "merge", "mine.zip", "--runs", "theirs", "--json"))["merged"]) == 2


def test_other_phases_are_another_run_of_the_heads_that_find_them(imported: Path, aqa, value):
    first = {row["head"]: row["run"] for row in value(aqa(*FIT, *HEADS, "--json"))}
    (table,) = imported.joinpath("cache").rglob("dataset.json")
    plain = json.loads(table.read_text(encoding="utf-8"))
    sample = plain["dataset"]["samples"][0]
    before = transitions(sample["phases"])
    sample["phases"][0] = sample["phases"][-1]
    assert transitions(sample["phases"]) != before
    table.write_text(json.dumps(plain), encoding="utf-8")
    again = {row["head"]: row["run"] for row in value(aqa(*FIT, *HEADS, "--json"))}
    assert {head for head, run in again.items() if run != first[head]} == {"segment", "mean", "group-mean"}


def test_a_set_without_phases_has_the_tables_it_had(extracted, aqa, value):
    cache, _ = extracted
    refused = aqa("fit", "csv", "--cache", cache, "--head", "segment")
    assert refused.exit_code == 2
    assert "no sample has phases" in refused.stderr
    (row,) = value(aqa("fit", "csv", "--cache", cache, "--head", "mean", "--json"))
    assert "phases" not in (Path(row["run"]) / "predictions.csv").read_text(encoding="utf-8")
    assert not [name for name in row["metrics"] if "aiou" in name]
    (line,) = value(aqa("leaderboard", "csv", "--json", "--resamples", 200))["rows"]
    assert not [name for name in line if "aiou" in name]
    assert "AIoU" not in aqa("leaderboard", "csv", "--format", "md", "--resamples", 200).stdout


def test_a_video_gets_its_phases(extracted, own_videos: Path, aqa, value, tmp_path: Path):
    shutil.copytree(extracted[0], tmp_path / "cache")
    (table,) = (tmp_path / "cache").rglob("dataset.json")
    plain = json.loads(table.read_text(encoding="utf-8"))
    for k, sample in enumerate(plain["dataset"]["samples"]):
        sample["phases"] = [1] * (4 + k % 3) + [12] * 9 + [36] * (7 - k % 3)
    table.write_text(json.dumps(plain), encoding="utf-8")
    small = ("--set", "segment.hidden=4", "--set", "segment.epochs=1")
    small += ("--set", "mcore.hidden=8", "--set", "mcore.epochs=1", "--set", "mcore.votes=3")
    words = ("fit", "csv", "--cache", "cache", "--head", "segment", "--head", "mean", "--head", "difficulty")
    fitted = value(aqa(*words, "--head", "mcore", "--seeds", 2, *small, "--json"))
    runs = {row["head"]: Path(row["run"]).parent for row in fitted}
    truths = [transitions(sample["phases"]) for sample in plain["dataset"]["samples"][:10]]  # of train
    for head, folder in runs.items():
        (row,) = value(aqa("predict", own_videos / "clip 12.mp4", "--run", folder, "--difficulty", 2, "--json"))
        text = aqa("predict", own_videos / "clip 12.mp4", "--run", folder, "--difficulty", 2).stdout
        if head == "difficulty":
            assert row["phases"] is None
            assert "phases" not in text
        else:
            st, ed = row["phases"]
            assert 0 < st < ed < 96
            assert f"phases begin at {st} and {ed} of 96" in text
        if head == "mean":
            assert [st, ed] == [sorted(ends)[4] for ends in zip(*truths, strict=True)]
        if head != "mcore":
            assert row["points"] == {}
            assert "exemplars" not in text
            continue
        assert list(row["points"]) == ["takeoff", "flight", "entry"]
        said = ", ".join(f"{stage} {points:+.2f}" for stage, points in row["points"].items())
        assert f"points above its exemplars: {said}" in text
        with (folder / "seed-0" / "predictions.csv").open(encoding="utf-8", newline="") as file:
            assert {"points takeoff", "points flight", "points entry"} <= next(csv.DictReader(file)).keys()
