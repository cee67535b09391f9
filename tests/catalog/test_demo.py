"""The synthetic set is frozen: its labels may never change without a new name."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from aqa.catalog import demo
from aqa.catalog.base import Dataset
from aqa.catalog.demo import programme, rules
from aqa.errors import BadParameter

SEED = 20240811
DIGEST = "a60afe55ff6a29e6"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return demo.read(Path("somewhere"))


def test_seed_and_labels_are_frozen(dataset: Dataset) -> None:
    assert programme.SEED == SEED
    assert dataset.digest() == DIGEST
    assert demo.read(Path("elsewhere")).digest() == DIGEST


def test_first_and_last_dive_are_frozen(dataset: Dataset) -> None:
    first, last = dataset.samples[0], dataset.samples[-1]
    assert (first.id, first.kind, first.targets["score"], len(first.phases)) == ("demo-001", "6243D", 41.6, 32)
    assert first.judges == (4.5, 4.0, 4.0, 4.0, 4.5, 4.5, 4.5)
    assert (last.id, last.kind, last.targets["score"], len(last.phases)) == ("demo-240", "6243D", 81.6, 32)
    assert last.caption == (
        "round six, an armstand back two somersaults with one and a half twists in the free position. "
        "nothing to fault. what a dive."
    )


def test_it_says_that_it_is_synthetic(dataset: Dataset) -> None:
    assert dataset.synthetic
    assert "synthetic" in demo.ABOUT.title.lower()
    assert "synthetic" in dataset.protocol().note
    assert "synthetic" in (demo.__doc__ or "")


def test_size_and_split(dataset: Dataset) -> None:
    protocol = dataset.protocol()
    (fold,) = protocol.folds
    assert protocol.name == "official"
    assert (len(dataset.samples), len(fold.train), len(fold.test)) == (240, 144, 96)
    assert dataset.shared_subjects(protocol) == ()
    kinds = {i: sample.kind for i, sample in dataset.by_id.items()}
    assert set(Counter(kinds[i] for i in fold.train).values()) == {9}
    assert set(Counter(kinds[i] for i in fold.test).values()) == {6}
    for part in (fold.train, fold.test):
        assert len({dataset.by_id[i].event for i in part}) == programme.EVENTS
    for subject, dived in Counter((s.subject, s.kind) for s in dataset.samples).items():
        assert dived == 1, subject  # nobody dives the same dive twice


def test_scores_follow_from_the_judges(dataset: Dataset) -> None:
    low, high = dataset.target().ranges[""]
    assert dataset.target().times_difficulty
    assert (low, high) == (0.0, 102.0)
    for sample in dataset.samples:
        assert len(sample.judges) == 7
        assert all(0 <= mark <= 10 and (2 * mark).is_integer() for mark in sample.judges)
        assert sample.difficulty == rules.DIFFICULTY[sample.kind or ""]
        assert sample.targets["score"] == rules.score(sample.difficulty, sample.judges)
        assert low <= sample.targets["score"] <= high


def test_every_sample_is_complete(dataset: Dataset) -> None:
    lengths = set()
    for sample in dataset.samples:
        assert sample.media is not None
        assert sample.media.path == Path("somewhere/videos") / f"{sample.id}.mp4"
        assert sample.media.start == 0
        length = sample.media.stop or 0
        lengths.add(length)
        assert len(sample.phases) == length
        assert sample.phases[-1] == rules.ENTRY_PHASE
        assert list(sample.attributes) == ["position", "armstand", "rotation", "somersaults", "twists"]
        assert sample.caption
        assert sample.subject
        assert sample.event
        runs = [p for i, p in enumerate(sample.phases) if i == 0 or p != sample.phases[i - 1]]
        assert len(runs) == (4 if sample.attributes["twists"] else 3)
    assert min(lengths) == 32
    assert max(lengths) <= 48


def test_scores_hold_what_a_test_bed_needs() -> None:
    """Difficulty tells something and not much, the execution most; the judges agree but for their noise."""
    test = [dive for dive in programme.dives() if dive.test]
    score = [dive.score for dive in test]
    assert 0.3 < spearmanr([dive.difficulty for dive in test], score)[0] < 0.5
    known = [dive.difficulty * rules.execution(dive.faults) for dive in test]
    assert spearmanr(known, score)[0] > 0.99
    assert 0.25 < np.mean([np.std(dive.judges) for dive in programme.dives()]) < 0.45
    assert 13 < np.std(score) < 18


def test_round_trip_through_json(dataset: Dataset) -> None:
    again = Dataset.from_json(dataset.to_json())
    assert again.digest() == DIGEST
    assert again.samples[5].phases == dataset.samples[5].phases


def test_options_are_refused() -> None:
    with pytest.raises(BadParameter, match="no option 'fps'"):
        demo.read(None, fps=50)


def test_default_root_is_the_users_cache(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    media = demo.read().samples[0].media
    assert media is not None
    assert media.path == tmp_path / "aqa" / "demo-v1" / "videos" / "demo-001.mp4"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert demo.default_root() == tmp_path / "home" / ".cache" / "aqa" / "demo-v1"


def test_labels_need_neither_video_nor_drawing_libraries() -> None:
    code = (
        "import sys, aqa.catalog.demo as d; d.read(); "
        "print(sorted({'av', 'PIL', 'torch', 'h5py', 'joblib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
