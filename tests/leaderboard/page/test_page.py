"""The page as text: well-formed, alone, the same every time, and whole whatever runs lack."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from aqa.errors import MissingExtra
from aqa.leaderboard import table
from aqa.leaderboard.page.build import HERE, to_html
from aqa.leaderboard.page.ranking import short
from aqa.leaderboard.runs import iter_runs

from .conftest import HOSTILE
from .tree import Element, parsed

FOREST, PREDICTED = "Spearman with 95% intervals", "Predicted against true"
DIFFICULTY, GROUP, CALIBRATION = "Error by difficulty", "Error by group", "Calibration"
PARETO, TRAINING = "Time against accuracy", "Training"


def sections_of(root: Element) -> dict[str, Element]:
    found = [s for s in root.all("section") if s.attributes.get("id", "").startswith("s")]
    return {section.all("h2")[0].text: section for section in found}


def drawn(section: Element) -> list[str]:
    return [caption.text for caption in section.all("figcaption")]


def only(text: str) -> list[str]:
    (section,) = sections_of(parsed(text)).values()
    return drawn(section)


def test_the_page_is_well_formed_and_stands_alone(full_runs, page):
    text = page(full_runs)
    root = parsed(text)
    ids = root.having("id")
    assert len(ids) == len(set(ids)) > 20
    targets = root.having("href")
    assert len(targets) > 100
    assert {target[0] for target in targets} == {"#"}
    assert {target[1:] for target in targets} <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", " ".join(root.having("clip-path")))) <= set(ids)
    assert set(re.findall(r"https?://[^\"\s]*", text)) == {"http://www.w3.org/2000/svg"}
    assert [name for name in ("src", "srcset", "action", "xlink:href", "onclick") if root.having(name)] == []
    assert "@import" not in text
    assert len(root.all("script")) == 1


def test_every_picture_says_in_words_and_numbers_what_it_shows(full_runs, page):
    sections = sections_of(parsed(page(full_runs)))
    assert list(sections) == [
        "mtl-aqa · protocol official · target score",
        "set · protocol official · target score",
    ]
    first, second = sections.values()
    assert drawn(first) == [FOREST, PREDICTED, DIFFICULTY, CALIBRATION, PARETO, TRAINING]
    assert drawn(second) == [FOREST, PREDICTED, DIFFICULTY, GROUP, CALIBRATION, PARETO, TRAINING]
    for figure in first.all("figure") + second.all("figure"):
        assert len(figure.all("svg")) == 1
        (picture,) = (div for div in figure.all("div") if div.attributes.get("role") == "img")
        assert len(picture.attributes["aria-label"].split()) >= 5
        data = pd.read_csv(io.StringIO(figure.all("pre")[0].text))
        assert len(data) > 1
        assert data["head"].notna().all()
    assert [s.text[:17] for s in first.all("summary") if "Published" in s.text] == ["Published numbers"]


def test_the_same_runs_give_the_same_bytes(full_runs, page, tmp_path: Path):
    script = (
        "import sys; from pathlib import Path; from aqa.leaderboard import table\n"
        "from aqa.leaderboard.page.build import to_html; from aqa.leaderboard.runs import iter_runs\n"
        "text = to_html(table.sections(iter_runs(Path(sys.argv[1])), count=200))\n"
        "Path(sys.argv[2]).write_text(text, encoding='utf-8')\n"
    )
    out = tmp_path / "page.html"
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", script, tmp_path / "runs", out], check=True, env=environment)
    assert out.read_text(encoding="utf-8") == page(iter_runs(tmp_path / "runs"))


def test_hostile_names_are_shown_as_they_are(full_runs, page):
    text = page(full_runs)
    section = sections_of(parsed(text))["set · protocol official · target score"]
    board, forest = section.all("table")[0], section.all("svg")[0]
    heads = [row.all("td")[0].text.strip() for row in board.all("tr")[1:]]
    written = [label.text for label in forest.all("text")]
    assert set(HOSTILE) < set(heads)
    assert {short(f"{name} (c3d)") for name in HOSTILE} < set(written)
    assert "<b>bold" not in text
    assert "mathdefault" not in text


def test_numbers_in_pictures_are_not_cut(write, page):
    runs = [write(name, noise=noise, fit_seconds=fit) for name, noise, fit in (("a", 3.0, 0.00125), ("b", 4.0, 0.0018))]
    section = next(iter(sections_of(parsed(page(runs))).values()))
    pareto = section.all("figure")[drawn(section).index(PARETO)]
    assert {"0.0012", "0.0018"} <= {label.text for label in pareto.all("text")}


def test_an_interval_keeps_its_comma_and_flags_are_listed(write, page):
    runs = [write("ridge", flags=["synthetic", "random-backbone"])]
    row = sections_of(parsed(page(runs)))["set · protocol official · target score"].all("tr")[1]
    cells = [cell.text.strip() for cell in row.all("td")]
    assert any(re.fullmatch(r"\[0\.\d{3}, 0\.\d{3}\]", cell) for cell in cells), cells
    assert ["synthetic", "random-backbone", "fewer-than-three-seeds"] in [cell.split() for cell in cells]


LACKING = {
    "constant predictions": ({"constant": True}, [PREDICTED, DIFFICULTY, CALIBRATION]),
    "nothing held out": ({"held": 0}, [FOREST, PREDICTED, DIFFICULTY, PARETO]),
    "nothing held out, with spreads": (
        {"held": 0, "spread": 5.0},
        [FOREST, PREDICTED, DIFFICULTY, CALIBRATION, PARETO],
    ),
    "too few held out for 90%": ({"held": 5}, [FOREST, PREDICTED, DIFFICULTY, PARETO]),
    "one sample": ({"n": 1}, [PREDICTED, CALIBRATION]),
    "two samples": ({"n": 2}, [FOREST, PREDICTED, CALIBRATION, PARETO]),
    "no difficulty": ({"difficulty": False}, [FOREST, PREDICTED, CALIBRATION, PARETO]),
    "a history of one epoch": ({"epochs": 1}, [FOREST, PREDICTED, DIFFICULTY, CALIBRATION, PARETO]),
    "a history": ({"epochs": 9}, [FOREST, PREDICTED, DIFFICULTY, CALIBRATION, PARETO, TRAINING]),
    "a binary target": ({"kind": "binary"}, [FOREST, DIFFICULTY, CALIBRATION, PARETO]),
    "groups of samples": (
        {"groups": ("vault", "diving")},
        [FOREST, PREDICTED, DIFFICULTY, GROUP, CALIBRATION, PARETO],
    ),
    "floors only": ({"floor": True}, [FOREST, DIFFICULTY]),
    "constant floors only": ({"floor": True, "constant": True}, [DIFFICULTY]),
}


@pytest.mark.parametrize("case", LACKING)
def test_only_pictures_that_make_sense_are_drawn(write, page, case: str):
    options, wanted = LACKING[case]
    text = page(
        [write(name, noise=noise, seed=s, **options) for name, noise in (("a", 4.0), ("b", 9.0)) for s in (0, 1)]
    )
    assert only(text) == wanted
    assert ">nan<" not in text


def test_a_section_of_the_floor_random_alone_is_drawn(write, page):
    assert only(page([write("random", floor=True, noise=50.0)])) == [FOREST]


def test_a_row_on_other_samples_is_left_out_of_what_bins_samples(write, page):
    runs = [write("a", groups=("x", "y")), write("b", groups=("x", "y"))]
    runs.append(write("other", n=55, noise=1.0, groups=("z", "x"), difficulty=False))
    (section,) = sections_of(parsed(page(runs))).values()
    by_group = section.all("figure")[drawn(section).index(GROUP)]
    data = pd.read_csv(io.StringIO(by_group.all("pre")[0].text))
    assert sorted(set(data["head"])) == ["a (c3d)", "b (c3d)"]
    assert sorted(set(data["group"])) == ["x", "y"]


def test_many_groups_get_an_average_section_with_legible_pictures(write, page):
    names = [f"a rather long group {k:02d}" for k in range(8)]
    runs = [
        write(head, noise=noise, group=g, groups=(g,), of_protocol=names)
        for head, noise in (("a", 4.0), ("b", 9.0))
        for g in names
    ]
    sections = sections_of(parsed(page(runs)))
    assert len(sections) == 9
    average = sections["set · protocol official · target score · average"]
    assert drawn(average) == [FOREST, PREDICTED, DIFFICULTY, GROUP, CALIBRATION, PARETO]
    labels = [t.text for t in average.all("figure")[3].all("text")]
    assert all(f"{name} (n = 40)" in labels for name in names)


def test_heads_that_differ_by_config_are_told_apart_in_pictures(write, page):
    runs = [write("ridge", changed={"alpha": a}, noise=3.0 * a) for a in (1, 2)]
    (section,) = sections_of(parsed(page(runs))).values()
    for title in (PREDICTED, DIFFICULTY, CALIBRATION):
        labels = [t.text for t in section.all("figure")[drawn(section).index(title)].all("text")]
        assert {"ridge alpha=1", "ridge alpha=2"} <= set(labels)


def test_six_data_sets_get_a_diagram_of_critical_differences(write, page):
    runs = [
        write(head, dataset=f"set-{k}", noise=noise, held=0)
        for k in range(6)
        for head, noise in (("a", 2.0), ("b", 9.0), ("c", 30.0))
    ]
    root = parsed(page(runs, count=100))
    (section,) = (s for s in root.all("section") if s.attributes.get("id") == "across")
    assert drawn(section) == ["Critical differences over data sets"]
    assert section.all("div")[-1].attributes["aria-label"] == "Mean ranks: a 1.00, b 2.00, c 3.00."


def test_no_runs_give_an_empty_page():
    root = parsed(to_html([]))
    assert root.all("h1")[0].text == "aqa leaderboard"
    assert root.all("section") == []


def test_fifty_rows_of_353_samples_are_less_than_2_mb(write, page):
    options = {"n": 353, "held": 300, "spread": 5.0, "epochs": 100, "groups": ("a", "b", "c")}
    runs = [write("dae", changed={"k": k}, noise=3.0 + 0.2 * k, **options) for k in range(50)]
    text = page(runs)
    assert text.count("<tr") > 50
    assert len(text.encode()) < 2e6


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_the_extra_it_says_what_to_install(write, monkeypatch, package: str):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=f"the page needs {package}") as caught:
        to_html(table.sections([write()], count=100))
    assert caught.value.hint == "run pip install 'aqa[page]'"


def test_colours_of_every_theme_stand_out_from_the_paper():
    """Contrast by WCAG 2.2: 4.5 for text (1.4.3), 3 for what is drawn (1.4.11)."""

    def light(colour: str) -> float:
        digits = colour.lstrip("#")
        digits = digits if len(digits) == 6 else "".join(2 * d for d in digits)
        parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: str, b: str) -> float:
        low, high = sorted((light(a), light(b)))
        return (high + 0.05) / (low + 0.05)

    style = (HERE / "page.css").read_text(encoding="utf-8")
    blocks = re.findall(r"\{([^{}]*--paper:[^{}]*)\}", style)
    themes = [dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in blocks]
    assert len(themes) == 4  # light, dark by the system, dark by the button, print
    assert themes[1] == themes[2]
    for colours in themes:
        for name, colour in colours.items():
            least = 3.0 if name.startswith("series") else 4.5
            if name not in ("paper", "shade", "line"):
                assert contrast(colour, colours["paper"]) >= least, name
                assert contrast(colour, colours["shade"]) >= least, name
