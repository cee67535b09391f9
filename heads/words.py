"""Captions as numbers: the words of train, `<eos>` = 0 and `<sos>` = 1 as in MTL-AQA's vocabulary, `<unk>` = 2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

EOS, SOS, UNK = 0, 1, 2
SPECIAL = ("<eos>", "<sos>", "<unk>")
_ENDS = re.compile(r"[.,;!?]+(?=\s|$)")


def tokens(caption: str) -> list[str]:
    """The words of a caption in lower case, without the punctuation that ends a phrase."""
    return _ENDS.sub(" ", caption.lower()).split()


def vocabulary(captions: Iterable[str], min_count: int) -> list[str]:
    """`SPECIAL` and the words that occur at least `min_count` times, frequent ones first, equals by the alphabet."""
    counts = Counter(word for caption in captions for word in tokens(caption))
    for name in SPECIAL:
        counts.pop(name, None)
    return [*SPECIAL, *(w for w, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= min_count)]


def encode(captions: Sequence[str], words: Sequence[str], length: int) -> np.ndarray:
    """int64 [N, length]: `<sos>`, the words, `<eos>`, then zeros. What is longer is cut, and its last token becomes
    `<eos>`. An empty caption is a row of zeros, without `<sos>`."""
    number = {word: i for i, word in enumerate(words)}
    rows = np.full((len(captions), length), EOS, dtype=np.int64)
    for row, caption in zip(rows, captions, strict=True):
        ids = [number.get(word, UNK) for word in tokens(caption)][: length - 2]
        if ids:
            row[: len(ids) + 1] = [SOS, *ids]
    return rows


def decode(ids: Iterable[int], words: Sequence[str]) -> str:
    """The words up to the first `<eos>`."""
    said = []
    for i in ids:
        if i == EOS:
            break
        said.append(words[i])
    return " ".join(said)
