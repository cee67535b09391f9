"""What is known of a data set before any of its files is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class About:
    """`layouts`: one readable line per folder layout that the reader takes. `options`: keyword of `read` -> meaning."""

    name: str
    title: str
    licence: str
    cite: str
    source: str
    layouts: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    key: str = ""  # citation key, as in a BibTeX file
