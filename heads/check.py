"""`check_head`: does a head keep the contract? For our own heads and for anybody's, on small synthetic data."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog.phases import FRAMES
from ..errors import UnmetNeeds
from . import load_head, make_head
from .base import FeatureSet, Fitted, Head, Judgement, Ragged
from .check_data import lacking, stranger, synthetic, with_lengths, without_truth
from .config import config_of, parameters
from .needs import unmet

SEEDS = (0, 1)
QUICK = {
    "epochs": "3",
    "trees": "20",
    "rounds": "20",
    "hidden": "64",
    "frames": "8",
    "channels": "16",
    "gcn": "4",
    "narrow": "1",
    "members": "ridge+lightgbm",
    "caption_hidden": "32",
}  # of these what the head has as a parameter
PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".joblib"}
CLOSE = 1e-5  # of the range of scores: what float32 may differ by when a sample has other companions


def check_head(head: str | Head, *, data: FeatureSet | None = None) -> None:
    """Fit and use a head in every way that the pipelines do, and in the ways that go wrong.

    `head`: a registered name (its expensive parameters are made small) or a head with its parameters. `data`: samples
    to use where the synthetic ones do not fit (a head for one skeleton, or for streams of its own); the first two
    thirds become train, so give at least 24, in mixed order.

    Raises:
        AssertionError: the contract is broken; says how.
    """
    registered = isinstance(head, str)
    if isinstance(head, str):
        name, cls = head, type(make_head(head))
        head = make_head(name, {k: text for k, text in QUICK.items() if k in parameters(cls)})
        _must(head.name == name, head, f"it is registered as '{name}'")
    check_class(head)
    for kind in head.needs.targets if data is None else (data.target_kind,):
        if data is None:
            train = synthetic(head.needs, 24, seed=0, prefix="train", kind="binary" if kind == "binary" else "score")
            test = synthetic(head.needs, 8, seed=1, prefix="test", kind=train.target_kind)
        else:
            two_thirds = 2 * len(data) // 3
            train, test = data.take(np.arange(two_thirds)), data.take(np.arange(two_thirds, len(data)))
        fitted = check_fit(head, train, test)
        check_judgement(head, fitted[0], train, test)
        check_companions(head, fitted[0], test)
        check_lengths(head, fitted[0], test)
        check_strangers(head, fitted[0], test)
        check_saving(head, fitted, test, registered=registered)
        check_small_train(head, train, test)
        check_refusals(head, fitted[0], train, test)


def check_class(head: Head) -> None:
    """A frozen dataclass with a docstring, whose parameters have defaults and can be written as JSON."""
    cls: Any = type(head)
    _must(bool(cls.__doc__) and not cls.__doc__.startswith(f"{cls.__name__}("), head, "its class has no docstring")
    made_by = getattr(cls, "__dataclass_params__", None)
    _must(made_by is not None and made_by.frozen, head, "its class is no frozen dataclass")
    without = [name for name, (_, default) in parameters(cls).items() if default is dataclasses.MISSING]
    _must(not without, head, f"parameters without a default: {without}")
    _must(cls(**config_of(head)) == head, head, "it differs from the head made of its own parameters")
    json.dumps(config_of(head))


def check_fit(head: Head, train: FeatureSet, test: FeatureSet) -> list[Fitted]:
    """One fitted head per seed; the same bits for the same seed; other numbers for another seed where it matters."""
    lacks = unmet(head, train)
    _must(not lacks, head, f"it refuses data that has everything: {lacks}")
    fitted = _fit(head, train)
    _must(len(fitted) == len(SEEDS), head, f"{len(SEEDS)} seeds gave {len(fitted)} fitted heads")
    first, second = (one.predict(test) for one in fitted)
    again = [one.predict(test) for one in _fit(head, train)]
    _must(_same(first, again[0]) and _same(second, again[1]), head, "a seed fitted twice differs")
    _must(_same(first, fitted[0].predict(test)), head, "judging twice gives different scores")
    same = _same(first, second)
    _must(same != head.needs.seeded, head, f"needs.seeded is {head.needs.seeded}, and two seeds agree: {same}")
    # Not the phases: which of two frames is better is all or nothing.
    alone = head.fit(train, None, seeds=[SEEDS[1]], device="cpu")[0].predict(test).score
    same = _close(alone, second.score, train) or _alike_in_double(head, train, test)
    _must(same, head, "a seed gives other scores when other seeds are fitted beside it")
    validated = head.fit(train, test, seeds=[SEEDS[0]], device="cpu")[0]
    with_val = validated.predict(test)
    finite = bool(np.isfinite(with_val.score).all())
    _must(finite, head, "fitted with a validation set it gives scores that are not finite")
    used = validated.info.get("selected_on") == "val" or not _alike(with_val, first, train)
    _must(head.needs.validates or not used, head, "needs.validates is False, and it uses the validation set")
    return fitted


def check_judgement(head: Head, fitted: Fitted, train: FeatureSet, test: FeatureSet) -> None:
    """Shapes and types of all that a judgement holds; what `needs.gives` promises; exemplars out of train alone."""
    judged, count = fitted.predict(test), len(test)
    _check_scores(head, judged, test)
    gives = set(head.needs.gives)
    for name, has in (
        ("spread", judged.spread is not None),
        ("attributes", bool(judged.attributes)),
        ("captions", bool(judged.captions)),
        ("phases", judged.phases is not None),
        ("parts", bool(judged.parts)),
    ):
        _must(has == (name in gives), head, f"needs.gives and the judgement disagree about {name}")
    if judged.spread is not None:
        ok = judged.spread.shape == (count,) and bool((judged.spread >= 0).all() and np.isfinite(judged.spread).all())
        _must(ok, head, "its spread is not [N] finite numbers from 0 on")
    for name, table in judged.attributes.items():
        ok = table.ndim == 2 and len(table) == count and np.allclose(table.sum(axis=1), 1, atol=1e-4)
        _must(ok, head, f"the probabilities of {name} are not [N, classes] with sum 1")
    for name, part in judged.parts.items():
        ok = part.dtype == np.float64 and part.shape == (count,) and bool(np.isfinite(part).all())
        _must(ok, head, f"the points of {name} are not float64 [N], finite")
    _must(not judged.captions or len(judged.captions) == count, head, "it has not one caption per sample")
    if judged.phases is not None:
        phases = judged.phases
        ok = phases.shape == (count, 2) and phases.dtype == np.int64
        ok = ok and bool(((phases[:, 0] > 0) & (phases[:, 0] < phases[:, 1]) & (phases[:, 1] < FRAMES)).all())
        _must(ok, head, f"its phases are not int64 [N, 2] with 0 < st < ed < {FRAMES}")
    _must(bool(judged.exemplars) == head.needs.exemplars, head, "needs.exemplars and the judgement disagree")
    if head.needs.exemplars:
        for data in (test, train):
            for sample, names in zip(data.ids, fitted.predict(data).exemplars, strict=True):
                _must(bool(names) and set(names) <= set(train.ids), head, f"exemplars of {sample} outside train")
                _must(sample not in names, head, f"{sample} is compared with itself")


def check_companions(head: Head, fitted: Fitted, test: FeatureSet) -> None:
    """A sample's score depends on that sample alone: not on the order, nor on who is judged beside it."""
    whole = fitted.predict(test)
    order = np.random.default_rng(3).permutation(len(test))
    back = np.argsort(order)
    _must(_alike(_at(fitted.predict(test.take(order)), back), whole, test), head, "the order changes the scores")
    pair = fitted.predict(test.take([0, 1]))
    _must(_alike(pair, _at(whole, [0, 1]), test), head, "two samples judged apart from the rest get other scores")
    _must(_alike(_alone(fitted, test), whole, test), head, "a sample judged alone gets another score")


def check_lengths(head: Head, fitted: Fitted, test: FeatureSet) -> None:
    """The least number of clips and 300 clips, beside each other and apart: padding changes nothing."""
    if not head.needs.streams:
        return
    least = max(head.needs.clips, 1)
    mixed = with_lengths(test.take([0, 1, 2, 3]), [least, 300, least + 1, least])
    judged = fitted.predict(mixed)
    _check_scores(head, judged, mixed)
    _must(_alike(_alone(fitted, mixed), judged, test), head, "padding changes the scores")


def check_strangers(head: Head, fitted: Fitted, test: FeatureSet) -> None:
    """The truth is not looked at; unknown groups and kinds, and samples without metadata, are judged."""
    blind = fitted.predict(without_truth(test))
    _must(_same(blind, fitted.predict(test)), head, "it looks at the truth of what it judges")
    unseen = ("never seen before",) * len(test)
    elsewhere = replace(test, group=unseen, kind=unseen, event=unseen, subject=unseen)
    _check_scores(head, fitted.predict(elsewhere), test)
    bare = stranger(test, head.needs)
    try:
        judged = fitted.predict(bare)
    except UnmetNeeds as error:  # fitted on samples with a difficulty, a head may ask for it again, by name
        _must("difficulty" in str(error), head, f"it refuses samples without metadata: {error}")
        judged = fitted.predict(replace(bare, difficulty=test.difficulty))
    _check_scores(head, judged, bare)


def check_saving(head: Head, fitted: Sequence[Fitted], test: FeatureSet, *, registered: bool) -> None:
    """What is loaded judges with the same bits and knows the same; `head.json` names the head; no pickles."""
    for one in fitted:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            one.save(folder)
            files = sorted(path.name for path in folder.rglob("*"))
            plain = json.loads((folder / "head.json").read_text(encoding="utf-8"))
            _must(plain.get("head") == head.name, head, "head.json does not name the head")
            _must(not PICKLES & {Path(file).suffix for file in files}, head, f"it saves pickles: {files}")
            loaded = load_head(folder) if registered else head.load(folder, "cpu")
            same = _same(loaded.predict(test), one.predict(test))
            _must(same, head, "saved and loaded again it gives other scores")
            _must(dict(loaded.info) == json.loads(json.dumps(dict(one.info))), head, "its info is not what was saved")


def check_small_train(head: Head, train: FeatureSet, test: FeatureSet) -> None:
    """Four train samples, and scores that are all the same, still give a head."""
    few = _fit(head, train.take([0, 1, 2, 3]))[0].predict(test)
    _check_scores(head, few, test)
    value = 1.0 if train.target_kind == "binary" else float(train.score.mean())
    constant = replace(train, score=np.full(len(train), value))
    _check_scores(head, _fit(head, constant)[0].predict(test), test)


def check_refusals(head: Head, fitted: Fitted, train: FeatureSet, test: FeatureSet) -> None:
    """UnmetNeeds for data without what the head needs, and for other streams than it was fitted on, by name."""
    for what, data in lacking(train, head.needs):
        _must(bool(unmet(head, data)), head, f"`unmet` says nothing of: {what}")
        _refusal(head, f"fitting without what it needs ({what})", lambda data=data: _fit(head, data))
    for name, stream in test.streams.items() if head.needs.streams else ():
        others = {n: s for n, s in test.streams.items() if n != name}
        renamed = replace(test, streams={**others, "other": stream})
        wider = Ragged(np.concatenate([stream.values, stream.values], axis=-1), stream.offsets)
        for what, data in (("name", renamed), ("shape", replace(test, streams={**others, name: wider}))):
            said = _refusal(head, f"judging a stream of another {what}", lambda data=data: fitted.predict(data))
            _must(name in said, head, f"its refusal of a stream of another {what} does not name {name}: {said}")


def _fit(head: Head, train: FeatureSet) -> list[Fitted]:
    return head.fit(train, None, seeds=list(SEEDS), device="cpu")


def _alike_in_double(head: Head, train: FeatureSet, test: FeatureSet) -> bool:
    """Whether the last of `SEEDS` gives the same scores beside the others as alone, in double precision.

    Where a gradient is nothing but rounding (that of a bias before batch normalisation), Adam makes whole steps of it,
    and what was the last bit of single precision is seen after a few updates. In double precision it is not.
    """
    import torch

    from .torch_head import TorchHead
    from .training import fit

    if not isinstance(head, TorchHead):
        return False
    (*_, beside), (alone,) = (
        fit(head, train, seeds=seeds, dtype=torch.float64, together=len(seeds)) for seeds in (SEEDS, SEEDS[-1:])
    )
    return _close(beside.predict(test).score, alone.predict(test).score, train)


def _refusal(head: Head, what: str, call: Callable[[], object]) -> str:
    """What the UnmetNeeds says that `call` must raise."""
    try:
        call()
    except UnmetNeeds as error:
        return str(error)
    except Exception as error:
        raise AssertionError(f"{head.name}: {what} raises {error!r} instead of UnmetNeeds") from error
    raise AssertionError(f"{head.name}: {what} does not raise UnmetNeeds")


def _check_scores(head: Head, judged: Judgement, data: FeatureSet) -> None:
    score = judged.score
    ok = isinstance(score, np.ndarray) and score.dtype == np.float64 and score.shape == (len(data),)
    _must(ok, head, f"its scores are not float64 [{len(data)}]: {score!r:.80}")
    _must(bool(np.isfinite(score).all()), head, f"its scores are not finite: {score}")
    if data.target_kind == "binary":
        _must(bool(((score >= 0) & (score <= 1)).all()), head, f"its probabilities leave 0..1: {score}")


def _at(judged: Judgement, rows: np.ndarray | list[int]) -> Judgement:
    """Score and phases of some samples."""
    return Judgement(judged.score[rows], phases=None if judged.phases is None else judged.phases[rows])


def _alone(fitted: Fitted, data: FeatureSet) -> Judgement:
    """Score and phases of samples that are judged one by one."""
    parts = [fitted.predict(data.take([i])) for i in range(len(data))]
    phases = [part.phases for part in parts if part.phases is not None]
    return Judgement(np.concatenate([part.score for part in parts]), phases=np.concatenate(phases) if phases else None)


def _same(a: Judgement, b: Judgement) -> bool:
    """The same bits."""
    phases = a.phases is None or (b.phases is not None and np.array_equal(a.phases, b.phases))
    return phases and np.array_equal(a.score, b.score)


def _alike(a: Judgement, b: Judgement, data: FeatureSet) -> bool:
    """Close scores; phases a frame apart on average at most, since rounding may decide between two frames."""
    near = a.phases is None or b.phases is None or bool(np.abs(a.phases - b.phases).mean() <= 1)
    return near and _close(a.score, b.score, data)


def _close(a: np.ndarray, b: np.ndarray, data: FeatureSet) -> bool:
    return bool(np.allclose(a, b, rtol=0, atol=CLOSE * (data.range[1] - data.range[0])))


def _must(ok: bool, head: Head, otherwise: str) -> None:
    if not ok:
        raise AssertionError(f"{head.name}: {otherwise}")
