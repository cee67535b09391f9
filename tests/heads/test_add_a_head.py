"""The head that docs/add-a-head.md shows is one: it is taken from the page, registered, and checked."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from aqa.heads import load_head, make_head
from aqa.heads.check import check_head
from aqa.heads.check_data import synthetic

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-a-head.md"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "head_of_the_page.py").write_text(blocks[0], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = re.findall(r'"([\w-]+)": "aqa\.heads\.', blocks[1])[0]
    points = [EntryPoint(name, "head_of_the_page:BayesianRidge", "aqa.heads")]
    monkeypatch.setattr("aqa.heads.entry_points", lambda group: points)
    return name


def test_the_head_of_the_page_keeps_the_contract(registered: str, tmp_path: Path) -> None:
    check_head(registered)
    head = make_head(registered, {"rounds": "50", "pool": "mean+std"})
    train, test = (synthetic(head.needs, 12, seed=seed, prefix="s") for seed in (0, 1))
    fitted = head.fit(train, None, seeds=[0], device="cpu")[0]
    fitted.save(tmp_path / "run")
    judged = load_head(tmp_path / "run").predict(test)
    assert judged.spread is not None
    assert (judged.spread > 0).all()
    np.testing.assert_array_equal(judged.score, fitted.predict(test).score)


def test_links_of_the_page_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (PAGE.parent / link).exists(), link
