"""Names to heads, heads of other packages, and heads from disk."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from aqa.errors import BadParameter, MissingExtra, StoreError, UnknownName, UnsafePickle
from aqa.heads import HEADS, changed, config_of, head_class, head_names, load_head, make_head
from aqa.heads.check_data import synthetic
from aqa.heads.saving import dump_estimator, whole_file


def test_importing_heads_loads_no_library_and_no_head() -> None:
    code = (
        "import sys, aqa.heads, aqa.heads.check; aqa.heads.make_head('mean'); heavy = {'torch', 'sklearn', 'lightgbm', "
        "'skops', 'joblib', 'scipy', 'h5py', 'pandas'} & set(sys.modules); sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_head_is_made_by_name_with_parameters_from_text() -> None:
    head = make_head("svr", {"C": "100", "epsilon": "9", "scale": "none", "pool": "segments:4"})
    assert changed(head) == {"pool": "segments:4", "C": 100.0, "epsilon": 9.0, "scale": "none"}
    assert config_of(head) == {**changed(head), "gamma": "scale"}
    assert changed(make_head("svr")) == {}
    assert set(HEADS) <= set(head_names())


def test_an_unknown_head_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown head 'lightbgm'\. Did you mean lightgbm"):
        make_head("lightbgm")


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("svr", {"c": "1"}, "unknown parameter of svr 'c'"),
        ("svr", {"scale": "minmax"}, "give one of standard, none"),
        ("svr", {"C": "-1"}, "a number above 0, or none"),
        ("svr", {"pool": "median"}, "segments:K"),
        ("ridge", {"alpha": "best"}, "give a number or cv"),
        ("ridge", {"alpha": "0"}, "a number above 0, or cv"),
        ("knn", {"k": "0"}, "from 1 on"),
        ("random-forest", {"features": "2"}, "a share"),
        ("lightgbm", {"leaves": "1"}, "from 2 on"),
        ("mean", {"C": "1"}, "known: none"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(name: str, settings: dict[str, str], says: str) -> None:
    with pytest.raises(BadParameter) as error:
        make_head(name, settings)
    assert says.lower() in str(error.value).lower()


def entry(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    points = [EntryPoint("theirs", value, "aqa.heads")]
    monkeypatch.setattr("aqa.heads.entry_points", lambda group: points if group == "aqa.heads" else [])


def test_heads_of_other_packages_come_through_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    entry(monkeypatch, "aqa.heads.floors:Mean")
    assert "theirs" in head_names()
    assert head_class("theirs") is head_class("mean")


def test_a_package_that_a_head_needs_and_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "their_head.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry(monkeypatch, "their_head:Head")
    with pytest.raises(MissingExtra, match="the head 'theirs' needs the package a_package_that_nobody_has"):
        head_class("theirs")
    entry(monkeypatch, "no_such_module_of_theirs.deep:Head")
    with pytest.raises(ModuleNotFoundError):
        head_class("theirs")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A fitted ridge on disk."""
    head = make_head("ridge", {"alpha": "3"})
    head.fit(synthetic(head.needs, 12, seed=0, prefix="train"), None, seeds=[0], device="cpu")[0].save(tmp_path)
    return tmp_path


def edit(folder: Path, **changes: object) -> None:
    path = folder / "head.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_head_json_says_what_the_head_is(saved: Path) -> None:
    plain = json.loads((saved / "head.json").read_text())
    assert plain["head"] == "ridge"
    assert plain["config"] == {"pool": "mean", "alpha": 3.0, "scale": "standard"}
    assert plain["fitted_on"] == {"streams": {"stream0": [12]}, "target_kind": "score", "range": [0.0, 100.0]}
    assert plain["info"] == {"selected_on": "none", "parameters": 13, "alpha": 3.0}


def test_a_folder_without_a_head(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no fitted head here"):
        load_head(tmp_path)


def test_damaged_or_foreign_heads(saved: Path) -> None:
    edit(saved, config={"alpha": 3.0, "beta": 1})
    with pytest.raises(StoreError, match="ridge has no parameter beta"):
        load_head(saved)
    edit(saved, config={"alpha": 3.0}, head="rigde")
    with pytest.raises(UnknownName, match="Did you mean ridge"):
        load_head(saved)
    edit(saved, head="ridge", format=2)
    with pytest.raises(StoreError, match=r"not a head\.json that this version reads"):
        load_head(saved)
    (saved / "head.json").write_text('{"format": 1, "head": "ridge", "config": {}}')
    with pytest.raises(StoreError, match=r"head\.json lacks 'state'"):
        load_head(saved)
    (saved / "head.json").write_text('{"format": 1,')
    with pytest.raises(StoreError, match="cannot read"):
        load_head(saved)


@pytest.mark.parametrize("damage", ["cut", "gone", "text"])
def test_a_damaged_estimator(saved: Path, damage: str) -> None:
    path = saved / "head.skops"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200] if damage == "cut" else b"not a zip")
    with pytest.raises(StoreError, match=r"head\.skops"):
        load_head(saved)


class Payload:
    """A class that no head is made of."""

    def __init__(self) -> None:
        self.command = "anything"


def test_an_estimator_of_foreign_classes_is_refused_before_it_is_made(saved: Path) -> None:
    dump_estimator(saved / "head.skops", Payload())
    with pytest.raises(UnsafePickle, match="Payload"):
        load_head(saved)


def test_an_estimator_that_is_none_is_refused(saved: Path) -> None:
    dump_estimator(saved / "head.skops", [1, 2])
    with pytest.raises(StoreError, match="no estimator"):
        load_head(saved)


def test_a_forest_that_points_outside_itself_is_refused(tmp_path: Path) -> None:
    head = make_head("random-forest", {"trees": "2"})
    fitted = head.fit(synthetic(head.needs, 12, seed=0, prefix="train"), None, seeds=[0], device="cpu")[0]
    fitted.save(tmp_path)
    load_head(tmp_path)
    tree = fitted.model.estimators_[1].tree_  # pyright: ignore[reportAttributeAccessIssue]
    tree.children_left[0] = 10_000
    fitted.save(tmp_path)
    with pytest.raises(StoreError, match="a tree points outside itself"):
        load_head(tmp_path)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "file.txt"
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with whole_file(path) as temporary:
        temporary.write_text("whole")
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write"), whole_file(tmp_path / "file" / "head.json"):
        pass


def test_the_folder_may_be_given_as_text(saved: Path) -> None:
    test = synthetic(make_head("ridge").needs, 5, seed=1, prefix="test")
    np.testing.assert_array_equal(load_head(saved).predict(test).score, load_head(str(saved)).predict(test).score)
