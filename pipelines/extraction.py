"""Video to feature stores: what is missing is found, extracted by all backbones in one pass, and packed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import catalog
from ..cache.source import media_source
from ..cache.store import FeatureStore
from ..cache.stores import find_stores
from ..catalog.base import Dataset, Media, Sample
from ..errors import DataError, UsageError
from ..extract.assembly import first_frames
from ..extract.engine import Done, Failed, extract
from ..extract.precision import TooImprecise, choose
from .catalog import read_dataset
from .console import Console
from .settings import Place
from .streams import Extraction, keep_precision, pair_plans, pair_weights, prepare, with_person


def extract_or_fall_back(where: Place, *, precision: str = "auto", console: Console, **options: Any) -> dict[str, Any]:
    """`extract_dataset`, once more in fp32 where bf16 was chosen for the user and turned out too imprecise."""
    try:
        return extract_dataset(where, precision=precision, console=console, **options)
    except TooImprecise as error:
        if precision != "auto":
            raise
        console.warn(f"{error.what}: going on in fp32")
        for store in find_stores(where.cache, where.dataset):
            if not len(store) and store.fingerprint.precision == "bf16":
                shutil.rmtree(store.path)  # else the next --precision auto would take it up
        return extract_dataset(where, precision="fp32", console=console, **options)


def extract_dataset(
    where: Place,
    *,
    backbones: Sequence[str],
    weights: Sequence[str] = (),
    plan: Sequence[str] = (),
    person: str | None = None,
    short: str = "edge",
    precision: str = "auto",
    device: str = "auto",
    seed: int = 0,
    workers: int | None = None,
    batch: int | None = None,
    timeout: float = 300.0,
    overwrite: str = "never",
    limit: int | None = None,
    shard: str | None = None,
    released_frames: bool = False,
    options: Sequence[str] | None = None,
    dry_run: bool = False,
    pack: bool = True,
    console: Console,
) -> dict[str, Any]:
    """What `aqa extract` does; returns what `--json` prints. Failed videos are in it, and stop nothing.

    Raises UsageError and its kin for the command, DataError for a set without media, StoreError for the cache.
    """
    started = time.perf_counter()
    dataset = read_media_set(where, released_frames, options, console)
    samples = _chosen(dataset, limit, shard)
    choice = choose(device, precision)
    console.say(f"device and precision: {choice.reason}")
    streams: list[Extraction] = []
    asked = (with_person(backbones, person), pair_weights(backbones, weights), pair_plans(backbones, plan))
    for spec, file, own in zip(*asked, strict=True):
        one = prepare(
            spec, file, plan=own, plans=dict(dataset.plans), short=short, precision=choice.precision, seed=seed
        )
        if one.fingerprint.precision != choice.precision:
            console.say(f"{one.stream} is computed in {one.fingerprint.precision}")
        for warning in one.resolved.warnings:
            console.warn(warning)
        streams.append(keep_precision(one, where.cache, dataset.name) if precision == "auto" else one)
    if dry_run:
        return _dry_run(dataset, samples, streams, where, console)
    if where.dataset in catalog.EMBEDDED:
        render_embedded(dataset, where.root, console)
    stores = [one.store(where.cache, dataset, choice) for one in streams]
    todo = [_todo(store, dataset, samples, overwrite, console) for store in stores]
    tally = _Tally(dataset.name, stores)
    pending = [s for s in samples if any(s.id in ids for ids in todo)]
    with console.progress("extract", len(pending)) as step:
        # samples that lack the same streams are extracted together, each decoded once
        for lacking in dict.fromkeys(tuple(s.id in ids for ids in todo) for s in pending):
            part = [s for s in pending if tuple(s.id in ids for ids in todo) == lacking]
            # two weights of one architecture may be asked for at once: their streams have one name
            unique = len({one.stream for one in streams}) == len(streams)
            names = [one.stream if unique else f"{one.stream} {one.resolved.name}" for one in streams]
            chosen = {names[k]: k for k, lacks in enumerate(lacking) if lacks}
            media = [(s.id, s.media) for s in part if s.media is not None]
            jobs = [streams[k].job(name) for name, k in chosen.items()]
            by_id, waiting = dataset.by_id, {s.id: len(jobs) for s in part}
            events = extract(
                media, jobs, device=choice.device, workers=workers, batch=batch, timeout=timeout, log=console.say
            )
            for event in events:
                if isinstance(event, Failed):
                    tally.fail(event)
                    console.warn(f"{event.id}: {event.error}")
                    step()
                    continue
                k = chosen[event.job]
                source = {**media_source(by_id[event.id]), **event.notes}
                stores[k].write(event.id, event.features, event.starts, event.times, source)
                tally.add(k, event)
                waiting[event.id] -= 1
                if waiting[event.id] == 0:
                    step()
    if pack:
        for store in stores:
            if len(store):
                store.pack()
    return tally.summary([len(samples) - len(ids) for ids in todo], time.perf_counter() - started)


class _Tally:
    def __init__(self, dataset: str, stores: Sequence[FeatureStore]) -> None:
        self.dataset, self.stores = dataset, stores
        self.done = [0] * len(stores)
        self.clips = [0] * len(stores)
        self.frames: dict[str, tuple[int, int]] = {}
        self.failed: list[dict[str, str]] = []
        self.poses: dict[int, dict[str, Any]] = {}

    def add(self, k: int, event: Done) -> None:
        self.done[k] += 1
        self.clips[k] += len(event.features)
        self.frames[event.id] = (event.decoded, event.used)
        if pose := event.notes.get("pose"):
            total = self.poses.setdefault(k, {"frames": 0, "without": 0, "restarts": 0, "nobody": []})
            for name in ("frames", "without", "restarts"):
                total[name] += pose[name]
            if pose["without"] == pose["frames"]:
                total["nobody"].append(event.id)

    def fail(self, event: Failed) -> None:
        self.failed.append({"id": event.id, "error": type(event.error).__name__, "message": str(event.error)})

    def summary(self, skipped: Sequence[int], seconds: float) -> dict[str, Any]:
        rows = []
        for k, (store, done, left, clips) in enumerate(zip(self.stores, self.done, skipped, self.clips, strict=True)):
            row = {"stream": store.stream, "store": str(store.path), "done": done, "skipped": left, "clips": clips}
            rows.append(row | ({"pose": self.poses[k]} if k in self.poses else {}))
        return {
            "dataset": self.dataset,
            "store": rows[0]["store"],
            "stores": rows,
            "done": len(self.frames),
            "skipped": min(skipped),
            "failed": self.failed,
            "clips": sum(self.clips),
            "frames_decoded": sum(decoded for decoded, _ in self.frames.values()),
            "frames_used": sum(used for _, used in self.frames.values()),
            "seconds": seconds,
        }


def read_media_set(where: Place, released_frames: bool, options: Sequence[str] | None, console: Console) -> Dataset:
    """The data set of a folder, with what is wrong with its labels said."""
    dataset = read_dataset(where.dataset, where.root, released_frames=released_frames, options=options)
    for problem in dataset.problems[:5]:
        console.say(f"{problem.sample}, {problem.field}: {problem.message}")
    if len(dataset.problems) > 5:
        console.say(f"... {len(dataset.problems)} remarks on the labels; `aqa catalog show {where.dataset}` lists them")
    return dataset


def render_embedded(dataset: Dataset, root: Path | None, console: Console) -> None:
    """The embedded set's videos are made on first use."""
    from ..catalog.demo import make

    if all(s.media is not None and s.media.path.exists() for s in dataset.samples):
        return
    with console.progress("render synthetic dives", len(dataset.samples)) as step:
        seen = 0

        def progress(done: int, total: int) -> None:  # noqa: ARG001
            nonlocal seen
            for _ in range(done - seen):
                step()
            seen = done

        make(root, progress=progress)


def _chosen(dataset: Dataset, limit: int | None, shard: str | None) -> list[Sample]:
    samples = [sample for sample in dataset.samples if sample.media is not None]
    if not samples:
        hint = f"`aqa catalog show {dataset.name}` lists the layouts; features are taken in with `aqa cache import`"
        raise DataError(f"{dataset.name}: no videos or frame folders were found beside the labels", hint=hint)
    if shard is not None:
        first, slash, count = shard.partition("/")
        if not (slash and first.isdigit() and count.isdigit() and 1 <= int(first) <= int(count)):
            raise UsageError(f"--shard {shard}", hint="write i/n with 1 <= i <= n, like 2/4")
        samples = samples[int(first) - 1 :: int(count)]
    return samples[:limit]


def _todo(
    store: FeatureStore, dataset: Dataset, samples: Sequence[Sample], overwrite: str, console: Console
) -> set[str]:
    """Ids that `store` needs. Changed labels are taken over and named; changed media are redone with `stale`."""
    for line in store.update_dataset(dataset):
        console.say(f"{dataset.name} has changed since {store.name} was made: {line}")
    ids = [sample.id for sample in samples]
    if overwrite == "always":
        return set(ids)
    there = set(store.ids())
    stale = [i for i in store.stale(samples) if i in set(ids)]
    if stale and overwrite == "never":
        some = ", ".join(stale[:5]) + ("..." if len(stale) > 5 else "")
        console.warn(
            f"{store.name}: {len(stale)} samples were made of other media than now: {some} (--overwrite stale)"
        )
    return {i for i in ids if i not in there} | (set(stale) if overwrite == "stale" else set())


def _dry_run(
    dataset: Dataset, samples: Sequence[Sample], streams: Sequence[Extraction], where: Place, console: Console
) -> dict[str, Any]:
    """What would be done: samples, clips and disk per stream, and the frames of the first sample."""
    rows = []
    for one in streams:
        there = {
            i for s in find_stores(where.cache, dataset.name) if s.digest == one.fingerprint.digest for i in s.ids()
        }
        pending = [s for s in samples if s.id not in there]
        by_frame = one.resolved.backbone.rows
        found = (one.plan.indexes(_frames(s.media)) for s in pending if s.media is not None)
        clips = sum(len(first_frames(indexes, by_frame)) for indexes in found)
        size = 4
        for n in one.fingerprint.shape:
            size *= n
        first = one.plan.indexes(_frames(samples[0].media)) + (samples[0].media.start if samples[0].media else 0)
        rows.append(
            {
                "stream": one.stream,
                "fingerprint": one.fingerprint.to_json(),
                "samples": len(pending),
                "skipped": len(samples) - len(pending),
                "clips": clips,
                "bytes": clips * size,
                "first_sample": {"id": samples[0].id, "media": str(samples[0].media and samples[0].media.path)},
                "first_clip_frames": first[0].tolist(),
            }
        )
        console.say(f"{one.stream}: {len(pending)} samples, about {clips} clips, {clips * size / 1e6:.1f} MB")
    return {"dataset": dataset.name, "dry_run": True, "stores": rows}


def _frames(media: Media | None) -> int:
    """Frames of a sample as far as the labels tell; 100 where only the video knows."""
    return 100 if media is None or media.stop is None else max(media.stop - media.start, 1)
