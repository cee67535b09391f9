"""`aqa extract --backbone pose` beside a clip backbone: one decode, one store each, resumed, what happened recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aqa.cache import select_store
from aqa.errors import UsageError
from aqa.extract.persons import JOINTS
from aqa.pipelines.streams import pair_plans, prepare, with_person


def test_clips_frames_and_poses_in_one_pass(own_videos: Path, aqa, value, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    poses = ("--backbone", "pose", "--plan", "pose=3x1of3")
    others = ("--backbone", "r3d_18", "--backbone", "resnet18", "--plan", "resnet18=4x1of4")
    words = ("extract", "csv", "--root", own_videos, "--cache", cache, *poses, "--workers", 0, "--batch", 3, "--json")
    done = aqa(*words, *others, "--limit", 2)
    result = value(done)
    assert (result["frames_decoded"], result["frames_used"]) == (40, 40), "20 frames of each of two videos, once"
    rows = {row["stream"]: row for row in result["stores"]}
    assert {name: (row["done"], row["clips"]) for name, row in rows.items()} == {
        "r3d_18": (2, 4),
        "resnet18": (2, 8),
        "pose": (2, 6),
    }
    assert rows["pose"]["pose"]["frames"] == 6
    assert rows["pose"]["pose"]["nobody"] == []
    assert "pose" not in rows["r3d_18"]
    assert "untrained" in done.stderr

    poses = select_store(cache, "csv", "pose")
    assert poses.shape == (JOINTS, 3)
    made = poses.fingerprint
    assert (made.layer, made.precision, made.plan, made.pixels["resize"]) == ("tracked", "fp32", "3x1of3", "fit")
    assert poses.flags == ("random-backbone",)
    values, offsets = poses.read(poses.ids())
    assert offsets.tolist() == [0, 3, 6]
    assert np.isfinite(values).all()
    [note, _] = [source["pose"] for source in poses.sources().values()]
    assert note["person"] == "tracked"
    assert note["frames"] == 3
    assert select_store(cache, "csv", "resnet18").shape == (512,)
    assert poses.stale() == {}

    again = value(aqa(*words, "--limit", 3))
    assert (again["done"], again["skipped"], again["frames_decoded"]) == (1, 2, 20)
    assert len(select_store(cache, "csv", "pose")) == 3

    largest = value(aqa(*words, "--limit", 1, "--person", "largest"))
    assert [(row["stream"], row["done"]) for row in largest["stores"]] == [("pose:largest", 1)]
    about = json.loads((Path(largest["store"]) / "store.json").read_text())
    assert about["fingerprint"]["layer"] == "largest"


def test_plans_that_a_backbone_cannot_take_are_refused(own_videos: Path, aqa) -> None:
    words = ("extract", "csv", "--root", own_videos, "--backbone", "c3d", "--backbone", "pose", "--dry-run")
    for plan, said in (
        (("dense:16:8",), "pose cannot take the clips of plan dense:16:8"),
        (("pose=dense:16:8",), "plans dense:1:1"),
        (("i3d=dense:16:8",), "do not fit the backbones"),
        (("dense:16:8", "dense:16:4"), "do not fit the backbones"),
    ):
        refused = aqa(*words, *(word for one in plan for word in ("--plan", one)))
        assert refused.exit_code == 2
        assert said in refused.stderr
    clips = ("extract", "csv", "--root", own_videos, "--backbone", "c3d", "--person", "largest")
    assert "--person is for backbones" in aqa(*clips).stderr


def test_each_backbone_has_its_plan() -> None:
    names = ["c3d", "pose", "resnet18"]
    assert pair_plans(names, []) == [None] * 3
    assert pair_plans(names, ["dense:16:8"]) == ["dense:16:8"] * 3
    assert pair_plans(names, ["pose=96x1of96", "dense:16:8"]) == ["dense:16:8", "96x1of96", "dense:16:8"]
    plans = {"resnet18": "10x1of10", "*": "10x16@103"}
    for name, plan in (("pose", "dense:1:1"), ("resnet18", "10x1of10"), ("regnet_y_400mf", "96x1of96")):
        made = prepare(f"{name}.random", None, plan=None, plans=plans, short="edge", precision="bf16")
        assert made.plan.name == plan
        assert made.fingerprint.precision == ("fp32" if name == "pose" else "bf16")


def test_the_person_is_a_layer() -> None:
    assert with_person(["c3d", "pose", "pose.random"], "central") == ["c3d", "pose:central", "pose.random:central"]
    assert with_person(["pose:largest", "rtmpose"], "central") == ["pose:largest", "rtmpose:central"]
    assert with_person(["c3d"], None) == ["c3d"]
    with pytest.raises(UsageError, match="find persons"):
        with_person(["c3d", "resnet18"], "tracked")
