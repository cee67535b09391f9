"""Caption metrics over the captions of a test part, one reference each, as the captioning papers print them.

BLEU is sacrebleu's (corpus level, not smoothed), METEOR nltk's where its WordNet files are; ROUGE-L and CIDEr are
written out here, because no kept light library has them.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .metrics import Metrics

NAMES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider")
BETA = 1.2  # recall counts BETA^2 times as much as precision in ROUGE-L: as MSCOCO's evaluation has it
SIGMA = 6.0  # of CIDEr-D's penalty for unlike lengths
ORDER = 4
_WORD = re.compile(r"[^\W_]+(?:[^\w\s][^\W_]+)*")  # letters and digits, with one sign between: don't, spot-on, 2/3

Tokens = Sequence[str]


def words(text: str) -> list[str]:
    """The words of a caption, in lower case and without punctuation."""
    return _WORD.findall(text.lower())


def caption_metrics(said: Sequence[str], truth: Sequence[str]) -> Metrics:
    """`NAMES` of what was said against the truth, [N] each; samples without a true caption are left out.

    BLEU, METEOR and ROUGE-L are from 0 to 1, CIDEr (CIDEr-D) from 0 to 10. None where there is no pair; for BLEU also
    without the extra `captions`, for METEOR without that or WordNet (`python -m nltk.downloader wordnet`), for CIDEr
    with fewer than two pairs, of which every word is in every caption.
    """
    pairs = [(words(s), words(t)) for s, t in zip(said, truth, strict=True)]
    pairs = [(s, t) for s, t in pairs if t]
    if not pairs:
        return dict.fromkeys(NAMES)
    hypotheses, references = [list(column) for column in zip(*pairs, strict=True)]
    return {
        **{f"bleu_{n}": bleu(hypotheses, references, n) if has_sacrebleu() else None for n in range(1, ORDER + 1)},
        "meteor": meteor(hypotheses, references),
        "rouge_l": float(np.mean([rouge_l(s, t) for s, t in pairs])),
        "cider": cider(hypotheses, references) if len(pairs) > 1 else None,
    }


def has_sacrebleu() -> bool:
    return importlib.util.find_spec("sacrebleu") is not None


def without_bleu(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """What to tell a user whose captions got no BLEU because sacrebleu is not installed; None where all is well."""
    if has_sacrebleu() or not any(row.get("rouge_l") is not None for row in rows):
        return None
    return "BLEU of the captions is left out, it needs sacrebleu: pip install 'aqa[captions]'"


def bleu(said: Sequence[Tokens], truth: Sequence[Tokens], order: int) -> float:
    """Geometric mean of the precisions of 1- to `order`-grams over the corpus, times the brevity penalty (Papineni et
    al., ACL 2002)."""
    from sacrebleu.metrics.bleu import BLEU

    scorer = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    return scorer.corpus_score([" ".join(s) for s in said], [[" ".join(t) for t in truth]]).score / 100


def meteor(said: Sequence[Tokens], truth: Sequence[Tokens]) -> float | None:
    """Mean of the aligned words' F measure, less for scattered ones (Banerjee and Lavie, ACL workshop 2005); stems and
    synonyms count as the word. None without nltk or its WordNet files."""
    synonyms = wordnet()
    if synonyms is None:
        return None
    from nltk.translate.meteor_score import single_meteor_score

    scores = [single_meteor_score(t, s, wordnet=synonyms) for s, t in zip(said, truth, strict=True)]
    return float(np.mean(scores))


def wordnet() -> Any:
    """nltk's reader of WordNet, or None without the package or the files."""
    if importlib.util.find_spec("nltk") is None:
        return None
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        return None
    return wordnet


def rouge_l(said: Tokens, truth: Tokens) -> float:
    """F measure of the longest common subsequence (Lin, ROUGE, ACL workshop 2004)."""
    common = longest_common(said, truth)
    if common == 0:
        return 0.0
    precision, recall = common / len(said), common / len(truth)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common(a: Tokens, b: Tokens) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0  # row[k - 1] as it was without `word`
        for k, other in enumerate(b, start=1):
            before, row[k] = row[k], before + 1 if word == other else max(row[k], row[k - 1])
    return row[-1]


def cider(said: Sequence[Tokens], truth: Sequence[Tokens]) -> float:
    """CIDEr-D (Vedantam et al., CVPR 2015), which MSCOCO's evaluation prints as CIDEr: mean over 1- to 4-grams of the
    cosine of tf-idf vectors, clipped to the reference's counts and damped by the difference in length, times 10."""
    total = 0.0
    for order in range(1, ORDER + 1):
        references = [_ngrams(t, order) for t in truth]
        documents = Counter(ngram for counts in references for ngram in counts)
        hypotheses = [_ngrams(s, order) for s in said]
        for s, t, hypothesis, reference in zip(said, truth, hypotheses, references, strict=True):
            # an n-gram that no reference has counts as if one had it
            idf = {g: math.log(len(truth) / max(documents[g], 1)) for g in hypothesis.keys() | reference.keys()}
            dot = sum(min(n, reference[g]) * reference[g] * idf[g] ** 2 for g, n in hypothesis.items())
            norms = [math.sqrt(sum((n * idf[g]) ** 2 for g, n in c.items())) for c in (hypothesis, reference)]
            if dot > 0:
                total += dot / (norms[0] * norms[1]) * math.exp(-((len(s) - len(t)) ** 2) / (2 * SIGMA**2))
    return 10 * total / (ORDER * len(truth))


def _ngrams(tokens: Tokens, order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[k:] for k in range(order)), strict=False))
