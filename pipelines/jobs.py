"""What `aqa fit` has to do: one job per head and fold, found and checked before any work starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .. import heads as heads_room
from ..catalog.base import PAPER, Dataset, Fold, Protocol, Range, Target
from ..catalog.phases import UNKNOWN, transitions
from ..catalog.protocols import label_count
from ..errors import MissingExtra, StoreError, UnknownName, UnmetNeeds, UsageError
from ..heads.base import FeatureSet, Head
from ..leaderboard.runs import RunKey
from .feature_set import by_stream, feature_set, read_streams, usable_ids
from .folds import chosen_folds, folds_in, folds_of, r_l2_range, refuse_seen, seen_by_stores
from .streams import FINE_TUNED

if TYPE_CHECKING:
    from ..cache.store import FeatureStore
    from .console import Console
    from .settings import Place


FEW = 5  # labels, of which a warning is given


@dataclass(frozen=True, kw_only=True)
class Job:
    """One head on one fold, for all seeds. All jobs share `data`, which holds every sample, also the `unjudged`."""

    head: Head
    asked: Head  # without what `--protocol paper` makes of it
    dataset: Dataset
    protocol: Protocol
    target: Target
    fold: Fold
    data: FeatureSet
    unjudged: tuple[str, ...]  # ids of samples with features that nobody scored, for heads that learn from those too
    range: Range
    range_source: str
    r_l2_range: Range
    stores: Sequence[FeatureStore]
    seeds: Sequence[int]
    held_out: float
    labelled: float  # share of the train samples whose labels may be used
    device: str
    runs: Path
    flags: tuple[str, ...]

    @property
    def label(self) -> str:
        """ "dae on diving, fold 2": what the user reads."""
        group = f" on {self.fold.group}" if self.fold.group else ""
        many = len(folds_of(self.protocol, self.fold.group)) > 1
        return f"{self.head.name}{group}" + (f", fold {self.fold.name}" if many else "")

    @property
    def index(self) -> int:
        """Of the fold, within its group."""
        return folds_of(self.protocol, self.fold.group).index(self.fold)

    @property
    def selects_on_test(self) -> bool:
        """Whether the head is to choose its epoch by the test part, as papers did."""
        return _selects_on_test(self.head)

    def present(self, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that have features."""
        return [i for i in ids if i in self._rows]

    def subset(self, ids: Sequence[str]) -> FeatureSet:
        """Those of `ids` that have features, in that order, with the fold's range and the streams the head takes."""
        part = self.data if self.head.needs.streams else replace(self.data, streams={})
        return replace(part.take([self._rows[i] for i in self.present(ids)]), range=self.range)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {i: k for k, i in enumerate(self.data.ids)}

    def with_labels_of(self, ids: Sequence[str]) -> Self:
        """The same where only the labels of `ids` are known: a range that is taken from train is taken from them."""
        if self.range_source != "train":
            return self
        range_, _ = self.dataset.score_range(self.target, self.protocol, self.fold.group, list(ids))
        return replace(self, range=range_, r_l2_range=self.r_l2_range)

    @cached_property
    def digest(self) -> str:
        """Of all that makes results of this group comparable: parameters, features, samples, truths."""
        return self.key(0).digest

    @cached_property
    def _samples_digest(self) -> str:
        """Changes with any sample, truth or difficulty of the group's folds: another test set is another run."""
        by_id, folds = self.dataset.by_id, folds_of(self.protocol, self.fold.group)
        ids = sorted({i for fold in folds for i in (*fold.train, *fold.test)} & set(self.data.ids))
        labels = [[i, by_id[i].targets[self.target.name], by_id[i].difficulty, list(by_id[i].judges)] for i in ids]
        parts = [[list(fold.train), list(fold.test)] for fold in folds]
        stated = None if self.range_source == "train" else self.range  # that of train differs from fold to fold
        return hashlib.sha256(json.dumps([parts, labels, stated]).encode()).hexdigest()[:16]

    @cached_property
    def _phases_digest(self) -> str:
        """Changes with the phases of any sample of the group's folds; "" where none are known."""
        ids = {i for fold in folds_of(self.protocol, self.fold.group) for i in (*fold.train, *fold.test)}
        found = ((i, transitions(labels)) for i, labels in zip(self.data.ids, self.data.phases, strict=True))
        known = sorted((i, pair) for i, pair in found if i in ids and pair != UNKNOWN)
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16] if known else ""

    def key(self, seed: int) -> RunKey:
        """The run of one seed."""
        identity = {
            "config": heads_room.config_of(self.head),
            "fingerprints": {name: store.fingerprint.digest for name, store in by_stream(self.stores).items()},
            "samples": self._samples_digest,
            "held_out": self.held_out if self.head.needs.validates else None,
        }
        if self.labelled < 1:
            identity["labelled"] = self.labelled
        if self.unjudged:
            identity["unjudged"] = list(self.unjudged)
        if "phases" in self.head.needs.gives and self._phases_digest:
            identity["phases"] = self._phases_digest
        names = tuple(by_stream(self.stores))
        where = (self.dataset.name, self.protocol.name, self.target.name, self.fold.group)
        return RunKey(*where, names, self.head.name, identity, self.index, seed)


def plan_jobs(
    where: Place,
    *,
    heads: Sequence[str],
    features: str | None,
    settings: Sequence[str],
    target: str | None,
    group: str | None,
    fold: str | None = None,
    seeds: Sequence[int],
    held_out: float,
    labelled: float = 1.0,
    allow_missing: bool,
    device: str,
    console: Console,
) -> list[Job]:
    """Every (fold, head) to be fitted, folds outermost.

    Raises UsageError and its kin for what is wrong with the command, StoreError for missing features.
    """
    check_share(labelled)
    asked = _settings_of(heads, settings, console)
    made = [heads_room.make_head(name, given) for name, given in asked.items()]
    stores, dataset = _find(where, features, made)
    protocol, chosen_target = dataset.protocol(where.protocol), dataset.target(target)
    folds = folds_in(dataset, protocol, group)
    ids = list(dict.fromkeys(i for fold in folds for i in (*fold.train, *fold.test)))
    usable = usable_ids(dataset, stores, ids, allow_missing)
    beyond = _unjudged(dataset, stores, chosen_target) if any(head.needs.unlabelled for head in made) else {}
    beyond = {group: beyond.get(group, []) for group in protocol.groups}
    every = [*usable, *chain.from_iterable(beyond.values())]
    data = feature_set(dataset, read_streams(stores, every), every, chosen_target, (0.0, 1.0))
    judged = data.take(range(len(usable))) if len(every) > len(usable) else data
    flags = set_flags(dataset, protocol)
    if len(usable) < len(ids):
        flags = (*flags, f"{len(ids) - len(usable)}-samples-missing")
    there = set(usable)
    few = max((label_count(len(there.intersection(fold.train)), labelled) for fold in folds), default=0)
    if labelled < 1 and few < FEW:
        console.warn(f"--labelled {labelled:g} leaves {few} of the train samples with a label")
    most = max((len(there.intersection(fold.train)) for fold in folds), default=0)
    fitting = [
        head
        for head in made
        if _fits(
            head,
            judged,
            most if head.needs.unlabelled else label_count(most, labelled),
            asked=head.name in heads,
            console=console,
        )
    ]
    jobs = []
    for one in chosen_folds(dataset, folds, fold):
        present = [i for i in one.train if i in there]
        if not present or not there.intersection(one.test):
            raise UsageError(f"fold {one.name} has no sample with features left", file=dataset.name)
        refuse_seen(dataset, one, seen_by_stores(stores))
        range_, source = dataset.score_range(chosen_target, protocol, one.group, present)
        for plain in fitting:
            head = head_on(plain, asked[plain.name], dataset, protocol, one, chosen_target)
            job = Job(
                head=head,
                asked=plain,
                dataset=dataset,
                protocol=protocol,
                target=chosen_target,
                fold=one,
                data=data,
                unjudged=tuple(beyond[one.group]) if head.needs.unlabelled else (),
                range=range_,
                range_source=source,
                r_l2_range=r_l2_range(dataset, protocol, one, chosen_target, range_),
                stores=stores if head.needs.streams else [],
                seeds=seeds if head.needs.seeded or labelled < 1 else seeds[:1],  # seeds draw the labels too
                held_out=0.0 if protocol.name == PAPER else held_out,
                labelled=labelled,
                device=device,
                runs=where.runs,
                flags=(*flags, *_head_flags(head, dataset, stores)),
            )
            jobs.append(job)
    for name in dict.fromkeys(job.head.name for job in jobs if "out-of-fold-untrusted" in job.flags):
        what = "these features were fine-tuned on the train scores, so heads judge samples well that they have not seen"
        hint = "; --set stack.weights=equal does without" if name == "stack" else ""
        console.warn(
            f"{name} learns from out-of-fold judgements inside train, which cannot be trusted here: {what}{hint}"
        )
    return jobs


def check_share(labelled: float) -> None:
    """Raises UsageError for what is no share of the labels."""
    if not 0 < labelled <= 1:
        raise UsageError(f"--labelled {labelled:g} is no share of the train samples", hint="above 0, at most 1")


def head_on(
    asked: Head, texts: Mapping[str, str], dataset: Dataset, protocol: Protocol, fold: Fold, target: Target
) -> Head:
    """`asked`, or with `--protocol paper` what its paper set on this group, under what the user set (`texts`).

    Raises UsageError where a head is to choose its epoch by the test part and no paper did.
    """
    if protocol.name == PAPER:
        published = heads_room.published(asked.name, dataset.name, fold.group, target.name)
        return heads_room.make_head(asked.name, texts, published)
    if _selects_on_test(asked):
        hint = "select=val, or --protocol paper, which marks its rows"
        raise UsageError(f"{asked.name} with select=test would choose its epoch by the test part", hint=hint)
    return asked


def _unjudged(dataset: Dataset, stores: Sequence[FeatureStore], target: Target) -> dict[str, list[str]]:
    """Group -> samples with features in every store that have no score, so that no protocol can use them."""
    there = set.intersection(*(set(store.ids()) for store in stores))
    found: dict[str, list[str]] = {}
    for sample in dataset.samples:
        if target.name not in sample.targets and sample.id in there:
            found.setdefault(sample.group, []).append(sample.id)
    return found


def _fits(head: Head, data: FeatureSet, samples: int, *, asked: bool, console: Console) -> bool:
    lacks = heads_room.unmet(head, data, samples=samples)
    if lacks and asked:
        hint = "choose another head or stream (--features)"
        raise UnmetNeeds(f"{head.name} cannot be fitted: {'; '.join(lacks)}", hint=hint)
    if lacks:
        console.say(f"{head.name} left out: {'; '.join(lacks)}")
    return not lacks


def _find(where: Place, features: str | None, heads: Sequence[Head]) -> tuple[list[FeatureStore], Dataset]:
    """The stores named by `features` (or the only one there), and the data set's table."""
    from ..cache.stores import find_stores, select_store
    from ..catalog import about, read

    about(where.dataset)  # raises UnknownName
    if features is not None:
        stores = [select_store(where.cache, where.dataset, name) for name in features.split("+")]
        return stores, stores[0].dataset
    found = find_stores(where.cache, where.dataset)
    if len(found) == 1:
        return found, found[0].dataset
    if all(head.needs.streams == 0 for head in heads):
        return [], found[0].dataset if found else read(where.dataset, where.root)
    if found:
        names = ", ".join(sorted({store.stream for store in found}))
        raise UsageError(f"{where.dataset} has several streams: {names}", hint="say which with --features")
    hint = f"`aqa extract {where.dataset} --backbone c3d` or `aqa cache import` makes them"
    raise StoreError(f"{where.dataset} has no cached features", file=where.cache, hint=hint)


def _settings_of(names: Sequence[str], settings: Sequence[str], console: Console) -> dict[str, dict[str, str]]:
    """head -> what is set for it. NAME=VALUE is for every head that has such a parameter, HEAD.NAME=VALUE for one,
    and wins."""
    known: dict[str, Mapping[str, Any]] = {}
    for name in heads_room.head_names() if "all" in names else dict.fromkeys(names):
        try:
            known[name] = heads_room.parameters(heads_room.head_class(name))
        except MissingExtra as error:
            if name in names:
                raise
            console.say(f"{name} left out: {error}")
    given: dict[str, dict[str, str]] = {name: {} for name in known}
    for full, value in sorted(heads_room.split_settings(settings).items(), key=lambda item: "." in item[0]):
        head, dot, parameter = full.rpartition(".")
        if dot and head not in known:
            raise UnknownName("head in --set", head, known)
        takers = [head] if dot else [name for name in known if parameter in known[name]]
        for name in takers or list(known)[:1]:  # one that does not have it refuses it and suggests the nearest
            given[name][parameter] = value
    return given


def set_flags(dataset: Dataset, protocol: Protocol) -> tuple[str, ...]:
    """What goes with every result on a set by a protocol."""
    flags = ["synthetic"] if dataset.synthetic else []
    flags += protocol.flags
    if dataset.shared_subjects(protocol):
        flags.append("shared-subjects")
    return tuple(flags)


def _selects_on_test(head: Head) -> bool:
    return getattr(head, "select", None) == "test"


def _head_flags(head: Head, dataset: Dataset, stores: Sequence[FeatureStore]) -> list[str]:
    """Of the streams that the head takes, and of what it learns by and chooses its epoch by."""
    flags = list(store_flags(dataset, stores)) if head.needs.streams else []
    if head.needs.out_of_fold and FINE_TUNED in flags:
        flags.append("out-of-fold-untrusted")
    return [*flags, "selected-on-test"] if _selects_on_test(head) else flags


def store_flags(dataset: Dataset, stores: Sequence[FeatureStore]) -> tuple[str, ...]:
    """What goes with every result on these features."""
    flags = [flag for store in stores for flag in (*dataset.stream_flags.get(store.stream, ()), *store.flags)]
    return tuple(dict.fromkeys(flags))
