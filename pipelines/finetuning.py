"""One fine-tuning on one fold: from videos to a run folder that the cached world can use."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ..catalog.base import Media
from ..errors import DataError, MissingExtra, UsageError
from ..extract.backbones.tuned import TAG, TrainedOn, write_tuned
from ..finetune.live import Live
from ..finetune.loop import Training
from ..finetune.network import Precision
from ..finetune.recipe import Recipe
from ..finetune.tuning import Machine, prepare
from ..heads.base import FeatureSet
from ..heads.fitted_torch import FittedTorch
from ..heads.nearness import Nearness
from ..heads.saving import whole_file
from ..heads.torch_head import Calibrated, TorchHead
from ..leaderboard.labels import label_metrics
from ..leaderboard.metrics import metrics
from ..leaderboard.runs import Run, RunKey, read_run, write_history, write_run
from .console import Console
from .fitting import labels_of, labels_of_seed, parts_of, prediction, run_info, save_labelled
from .jobs import Job
from .streams import RANDOM_FLAG
from .streams import prepare as extraction

Stopping = Callable[[], bool]


@dataclass(frozen=True)
class Began:
    """What a run was asked for that is not in its recipe: `weights` of each backbone (a file, "torchvision", or None:
    random ones of `start_seed`), and how the data set was read."""

    weights: tuple[str | None, ...]
    start_seed: int
    released_frames: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class TunedJob(Job):
    """A job whose live streams are made while training. `stores` has those that are cached."""

    head: TorchHead
    recipe: Recipe
    streams: tuple[Live, ...]
    began: Began
    precision: Precision

    @cached_property
    def media(self) -> dict[str, Media]:
        """Sample -> media, of all samples of the fold."""
        found = {}
        for i in (*self.fold.train, *self.fold.test):
            media = self.dataset.by_id[i].media
            if media is not None:
                found[i] = media
        if not found:
            hint = f"`aqa catalog show {self.dataset.name}` lists the layouts of its folder"
            raise DataError(f"{self.dataset.name}: no videos or frame folders were found beside the labels", hint=hint)
        return found

    def present(self, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that have media."""
        return [i for i in super().present(ids) if i in self.media]

    def key(self, seed: int) -> RunKey:
        """The run of one seed: what it was asked for and what it began with make its name."""
        plain = super().key(seed)
        began = [
            [s.name, s.resolved.name, s.resolved.sha256, asdict(s.resolved.pixels), s.plan.name, s.plan.short]
            for s in self.streams
        ]
        identity = {**plain.identity, "finetune": self.recipe.to_json(), "streams": json.loads(json.dumps(began))}
        identity["precision"] = self.precision
        if self.began.released_frames or self.began.options:  # other frames of the same samples
            identity["read"] = [self.began.released_frames, list(self.began.options)]
        return replace(plain, features=(*(s.name for s in self.streams), *plain.features), identity=identity)


def tune_job(
    job: TunedJob,
    machine: Machine,
    seed: int,
    console: Console,
    *,
    keep: int = 0,
    tensorboard: bool = False,
    stopping: Stopping = lambda: False,
) -> tuple[Run, dict[str, str]]:
    """Train, judge, and write the run of one seed, unless it is there; with what could not be read: sample -> why."""
    folder = job.runs / job.key(seed).folder
    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists() or not (folder / "run.json").exists():
        machine.among.wait()
        with _alone(partial, folder) if machine.among.first else nullcontext():
            machine.among.wait()
            if not (folder / "run.json").exists():
                _tune(job, machine, seed, console, partial, keep, tensorboard, stopping)
            machine.among.wait()
            if machine.among.first:
                shutil.rmtree(partial, ignore_errors=True)
        machine.among.wait()
    run = read_run(folder)
    return run, dict(run.info["fitted"].get("failed", {}))


@contextmanager
def _alone(partial: Path, folder: Path) -> Iterator[None]:
    """Nobody else trains in `partial` meanwhile. Raises UsageError where somebody does."""
    partial.mkdir(parents=True, exist_ok=True)
    lock = FileLock(partial / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError("another process trains this run", file=folder, hint="wait for it, or stop it") from error
    try:
        yield
    finally:
        lock.release()


def _tune(
    job: TunedJob,
    machine: Machine,
    seed: int,
    console: Console,
    partial: Path,
    keep: int,
    tensorboard: bool,
    stopping: Stopping,
) -> None:
    labelled = None if job.labelled == 1 else labels_of_seed(job, seed)
    if labelled is not None:
        job = job.with_labels_of(labelled)
    whole, train, _, val, test = parts_of(job, labelled)
    for name, part in (("train", train), ("test", test)):
        if not len(part):
            raise DataError(f"no sample of the {name} part of fold {job.fold.name} has a video", file=job.dataset.name)
    digest = job.key(seed).run_id
    note = events(partial) if tensorboard and machine.among.first else None
    updates = len(train) * job.head.epochs // max(1, job.head.batch)
    with console.progress(f"finetune seed {seed}", updates) as step:
        training, fitted_on = prepare(
            job.head,
            job.recipe,
            job.streams,
            train,
            val,
            job.media,
            machine,
            seed=seed,
            folder=partial,
            digest=digest,
            keep=keep,
            step=step,
            stopping=stopping,
            log=lambda row: _tell(row, training, console, note),
        )
        if machine.automatic:
            console.say(
                f"{training.micro} of {job.head.batch} samples of an update are computed at once (--batch auto)"
            )
        training.run()
    epoch, chosen = training.load_kept()
    info = _fit_info(training, epoch, chosen, seed)
    judge = replace(training.judge, how=replace(machine.how, precision="fp32"))  # as `aqa extract` and `predict` will
    found, _ = judge.features(training.net, judge.train)
    fitted = judge.fitted(training.net, found, fitted_on, info)
    judged = {
        name: judge.features(training.net, part) for name, part in (("val", val), ("test", test)) if part is not None
    }
    for name, (data, bad) in judged.items():
        if not len(data):
            hint = next((str(error) for error in bad.values()), None)
            raise DataError(f"not one video of the {name} part can be read", file=job.dataset.name, hint=hint)
    if isinstance(fitted.head, Calibrated) and fitted.head.calibrate and "val" in judged and job.head.select != "test":
        fitted = fitted.calibrated(judged["val"][0])
    failed = {**training.progress.failed, **{i: str(e) for _, bad in judged.values() for i, e in bad.items()}}
    if training.among.first:
        parts = {name: data for name, (data, _) in judged.items()}
        _write(job, training, fitted, found, parts, failed, partial, whole.ids)


def _fit_info(training: Training, epoch: int, chosen: str, seed: int) -> dict[str, Any]:
    progress, head = training.progress, training.judge.head
    last = progress.history[-1] if progress.history else {}
    backbones = sum(p.numel() for p in training.net.backbones.parameters())
    heads = sum(p.numel() for p in training.net.head.parameters())
    return {
        "seed": seed,
        "epoch": epoch,
        "epochs": head.epochs,
        "selected_on": chosen,
        "parameters": backbones + heads,
        "trained": sum(p.numel() for p in training.trained),
        "loss": last.get("loss"),
        "seconds": sum(row["seconds"] for row in progress.history),
        **head.describe(training.judge.spec),
    }


def _write(
    job: TunedJob,
    training: Training,
    fitted: FittedTorch,
    train: FeatureSet,
    judged: Mapping[str, FeatureSet],
    failed: Mapping[str, str],
    partial: Path,
    scored: Sequence[str],
) -> None:
    """`train`, `judged`: with the features of the network that is kept. `scored`: the train samples whose scores were
    used."""
    seed = int(fitted.info["seed"])
    test, labelled = judged["test"], int(np.isfinite(train.score).sum())
    started = time.perf_counter()
    found = {name: fitted.predict(data) for name, data in judged.items()}
    predict_ms = (time.perf_counter() - started) * 1000 / max(1, len(test))
    files, streams = {}, {}
    for k, stream in enumerate(job.streams):
        name = "backbone.safetensors" if len(job.streams) == 1 else f"backbone-{k}.safetensors"
        r = stream.resolved
        earlier = () if r.trained_on is None else (replace(r.trained_on, earlier=()), *r.trained_on.earlier)
        seen = (job.dataset.name, job.protocol.name, job.fold.name, tuple(scored))
        with whole_file(partial / name) as path:
            state = training.net.backbones[k].state_dict()
            write_tuned(path, state, r.backbone.arch, r.layer, r.weights, TrainedOn(*seen, r.name, earlier))
        files[stream.name] = name
        spec, weights = f"{r.backbone.arch}.{TAG}:{r.layer}", str(partial / name)
        made = extraction(spec, weights, plan=stream.plan.name, plans={}, short=stream.plan.short, precision="fp32")
        streams[stream.name] = {
            "fingerprint": made.fingerprint.to_json(),
            "weights_file": name,
            "start": earlier[-1].start if earlier else r.name,
        }
    plain = run_info(job, fitted)
    scores = metrics(test.score, found["test"].score, found["test"].spread, kind=job.target.kind, range_=job.r_l2_range)
    flags = [
        *plain["flags"],
        *([RANDOM_FLAG] if any(s.resolved.sha256.startswith("seed:") for s in job.streams) else []),
    ]
    missing = len(failed) + len(job.fold.train) + len(job.fold.test) - len(job.media)
    if missing:
        flags.append(f"{missing}-samples-missing")
    info = {
        **plain,
        "changed": {**plain["changed"], **job.recipe.changed()},
        "flags": list(dict.fromkeys(flags)),
        "streams": {**streams, **plain["streams"]},
        "metrics": {**scores, **label_metrics(labels_of(test, found["test"]))},
        "samples": {
            "train": labelled,
            "unlabelled": len(train) - labelled,
            "val": len(judged.get("val", ())),
            "test": len(test),
        },
        "fit_seconds": fitted.info["seconds"],
        "predict_ms": predict_ms,
        "finetune": {
            **asdict(job.recipe),
            "start": {s.name: s.resolved.name for s in job.streams},
            **asdict(job.began),
            "short": job.streams[0].plan.short,
            "precision": training.how.precision,
            "micro": training.micro,
        },
    }
    info["fitted"]["failed"] = dict(failed)

    near = Nearness.of(train)

    def save(folder: Path) -> None:
        fitted.save(folder)
        if job.labelled < 1:
            save_labelled(scored, folder)
        if near is not None:
            near.save(folder)
        for name in files.values():
            shutil.copyfile(partial / name, folder / name)
        if (partial / "events").is_dir():
            shutil.copytree(partial / "events", folder / "events")
        for path in partial.glob("epoch-*.safetensors"):
            (folder / "checkpoints").mkdir(exist_ok=True)
            shutil.copyfile(path, folder / "checkpoints" / path.name)

    parts = [
        prediction(name, judged[name], found[name])
        for name in ("test", "val")
        if name in judged and not (name == "val" and job.selects_on_test)
    ]
    write_run(job.runs, job.key(seed), info, parts, training.progress.history, save)


def _tell(
    row: Mapping[str, Any], training: Training, console: Console, note: Callable[[Mapping[str, Any]], None] | None
) -> None:
    console.say(_row_text(row))
    if training.among.first:
        with whole_file(training.folder / "history.csv") as path:
            write_history(path, training.progress.history)
    if note is not None:
        note(row)


def events(folder: Path) -> Callable[[Mapping[str, Any]], None]:
    """Writes rows of history as TensorBoard's event files into `folder`. Raises MissingExtra."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise MissingExtra("--tensorboard needs tensorboard", hint="pip install 'aqa[tensorboard]'") from error

    def note(row: Mapping[str, Any]) -> None:
        with SummaryWriter(str(folder / "events"), purge_step=row["epoch"]) as writer:
            for name, value in row.items():
                if name not in ("seed", "epoch") and value is not None:
                    writer.add_scalar(name, value, row["epoch"])

    return note


def _row_text(row: Mapping[str, Any]) -> str:
    measures = ", ".join(
        f"{name} {value:.4g}" for name, value in row.items() if name not in ("seed", "epoch") and value is not None
    )
    return f"epoch {row['epoch']}: {measures}"
