"""`aqa cite` prints what to cite for runs, or for heads and backbones that are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def fitted(extracted, aqa, value) -> list[dict]:
    """Runs of a floor and a ridge on C3D features of `csv`; the ridge's say that the weights were of Sports-1M."""
    cache, _ = extracted
    heads = ("--head", "mean", "--head", "ridge")
    rows = value(aqa("fit", "csv", "--cache", cache, *heads, "--seeds", 1, "--json"))
    for row in rows:
        file = Path(row["run"]) / "run.json"
        info = json.loads(file.read_text(encoding="utf-8"))
        for stream in info["streams"].values():
            assert stream["fingerprint"]["backbone"] == "c3d.random"
            stream["fingerprint"]["backbone"] = "c3d.sports1m"
        file.write_text(json.dumps(info), encoding="utf-8")
    return rows


def test_the_runs_of_a_table(fitted, aqa, value):
    said = aqa("cite", "csv", "--json")
    found = value(said)
    assert found.keys() == {"entries", "unknown"}
    assert {entry["key"]: entry["cited_for"] for entry in found["entries"]} == {
        "hoerl1970ridge": ["head ridge"],
        "pedregosa2011scikit": ["head ridge"],
        "tran2015learning": ["backbone c3d"],
        "karpathy2014large": ["weights c3d.sports1m"],
    }
    assert {"key", "type", "author", "title", "year", "cited_for"} <= found["entries"][0].keys()
    assert found["unknown"] == ["data set csv"]
    assert said.stderr == "no citation is known for data set csv\n"
    assert value(aqa("cite", "--all", "--json")) == found
    assert value(aqa("cite", "csv", "--target", "score", "--json")) == found

    printed = aqa("cite", "csv")
    assert printed.stdout.startswith("@article{hoerl1970ridge,\n  author = {Arthur E. Hoerl and Robert W. Kennard},\n")
    assert printed.stdout.count("\n@") == 3
    assert "Gaël Varoquaux" in printed.stdout
    lines = aqa("cite", "csv", "--format", "text", "--quiet")
    assert lines.stderr == ""
    assert [line.split(".")[0] for line in lines.stdout.splitlines()] == [
        "Arthur E", "Fabian Pedregosa, Gaël Varoquaux, Alexandre Gramfort, Vincent Michel, Bertrand Thirion, Olivier "
        "Grisel, Mathieu Blondel, Peter Prettenhofer, Ron Weiss, Vincent Dubourg, Jake Vanderplas, Alexandre Passos, "
        "David Cournapeau, Matthieu Brucher, Matthieu Perrot, Édouard Duchesnay",
        "Du Tran, Lubomir Bourdev, Rob Fergus, Lorenzo Torresani, Manohar Paluri",
        "Andrej Karpathy, George Toderici, Sanketh Shetty, Thomas Leung, Rahul Sukthankar, Li Fei-Fei",
    ]  # fmt: skip


def test_what_is_named_needs_no_runs(aqa, value):
    words = ("cite", "jigsaws", "--head", "core", "--head", "mean", "--backbone", "i3d", "--json")
    found = value(aqa(*words))
    assert [entry["key"] for entry in found["entries"]] == ["gao2014jigsaws", "yu2021group", "carreira2017quo"]
    assert found["unknown"] == []
    weights = value(aqa("cite", "--backbone", "swin3d_b.kinetics400_imagenet22k", "--json"))["entries"]
    assert {entry["key"] for entry in weights} == {
        "liu2022video", "torchvision2016", "kay2017kinetics", "deng2009imagenet",
    }  # fmt: skip
    layer = value(aqa("cite", "--backbone", "c3d.random:pool5", "--json"))
    assert [entry["cited_for"] for entry in layer["entries"]] == [["backbone c3d"]]


def test_a_floor_needs_no_citation(aqa):
    done = aqa("cite", "--head", "mean")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--head", "daee"), 2, "unknown head 'daee'. Did you mean dae"),
        (("--backbone", "c3dd"), 2, "unknown backbone 'c3dd'. Did you mean c3d"),
        (("--backbone", "c3d.sport1m"), 2, "unknown weights of c3d 'sport1m'. Did you mean sports1m"),
        (("jigsaw", "--head", "dae"), 2, "unknown data set 'jigsaw'. Did you mean jigsaws"),
        (("mtl-aqa",), 3, "no runs on mtl-aqa (file runs). `aqa fit mtl-aqa --head ridge` makes one"),
        (("--all",), 3, "no runs on any data set"),
        (("--format", "ris"), 2, "ris"),
    ],
)
def test_wrong_words(aqa, words: tuple[str, ...], code: int, said: str):
    done = aqa("cite", *words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_selection_without_runs_is_named(fitted, aqa):
    done = aqa("cite", "csv", "--target", "tes", "--group", "Ball")
    assert done.exit_code == 3
    assert "no runs on csv with target tes, group Ball" in done.stderr
