"""`check_head` passes a head that keeps the contract and catches those that break it, one way each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from aqa.catalog.phases import transitions_of
from aqa.errors import UnknownName
from aqa.heads import FeatureSet, Judgement, Needs, make_head
from aqa.heads.check import check_head
from aqa.heads.check_data import lacking, stranger, synthetic
from aqa.heads.linear import Ridge
from aqa.heads.needs import FittedOn
from aqa.heads.neighbours import Knn

CLOCK = count()


@dataclass(frozen=True)
class Good(Ridge):
    """A ridge under another class."""


@dataclass(frozen=True)
class Peeks(Ridge):
    """Looks at the truth."""

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:
        return Judgement(super().judge(model, x, data).score + np.nan_to_num(data.score) / 100)


@dataclass(frozen=True)
class Crowd(Ridge):
    """Judges relative to the companions."""

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:
        score = super().judge(model, x, data).score
        return Judgement(score - score.mean())


@dataclass(frozen=True)
class Row(Ridge):
    """Judges by the place in the queue."""

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:
        return Judgement(super().judge(model, x, data).score + np.arange(len(x)))


@dataclass(frozen=True)
class Padded(Ridge):
    """Counts the longest sample of the batch into every score."""

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:
        longest = data.streams["stream0"].lengths.max()
        return Judgement(super().judge(model, x, data).score + (longest > 20))


@dataclass(frozen=True)
class Noisy(Ridge):
    """Never says the same twice."""

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:
        return Judgement(super().judge(model, x, data).score + next(CLOCK))


@dataclass(frozen=True)
class Single(Ridge):
    """Scores in float32."""

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:
        return Judgement(super().judge(model, x, data).score.astype(np.float32))


@dataclass(frozen=True)
class Unseen(Ridge):
    """No score for kinds that it does not know."""

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:
        known = np.array([kind[:1] in "124" for kind in data.kind])
        return Judgement(np.where(known, super().judge(model, x, data).score, np.nan))


@dataclass(frozen=True)
class Secret(Ridge):
    """Gives a spread and does not say so."""

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:
        return replace(super().judge(model, x, data), spread=np.ones(len(x)))


@dataclass(frozen=True)
class Promises(Ridge):
    """Says that it gives captions and gives none."""

    needs: ClassVar[Needs] = replace(Ridge.needs, gives=("captions",))


@dataclass(frozen=True)
class Seeded(Ridge):
    """Says that its seed matters."""

    needs: ClassVar[Needs] = replace(Ridge.needs, seeded=True)


@dataclass(frozen=True)
class Forgets(Ridge):
    """Comes back from disk with another opinion."""

    def read(self, folder: Path) -> Any:
        model = super().read(folder)
        model[-1].intercept_ += 1.0
        return model


@dataclass(frozen=True)
class Pickles(Ridge):
    """Leaves a pickle."""

    def write(self, model: Any, folder: Path) -> None:
        super().write(model, folder)
        (folder / "extra.pkl").write_bytes(b"")


@dataclass(frozen=True)
class Greedy(Ridge):
    """Needs difficulty and is fitted without."""

    needs: ClassVar[Needs] = replace(Ridge.needs, difficulty=True)

    def fit(self, train: FeatureSet, val: Any = None, **more: Any) -> Any:
        return Ridge().fit(train, val, **more)


class Anything(FittedOn):
    """Refuses nothing."""

    def check(self, head: Any, data: FeatureSet) -> None:
        pass


@dataclass(frozen=True)
class Careless(Ridge):
    """Judges whatever it is given."""

    def fit(self, train: FeatureSet, val: Any = None, **more: Any) -> Any:
        fitted: Any = super().fit(train, val, **more)
        for one in fitted:
            one.fitted_on = Anything(one.fitted_on.streams, one.fitted_on.target_kind, one.fitted_on.range)
        return fitted


@dataclass(frozen=True)
class Mirror(Knn):
    """Compares a train sample with itself."""

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:
        return super().judge(model, x, replace(data, ids=("?",) * len(data)))


@dataclass(frozen=True)
class Segments(Ridge):
    """Gives phases, which begin at the same frames for all."""

    needs: ClassVar[Needs] = replace(Ridge.needs, gives=("phases",))

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:
        return replace(super().judge(model, x, data), phases=self.phases(data))

    def phases(self, data: FeatureSet) -> np.ndarray:
        return np.tile([28, 62], (len(data), 1))


@dataclass(frozen=True)
class Told(Segments):
    """Takes the phases from the truth, where there is one."""

    def phases(self, data: FeatureSet) -> np.ndarray:
        return np.array([[20 + (len(labels) > 0), 62] for labels in data.phases])


@dataclass(frozen=True)
class InTurn(Segments):
    """Phases by the place in the queue."""

    def phases(self, data: FeatureSet) -> np.ndarray:
        return np.stack([1 + 4 * np.arange(len(data)), np.full(len(data), 62)], axis=1)


@dataclass(frozen=True)
class Crossed(Segments):
    """Ends before it begins."""

    def phases(self, data: FeatureSet) -> np.ndarray:
        return super().phases(data)[:, ::-1]


class Bare(Ridge):
    pass


def test_a_head_that_keeps_the_contract_passes() -> None:
    check_head(Good())
    check_head("ridge")
    check_head(Segments())


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (Peeks(), "looks at the truth"),
        (Crowd(), "apart from the rest|judged alone"),
        (Row(), "the order changes"),
        (Padded(), "padding changes"),
        (Noisy(), "fitted twice differs|judging twice"),
        (Single(), "not float64"),
        (Unseen(), "not finite"),
        (Secret(), "disagree about spread"),
        (Promises(), "disagree about captions"),
        (Seeded(), "needs.seeded is True"),
        (Forgets(), "loaded again it gives other scores"),
        (Pickles(), "saves pickles"),
        (Greedy(), "difficulty for one sample.* does not raise UnmetNeeds"),
        (Careless(), "stream of another name raises KeyError"),
        (Mirror(), "compared with itself"),
        (Told(), "looks at the truth"),
        (InTurn(), "the order changes"),
        (Crossed(), "0 < st < ed < 96"),
        (Bare(), "no docstring"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_head_that_breaks_it_is_caught(head: Any, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_head(head)


def test_own_data_may_be_given() -> None:
    head = make_head("ridge")
    data = synthetic(head.needs, 30, seed=4, prefix="mine", kind="binary")
    check_head(head, data=data)
    with pytest.raises(AssertionError, match="looks at the truth"):
        check_head(Peeks(), data=synthetic(head.needs, 30, seed=4, prefix="mine"))


def test_an_unknown_name_is_said() -> None:
    with pytest.raises(UnknownName):
        check_head("rigde")


def test_synthetic_data_has_what_the_needs_ask_for() -> None:
    needs = Needs(2, 3, 6, difficulty=True, judges=True, kind=True, targets=("score",))
    data = synthetic(needs, 10, seed=0, prefix="s")
    assert [len(stream.shape) for stream in data.streams.values()] == [3, 3]
    assert min(int(stream.lengths.min()) for stream in data.streams.values()) >= 6
    assert data.judges.shape == (10, 7)
    names = [name for name, _ in lacking(data, needs)]
    assert len(names) == 8
    assert "phases" in [name for name, _ in lacking(data, replace(needs, phases=True))]
    found = transitions_of(data.phases)
    assert (found[:, 0] > 0).all()
    assert len(set(map(tuple, found.tolist()))) > 2
    bare = stranger(data, needs)
    assert np.isnan(bare.score).all()
    assert np.isfinite(bare.difficulty).all()
    assert set(bare.kind) == {""}
    assert not bare.attributes
