"""The published numbers: they are those of the papers, they name things that the catalog has, and their averages are
what their columns give, or the test says by how much not."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from aqa.catalog import DATASETS, aqa7, jigsaws, rhythmic_gymnastics
from aqa.errors import StoreError
from aqa.leaderboard.published import FILE, Published, load, published_for, recomputed

GROUPS = {
    "aqa-7": aqa7.SPORTS,
    "jigsaws": jigsaws.TASKS,
    "rhythmic-gymnastics": rhythmic_gymnastics.APPARATUS,
}
# (data set, method): the printed average, and what its columns give
DISAGREE = {
    ("aqa-7", "CoRe"): (0.8401, 0.8433),
    ("aqa-7", "FSPN"): (0.8724, 0.8734),
    ("rhythmic-gymnastics", "VATP-Net"): (0.800, 0.790),
}


def one(dataset: str, method: str, labelled: float = 1.0, **fields: object) -> Published:
    (found,) = [
        entry
        for entry in load()
        if (entry.dataset, entry.method, entry.labelled) == (dataset, method, labelled)
        and all(getattr(entry, name) == value for name, value in fields.items())
    ]
    return found


def targets_of(dataset: str) -> set[str]:
    """The names in the calls of Target(...) in the reader of a data set."""
    tree = ast.parse(inspect.getsource(import_module(f"aqa.catalog.{DATASETS[dataset]}")))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    named = [call.args[0] for call in calls if call.func.id == "Target" and call.args]  # type: ignore[union-attr]
    return {argument.value for argument in named if isinstance(argument, ast.Constant)}


@pytest.mark.parametrize(
    ("dataset", "method", "fisher", "digits"),
    [
        ("aqa-7", "FSPN", 0.8734, 4),
        ("aqa-7", "TPT", 0.8714, 4),
        ("aqa-7", "I3D + MLP", 0.7600, 4),
        ("aqa-7", "CoRe", 0.8433, 4),
        ("fis-v", "SGN", 0.773, 3),
        ("rhythmic-gymnastics", "VATP-Net", 0.790, 3),
    ],
)
def test_averages_of_the_columns(dataset: str, method: str, fisher: float, digits: int) -> None:
    backbone = {"rhythmic-gymnastics": {"backbone": "Video Swin, text"}}.get(dataset, {})
    entry = one(dataset, method, **backbone)
    assert entry.averaged == "fisher"
    assert round(recomputed(entry), digits) == fisher


def test_the_row_that_tells_fisher_from_the_plain_mean() -> None:
    entry = one("jigsaws", "S4AQA", 0.5)
    assert entry.srcc == 0.655
    assert round(recomputed(entry), 3) == 0.655
    assert round(recomputed(replace(entry, averaged="arithmetic")), 3) == 0.633
    assert round(recomputed(one("rhythmic-gymnastics", "S4AQA", 0.4)), 3) == 0.342


def test_printed_averages_are_those_of_their_columns() -> None:
    wrong = {}
    for entry in load():
        again = recomputed(entry)
        if again is None or entry.srcc is None:
            continue
        digits = max(len(f"{value:g}") - 2 for value in [*entry.groups.values(), *entry.targets.values()])
        if abs(again - entry.srcc) > (0.006 if digits <= 2 else 0.0006):
            wrong[entry.dataset, entry.method] = (entry.srcc, round(again, len(f"{again:.4f}") - 2))
    assert wrong.keys() == DISAGREE.keys()
    for name, (printed, again) in DISAGREE.items():
        assert wrong[name][0] == printed
        assert wrong[name][1] == pytest.approx(again, abs=0.0006)


def test_printed_r_l2_averages_are_plain_means() -> None:
    columns = [entry for entry in load() if entry.groups_r_l2]
    assert len(columns) >= 9
    off = {
        (entry.dataset, entry.method): round(sum(entry.groups_r_l2.values()) / len(entry.groups_r_l2), 3)
        for entry in columns
        if abs(sum(entry.groups_r_l2.values()) / len(entry.groups_r_l2) - entry.r_l2) > 0.006
    }
    assert off == {("aqa-7", "FSPN"): 1.54, ("jigsaws", "I3D + MLP"): 7.38}  # printed: 1.56 and 7.373


def test_names_are_those_of_the_catalog() -> None:
    for entry in load():
        assert {entry.target, *entry.targets} - {""} <= targets_of(entry.dataset), entry
        if entry.groups:
            assert list(entry.groups) == list(GROUPS[entry.dataset]), entry
        assert entry.target or entry.dataset == "fis-v", entry  # where an average is over targets
        assert entry.groups_r_l2.keys() <= entry.groups.keys()


def test_every_table_of_the_field_is_there() -> None:
    sizes = Counter(entry.dataset for entry in load())
    assert sizes.keys() == {*DATASETS} - {"demo", "csv", "ui-prmd"}
    assert min(sizes[name] for name in ("mtl-aqa", "finediving", "jigsaws", "rhythmic-gymnastics")) >= 19
    assert {entry.labelled for entry in load()} == {0.1, 0.4, 0.5, 1.0}


def test_some_numbers() -> None:
    core = one("mtl-aqa", "CoRe", given="difficulty")
    assert (core.year, core.venue, core.srcc, core.r_l2, core.selected_on_test) == (2021, "ICCV", 0.9512, 0.260, True)
    assert one("mtl-aqa", "RICA2 (deterministic)").given == "dive number"
    musdl = one("jigsaws", "MUSDL")
    assert (musdl.evidence, musdl.selected_on_test) == ("log", False)
    dae = one("mtl-aqa", "DAE-MT")
    assert dae.srcc == 0.9449
    assert ".9452" in dae.note
    assert ".9490" in dae.note
    assert one("finediving", "CoRe", setting="FineDiving-HM").srcc == 0.9308


def test_no_result_is_there_twice() -> None:
    keys = Counter(
        (e.dataset, e.target, e.method, e.given, e.setting, e.labelled, e.backbone.split(",")[0]) for e in load()
    )
    assert [key for key, times in keys.items() if times > 1] == []


def test_a_set_without_groups() -> None:
    found = published_for("mtl-aqa", "score")
    assert found == published_for("mtl-aqa", "score", "average")
    assert [entry.srcc for entry in found] == sorted((entry.srcc for entry in found), reverse=True)
    assert len(found) == sum(entry.dataset == "mtl-aqa" for entry in load())
    assert published_for("mtl-aqa", "score", "diving") == []
    assert published_for("mtl-aqa", "grs") == published_for("demo", "score") == []


def test_a_group_and_the_average_of_groups() -> None:
    averages = published_for("aqa-7", "score", "average")
    assert averages == published_for("aqa-7", "score")
    assert (averages[0].method, averages[0].srcc) == ("PCLN", 0.8795)
    vault = published_for("aqa-7", "score", "gym_vault")
    assert [(e.method, e.srcc) for e in vault[:2]] == [("PCLN", 0.8759), ("FSPN", 0.8343)]
    assert (vault[1].r_l2, vault[1].groups, recomputed(vault[1])) == (0.82, {}, None)
    assert len(vault) == len(averages)
    ball = published_for("rhythmic-gymnastics", "total", "Ball")
    assert "ASGTN" in {entry.method for entry in ball}  # which prints no average
    assert "PHI" not in {entry.method for entry in ball}  # of which the average alone is known
    assert {"PHI"} <= {entry.method for entry in published_for("rhythmic-gymnastics", "total")}


def test_columns_that_are_targets() -> None:
    tes = published_for("fis-v", "tes")
    assert [(e.method, e.target, e.srcc, e.r_l2) for e in tes[:1]] == [("CoFInAl", "tes", 0.716, None)]
    assert [e.method for e in published_for("fis-v", "pcs")][:1] == ["VATP-Net"]
    assert [(e.method, e.srcc) for e in published_for("fis-v", "")[:2]] == [("CaFlow", 0.805), ("PHI", 0.804)]


TEXT = FILE.read_text(encoding="utf-8")
ROW = '{ method = "TPT", srcc = 0.9, source = "its paper", evidence = "own table", selected_on_test = true }'
SMALL = f"""
[methods]
TPT = {{ year = 2022, venue = "ECCV" }}
[[tables]]
dataset = "aqa-7"
target = "score"
given = ""
groups = ["diving", "gym_vault"]
rows = [{ROW}]
"""


def test_a_small_file(tmp_path: Path) -> None:
    file = tmp_path / "published.toml"
    file.write_text(SMALL, encoding="utf-8")
    (entry,) = load(file)
    assert (entry.method, entry.srcc, entry.groups, entry.labelled, entry.averaged) == ("TPT", 0.9, {}, 1.0, "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("srcc = 0.9,", "srcc = 0.9, sorce = 1,", "unknown key .*field sorce"),
        ("srcc = 0.9,", "srcc = 9.2,", "not 9.2 .*sample TPT in table 1, aqa-7, field srcc"),
        ("srcc = 0.9,", "srcc = nan,", "wanted a number, got nan .*field srcc"),
        ("srcc = 0.9,", "srcc = true,", "wanted a number, got True .*field srcc"),
        ("srcc = 0.9,", "", "missing .*field srcc"),
        ("srcc = 0.9,", "each = [0.9, 1.2],", "not 1.2 .*field each"),
        ("srcc = 0.9,", "each = [0.9],", "1 numbers for 2 columns .*field each"),
        ("srcc = 0.9,", "srcc = 0.9, each_r_l2 = 3,", "wanted a list, got 3 .*field each_r_l2"),
        ("srcc = 0.9,", 'srcc = 0.9, averaged = "median",', "'median' is none of .*'fisher'.*field averaged"),
        ('source = "its paper", ', "", "missing .*field source"),
        ('source = "its paper"', 'source = ""', "missing .*field source"),
        ('source = "its paper"', "source = 3", "wanted a text, got 3 .*field source"),
        ('evidence = "own table"', 'evidence = "hearsay"', "'hearsay' is none of .*field evidence"),
        ("selected_on_test = true", 'selected_on_test = "maybe"', "'maybe' is none of .*field selected_on_test"),
        ('given = ""\n', "", "missing .*field given"),
        ('target = "score"\n', "", "either target or targets"),
        ('["diving", "gym_vault"]', "[1, 2]", "wanted names"),
        (
            'method = "TPT"',
            'method = "TTP"',
            "does not have it.*sample TTP in table 1, aqa-7, field method",
        ),
        ("year = 2022, ", "", r"\[methods\] does not have it, with year and venue"),
        ("[methods]", "[method]", r"wanted \[methods\] and \[\[tables\]\]"),
        ("[methods]", "[methods", "cannot be read: .*line 2"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in SMALL
    file = tmp_path / "published.toml"
    file.write_text(SMALL.replace(old, new), encoding="utf-8")
    with pytest.raises(StoreError, match=said) as caught:
        load(file)
    assert caught.value.file == str(file)
    assert caught.value.hint


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        load(tmp_path / "published.toml")


def test_the_head_of_the_file_explains_every_key() -> None:
    head = TEXT.split("[methods]\n")[0]
    tables = tomllib.loads(TEXT)["tables"]
    keys = {key for table in tables for part in (table, *table["rows"]) for key in part}
    assert [key for key in keys if not re.search(rf"\b{key}\b", head)] == []
