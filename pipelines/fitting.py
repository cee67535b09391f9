"""One head on one fold: from cached features to run folders."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import heads as heads_room
from ..catalog.base import PAPER
from ..catalog.phases import transitions_of
from ..catalog.protocols import holdout, label_subset
from ..heads.base import FeatureSet, Fitted, Judgement
from ..heads.folds import inner_folds
from ..leaderboard.labels import label_columns, label_metrics
from ..leaderboard.metrics import metrics
from ..leaderboard.runs import Prediction, read_run, write_run
from .feature_set import by_stream
from .folds import folds_of
from .jobs import Job
from .versions import versions


def fit_job(job: Job) -> list[dict[str, Any]]:
    """Fit the seeds of `job` that have no run yet, write their runs, and return one `fit --json` row per seed."""
    folders = {seed: job.runs / job.key(seed).folder for seed in job.seeds}
    missing = [seed for seed, folder in folders.items() if not (folder / "run.json").exists()]
    if missing:
        _fit_and_write(job, missing)
    return [run_row(read_run(folder).info, folder) for folder in folders.values()]


def _fit_and_write(job: Job, seeds: Sequence[int]) -> None:
    if job.labelled == 1:
        _fit_together(job, seeds, None)
        return
    for seed in seeds:  # each has labels of its own
        ids = labels_of_seed(job, seed)
        _fit_together(job.with_labels_of(ids), [seed], ids)


def _fit_together(job: Job, seeds: Sequence[int], labelled: Sequence[str] | None) -> None:
    """Fit `seeds` on the train samples, or on those of them whose labels are known, and write their runs."""
    whole, train, count, val, test = parts_of(job, labelled)
    history: list[Mapping[str, Any]] = []
    started = time.perf_counter()
    fitted = heads_room.fit_head(job.head, train, val, seeds=seeds, device=job.device, log=history.append)
    seconds = (time.perf_counter() - started) / len(seeds)
    # With `paper` nothing is held out: there are no intervals, and nobody waits for five more fits.
    held = None if job.protocol.name == PAPER else _held_out_judgements(job, fitted, whole, train, val, seeds)
    for k, (seed, one) in enumerate(zip(seeds, fitted, strict=True)):
        started = time.perf_counter()
        judged = one.predict(test)
        predict_ms = (time.perf_counter() - started) * 1000 / len(test)
        info = run_info(job, one)
        scores = metrics(test.score, judged.score, judged.spread, kind=job.target.kind, range_=job.r_l2_range)
        info["metrics"] = {**scores, **label_metrics(labels_of(test, judged))}
        held_out = 0 if val is None or val is test else len(val)
        info["samples"] = {"train": count, "unlabelled": len(train) - count, "val": held_out, "test": len(test)}
        info |= {"fit_seconds": seconds, "predict_ms": predict_ms}
        rows = [row for row in history if row.get("seed", seed) == seed]
        parts = [prediction("test", test, judged)]
        if held is not None:
            part, data, judgements = held
            parts.append(prediction(part, data, judgements[k]))
        write_run(job.runs, job.key(seed), info, parts, rows, partial(_save, one, labelled))


class Parts(NamedTuple):
    """Of a fold. `whole`: the train samples whose labels may be used; `train`: what is fitted on, first `labelled` of
    these and then samples without labels; `val` chooses the epoch."""

    whole: FeatureSet
    train: FeatureSet
    labelled: int
    val: FeatureSet | None
    test: FeatureSet


def labels_of_seed(job: Job, seed: int) -> tuple[str, ...]:
    """The train samples whose labels a seed draws."""
    return label_subset(job.present(job.fold.train), job.labelled, seed=seed)


def parts_of(job: Job, labelled: Sequence[str] | None) -> Parts:
    """`labelled`: the train samples whose labels may be used, None: all."""
    test = job.subset(job.fold.test)
    whole = job.subset(job.fold.train if labelled is None else labelled)
    train, val = whole, test if job.selects_on_test else None
    if val is None and job.head.needs.validates and job.held_out > 0:
        fit_ids, val_ids = holdout(train.ids, train.subject, job.held_out)
        rows = {i: k for k, i in enumerate(train.ids)}
        if val_ids:
            train, val = train.take([rows[i] for i in fit_ids]), train.take([rows[i] for i in val_ids])
    count = len(train)
    if job.head.needs.unlabelled:
        known = set(whole.ids)
        others = [*(i for i in job.fold.train if i not in known), *job.unjudged]
        train = job.subset([*train.ids, *others]) if others else train
        train = train.without_labels(np.arange(len(train)) >= count)
    return Parts(whole, train, count, val, test)


def _save(one: Fitted, labelled: Sequence[str] | None, folder: Path) -> None:
    one.save(folder)
    save_labelled(labelled, folder)


def save_labelled(labelled: Sequence[str] | None, folder: Path) -> None:
    """The ids whose labels a head and its held-out part had, where that was not all of train."""
    if labelled is not None:
        (folder / "labelled.txt").write_text("".join(f"{i}\n" for i in labelled), encoding="utf-8")


def _held_out_judgements(
    job: Job,
    fitted: Sequence[Fitted],
    whole: FeatureSet,
    train: FeatureSet,
    val: FeatureSet | None,
    seeds: Sequence[int],
) -> tuple[str, FeatureSet, list[Judgement]] | None:
    """Judgements of samples that were not fitted on, for intervals: ("val" or "oof", the samples, one per seed).

    `whole`: the labelled train samples; `train`: what was fitted on, which without a `val` begins with all of them.
    """
    if val is not None:
        return "val", val, [one.predict(val) for one in fitted]
    folds = inner_folds(whole)
    if len(np.unique(folds)) < 2:
        return None
    folds = np.pad(folds, (0, len(train) - len(whole)), constant_values=-1)
    return "oof", whole, heads_room.out_of_fold(job.head, train, folds=folds, seeds=seeds, device=job.device)


def run_info(job: Job, one: Fitted) -> dict[str, Any]:
    """What `run.json` says of a job and of how it was fitted."""
    info = dict(one.info)
    return {
        "config": heads_room.config_of(job.head),
        "changed": heads_room.changed(job.head),
        "asked": heads_room.config_of(job.asked),
        "digest": job.digest,
        "fold_name": job.fold.name,
        "folds": len(folds_of(job.protocol, job.fold.group)),
        "groups": list(job.protocol.groups),
        "average": job.protocol.average,
        "pooled": job.protocol.pooled,
        "target_kind": job.target.kind,
        "times_difficulty": job.target.times_difficulty,
        "range": list(job.range),
        "range_source": job.range_source,
        "r_l2_range": list(job.r_l2_range),
        "floor": job.head.needs.floor,
        "seeded": job.head.needs.seeded or job.labelled < 1,
        "labelled": job.labelled,
        "flags": list(job.flags),
        "selected_on": info.pop("selected_on", "none"),
        "parameters": info.pop("parameters", None),
        "fitted": info,
        "streams": {
            name: {
                "fingerprint": store.fingerprint.to_json(),
                "weights_file": store.provenance.get("weights_file"),
                **_start(store.provenance.get("trained_on")),
            }
            for name, store in by_stream(job.stores).items()
        },
        "dataset_digest": job.dataset.digest(),
        "device": job.device,
        "versions": versions(),
    }


def _start(trained_on: Mapping[str, Any] | None) -> dict[str, str]:
    """The weights with which it all began, of a network that was fine-tuned, perhaps several times."""
    return {} if trained_on is None else {"start": [trained_on, *trained_on.get("earlier", ())][-1]["start"]}


def run_row(info: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What `--json` prints of a run."""
    names = ("run_id", "dataset", "protocol", "group", "target", "head")
    rest = ("seed", "fold", "metrics", "selected_on", "fit_seconds")
    return {
        **{name: info[name] for name in names},
        "features": "+".join(info["features"]),
        "config": info["changed"],
        **{name: info[name] for name in rest},
        "weights": info["fitted"].get("weights"),  # of a stack's parts
        "run": str(folder),
    }


def prediction(part: str, data: FeatureSet, judged: Judgement) -> Prediction:
    """The rows of one part in `predictions.csv`."""
    return Prediction(
        part,
        data.ids,
        data.score,
        judged.score,
        judged.spread,
        data.difficulty,
        data.group,
        data.subject,
        labels_of(data, judged),
    )


def labels_of(data: FeatureSet, judged: Judgement) -> dict[str, list[str]]:
    """Further columns: what was said and what is true, beside the score."""
    true = None if judged.phases is None else transitions_of(data.phases)
    known = data.attributes, data.caption
    return label_columns(judged.attributes, judged.captions, *known, judged.phases, true, judged.parts)
