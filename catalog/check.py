"""Look before the GPU hours: are the frames there, enough of them, and those that the annotations mean?

Frames that are one off, or of another video, are the field's first cause of failure, and nothing later shows them: a
model on wrong frames still reaches what difficulty and class alone give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from ..errors import AqaError, SplitError
from .base import Dataset, Media, Sample
from .frames import images, number

Probe = Callable[[Media], int]


@dataclass(frozen=True, slots=True)
class Finding:
    """`sample` is the first one concerned, "" for the whole set. An "error" cannot be extracted as it is."""

    sample: str
    field: str
    message: str
    severity: Literal["error", "warning"] = "error"


def check(dataset: Dataset, probe: Probe, limit: int | None = None) -> list[Finding]:
    """What is wrong with the media of the first `limit` samples (all by default), in the order of the samples,
    and protocols that cannot be used.

    `probe` counts the frames of a whole video or folder (`start` and `stop` are ignored); it is asked once per path,
    and an AqaError that it raises becomes a finding.
    """
    chosen = dataset.samples[:limit]
    lacking = [sample.id for sample in chosen if sample.media is None]
    findings: list[Finding] = []
    if lacking:
        said = "no sample has frames or videos" if len(lacking) == len(chosen) else f"{len(lacking)} samples have none"
        hint = "they cannot be extracted; features can be imported"
        findings.append(Finding(lacking[0], "media", f"{said}: {hint}", "warning"))
    uses = Counter(sample.media.path for sample in dataset.samples if sample.media is not None)
    counts: dict[Path, int | None] = {}
    for sample in chosen:
        if sample.media is None:
            continue
        path = sample.media.path
        if path not in counts:
            counts[path], said = _count(sample, path, probe)
            findings += said
            if counts[path] is not None and path.is_dir():
                findings += _names(sample, path, shared=uses[path] > 1)
        if (count := counts[path]) is not None:
            findings += _range(sample, sample.media, count)
    return findings + _splits(dataset)


def _splits(dataset: Dataset) -> list[Finding]:
    """Features can be extracted all the same."""
    findings = []
    for protocol in dataset.protocols:
        try:
            dataset.protocol(protocol.name)
        except SplitError as error:
            findings.append(Finding("", "split", str(error), "warning"))
    return findings


def _count(sample: Sample, path: Path, probe: Probe) -> tuple[int | None, list[Finding]]:
    if not path.exists():
        return None, [Finding(sample.id, "media", f"{path} is missing")]
    try:
        return probe(Media(path)), []
    except AqaError as error:
        return None, [Finding(sample.id, "media", str(error))]


def _range(sample: Sample, media: Media, count: int) -> list[Finding]:
    asked = f"{media.path} has {count} frames, {media.start} up to {media.stop} are asked for"
    if count == 0:
        return [Finding(sample.id, "media", f"{media.path} has no frames")]
    if media.stop == count + 1:
        return [Finding(sample.id, "media", f"{asked}: one too many, so the numbers may be one off")]
    if media.start >= count or (media.stop is not None and media.stop > count):
        return [Finding(sample.id, "media", asked)]
    frames = (count if media.stop is None else media.stop) - media.start
    if sample.phases and len(sample.phases) != frames:
        return [Finding(sample.id, "phases", f"{len(sample.phases)} frame labels for {frames} frames of {media.path}")]
    return []


def _names(sample: Sample, folder: Path, *, shared: bool) -> list[Finding]:
    """What the numbers in the names of the images tell. `shared`: the folder is a whole video, cut by frame numbers."""
    names = _frames(folder)
    numbers = [n for n in map(number, names) if n is not None]
    if not numbers or len(numbers) != len(names):
        return []
    steps = [b - a for a, b in pairwise(numbers)]
    if any(step <= 0 for step in steps):
        said = f"{folder}: sorted by name is not sorted by number; pad the numbers with zeros"
        return [Finding(sample.id, "media", said)]
    usual = min(steps, default=1)
    gaps = [i for i, step in enumerate(steps) if step != usual]
    findings = []
    if gaps:
        lost = sum(steps[i] // usual - 1 for i in gaps)
        said = f"{folder}: {lost} images are missing, the first between {names[gaps[0]]} and {names[gaps[0] + 1]}"
        findings.append(Finding(sample.id, "media", said))
    if shared and usual > 1:
        said = f"{folder}: numbers go up by {usual}, but annotations count every frame of the video"
        findings.append(Finding(sample.id, "media", said))
    if shared and numbers[0] != 1:
        which = "count from 0" if numbers[0] == 0 else f"begin at {numbers[0]}"
        said = f"{folder}: names {which}; frames are taken by position, so {names[0]} must be the video's first frame"
        findings.append(Finding(sample.id, "media", said, "warning"))
    return findings


def _frames(folder: Path) -> list[str]:
    """The images in order; flow images (flow_x_*, flow_y_*) lie beside them in some folders, alone in others."""
    names = images(folder)
    return [name for name in names if not name.lower().startswith(("flow_x_", "flow_y_"))] or [
        name for name in names if name.lower().startswith("flow_x_")
    ]


def example(dataset: Dataset, sample: str | None = None) -> dict[str, Any]:
    """What would be read for one sample: the first whose media exist, else the first, or the one asked for.

    Keys: sample, path, kind ("frames", "video", "missing" or "none"), start, stop, first, last: the names of the first
    and last image, or the frame's place in the video; None where that cannot be told without opening it.
    """
    candidates = dataset.samples if sample is None else (dataset.by_id[sample],)
    there = next((s for s in candidates if s.media is not None and s.media.path.exists()), candidates[0])
    media = there.media
    if media is None:
        return {"sample": there.id, "path": None, "kind": "none", "start": 0, "stop": None, "first": None, "last": None}
    kind, first, last = "missing", None, None
    if media.path.is_dir():
        names = _frames(media.path)
        taken = names[media.start : media.stop]
        whole = media.stop is None or media.stop <= len(names)
        kind, first, last = "frames", taken[0] if taken else None, taken[-1] if taken and whole else None
    elif media.path.exists():
        kind, first = "video", _place(media.start)
        last = None if media.stop is None else _place(media.stop - 1)
    return {
        "sample": there.id,
        "path": str(media.path),
        "kind": kind,
        "start": media.start,
        "stop": media.stop,
        "first": first,
        "last": last,
    }


def _place(index: int) -> str:
    return f"frame {index + 1} of the video (index {index})"
