"""Citations: the file is sound and agrees with the catalog, and what is printed is BibTeX."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aqa import catalog
from aqa.errors import StoreError
from aqa.leaderboard.citations import FILE, REQUIRED, VERBATIM, cite, load, names_in, names_of, to_bibtex, to_text

ENTRY = re.compile(r"@(\w+)\{([a-z]+[0-9]{4}[a-z0-9]*),\n((?:  \w+ = \{.*\},\n)+)\}")
FIELD = re.compile(r"  (\w+) = \{(.*)\},")


def parsed(text: str) -> dict[str, dict[str, str]]:
    """key -> type and fields of a BibTeX text; fails where it is none."""
    assert text.count("{") == text.count("}")
    assert ENTRY.sub("", text).strip() == ""
    found: dict[str, dict[str, str]] = {}
    for kind, key, body in ENTRY.findall(text):
        assert key not in found
        names = [name for name, _ in FIELD.findall(body)]
        assert len(names) == len(set(names)) == body.count("\n")
        found[key] = {"type": kind, **dict(FIELD.findall(body))}
        depth = 0
        for sign in body:
            depth += (sign == "{") - (sign == "}")
            assert depth >= 0
    return found


def test_every_entry_is_bibtex() -> None:
    entries = load().entries
    found = parsed("\n\n".join(to_bibtex(entry) for entry in entries.values()))
    assert found.keys() == entries.keys()
    for key, fields in found.items():
        assert set(REQUIRED[fields["type"]]) <= fields.keys(), key
        assert re.fullmatch(r"\d{4}", fields["year"]), key
        assert fields["year"] in key, key
        assert re.fullmatch(r"\{[^{}]+\}", fields["title"]), key
        for name in fields.keys() - {*VERBATIM}:
            assert not re.search(r"(?<!\\)[&%#_$]", fields[name]), (key, name)
        assert re.fullmatch(r"10\.\d{4,}/\S+", fields.get("doi", "10.1000/x")), key
        assert fields.get("url", "https://").startswith("https://"), key
    assert "Gaël Varoquaux" in found["pedregosa2011scikit"]["author"]


def test_the_key_begins_with_the_first_author() -> None:
    for key, entry in load().entries.items():
        first = entry["author"].strip("{}").split(" and ")[0]
        assert re.match("[a-z]+", key)[0] in first.lower().replace(" ", ""), key


def test_every_entry_is_cited_for_something() -> None:
    used = {key for keys in load().names.values() for key in keys}
    assert used == load().entries.keys()


@pytest.mark.parametrize("name", [name for name in catalog.DATASETS if catalog.about(name).key])
def test_data_sets_agree_with_the_catalog(name: str) -> None:
    about, citations = catalog.about(name), load()
    keys = citations.names["data set", name]
    assert keys[0] == about.key
    for key in keys:
        entry = citations.entries[key]
        assert entry["title"] in about.cite
        assert str(entry["year"]) in about.cite
        assert entry["author"].split(" and ")[0].split()[-1] in about.cite
    assert about.cite.count(" 20") == len(keys)


def test_special_signs_are_escaped_and_braces_kept() -> None:
    entry = {
        "key": "doe2020a", "type": "article", "author": "{R&D Group}", "title": "50% of _it_", "journal": "J. #1",
        "year": 2020, "url": "https://x.org/a_b?c=1&d=2%20", "cited_for": ["head x"],
    }  # fmt: skip
    fields = parsed(to_bibtex(entry))["doe2020a"]
    assert fields["author"] == r"{R\&D Group}"
    assert fields["title"] == r"{50\% of \_it\_}"
    assert fields["journal"] == r"J. \#1"
    assert fields["url"] == "https://x.org/a_b?c=1&d=2%20"
    assert to_text(entry) == "R&D Group. 50% of _it_. J. #1, 2020. https://x.org/a_b?c=1&d=2%20"


def test_one_line_of_text() -> None:
    assert to_text(load().entries["hoerl1970ridge"]) == (
        "Arthur E. Hoerl, Robert W. Kennard. Ridge Regression: Biased Estimation for Nonorthogonal Problems. "
        "Technometrics 12(1), 1970. https://doi.org/10.1080/00401706.1970.10488634"
    )
    assert to_text(load().entries["torchvision2016"]).startswith("TorchVision maintainers and contributors. TorchV")
    assert all("\n" not in to_text(entry) and "{" not in to_text(entry) for entry in load().entries.values())


def stream(backbone: str) -> dict:
    return {"fingerprint": {"backbone": backbone}}


def test_names_of_runs(make_run) -> None:
    runs = [
        make_run("dae", dataset="aqa-7", streams={"i3d": stream("i3d.rgb_kinetics")}),
        make_run("dae", seed=1, dataset="aqa-7", streams={"i3d": stream("i3d.rgb_kinetics")}),
        make_run("my-head", dataset="aqa-7", streams={"vst": stream("import"), "c3d": stream("c3d.random")}),
        make_run("mean", dataset="csv"),
        make_run("ridge", dataset="csv", streams={"c3d": stream("c3d.mine")}),
    ]
    names = names_in(runs)
    assert len(names) == len(set(names)) == 11
    entries, unknown = cite(names)
    assert {entry["key"]: entry["cited_for"] for entry in entries} == {
        "parmar2019aqa7": ["data set aqa-7"],
        "zhang2024dae": ["head dae"],
        "seitzer2022pitfalls": ["head dae"],
        "hoerl1970ridge": ["head ridge"],
        "pedregosa2011scikit": ["head ridge"],
        "carreira2017quo": ["backbone i3d"],
        "tran2015learning": ["backbone c3d"],
        "kay2017kinetics": ["weights i3d.rgb_kinetics"],
    }
    assert entries[0]["key"] == "parmar2019aqa7"
    assert unknown == ["data set csv", "head my-head", "weights c3d.mine", "imported features vst of aqa-7"]


def test_an_entry_for_several_names_is_there_once() -> None:
    (entry,), unknown = cite([("head", "mlp"), ("data set", "mtl-aqa")])
    assert entry["cited_for"] == ["data set mtl-aqa", "head mlp"]
    assert unknown == []
    assert "cited_for" not in load().entries["parmar2019mtlaqa"]
    assert "cited_for" not in to_bibtex(entry)


def test_names_of_a_backbone() -> None:
    assert names_of("c3d") == names_of("c3d.random") == [("backbone", "c3d")]
    assert names_of("c3d.mtl_aqa") == [("backbone", "c3d"), ("weights", "c3d.mtl_aqa")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'author = "Leo Breiman"\ntitle = "Random',
            'title = "Random',
            "missing .*breiman2001random, field author",
        ),
        (
            '\ntype = "misc"\nauthor = "Will',
            '\ntype = "film"\nauthor = "Will',
            "no such type .*sample kay2017kinetics, field type.*article",
        ),
        ('\ncore = ["yu2021group"]', '\ncore = ["yu2020group"]', "no entry yu2020group .*sample core, field heads"),
        ("[heads]\n", "[heads\n", "cannot be read"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = FILE.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file = tmp_path / "citations.toml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(StoreError, match=said):
        load(file)
