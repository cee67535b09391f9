"""What a data set is: samples, targets, and the protocols by which the field scores it.

Nothing here reads a file. A reader (one module a data set) makes a `Dataset`; everything after it, features, runs and
tables, speaks of samples by their `id` alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..errors import AnnotationError, SplitError, UnknownName

Range = tuple[float, float]
PAPER = "paper"  # the protocol that does as the papers did


@dataclass(frozen=True, slots=True)
class Media:
    """Frames ``start <= i < stop`` of a video or of a folder of images.

    Frames count from 0: in a video in the order in which a player shows them, in a folder in the order of the sorted
    names. `stop` None means up to the end.
    """

    path: Path
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One performance. Fields that a data set does not have stay empty."""

    id: str
    targets: Mapping[str, float]
    media: Media | None = None
    group: str = ""  # sport, apparatus, task: what is modelled apart; "" where the set is one
    difficulty: float | None = None
    judges: tuple[float, ...] = ()
    kind: str | None = None  # dive number, action type
    event: str | None = None  # competition or source video
    subject: str | None = None
    attributes: Mapping[str, int | float | str] = field(default_factory=dict)
    caption: str | None = None
    phases: tuple[int, ...] = ()  # one phase label per frame of `media`
    frames: int | None = None  # how many there are, where it is said of a sample without media


@dataclass(frozen=True, slots=True)
class Target:
    """One quantity to predict. `ranges`: group -> (lowest, highest) by the sport's rules ("" for every group).

    `times_difficulty`: the score is an execution mark times the difficulty, so a head may model the mark.
    """

    name: str
    kind: Literal["score", "binary"] = "score"
    unit: str = "points"
    times_difficulty: bool = False
    ranges: Mapping[str, Range] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fold:
    """Ids to train and to test on. `group` names the group that the fold is about, "" where the set is one."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the field scores a data set.

    A model is trained per fold, so per group where the folds have groups. `average` says how correlations are averaged
    over folds, then over groups ("fisher": tanh of the mean atanh). `pooled`: the test predictions of a group's folds
    are put together before a metric is taken (leave-one-out protocols, whose folds are too small for a correlation).
    `ranges`: group -> range that replaces the target's, for R-l2 and scaling. `r_l2` test: R-l2 divides by the range of
    a group's test scores instead, as released codes do. `flags` are printed beside every result.
    """

    name: str
    folds: tuple[Fold, ...]
    average: Literal["fisher", "arithmetic"] = "fisher"
    pooled: bool = False
    ranges: Mapping[str, Range] = field(default_factory=dict)
    r_l2: Literal["range", "test"] = "range"
    flags: tuple[str, ...] = ()
    note: str = ""

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(fold.group for fold in self.folds))


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in the data that the reader met and lived with (a judge of 45.0): said, never hidden."""

    sample: str
    field: str
    message: str


@dataclass(frozen=True)
class Dataset:
    """Samples in the order of the set, their targets (the first is the default) and protocols (likewise).

    `plans`: backbone architecture -> name of the clip plan that the field uses for it; "*" for all others.
    `stream_flags`: stream name -> flags that go with every result on it ("fine-tuned-on-train").

    A sample may lack a target (a video that nobody judged) as long as no protocol uses it.

    Raises:
        AnnotationError: two samples with one id, a target that is not finite, a sample of a fold without a target.
        SplitError: a fold whose test ids occur in its train part, or that names unknown ids. An empty part is refused
            by `protocol`: features can be taken of such a set.
    """

    name: str
    samples: tuple[Sample, ...]
    targets: tuple[Target, ...]
    protocols: tuple[Protocol, ...]
    plans: Mapping[str, str] = field(default_factory=lambda: {"*": "dense:16:16"})
    synthetic: bool = False
    problems: tuple[Problem, ...] = ()
    stream_flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_samples(self.samples)
        for protocol in self.protocols:
            check_folds(self.name, protocol, self.by_id, self.targets)

    @cached_property
    def by_id(self) -> dict[str, Sample]:
        return {sample.id: sample for sample in self.samples}

    def target(self, name: str | None = None) -> Target:
        """The target called `name`, by default the first. Raises UnknownName."""
        return self.targets[0] if name is None else _named(f"target of {self.name}", name, self.targets)

    def protocol(self, name: str | None = None) -> Protocol:
        """The protocol called `name`, by default the first. Raises UnknownName, and SplitError where nothing can be
        trained or tested on.

        `paper`, where the set has none of its own, is the first: what it means to heads is all that it changes.
        """
        if not self.protocols:
            raise SplitError("no sample has a score, so there is nothing to train or test on", file=self.name)
        found = self.protocols[0]
        if name == PAPER and all(protocol.name != PAPER for protocol in self.protocols):
            found = replace(found, name=PAPER)
        elif name is not None:
            found = _named(f"protocol of {self.name}", name, self.protocols)
        for fold in found.folds:
            if not fold.train or not fold.test:
                lacks = "train" if not fold.train else "test"
                hint = f"a model is trained on one part and judged on the other: put samples with a score into {lacks}"
                raise SplitError(f"the {lacks} part is empty", file=_fold_name(self.name, found, fold), hint=hint)
        return found

    def score_range(self, target: Target, protocol: Protocol, group: str, train: Sequence[str]) -> tuple[Range, str]:
        """The range for R-l2 and scaling, and its source: "protocol", "rules" or "train" (widened by 10%)."""
        for ranges, source in ((protocol.ranges, "protocol"), (target.ranges, "rules")):
            found = ranges.get(group, ranges.get(""))
            if found is not None:
                return found, source
        by_id = self.by_id
        scores = [by_id[i].targets[target.name] for i in train]
        low, high = min(scores), max(scores)
        margin = 0.1 * (high - low)
        return (low - margin, high + margin), "train"

    def shared_subjects(self, protocol: Protocol) -> tuple[str, ...]:
        """Subjects who are in train and in test of one fold, sorted."""
        by_id = self.by_id
        shared: set[str] = set()
        for fold in protocol.folds:
            train = {by_id[i].subject for i in fold.train} - {None}
            shared |= {str(by_id[i].subject) for i in fold.test if by_id[i].subject in train}
        return tuple(sorted(shared))

    def digest(self) -> str:
        """16 hex digits that change with any label, frame range or split, and not with where the files lie."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        text = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values: the set without the paths of its media (start and stop are kept)."""
        plain = {
            "name": self.name,
            "samples": [_plain_sample(sample) for sample in self.samples],
            "targets": [asdict(target) for target in self.targets],
            "protocols": [_plain_protocol(protocol) for protocol in self.protocols],
            "plans": dict(self.plans),
            "synthetic": self.synthetic,
            "problems": [asdict(problem) for problem in self.problems],
            "stream_flags": {name: list(flags) for name, flags in self.stream_flags.items()},
        }
        return json.loads(json.dumps(plain))

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Dataset:
        """The inverse of `to_json`; media come back with an empty path."""
        return cls(
            name=plain["name"],
            samples=tuple(_sample_from_plain(row) for row in plain["samples"]),
            targets=tuple(Target(**{**row, "ranges": _ranges(row["ranges"])}) for row in plain["targets"]),
            protocols=tuple(_protocol_from_plain(row) for row in plain["protocols"]),
            plans=plain["plans"],
            synthetic=plain["synthetic"],
            problems=tuple(Problem(**row) for row in plain["problems"]),
            stream_flags={name: tuple(flags) for name, flags in plain["stream_flags"].items()},
        )


def check_samples(samples: Sequence[Sample]) -> None:
    """Raises AnnotationError for an id that occurs twice or is unusable, and for targets that are not finite."""
    seen: set[str] = set()
    for sample in samples:
        if not sample.id or sample.id != sample.id.strip() or "\x00" in sample.id:
            raise AnnotationError("a sample has an empty or blank-padded id", sample=repr(sample.id), field="id")
        if sample.id in seen:
            raise AnnotationError("two samples have the same id", sample=sample.id, field="id")
        seen.add(sample.id)
        for name, value in sample.targets.items():
            if not math.isfinite(value):
                hint = "give the sample a finite score, or leave the score out"
                raise AnnotationError(f"the target is {value}", sample=sample.id, field=name, hint=hint)


def check_folds(name: str, protocol: Protocol, by_id: Mapping[str, Sample], targets: Sequence[Target]) -> None:
    """Raises SplitError for a fold whose parts share ids or name ids that the set does not have, AnnotationError for a
    sample of a fold that lacks a target."""
    for fold in protocol.folds:
        where = _fold_name(name, protocol, fold)
        shared = sorted(set(fold.train) & set(fold.test))
        if shared:
            raise SplitError(
                f"{len(shared)} test samples are in train: {', '.join(shared[:5])}{'...' if len(shared) > 5 else ''}",
                file=where,
                hint="remove them from the train list: a test sample that was trained on measures nothing",
            )
        unknown = sorted((set(fold.train) | set(fold.test)) - by_id.keys())
        if unknown:
            raise SplitError(f"{len(unknown)} ids are not in the set: {', '.join(unknown[:5])}", file=where)
        for i in (*fold.train, *fold.test):
            for target in targets:
                if target.name not in by_id[i].targets:
                    raise AnnotationError(f"no score, and {where} uses it", sample=i, field=target.name)


def _fold_name(dataset: str, protocol: Protocol, fold: Fold) -> str:
    """As messages call it."""
    group = f", group {fold.group}" if fold.group else ""
    return f"{dataset}, protocol {protocol.name}{group}, fold {fold.name}"


def _named(kind: str, name: str, items: Sequence[Any]) -> Any:
    for item in items:
        if item.name == name:
            return item
    raise UnknownName(kind, name, [item.name for item in items])


def _plain_sample(sample: Sample) -> dict[str, Any]:
    media = None if sample.media is None else {"start": sample.media.start, "stop": sample.media.stop}
    row = {name: getattr(sample, name) for name in Sample.__dataclass_fields__}
    row["media"] = media
    return {k: v for k, v in row.items() if k == "targets" or v not in (None, (), {}, "")}


def _plain_protocol(protocol: Protocol) -> dict[str, Any]:
    row = asdict(protocol)
    return {k: v for k, v in row.items() if (k, v) != ("r_l2", "range")}  # as digests of earlier versions have it


def _sample_from_plain(row: Mapping[str, Any]) -> Sample:
    media = Media(Path(), **row["media"]) if "media" in row else None
    tuples = {name: tuple(row.get(name, ())) for name in ("judges", "phases")}
    return Sample(**{**row, **tuples, "media": media})


def _protocol_from_plain(row: Mapping[str, Any]) -> Protocol:
    folds = tuple(Fold(f["name"], tuple(f["train"]), tuple(f["test"]), f["group"]) for f in row["folds"])
    return Protocol(**{**row, "folds": folds, "ranges": _ranges(row["ranges"]), "flags": tuple(row["flags"])})


def _ranges(plain: Mapping[str, Sequence[float]]) -> dict[str, Range]:
    return {group: (low, high) for group, (low, high) in plain.items()}
