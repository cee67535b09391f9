"""Caption metrics by hand, and class accuracies through a run to the table."""

from __future__ import annotations

import csv
import io
import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from aqa.leaderboard import captions, formats, table
from aqa.leaderboard.captions import bleu, caption_metrics, cider, longest_common, meteor, rouge_l, words
from aqa.leaderboard.labels import label_columns, label_metrics
from aqa.leaderboard.runs import Prediction, RunKey, read_run, write_run

A, B = ["the", "diver", "enters", "the", "water"], ["a", "diver", "enters", "water"]


class Empty:
    """A WordNet without words: its files are not on every machine."""

    def synsets(self, word: str) -> list[str]:
        return []


@pytest.fixture(autouse=True)
def no_synonyms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "wordnet", Empty)


def test_words():
    assert words("That's a three-and-a-half, [Applause] 3:58 - 100%. Ünë_x") == (
        ["that's", "a", "three-and-a-half", "applause", "3:58", "100", "ünë", "x"]
    )
    assert words(" .. ") == []


def test_bleu_of_the_corpus_by_hand():
    # 1-grams: "the" is clipped to 1 of 2; of 5 + 2 words 3 + 2 are right; 2-grams: 1 + 1 of 4 + 1; lengths 7 and 6
    said, truth = [A, ["good", "dive"]], [["the", *B[1:]], ["good", "dive"]]
    assert bleu(said, truth, 1) == pytest.approx(6 / 7)
    assert bleu(said, truth, 2) == pytest.approx(math.sqrt(6 / 7 * 3 / 5))
    assert bleu(truth, said, 1) == pytest.approx(math.exp(1 - 7 / 6) * 1.0)  # shorter than the reference
    assert bleu(said, truth, 4) == 0  # no 4-gram is right
    assert bleu([A], [A], 4) == pytest.approx(1)
    assert bleu([[]], [A], 2) == 0


def test_rouge_l_by_hand():
    assert longest_common(A, B) == 3
    assert longest_common(B, A) == 3
    precision, recall = 3 / 5, 3 / 4
    assert rouge_l(A, B) == pytest.approx(2.44 * precision * recall / (recall + 1.44 * precision))
    assert rouge_l(A, ["nothing"]) == rouge_l([], B) == 0
    assert rouge_l(B, B) == pytest.approx(1)


def test_meteor_by_hand():
    """nltk's, over a WordNet without synonyms."""
    # A against B: diver, enters, water; two chunks of three words; and dives has the stem of dive
    precision, recall = 3 / 5, 3 / 4
    found = precision * recall / (0.9 * precision + 0.1 * recall)
    first = found * (1 - 0.5 * (2 / 3) ** 3)
    second = 1 - 0.5 * (1 / 2) ** 3
    assert meteor([A], [B]) == pytest.approx(first)
    assert meteor([A, ["good", "dives"]], [B, ["good", "dive"]]) == pytest.approx((first + second) / 2)
    assert caption_metrics([" ".join(A)], [" ".join(B)])["meteor"] == pytest.approx(first)


def test_without_wordnet_meteor_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(captions, "wordnet", lambda: None)
    assert meteor([A], [B]) is None
    assert caption_metrics(["a dive"], ["a dive"])["meteor"] is None


def cosine_by_hand(said: Sequence[str], truth: Sequence[str], corpus: Sequence[Sequence[str]], n: int) -> float:
    """Of one order, over all n-grams of the corpus as dense vectors."""

    def grams(tokens: Sequence[str]) -> list[tuple[str, ...]]:
        return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]

    everything = sorted({g for one in (said, *corpus) for g in grams(one)})
    df = np.array([max(sum(g in grams(one) for one in corpus), 1) for g in everything])
    idf = np.log(len(corpus) / df)
    ours, theirs = (np.array([grams(tokens).count(g) for g in everything]) * idf for tokens in (said, truth))
    norms = np.linalg.norm(ours) * np.linalg.norm(theirs)
    return float(np.minimum(ours, theirs) @ theirs / norms) if norms > 0 else 0.0


def test_cider_by_hand():
    truth = [B, ["a", "good", "dive", "with", "a", "big", "splash"], ["a", "dive"]]
    said = [A, ["a", "good", "dive", "with", "a", "splash"], ["rip", "entry"]]
    wanted = [
        math.exp(-((len(s) - len(t)) ** 2) / 72) * np.mean([cosine_by_hand(s, t, truth, n) for n in (1, 2, 3, 4)])
        for s, t in zip(said, truth, strict=True)
    ]
    assert wanted[2] == 0
    assert wanted[1] > wanted[0] > 0
    assert cider(said, truth) == pytest.approx(10 * np.mean(wanted))
    long = [["one", "two", "three", "four", "five"], ["six", "seven", "eight", "nine"]]
    assert cider(long, long) == pytest.approx(10)


def test_against_mscocos_evaluation():
    """What pycocoevalcap 1.2 gives for these captions. It is no dependency: its METEOR brings a Java program along."""
    draw = random.Random(0)
    vocabulary = [f"w{i}" for i in range(30)]
    truth = [[draw.choice(vocabulary) for _ in range(draw.randint(3, 25))] for _ in range(60)]
    said = [[w if draw.random() < 0.7 else draw.choice(vocabulary) for w in t][: draw.randint(2, 25)] for t in truth]
    assert cider(said, truth) == pytest.approx(3.2037826807420013, rel=1e-12)
    assert np.mean([rouge_l(s, t) for s, t in zip(said, truth, strict=True)]) == pytest.approx(0.5932827744452406)
    theirs = [0.4797638015717943, 0.3980454588128347, 0.3342076090559888, 0.2826449272165188]
    assert [bleu(said, truth, n) for n in (1, 2, 3, 4)] == pytest.approx(theirs, abs=1e-8)


def test_what_has_no_reference_is_left_out_and_what_is_not_defined_is_none():
    both = caption_metrics(["A diver enters water!", "anything"], ["a diver enters water", ""])
    assert both["bleu_4"] == pytest.approx(1)
    assert both["rouge_l"] == pytest.approx(1)
    assert both["cider"] is None  # one pair
    assert caption_metrics(["a"], [" ."]) == dict.fromkeys(captions.NAMES)
    nothing = caption_metrics(["", ""], ["a dive", "a good dive"])
    assert set(nothing.values()) == {0.0}


def test_without_the_extra_bleu_is_none_and_the_user_is_told(monkeypatch: pytest.MonkeyPatch):
    assert captions.without_bleu([{"rouge_l": 0.5}]) is None
    monkeypatch.setattr(captions, "has_sacrebleu", lambda: False)
    found = caption_metrics(["a dive", "a dive"], ["a dive", "the end"])
    assert [found[f"bleu_{n}"] for n in (1, 2, 3, 4)] == [None] * 4
    assert found["rouge_l"] == pytest.approx(0.5)
    assert "aqa[captions]" in str(captions.without_bleu([{"spearman": 0.1}, found]))
    assert captions.without_bleu([{"spearman": 0.1}]) is None


def test_accuracies_leave_out_unknown_classes():
    probabilities = {"twists": np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]]), "position": np.ones((3, 2)) / 2}
    columns = label_columns(probabilities, (), {"twists": np.array([1, 1, -1])}, ("", "", ""))
    assert columns["class twists"] == ["1", "0", "0"]
    assert columns["true twists"] == ["1", "1", ""]
    assert label_metrics(columns) == {"accuracy_twists": 0.5, "accuracy_position": None}
    assert label_metrics({}) == {}


def with_labels(root: Path, make_run, seed: int, right: int, **info):
    """A run like those of `make_run` whose first `right` of 40 classes and captions are right."""
    plain = make_run("mtl", seed=seed, **info)
    rows = plain.part("test")
    truth = np.arange(40) % 3
    guess = np.eye(3)[np.where(np.arange(40) < right, truth, (truth + 1) % 3)]
    reference = tuple(f"dive {i} of the, day\nwas «good»" for i in range(40))
    said = tuple(text if i < right else "silence" for i, text in enumerate(reference))
    labels = label_columns({"twists": guess}, said, {"twists": truth}, reference)
    names = tuple(rows["group"])
    columns = [rows[name].to_numpy() for name in ("truth", "score")]
    test = Prediction("test", tuple(rows["id"]), *columns, None, rows["difficulty"].to_numpy(), names, names, labels)
    val = replace(test, part="val", labels={})
    key = RunKey("set", "official", "score", "", ("c3d",), "mtl", {"labels": True}, 0, seed)
    return write_run(root, key, {**plain.info, "digest": key.digest}, [test, val], [], lambda folder: None)


def test_a_run_keeps_classes_and_captions_and_the_table_has_their_metrics(make_run, tmp_path: Path):
    runs = [with_labels(tmp_path, make_run, seed, right) for seed, right in ((0, 40), (1, 20))]
    back = read_run(runs[0].folder).part("test")
    assert list(back["caption"])[3] == "dive 3 of the, day\nwas «good»"
    sections = table.sections([*runs, make_run("ridge")], count=100)
    mtl, ridge = sorted(sections[0].rows, key=lambda row: row["head"])
    assert mtl["accuracy_twists"] == pytest.approx(0.75)
    half = caption_metrics(*(read_run(runs[1].folder).part("test")[name].tolist() for name in ("caption", "reference")))
    first = read_run(runs[0].folder).part("test")["reference"].tolist()
    of_itself = float(caption_metrics(first, first)["meteor"] or 0)  # below 1: a chunk is a chunk
    for name in captions.NAMES:
        full = {"cider": 10, "meteor": of_itself}.get(name, 1)
        assert mtl[name] == pytest.approx((full + float(half[name] or 0)) / 2)
    assert not {*captions.NAMES, "accuracy_twists"} & ridge.keys()
    json.loads(formats.to_json(sections))
    text = formats.to_markdown(sections)
    assert "| twists acc. | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | METEOR | ROUGE-L | CIDEr |" in text
    assert "twists" not in formats.to_markdown(table.sections([make_run("ridge")], count=100))
    lines = {line["head"]: line for line in csv.DictReader(io.StringIO(formats.to_csv(sections)))}
    assert (lines["ridge"]["cider"], float(lines["mtl"]["accuracy_twists"])) == ("", pytest.approx(0.75))
    terminal = Console(width=80, record=True, file=io.StringIO())
    terminal.print(formats.to_terminal(sections))
    shown = " ".join(terminal.export_text().split())
    assert "no room for: CIDEr, ROUGE-L" in shown
    assert "Spearman" in shown
