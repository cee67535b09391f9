"""Every registered head has its page, which names its parameters with the defaults that they have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aqa.heads import HEADS, head_class, parameters
from aqa.heads.config import parse_settings
from aqa.heads.torch_head import TorchHead

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "heads"
COMMON = parameters(TorchHead)  # docs/training.md has these
TABLE = re.compile(r"^\| parameter \| default \|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)


def page(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def own(name: str) -> dict[str, object]:
    """parameter -> default: all of a head's, but those that every gradient head has with the same default."""
    cls = head_class(name)
    shared = COMMON if issubclass(cls, TorchHead) else {}
    return {key: default for key, (hint, default) in parameters(cls).items() if shared.get(key) != (hint, default)}


def listed(name: str) -> dict[str, str]:
    """parameter -> default, as texts, from the table of the page."""
    found = {}
    for table in TABLE.findall(page(name)):
        for row in table.splitlines():
            names, defaults = (cell.replace("`", "").split(",") for cell in row.split("|")[1:3])
            found |= dict(zip(map(str.strip, names), map(str.strip, defaults), strict=True))
    return found


@pytest.mark.parametrize("name", HEADS)
def test_head_has_a_page_that_names_its_parameters(name: str) -> None:
    assert page(name).startswith(f"# {name}\n")
    assert [key for key in own(name) if f"`{key}`" not in page(name)] == []


@pytest.mark.parametrize("name", HEADS)
def test_defaults_of_the_page_are_those_of_the_head(name: str) -> None:
    cls, texts = head_class(name), listed(name)
    assert parse_settings(cls, texts) == {key: parameters(cls)[key][1] for key in texts}


def test_the_tables_are_found() -> None:
    assert listed("svr") == {"pool": "mean", "C": "none", "epsilon": "none", "gamma": "scale", "scale": "standard"}
    assert own("gdlt").keys() - COMMON.keys() <= listed("gdlt").keys()
    assert {"batch", "weight_decay"} <= own("gdlt").keys()


def test_every_page_is_of_a_head() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == set(HEADS)


def test_links_of_the_pages_lead_somewhere() -> None:
    for path in FOLDER.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)(#[\w-]+)?\)", path.read_text(encoding="utf-8")):
            target = path.parent / link[0]
            assert target.exists(), f"{path.name}: {link[0]}"
            if link[1]:
                assert f"\n## {link[1][1:]}\n" in target.read_text(encoding="utf-8").lower(), f"{path.name}: {link[1]}"
