"""Runs that are not what they say, in what somebody sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aqa.errors import StoreError
from aqa.leaderboard.runs import Run, read_run
from aqa.leaderboard.sharing import export_runs, merge_runs

from .archives import members, rezip


def edit(run: Run, **change: Any) -> Run:
    """Change fields of run.json."""
    path = run.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    return read_run(run.folder)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "hier ü"


DAMAGED_INFO = [
    ({"format": 99}, "newer"),
    ({"format": "1"}, "no format"),
    ({"fold": -1}, "whole number"),
    ({"fold": True}, "whole number"),
    ({"fold": 1}, "1 of 1 folds"),
    ({"seed": "0"}, "whole number"),
    ({"seed": 7}, "field run_id"),
    ({"dataset": ""}, "a name"),
    ({"dataset": ".."}, "field run_id"),
    ({"group": "x"}, "not among the groups"),
    ({"features": "c3d"}, "a list of texts"),
    ({"identity": {"config": {"C": 1}}}, "the other fields make it"),
    ({"digest": "01234567"}, "the other fields make it"),
    ({"run_id": "0123456789"}, "the other fields make it"),
    ({"average": "median"}, "fisher or arithmetic"),
    ({"target_kind": 1}, "score or binary"),
    ({"range": [0, float("nan")]}, "two numbers"),
    ({"range": [0]}, "two numbers"),
    ({"r_l2_range": None}, "two numbers"),
    ({"fit_seconds": float("inf")}, "a number"),
    ({"fit_seconds": 10**400}, "a number"),
    ({"parameters": 1.5}, "whole number or null"),
    ({"metrics": {"spearman": "high"}}, "a number or null"),
    ({"metrics": {}}, "a number or null"),
    ({"pooled": "no"}, "true or false"),
    ({"flags": [1]}, "a list of texts"),
    ({"streams": []}, "an object"),
    ({"changed": {"word": "\ud800"}}, "no text"),
]


@pytest.mark.parametrize(("change", "said"), DAMAGED_INFO, ids=lambda value: str(value)[:40])
def test_a_run_json_that_is_not_right_is_refused_by_its_field(make_run, tmp_path, here, change, said):
    good, bad = make_run(seed=1), make_run()
    export_runs([good, bad], tmp_path / "a.zip")
    content = members(tmp_path / "a.zip")
    name = next(name for name in content if name.endswith("seed-0/run.json"))
    content[name] = json.dumps({**json.loads(content[name]), **change}).encode()
    rezip(tmp_path / "a.zip", content)
    with pytest.raises(StoreError, match=said) as seen:
        merge_runs([tmp_path / "a.zip"], here)
    assert seen.value.file == str(tmp_path / "a.zip" / name)
    assert not here.exists()
    if "format" not in change:
        edit(bad, **change)
        with pytest.raises(StoreError, match=said):
            export_runs([read_run(bad.folder)], tmp_path / "b.zip")


@pytest.mark.parametrize("name", ["dataset", "fold", "identity", "metrics", "range", "format"])
def test_a_missing_field_is_named(make_run, tmp_path: Path, here: Path, name: str):
    run = make_run()
    info = {key: value for key, value in run.info.items() if key != name}
    (run.folder / "run.json").write_text(json.dumps(info))
    with pytest.raises(StoreError, match="no format" if name == "format" else "is not there") as seen:
        merge_runs([run.folder], here)
    assert seen.value.field == (name if name != "format" else None)


@pytest.mark.parametrize(
    "text", [b"", b"[1]", b'"a"', b'{"format": 1', b"\xff\xfe{}", b"[" * 200_000, b'{"format":null}']
)
def test_a_run_json_that_is_no_json_is_refused(make_run, here: Path, text: bytes):
    run = make_run()
    (run.folder / "run.json").write_bytes(text)
    with pytest.raises(StoreError, match=r"damaged.*run\.json"):
        merge_runs([run.folder], here)
    assert not here.exists()


def shorter(text: str) -> str:
    return "\n".join(line.rsplit(",", 1)[0] for line in text.splitlines())


def wider(text: str, name: str, cell: str = "1") -> str:
    header, *lines = text.splitlines()
    return "\n".join([f"{header},{name}", *(f"{line},{cell}" for line in lines)])


DAMAGED_ROWS = [
    (lambda text: "", "cannot be read"),
    (lambda text: text.splitlines()[0], "no test predictions"),
    (lambda text: text.replace("test", "val"), "no test predictions"),
    (lambda text: text.replace("test", "train"), "unknown part 'train'"),
    (shorter, "no column subject"),
    (lambda text: text + text.splitlines()[3] + "\n", "there twice.*s-0-02"),
    (lambda text: text + "x,test,1.0,nan,,,,\n", "not finite: nan.*sample x.*field score"),
    (lambda text: text + "x,test,inf,1.0,,,,\n", "not finite: inf.*sample x.*field truth"),
    (lambda text: text + "x,test,,1.0,,,,\n", "not finite.*sample x.*field truth"),
    (lambda text: text + "x,test,1.0,viel,,,,\n", "cannot be read"),
    (lambda text: wider(text, "class dive"), "no column 'true dive'"),
    (lambda text: wider(text, "caption"), "no column 'reference'"),
    (lambda text: wider(text, "phases", "28 62"), "no column 'true phases'"),
    (lambda text: wider(wider(text, "true phases", "28 62"), "phases", ""), "not two frames.*''.*field phases"),
    (lambda text: wider(wider(text, "true phases", "28"), "phases", "28 62"), "not two frames.*field true phases"),
    (lambda text: wider(wider(text, "true phases", ""), "phases", "28 nan"), "not two frames.*'28 nan'"),
]


@pytest.mark.parametrize(("change", "said"), DAMAGED_ROWS, ids=[said[:30] for _, said in DAMAGED_ROWS])
def test_predictions_that_are_not_right_are_refused(make_run, tmp_path: Path, here: Path, change, said: str):
    good, bad = make_run(seed=1), make_run()
    export_runs([good, bad], tmp_path / "a.zip")
    content = members(tmp_path / "a.zip")
    name = next(name for name in content if name.endswith("seed-0/predictions.csv"))
    content[name] = change(content[name].decode()).encode()
    rezip(tmp_path / "a.zip", content)
    with pytest.raises(StoreError, match=said) as seen:
        merge_runs([tmp_path / "a.zip"], here)
    assert seen.value.file == str(tmp_path / "a.zip" / name)
    assert not here.exists()
    del content[name]
    with pytest.raises(StoreError, match="is not there"):
        merge_runs([rezip(tmp_path / "b.zip", content)], here)


def test_a_run_must_lie_where_its_fields_say(make_run, tmp_path: Path, here: Path):
    export_runs([make_run()], tmp_path / "a.zip")
    content = members(tmp_path / "a.zip")
    rezip(tmp_path / "b.zip", {name.replace("seed-0", "seed-1"): data for name, data in content.items()})
    with pytest.raises(StoreError, match="another folder than its fields say, set/official"):
        merge_runs([tmp_path / "b.zip"], here)
    rezip(tmp_path / "c.zip", {f"copy of runs/{name}": data for name, data in content.items()})  # zipped by hand
    assert len(merge_runs([tmp_path / "c.zip"], here).merged) == 1
