"""What the flags of a row mean."""

from __future__ import annotations

MEANINGS = {
    "selected-on-test": "the epoch was chosen by the test part, as papers did: the number is too high",
    "constants-from-test": "a constant of the metric or the scaling was taken from the test part",
    "shared-subjects": "the same people are in train and in test",
    "subjects-split-at-random": "the protocol splits without regard to who performs",
    "fine-tuned-on-train": "the features were fine-tuned on these train scores: nothing measured inside train means "
    "anything, and intervals made there are too narrow",
    "out-of-fold-untrusted": "the head learned from out-of-fold judgements on features that know the train scores",
    "synthetic": "made-up videos: the numbers say nothing about real ones",
    "random-backbone": "the backbone has random weights",
    "fewer-than-three-seeds": "one or two seeds do not show how much the seed matters",
    "unfinished-seeds-left-out": "seeds without all folds are not in the row",
    "mixed-fingerprints": "streams of one name were made in more than one way: rows differ by more than the head",
    "other-test-set": "tested on other samples than most rows: not compared with them",
}
ENDINGS = {
    "-phases-floor": "its phases overlap the true ones no more than that floor's, which sees no frame",
    "-floor": "does not reach that floor: it has learned nothing that labels and metadata do not give away",
    "-folds": "not all folds of the protocol have been run",
    "-samples-missing": "so many samples have no features: the row is on the others",
}


def meaning(flag: str) -> str:
    """One sentence, "" for a flag that is not known here."""
    return MEANINGS.get(flag) or next((text for end, text in ENDINGS.items() if flag.endswith(end)), "")
