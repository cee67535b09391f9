"""Two streams of one backbone, extracted by different clip plans: told apart by the digits of their fingerprints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from aqa.heads import load_head
from aqa.heads.fusion import FusedHeads


def test_two_plans_of_one_backbone_are_two_streams(extracted, own_videos: Path, aqa, value, tmp_path: Path):
    cache = tmp_path / "cache"
    shutil.copytree(extracted[0], cache)
    place = ("--cache", cache, "--json")
    words = ("extract", "csv", "--root", own_videos, "--backbone", "c3d", "--plan", "1x16@16", "--workers", 0)
    assert value(aqa(*words, *place))["done"] == 16
    names = {row["plan"]: row["features"] for row in value(aqa("cache", "ls", *place))}
    thin = names.pop("1x16@16")
    (full,) = names.values()

    unclear = aqa("fit", "csv", "--head", "t2cr", "--features", "c3d+c3d", *place)
    assert unclear.exit_code == 2
    assert f"{thin} (plan 1x16@16)" in unclear.stderr

    heads = ("--head", "t2cr", "--head", "ridge", "--seeds", 1, "--set", "t2cr.epochs=2")
    rows = {row["head"]: row for row in value(aqa("fit", "csv", *heads, "--features", f"{full}+{thin}", *place))}
    assert {row["features"] for row in rows.values()} == {f"{full}+{thin}"}
    fused = load_head(Path(rows["ridge"]["run"]))
    assert isinstance(fused, FusedHeads)
    assert set(fused.parts) == {full, thin}
    alone = value(aqa("fit", "csv", "--head", "ridge", "--features", full, *place))[0]
    assert alone["metrics"]["mae"] != rows["ridge"]["metrics"]["mae"]
    both = load_head(Path(rows["t2cr"]["run"]))
    assert (both.info["clips"], both.info["thin_clips"]) == (2, 1)

    for row in rows.values():  # a video gets both streams, and the score that it had in the test part
        judged = value(aqa("predict", own_videos / "clip 12.mp4", "--run", row["run_id"], "--difficulty", 2, "--json"))
        table = pd.read_csv(Path(row["run"]) / "predictions.csv").set_index(["id", "part"])
        assert judged[0]["score"] == pytest.approx(table["score"]["v12", "test"], rel=1e-5)
