"""`aqa finetune` where few labels are known, and on real video."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

SMALL = ("--backbone", "c3d_small", "--plan", "2x8@16", "--precision", "fp32", "--workers", "0")


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("head", ["s4aqa", "mlp"])
def test_hidden_labels_play_no_role(head: str, own_videos: Path, aqa, value, tmp_path: Path):
    command = ("finetune", "csv", *SMALL, "--head", head, "--set", "epochs=1", "--set", "batch=2", "--labelled", 0.4)
    (row,) = value(aqa(*command, "--root", own_videos, "--json"))
    folder = Path(row["run"])
    known = (folder / "labelled.txt").read_text().split()
    assert len(known) == 4
    info = json.loads((folder / "run.json").read_text())
    counts = {"train": 3, "unlabelled": 6 if head == "s4aqa" else 0, "val": 1, "test": 6}
    assert (info["labelled"], info["samples"]) == (0.4, counts)
    with safe_open(folder / "backbone.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["aqa.backbone"])["trained_on"]["ids"] == known

    other = tmp_path / "other"
    other.mkdir()
    for film in own_videos.glob("*.mp4"):
        (other / film.name).symlink_to(film)
    rows = read_rows(own_videos / "samples.csv")
    for one in rows:
        if one["split"] == "train" and one["id"] not in known:
            one["score"] = "99"
    write_rows(other / "samples.csv", rows)
    (again,) = value(aqa(*command, "--root", other, "--runs", "other-runs", "--json"))
    first, second = (read_rows(Path(one["run"]) / "predictions.csv") for one in (row, again))
    assert [one["score"] for one in first] == [one["score"] for one in second]


@pytest.mark.parametrize("share", [0, 1.5])
def test_what_is_no_share_is_refused(share: float, own_videos: Path, aqa):
    done = aqa("finetune", "csv", "--root", own_videos, *SMALL, "--head", "mlp", "--labelled", share)
    assert done.exit_code == 2
    assert "no share of the train samples" in done.stderr


def test_real_clips_go_through(shared_data: Path, aqa, value, tmp_path: Path):
    """Real video from end to end, in eight containers and sizes. One score is true (dive 54 of AQA-7), the others are
    made up: the numbers measure nothing."""
    clips = sorted((shared_data / "clips").iterdir())
    scores = {"aqa7_diving_054.avi": 84.15}
    rows = [
        {
            "id": clip.stem,
            "media": clip,
            "score": scores.get(clip.name, 40 + 5 * k),
            "split": ("train", "test")[k % 3 == 2],
        }
        for k, clip in enumerate(clips)
    ]
    write_rows(tmp_path / "samples.csv", rows)
    small = ("--root", tmp_path, *SMALL, "--head", "mlp", "--set", "epochs=2", "--set", "batch=4")
    (row,) = value(aqa("finetune", "csv", *small, "--flip", 0.5, "--shift", -1, 1, "--json"))
    assert row["metrics"]["n"] == sum(one["split"] == "test" for one in rows)
    history = read_rows(Path(row["run"]) / "history.csv")
    assert [one["epoch"] for one in history] == ["1", "2"]
    dive = clips[0]
    judged = value(aqa("predict", dive, "--run", row["run_id"], "--json"))[0]
    assert 0 < judged["score"] < 200
