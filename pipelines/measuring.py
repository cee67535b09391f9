"""Measures of one pose, and of all train samples of a data set: the reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..catalog.base import Dataset, Protocol
from ..errors import DataError
from ..heads.dive_phases import Span
from ..heads.measures import CONFIDENCE, Dive, Measured, dive_of, measure
from ..heads.reference import ALL, REBUILD, Reference, Standing, collect, from_json
from ..heads.saving import whole_file
from .tracks import Track, in_pixels, placed, tracks_of_store

if TYPE_CHECKING:
    from ..cache.store import FeatureStore
    from .console import Console


@dataclass(frozen=True)
class Said:
    """What the user said about the poses, in place of what is known of them."""

    take_off: int | None = None
    entry: int | None = None
    kind: str = ""
    fps: float | None = None
    size: tuple[int, int] | None = None
    confidence: float = CONFIDENCE


def with_video(track: Track, video: Path, said: Said) -> tuple[Track, Said]:
    """The track with its frames, rate and size as the video has them, where nothing else is said."""
    from .video_frames import look_into, shown_size

    found = look_into(video)
    track = placed(track, found.frames)
    assert track.frames is not None
    rate = found.fps if found.timed else None
    if rate is not None and len(track.frames) > 1:  # rows that skip frames are fewer in a second
        rate *= (len(track.frames) - 1) / float(track.frames[-1] - track.frames[0])
    return replace(track, fps=track.fps or rate), replace(said, size=said.size or shown_size(found))


def measured_dive(track: Track, said: Said) -> tuple[Dive, list[Measured]]:
    """Raises UsageError and BadParameter for what was said and does not fit the track."""
    track = in_pixels(track, said.size)
    dive = dive_of(
        track.pose,
        labels=track.labels,
        take_off=said.take_off,
        entry=said.entry,
        kind=said.kind or track.kind,
        fps=said.fps or track.fps,
        confidence=said.confidence,
        first=track.first,
    )
    return dive, measure(dive)


def build_reference(store: FeatureStore, protocol: str | None, said: Said, console: Console) -> Reference:
    """Of the samples of a pose stream that are in train and never in test.

    Raises UnmetNeeds for a stream that is no pose, StoreError where too few are measured.
    """
    dataset = store.dataset
    chosen = dataset.protocol(protocol)
    wanted, part = _train(dataset, chosen)
    there = set(store.ids())
    ids = [i for i in wanted if i in there]
    if len(ids) < len(wanted):
        console.warn(f"{len(wanted) - len(ids)} of {len(wanted)} samples have no {store.stream}: they are left out")
    rows = []
    with console.progress("measure", len(ids)) as step:
        for track in tracks_of_store(store, ids):
            dive, measured = measured_dive(track, said)
            rows.append((said.kind or track.kind, dive.phases.position, measured))
            step()
    about = {
        "dataset": store.dataset_name,
        "dataset_digest": dataset.digest(),
        "features": store.name,
        "fingerprint": store.digest,
        "backbone": store.fingerprint.backbone,
        "protocol": chosen.name,
        "part": part,
        "confidence": said.confidence,
        "fps": said.fps,
    }
    return collect(rows, about)


def _train(dataset: Dataset, protocol: Protocol) -> tuple[list[str], str]:
    """Samples that some fold trains on and none tests, in the set's order; where folds rotate all of them."""
    train, test = ({i for fold in protocol.folds for i in getattr(fold, part)} for part in ("train", "test"))
    only = train - test
    return [s.id for s in dataset.samples if s.id in (only or train)], "train" if only else "all folds"


def write_reference(reference: Reference, path: Path) -> None:
    """Whole or not at all. Raises StoreError."""
    with whole_file(path) as part:
        part.write_text(json.dumps(reference.to_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_reference(path: Path) -> Reference:
    """Raises DataError."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", file=path, hint=REBUILD) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a whole JSON file: {error}", file=path, hint=REBUILD) from error
    return from_json(plain, str(path))


def in_words(one: Measured, standing: Standing | None) -> list[str]:
    """What it is, its value with its unit, where it stands; or why it has none."""
    if one.value is None:
        return [one.title, one.reason]
    value = f"{one.value:.1f}" if one.unit == "degrees" else f"{one.value:.2f}"
    words = [one.title, f"{value} {one.unit}"]
    if standing is not None:
        words.append(f"larger than {standing.percentile:.0f}% of {standing.of} {among(standing)}")
    return words


def among(standing: Standing) -> str:
    return f"{standing.group} dives" if standing.group != ALL else "dives"


def phases_in_words(dive: Dive, first: int) -> dict[str, dict[str, Any]]:
    """Of every phase the first and last of its frames and what they are known from; or why they are not."""
    return {
        name: {
            "first": span.frames[0] + first if span.frames else None,
            "last": span.frames[-1] + first if span.frames else None,
            "from": span.source or None,
            "reason": span.missing or None,
        }
        for name in ("flight", "somersault", "twists", "entry")
        if isinstance(span := getattr(dive.phases, name), Span)
    }


def title_of(track: Track, dive: Dive, kind: str, reference: Reference | None) -> list[str]:
    """The name and what is known of the dive; what it is compared with; how the pose was found, if it was."""
    sources = {"labels": "frame labels", "given": "the frames that were given", "pose": "the pose"}
    spans = (dive.phases.flight, dive.phases.somersault, dive.phases.entry)
    known = dict.fromkeys(sources[span.source] for span in spans if span.source)
    facts = [track.name, kind, dive.phases.position, f"{len(track.pose)} frames"]
    if dive.fps:
        facts.append(f"{dive.fps:g} frames per second")
    lines = [", ".join(filter(None, facts)), f"phases from {' and '.join(known) or 'nothing: they are not known'}"]
    if reference is not None:
        about = reference.about
        lines[1] += f"; against {about['dives']} dives ({about['part']}) of {about['dataset']}, {about['features']}"
    return [*lines, *filter(None, [_whose(track)])]


def _whose(track: Track) -> str:
    """Who found the pose, in how many frames nobody is seen, and what makes it doubtful that it is one person's."""
    found, frames = track.found, len(track.pose)
    words = [f"found by {found['backbone']}, {found['person']}"] if found else []
    if track.without:
        words.append(f"nobody is seen in {'any' if track.without == frames else track.without} of {frames} frames")
    if found and found["persons"] > 1:
        words.append(f"up to {found['persons']} persons in a frame")
    if found and found["restarts"]:
        words.append(f"{found['restarts']} times another person was taken")
    return "; ".join(words)


def row_of(one: Measured, standing: Standing | None, first: int) -> dict[str, Any]:
    """What `aqa measure --json` says of one measure."""
    return {
        "name": one.name,
        "title": one.title,
        "unit": one.unit,
        "value": one.value,
        "frames": [frame + first for frame in one.frames],
        "phases": one.phases or None,
        "reason": one.reason or None,
        "percentile": None if standing is None else standing.percentile,
        "of": None if standing is None else standing.of,
        "group": None if standing is None else standing.group,
    }


def write_picture(
    dive: Dive,
    measured: Sequence[Measured],
    words: dict[str, list[str]],
    title: Sequence[str],
    track: Track,
    video: Path | None,
    path: Path,
) -> None:
    """The picture of `drawing.draw`, over the frames of the video where there is one. Raises VideoError, StoreError."""
    from .drawing import draw, frames_to_draw

    pictures = {}
    if video is not None and track.frames is not None:
        from .video_frames import read_pictures

        numbers = {row: int(track.frames[row]) for one in measured for row in frames_to_draw(one)}
        read = read_pictures(video, numbers.values())
        pictures = {row: read[number] for row, number in numbers.items()}
    sheet = draw(dive, measured, words, title=title, pictures=pictures, first=track.first)
    with whole_file(path) as part:
        sheet.save(part, "PNG")
