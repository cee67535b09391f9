"""`--config run.json`: a run made again elsewhere is the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aqa.errors import MissingExtra
from aqa.heads import changed, config_of, head_class, head_names, make_head
from aqa.pipelines.repeat import head_settings

from .test_finetune import words


@pytest.fixture
def imported(aqa, value, tmp_path: Path) -> None:
    """24 samples of `csv` with made-up features that tell the score, once as `x` and twice as `y`."""
    root = tmp_path / "set"
    root.mkdir()
    draw = np.random.default_rng(0)
    score = draw.uniform(10, 90, 24)
    lines = ["id,media,score,split"]
    lines += [f"s{k:02d},s{k:02d}.mp4,{score[k]},{'train' if k < 16 else 'test'}" for k in range(24)]
    (root / "samples.csv").write_text("\n".join(lines) + "\n")
    for folder, stream in (("one", "x"), ("two", "y"), ("three", "y")):
        (tmp_path / folder).mkdir()
        for k in range(24):
            clips = np.outer(np.ones(3), np.r_[score[k] / 50, draw.normal(size=5)]) + draw.normal(size=(3, 6)) / 20
            np.save(tmp_path / folder / f"s{k:02d}.npy", clips.astype(np.float32))
        value(aqa("cache", "import", "csv", tmp_path / folder, "--root", root, "--as", stream, "--json"))


def files(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The predictions of a run, and what its run.json says but for time."""
    folder = Path(row["run"])
    info = json.loads((folder / "run.json").read_text())
    same = (
        "run_id",
        "config",
        "asked",
        "identity",
        "flags",
        "labelled",
        "samples",
        "protocol",
        "features",
        "fold_name",
    )
    return (folder / "predictions.csv").read_text(), {name: info[name] for name in same}


def test_a_fit_is_repeated(aqa, value, imported: None):
    first = value(aqa("cache", "ls", "--json"))
    name = next(row["features"] for row in first if row["features"].startswith("y@"))
    asked = ("--head", "mlp", "--head", "pls", "--set", "epochs=3", "--set", "mlp.hidden=8", "--features", name)
    made = value(aqa("fit", "csv", *asked, "--seeds", 2, "--labelled", 0.5, "--held-out", 0.25, "--json"))
    for row in made:
        (again,) = value(aqa("fit", "--config", Path(row["run"]) / "run.json", "--runs", "again", "--json"))
        assert files(again) == files(row)
        assert again["run"] != row["run"]
    one = made[1]
    (other,) = value(aqa("fit", "--config", one["run"], "--set", "hidden=16", "--seeds", 1, "--json"))
    assert (other["config"]["hidden"], other["config"]["epochs"], other["seed"], other["head"]) == (16, 3, 0, "mlp")
    (ridge,) = value(aqa("fit", "--config", one["run"], "--head", "ridge", "--json"))
    assert (ridge["head"], ridge["seed"]) == ("ridge", 1)  # labels are drawn by the seed
    assert json.loads((Path(ridge["run"]) / "run.json").read_text())["labelled"] == 0.5


def test_a_fit_by_the_paper_is_repeated(aqa, value, imported: None):
    asked = ("--head", "mlp", "--set", "epochs=2", "--set", "hidden=8", "--features", "x", "--protocol", "paper")
    (row,) = value(aqa("fit", "csv", *asked, "--seeds", 1, "--json"))
    (again,) = value(aqa("fit", "--config", row["run"], "--runs", "again", "--json"))
    assert files(again) == files(row)
    assert "selected-on-test" in files(again)[1]["flags"]


def test_what_is_no_config_is_refused(aqa, imported: None, tmp_path: Path):
    assert "which head is to be fitted" in aqa("fit", "csv", "--features", "x").stderr
    assert "there is no run" in aqa("fit", "--config", "none.json").stderr
    (tmp_path / "bad.json").write_text("{")
    assert "damaged" in aqa("fit", "--config", "bad.json").stderr
    (tmp_path / "half.json").write_text('{"format": 1, "dataset": "csv"}')
    result = aqa("fit", "--config", "half.json")
    assert "it lacks protocol" in result.stderr
    assert result.exit_code == 3


def test_parameters_of_every_head_come_back():
    for name in head_names():
        try:
            head: Any = make_head(name)
        except MissingExtra:
            continue
        info = {"head": name, "protocol": "official", "dataset": "mtl-aqa", "group": "", "target": "score"}
        config = json.loads(json.dumps(config_of(head)))
        assert head_settings({**info, "config": config, "asked": config}) == {}
        told = getattr(head_class(name), "published", {}).get("", {})
        paper = head_class(name)(**told)
        config = json.loads(json.dumps(config_of(paper)))
        assert config_of(make_head(name, head_settings({**info, "config": config}))) == config_of(paper)
        assert changed(paper).keys() == head_settings({**info, "config": config}).keys()


def test_a_finetuning_is_repeated(own_videos: Path, aqa, value, tmp_path: Path):
    asked = words(own_videos, "--set", "epochs=2", "--flip", "0.5", "--batch", "2", "--backbone-lr", "1e-3", "--json")
    made = value(aqa(*asked, "--seed", 0, "--seed", 1))
    info = json.loads((Path(made[1]["run"]) / "run.json").read_text())
    assert (info["finetune"]["micro"], info["finetune"]["precision"], info["finetune"]["start_seed"]) == (2, "fp32", 0)
    root = ("--root", own_videos, "--workers", "0", "--json")
    (again,) = value(aqa("finetune", "--config", made[1]["run"], *root, "--runs", "again"))
    assert files(again) == files(made[1])
    one, other = (Path(row["run"], "backbone.safetensors").read_bytes() for row in (made[1], again))
    assert one == other
    (more,) = value(aqa("finetune", "--config", made[1]["run"], *root, "--flip", "0", "--set", "epochs=1"))
    said = json.loads((Path(more["run"]) / "run.json").read_text())
    assert (said["finetune"]["flip"], said["config"]["epochs"], said["config"]["hidden"]) == (0.0, 1, 8)
    result = aqa("fit", "--config", made[1]["run"])
    assert "this is a run of aqa finetune" in result.stderr
    assert result.exit_code == 2


def test_weights_that_have_changed_are_refused(own_videos: Path, aqa, value, tmp_path: Path):
    (first, second) = value(aqa(*words(own_videos, "--set", "epochs=1", "--seed", 0, "--seed", 1, "--json")))
    file = tmp_path / "start.safetensors"
    file.write_bytes((Path(first["run"]) / "backbone.safetensors").read_bytes())
    (row,) = value(aqa(*words(own_videos, "--set", "epochs=1", "--weights", file, "--json")))
    root = ("--root", own_videos, "--workers", "0", "--runs", "again", "--json")
    (again,) = value(aqa("finetune", "--config", row["run"], *root))
    assert files(again) == files(row)
    file.write_bytes((Path(second["run"]) / "backbone.safetensors").read_bytes())
    result = aqa("finetune", "--config", row["run"], *root, "--set", "hidden=4")
    assert "when the run began" in result.stderr
    assert result.exit_code == 3
    assert value(aqa("finetune", "--config", row["run"], *root, "--set", "hidden=4", "--weights", file))
