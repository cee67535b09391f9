from __future__ import annotations

from pathlib import Path

import pytest

from aqa.catalog.base import Dataset, Fold, Media, Problem, Protocol, Sample, Target
from aqa.errors import AnnotationError, SplitError, UnknownName


def sample(i: str, **more) -> Sample:
    return Sample(i, more.pop("targets", {"score": 50.0}), **more)


def dataset(samples=None, folds=(Fold("0", ("a", "b"), ("c",)),), **more) -> Dataset:
    samples = samples or tuple(sample(i) for i in "abc")
    return Dataset("set", tuple(samples), (Target("score"),), (Protocol("official", tuple(folds)),), **more)


def test_json_and_back_keeps_everything_but_paths():
    full = sample(
        "c",
        media=Media(Path("/data/c.mp4"), 3, 106),
        difficulty=3.2,
        judges=(8.0, 8.5),
        kind="407C",
        event="e",
        subject="s",
        attributes={"position": 2, "style": "free"},
        caption="a dive",
        phases=(4, 4, 36),
    )
    one = dataset(
        (sample("a"), sample("b", frames=7), full, sample("unscored", targets={})),
        plans={"c3d": "6x16@103", "*": "10x16@103"},
        problems=(Problem("c", "judges", "45.0"),),
        stream_flags={"p3d": ("fine-tuned-on-train",)},
    )
    back = Dataset.from_json(one.to_json())
    assert back.to_json() == one.to_json()
    assert back.digest() == one.digest()
    assert back.by_id["c"].media == Media(Path(), 3, 106)
    assert back.by_id["c"].attributes == {"position": 2, "style": "free"}
    assert (back.by_id["a"].frames, back.by_id["b"].frames) == (None, 7)
    assert back.by_id["unscored"].targets == {}
    assert back.protocol().folds == one.protocol().folds


def test_the_digest_changes_with_labels_and_frames_and_not_with_paths():
    first = dataset((sample("a", media=Media(Path("x"), 0, 5)), sample("b"), sample("c")))
    moved = dataset((sample("a", media=Media(Path("y"), 0, 5)), sample("b"), sample("c")))
    other = dataset((sample("a", media=Media(Path("x"), 0, 6)), sample("b"), sample("c")))
    assert first.digest() == moved.digest() != other.digest()
    assert dataset((sample("a", targets={"score": 51.0}), sample("b"), sample("c"))).digest() != dataset().digest()


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        ((sample("a"), sample("a")), "same id"),
        ((sample(" a"),), "blank"),
        ((sample("a", targets={"score": float("nan")}),), "nan"),
        ((sample("a", targets={"score": float("inf")}),), "inf"),
    ],
)
def test_unusable_samples_are_refused(samples, match: str):
    with pytest.raises(AnnotationError, match=match):
        dataset(samples, folds=())


@pytest.mark.parametrize(
    ("fold", "match"),
    [
        (Fold("0", ("a", "b"), ("b", "c")), "1 test samples are in train: b"),
        (Fold("0", ("a",), ("z",)), "not in the set: z"),
    ],
)
def test_unusable_folds_are_refused(fold: Fold, match: str):
    with pytest.raises(SplitError, match=match):
        dataset(folds=(fold,))


@pytest.mark.parametrize(("train", "test", "part"), [(("a",), (), "test"), ((), ("a",), "train")])
def test_an_empty_part_is_refused_where_it_is_used(train, test, part: str):
    made = dataset(folds=(Fold("0", train, test, "10 m"),))
    assert Dataset.from_json(made.to_json()).digest() == made.digest()
    for name in (None, "official", "paper"):
        with pytest.raises(SplitError, match=f"the {part} part is empty.*group 10 m, fold 0.*{part}$"):
            made.protocol(name)


def test_a_sample_without_a_score_may_be_there_but_not_in_a_fold():
    samples = (sample("a"), sample("b"), sample("c", targets={}))
    assert dataset(samples, folds=()).by_id["c"].targets == {}
    with pytest.raises(AnnotationError, match="no score"):
        dataset(samples)
    with pytest.raises(SplitError, match="nothing to train"):
        Dataset("s", samples, (Target("score"),), ()).protocol()


def test_names_are_suggested():
    with pytest.raises(UnknownName, match="official"):
        dataset().protocol("offical")
    with pytest.raises(UnknownName, match="score"):
        dataset().target("scor")


def test_the_range_is_the_protocols_then_the_rules_then_train_widened():
    one = dataset((sample("a", targets={"score": 10.0}), sample("b", targets={"score": 20.0}), sample("c")))
    plain, protocol = Target("score"), one.protocol()
    assert one.score_range(plain, protocol, "", ("a", "b")) == ((9.0, 21.0), "train")
    ruled = Target("score", ranges={"": (0.0, 123.0)})
    assert one.score_range(ruled, protocol, "diving", ("a", "b")) == ((0.0, 123.0), "rules")
    paper = Protocol("paper", protocol.folds, ranges={"diving": (0.0, 104.5)})
    assert one.score_range(ruled, paper, "diving", ("a",)) == ((0.0, 104.5), "protocol")
    assert one.score_range(ruled, paper, "vault", ("a",)) == ((0.0, 123.0), "rules")


def test_shared_subjects():
    samples = tuple(sample(i, subject=s) for i, s in zip("abc", ("x", "y", "x"), strict=True))
    one = dataset(samples)
    assert one.shared_subjects(one.protocol()) == ("x",)
    two = dataset()
    assert two.shared_subjects(two.protocol()) == ()
