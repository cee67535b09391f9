"""What a head says of data that lacks something."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from aqa.errors import AnnotationError, StoreError, UnmetNeeds
from aqa.heads import Needs, Ragged, make_head, unmet
from aqa.heads.check_data import synthetic, with_lengths


@dataclass(frozen=True)
class Demanding:
    """Needs everything."""

    name: ClassVar[str] = "demanding"
    needs: ClassVar[Needs] = Needs(2, 1, 4, difficulty=True, judges=True, kind=True, phases=True)

    fit = load = None


@dataclass(frozen=True)
class Again(Demanding):
    """Takes one stream, and the same backbone's features of other clips."""

    needs: ClassVar[Needs] = Needs(further_streams=1)


DATA = synthetic(Demanding.needs, 6, seed=0, prefix="s")
HEAD: object = Demanding()
AGAIN: object = Again()
SVR = make_head("svr")


def said(data: object, head: object = HEAD) -> list[str]:
    return unmet(head, data)  # pyright: ignore[reportArgumentType]


def test_data_that_has_everything() -> None:
    assert said(DATA) == []


def test_each_thing_that_is_missing_is_said_in_words() -> None:
    only = {"i3d": DATA.streams["stream0"]}
    assert said(replace(DATA, streams={})) == ["it takes 2 streams of features, got none"]
    assert said(replace(DATA, streams=only)) == ["it takes 2 streams of features, got i3d"]
    three = {**DATA.streams, "pose": DATA.streams["stream0"]}
    assert said(replace(DATA, streams=three)) == ["it takes 2 streams at once, got 3: stream0, stream1, pose"]
    two = {"i3d": DATA.streams["stream0"], "thin": DATA.streams["stream0"]}
    assert all(said(replace(DATA, streams=streams), AGAIN) == [] for streams in (only, two))
    assert said(replace(DATA, streams=three), AGAIN) == [
        "it takes at most 2 streams at once, got 3: stream0, stream1, pose"
    ]
    wide = Ragged(np.zeros((8, 13)), np.array([0, 8]))
    assert said(replace(DATA, streams={**only, "c3d": wide}), AGAIN) == [
        "it takes streams of one backbone, all of one shape, got 'i3d' [12], 'c3d' [13]"
    ]
    short = with_lengths(DATA, [5, 3, 5, 5, 2, 5])
    assert (
        said(short)[0]
        == "it takes at least 4 clips per sample, and 'stream0' has fewer for 2 of 6 samples: s-001, s-004"
    )
    maps = Ragged(np.zeros((8, 4, 7, 7)), np.array([0, 8]))
    assert "it takes vectors per clip, and stream 'pool5' has [4, 7, 7]" in said(
        replace(DATA, streams={"pool5": maps, "i3d": maps})
    )
    binary = replace(DATA, target_kind="binary")
    assert said(binary) == ["it takes scores, and the target is binary"]
    marks = np.where(np.arange(6)[:, None] == 2, np.nan, DATA.judges)
    assert said(replace(DATA, judges=marks)) == ["the judges' marks are unknown for 1 of 6 samples: s-002"]
    five_of_seven = np.where(np.arange(7) < 5, DATA.judges, np.nan)
    assert said(replace(DATA, judges=five_of_seven)) == []
    assert said(replace(DATA, difficulty=np.zeros(0))) == [
        "the difficulty is unknown for 6 of 6 samples: s-000, s-001, s-002 and 3 more"
    ]
    assert said(replace(DATA, phases=((1, 2), (3,), (), (1, 1, 2), (1, -2, 3), (5, 5, 6)))) == ["no sample has phases"]
    assert said(replace(DATA, phases=((1, 2, 3), *((),) * 5))) == []
    assert said(replace(DATA, kind=())) == []  # groups stand in
    assert len(said(replace(DATA, kind=(), group=()))) == 1


def fit(data: object) -> object:
    return SVR.fit(data, None, seeds=[0], device="cpu")[0]  # pyright: ignore[reportArgumentType]


def test_truth_that_cannot_be_learned_from_names_the_sample() -> None:
    data = synthetic(SVR.needs, 6, seed=0, prefix="s")
    with pytest.raises(AnnotationError, match="the score is nan, not a finite number") as error:
        fit(replace(data, score=np.where(np.arange(6) == 3, np.nan, data.score)))
    assert error.value.sample == "s-003"
    with pytest.raises(AnnotationError, match="not 0 or 1"):
        fit(replace(data, target_kind="binary"))
    with pytest.raises(UnmetNeeds, match="no sample to train on"):
        fit(data.take([]))


def test_features_that_are_not_finite_name_the_sample_and_the_stream() -> None:
    data = synthetic(SVR.needs, 6, seed=0, prefix="s")
    stream = data.streams["stream0"]
    values = stream.values.copy()
    values[stream.offsets[4]] = np.inf
    with pytest.raises(StoreError) as error:
        fit(replace(data, streams={"stream0": Ragged(values, stream.offsets)}))
    assert (error.value.sample, error.value.field) == ("s-004", "stream0")


def test_other_features_than_those_of_the_fit_are_named() -> None:
    data = synthetic(SVR.needs, 6, seed=0, prefix="s")
    fitted = fit(data)
    stream = data.streams["stream0"]
    with pytest.raises(UnmetNeeds, match=r"svr was fitted on 'stream0' \[12\]; the data has 'i3d' \[12\]"):
        fitted.predict(replace(data, streams={"i3d": stream}))  # pyright: ignore[reportAttributeAccessIssue]
    half = Ragged(stream.values[:, :6], stream.offsets)
    with pytest.raises(UnmetNeeds, match=r"svr was fitted on 'stream0' \[12\]; here it is 'stream0' \[6\]"):
        fitted.predict(replace(data, streams={"stream0": half}))  # pyright: ignore[reportAttributeAccessIssue]
    empty = with_lengths(data, [2, 2, 0, 2, 2, 2])
    with pytest.raises(UnmetNeeds, match="1 of 6 samples: s-002"):
        fitted.predict(empty)  # pyright: ignore[reportAttributeAccessIssue]
