"""A stranger's video through the way that a run's training videos went: extract, judge, interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.fingerprint import Fingerprint
from ..catalog.base import Media
from ..errors import DataError, StoreError, UnmetNeeds, UsageError, VideoError
from ..extract.engine import Done, Failed, extract
from ..extract.precision import choose
from ..heads import has_head, load_head, unmet
from ..heads.base import FeatureSet, Judgement, Ragged
from ..heads.nearness import load_nearness
from ..leaderboard.conformal import LEVEL, bounds
from ..leaderboard.entries import interval_factor
from ..leaderboard.runs import Run
from .console import Console
from .streams import Extraction, prepare

FAR = 99.0  # percent of train samples
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts"}


def judge_media(
    path: Path,
    runs: Sequence[Run],
    *,
    start: int,
    stop: int | None,
    difficulty: float | None,
    kind: str,
    group: str,
    weights: Sequence[str],
    device: str,
    console: Console,
) -> tuple[list[dict[str, Any]], list[str]]:
    """What `aqa predict --json` prints, and the media that failed. `runs` are seeds of one head: their mean is given.

    Raises:
        UsageError: the runs are not of one head on one set of features, or their features were imported.
        StoreError: a run was shared without its head, or the head is damaged.
        UnmetNeeds: the head needs a difficulty that was not said.
        FingerprintMismatch, WeightsError: the weights are not those of the run.
    """
    info = one_head(runs)
    choice = choose(device)
    made: dict[str, dict[str, Extraction]] = {}  # seeds of a tuned head have networks of their own
    for run in runs:
        if _networks(run) not in made:
            made[_networks(run)] = extractions(run, weights)
    media = _media(path, start, stop)
    ids = [str(one.path) for one in media]
    jobs = [one.job(f"{digest} {name}") for digest, several in made.items() for name, one in several.items()]
    found: dict[str, dict[str, Done]] = {}
    failed: list[str] = []
    if jobs:
        workers = 0 if len(media) == 1 else None
        events = extract(list(zip(ids, media, strict=True)), jobs, device=choice.device, workers=workers)
        for event in events:
            if isinstance(event, Failed):
                if len(media) == 1:
                    raise event.error
                failed.append(event.id)
                console.warn(f"{event.id}: {event.error}")
            else:
                found.setdefault(event.id, {})[event.job] = event
    judged = [i for i in ids if i not in failed]
    if not judged:
        return [], failed
    labels = FeatureSet(
        ids=tuple(judged),
        streams={},
        score=np.full(len(judged), np.nan),
        range=tuple(info["range"]),
        target_kind=info["target_kind"],
        times_difficulty=bool(info["times_difficulty"]),
        difficulty=np.full(len(judged), np.nan if difficulty is None else difficulty),
        kind=(kind,) * len(judged),
        group=(group or info["group"],) * len(judged),
    )
    heads = [load_head(run.folder, choice.device) for run in runs]
    seen = {
        digest: {name: _stream([found[i][f"{digest} {name}"].features for i in judged]) for name in several}
        for digest, several in made.items()
    }
    data = [replace(labels, streams=seen[_networks(run)]) for run in runs]
    lacks = unmet(_head_of(runs[0]), data[0], judging=True)
    if lacks:
        raise UnmetNeeds(f"{info['head']} cannot judge this: {'; '.join(lacks)}", hint="see --difficulty and --kind")
    judgements = [head.predict(one) for head, one in zip(heads, data, strict=True)]
    first, score = judgements[0], np.mean([j.score for j in judgements], axis=0)
    spreads = [j.spread for j in judgements if j.spread is not None]
    spread = np.sqrt(np.mean(np.square(spreads), axis=0)) if len(spreads) == len(judgements) else None
    low, high, part = _intervals(runs, score, spread)
    warnings, far = _warnings(info), _farther_than(runs, data)
    rows = []
    for k, (i, one) in enumerate((i, m) for i, m in zip(ids, media, strict=True) if i in judged):
        done = next(iter(found[i].values())) if i in found else None
        rows.append(
            {
                "media": i,
                "start": one.start,
                "stop": one.stop,
                "target": info["target"],
                "score": float(score[k]),
                "spread": None if spread is None else float(spread[k]),
                "interval": None if part is None else [float(low[k]), float(high[k])],
                "level": LEVEL,
                "interval_from": part,
                "head": info["head"],
                "attributes": _classes([one.attributes for one in judgements], k),
                "caption": first.captions[k] if first.captions else None,
                "phases": _phases(judgements, k),
                "points": {stage: float(np.mean([j.parts[stage][k] for j in judgements])) for stage in first.parts},
                "exemplars": _exemplars(heads[0], first, k),
                "farther_than": far[k],
                "run_ids": [run.info["run_id"] for run in runs],
                "clips": 0 if done is None else len(done.features),
                "frames_decoded": 0 if done is None else done.decoded,
                "warnings": warnings,
            }
        )
        strange = far[k]
        if strange is not None and strange > FAR:
            console.warn(f"{i}: farther from what the run was trained on than {strange:.0f}% of that: doubt the score")
    if part is None and info["target_kind"] != "binary":
        console.say("no interval: the run keeps no errors of held-out samples, or of too few")
    for warning in warnings:
        console.warn(warning)
    return rows, failed


def _farther_than(runs: Sequence[Run], data: Sequence[FeatureSet]) -> list[float | None]:
    """For each sample the percentage of train samples that are nearer to the rest of train than it is, the mean over
    the runs; None where these do not keep what that takes."""
    found = [near.percentiles(one) for run, one in zip(runs, data, strict=True) if (near := load_nearness(run.folder))]
    return np.mean(found, axis=0).tolist() if found else [None] * len(data[0])


def _exemplars(head: Any, judged: Judgement, row: int) -> list[dict[str, Any]]:
    """The train samples that one was compared with, and their scores."""
    bank, known = getattr(head, "bank", None), getattr(head, "exemplars", None)
    if not judged.exemplars or bank is None or known is None:
        return []
    scores = dict(zip(bank.ids, known.score.tolist(), strict=True))
    return [{"id": sample, "score": scores[sample]} for sample in judged.exemplars[row]]


def _classes(tables: Sequence[Mapping[str, np.ndarray]], row: int) -> dict[str, dict[str, Any]]:
    """The most probable class of every attribute by the mean of what the runs say of one sample."""
    found = {}
    for name in tables[0]:
        mean = np.mean([table[name][row] for table in tables], axis=0)
        found[name] = {"class": int(mean.argmax()), "probability": float(mean.max())}
    return found


def _phases(judgements: Sequence[Judgement], row: int) -> list[int] | None:
    """Where the second and the last phase begin among 96 frames: the medians of what the runs say of one sample."""
    said = [one.phases[row] for one in judgements if one.phases is not None]
    return np.quantile(said, 0.5, axis=0, method="lower").astype(int).tolist() if said else None


def one_head(runs: Sequence[Run]) -> Mapping[str, Any]:
    """What the runs say of themselves. Raises UsageError for several models, StoreError for a run without its head."""
    info = runs[0].info
    kinds = {(r.info["dataset"], r.info["group"], r.info["fold"], r.info["head"], r.info["digest"]) for r in runs}
    if len(kinds) > 1:
        names = ", ".join(sorted(str(run.folder) for run in runs)[:4])
        hint = "name one run, or one fold-* folder"
        raise UsageError(f"these are runs of {len(kinds)} different models: {names}", hint=hint)
    for run in runs:
        if not has_head(run.folder):
            words = f"`aqa runs rm {run.info['run_id']}` and the same `aqa fit` make a head here"
            hint = f"{words}, or ask those who shared it for the whole folder"
            raise StoreError("this run was shared without its head and can judge nothing", file=run.folder, hint=hint)
    return info


def _networks(run: Run) -> str:
    """What stands for the networks and clips that made the run's features."""
    return " ".join(Fingerprint.from_json(made["fingerprint"]).digest for made in run.info["streams"].values())


def extractions(run: Run, weights: Sequence[str]) -> dict[str, Extraction]:
    """How each stream of the run was made, once more; the fingerprint must come out the same."""
    info = run.info
    if weights and len(weights) != len(info["streams"]):
        raise UsageError(f"{len(weights)} weight files for the streams {', '.join(info['streams'])}")
    found = {}
    for k, (stream, made) in enumerate(info["streams"].items()):
        fingerprint = Fingerprint.from_json(made["fingerprint"])
        if fingerprint.backbone == "import":
            what = f"the features '{stream}' of this run were imported, so aqa cannot make them of a video"
            raise UsageError(what, hint="choose a run on extracted features (`aqa runs ls`)")
        kind, _, seed = fingerprint.weights.partition(":")
        own = run.folder / (made["weights_file"] or "")  # of `aqa finetune`; an absolute path stays what it is
        file = None if kind == "seed" else weights[k] if weights else str(own) if made["weights_file"] else None
        one = prepare(
            f"{fingerprint.backbone}:{fingerprint.layer}",
            file,
            plan=fingerprint.plan,
            plans={},
            short=fingerprint.short,
            precision=fingerprint.precision,
            seed=int(seed) if kind == "seed" else 0,
        )
        fingerprint.require(one.fingerprint, file or fingerprint.backbone)
        found[stream] = one
    return found


def _media(path: Path, start: int, stop: int | None) -> list[Media]:
    """One performance (a video, a folder of images), or every video of a folder."""
    if not path.exists():
        raise VideoError("no such file or folder", file=path)
    if stop is not None and stop <= start:
        raise UsageError(f"--end {stop} does not lie behind --start {start}")
    if not path.is_dir():
        return [Media(path, start, stop)]
    names = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    if any(p.suffix.lower() in IMAGES for p in names):
        return [Media(path, start, stop)]
    videos = [p for p in names if p.suffix.lower() in VIDEOS]
    if not videos:
        raise DataError("neither images nor videos are in this folder", file=path)
    return [Media(p, start, stop) for p in videos]


def _stream(parts: Sequence[np.ndarray]) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return Ragged(np.concatenate(parts), offsets)


def _head_of(run: Run) -> Any:
    from ..heads import head_class

    return head_class(run.info["head"])


def _intervals(
    runs: Sequence[Run], score: np.ndarray, spread: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Ends of the 90% intervals and the part they are from: what the runs keep of held-out samples, None if too few."""
    binary = runs[0].info["target_kind"] == "binary"
    found = None if binary else interval_factor(runs, weighted=spread is not None)
    if found is not None:
        return *bounds(score, spread, found[0]), found[1]
    return score, score, None


def _warnings(info: Mapping[str, Any]) -> list[str]:
    sentences = {
        "synthetic": "the run was trained on synthetic videos: the score means nothing for real ones",
        "random-backbone": "the backbone has random weights: the score is a demonstration",
        "fine-tuned-on-train": "the features were fine-tuned on the train scores: the interval is too narrow",
    }
    return [sentence for flag, sentence in sentences.items() if flag in info["flags"]]
