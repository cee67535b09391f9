"""Every registered head keeps the contract."""

from __future__ import annotations

import pytest

from aqa.heads import HEADS
from aqa.heads.check import check_head


@pytest.mark.parametrize("name", HEADS)
def test_head_keeps_the_contract(name: str) -> None:
    check_head(name)
