"""Which file, or which array in a file, belongs to which sample."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Sequence
from pathlib import PurePosixPath

from ..errors import DataError
from .names import quote_id

# RICA2's {video}-abr-{sample}, AQA-7's {sport}-out/{id}, FineDiving-Pose's {event}/pred_comp_{index}
FILLERS = {"abr", "out", "pred", "comp"}


def match(ids: Sequence[str], names: Collection[str], where: str) -> dict[str, str]:
    """id -> name, for the ids that have one. `names` are paths without suffix ("rgb/Ball_001").

    A name belongs to an id if its last component, or all of it, is the id (or its `quote_id`); failing that, if the
    words and numbers are the same: id "01_05" or "1-5" takes 01_05 (TPT) and 1-abr-5 (RICA2), "diving-007" takes
    diving-out/007 (TPT's AQA-7).
    Raises: DataError if two names belong to one id, or one name to two.
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for forms, keys in ((_spellings, lambda i: {i, quote_id(i)}), (_words, lambda i: {_words_of_id(i)})):
        table: dict[Hashable, list[str]] = {}
        for name in names:
            if name not in taken:
                for form in forms(name):
                    table.setdefault(form, []).append(name)
        for sample in ids:
            if sample in found:
                continue
            candidates = sorted({name for key in keys(sample) for name in table.get(key, ())})
            if len(candidates) > 1:
                hint = "give the folder that holds one of them"
                raise DataError(
                    f"several could be this sample: {', '.join(candidates[:4])}", file=where, sample=sample, hint=hint
                )
            if candidates and candidates[0] in taken:
                other = taken[candidates[0]]
                raise DataError(f"{candidates[0]} could be this sample or {other}", file=where, sample=sample)
            if candidates:
                found[sample] = candidates[0]
                taken[candidates[0]] = sample
    return {sample: found[sample] for sample in ids if sample in found}


def _spellings(name: str) -> set[Hashable]:
    return {name, PurePosixPath(name).name}


def _words(name: str) -> set[Hashable]:
    parts = PurePosixPath(name).parts
    return {words for n in (1, 2, len(parts)) if (words := _words_of_id(" ".join(parts[-n:])))}


def _words_of_id(text: str) -> tuple[str, ...]:
    """Words in lower case and numbers without leading zeros, in their order: "Ball_001" -> ("ball", "1")."""
    tokens = re.findall(r"[^\W\d_]+|\d+", text.lower())
    return tuple(str(int(token)) if token.isdecimal() else token for token in tokens if token not in FILLERS)
