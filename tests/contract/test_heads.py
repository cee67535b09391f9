"""Every registered head keeps the contract and has its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from aqa.heads import HEADS
from aqa.heads.check import check_head

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", HEADS)
def test_head_keeps_the_contract(name: str) -> None:
    check_head(name)


@pytest.mark.parametrize("name", HEADS)
def test_head_has_a_page(name: str) -> None:
    text = (DOCS / "heads" / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
