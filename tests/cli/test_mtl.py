"""Classes and captions on the whole way: fit, table, a video that nobody has annotated."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from aqa.leaderboard import captions


def fit(cache: Path) -> tuple[object, ...]:
    small = {"epochs": 2, "hidden": 16, "caption_hidden": 8}
    settings = [word for name, number in small.items() for word in ("--set", f"mtl.{name}={number}")]
    return ("fit", "csv", "--cache", cache, "--head", "mtl", "--head", "mean", "--seeds", 2, *settings)


def test_classes_and_captions_come_through(extracted, own_videos: Path, aqa, value):
    cache, _ = extracted
    rows = [row for row in value(aqa(*fit(cache), "--json")) if row["head"] == "mtl"]
    assert [row["seed"] for row in rows] == [0, 1]
    for row in rows:
        with (Path(row["run"]) / "predictions.csv").open(encoding="utf-8", newline="") as file:
            test = [line for line in csv.DictReader(file) if line["part"] == "test"]
        right = [line["class speed"] == line["true speed"] for line in test]
        assert [line["true speed"] for line in test] == ["01"[line["reference"].endswith("slow")] for line in test]
        assert row["metrics"]["accuracy_speed"] == pytest.approx(sum(right) / 6)
        assert {line["reference"] for line in test} == {"the square is slow", "the square is fast"}
        assert row["metrics"]["rouge_l"] is not None

    table = value(aqa("leaderboard", "csv", "--json", "--resamples", 200))["rows"]
    best = {row["head"]: row for row in table}
    assert best["mtl"]["accuracy_speed"] == pytest.approx(sum(row["metrics"]["accuracy_speed"] for row in rows) / 2)
    assert set(captions.NAMES) <= best["mtl"].keys()
    assert "cider" not in best["mean"]
    assert "speed acc." in aqa("leaderboard", "csv", "--format", "md", "--resamples", 200).stdout

    seeds = Path(rows[0]["run"]).parent
    (judged,) = value(aqa("predict", own_videos / "clip 12.mp4", "--run", seeds, "--json"))
    assert judged["attributes"]["speed"].keys() == {"class", "probability"}
    assert isinstance(judged["caption"], str)
    assert ", speed " in aqa("predict", own_videos / "clip 12.mp4", "--run", seeds).stdout


def test_without_the_extra_bleu_is_null_and_said(extracted, aqa, value, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(captions, "has_sacrebleu", lambda: False)
    cache, _ = extracted
    done = aqa(*fit(cache), "--json")
    assert {row["metrics"]["bleu_4"] for row in value(done) if row["head"] == "mtl"} == {None}
    assert "pip install 'aqa[captions]'" in done.stderr
    assert "pip install 'aqa[captions]'" in aqa("leaderboard", "csv", "--resamples", 200).stderr


def test_mtl_is_left_out_where_there_is_nothing_but_scores(own_videos: Path, extracted, aqa, value, tmp_path: Path):
    lines = (own_videos / "samples.csv").read_text(encoding="utf-8").splitlines()
    root = tmp_path / "bare"
    root.mkdir()
    (root / "samples.csv").write_text("\n".join(line.rsplit(",", 2)[0] for line in lines) + "\n", encoding="utf-8")
    assert aqa("cache", "export", "csv", tmp_path / "out", "--cache", extracted[0]).exit_code == 0
    words = ("cache", "import", "csv", tmp_path / "out", "--root", root, "--as", "mine", "--cache", "other")
    assert value(aqa(*words, "--json"))["done"] == 16
    refused = aqa("fit", "csv", "--cache", "other", "--head", "mtl")
    assert refused.exit_code == 2
    assert "no sample has attributes or a caption" in refused.stderr
