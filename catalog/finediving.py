"""FineDiving: 3000 dives with the label of every frame (take-off, flight, entry), difficulty and judges.

Xu et al., CVPR 2022. The files are given under an agreement; this is written to their documented layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnnotationError, SplitError
from .about import About
from .base import Dataset, Fold, Media, Problem, Protocol, Sample, Target
from .diving import disagreement, usable_judges
from .files import bases, find_file, need_file
from .frames import Layout, find_media, media_bases
from .gaps import filled
from .pickles import load_pickle
from .poses import read_pose

RULES = (0.0, 123.0)  # a mark is at most 30, the highest difficulty in the set 4.1
TEST_SCORES = (0.0, 104.4)
FOLDERS = ("Annotations/", "", "train_test_split/", "Annotations/train_test_split/")
LAYOUTS = (
    Layout("release", "FINADiving_MTL_256s/{event}/{index}"),
    Layout("frames", "frames/{event}/{index}"),
    Layout("plain", "{event}/{index}"),
)
POSES = (
    "Pose/{event}/pred_comp_{index}.npz",
    "FineDiving-Pose/{event}/{index}.json",
    "Pose/{event}/{index}.json",
    "{event}/pred_comp_{index}.npz",
)
BELOW = ("FineDiving", "finediving", "datasets", "FineDiving/datasets", "Trimmed_Video_Frames", "data")

ABOUT = About(
    name="finediving",
    title="FineDiving, with phases (3000 dives)",
    licence="annotations and frames under a release agreement to be signed; not to be passed on",
    cite="J. Xu, Y. Rao, X. Yu, G. Chen, J. Zhou, J. Lu. FineDiving: A Fine-grained Dataset for Procedure-aware "
    "Action Quality Assessment. CVPR 2022.",
    source="https://github.com/xujinglin/FineDiving",
    layouts=(
        "labels: Annotations/fine-grained_annotation_aqa.pkl with train_split.pkl and test_split.pkl (there, in "
        "train_test_split/ or in the folder itself); FineDiving_coarse_annotation.pkl adds the judges",
        "frames: FINADiving_MTL_256s/{event}/{index}/*.jpg, all images of the dive",
        "videos: FINADiving_MTL_256s/{event}/{index}.mp4",
        "stream pose, [T, 16, 3]: Pose/{event}/pred_comp_{index}.npz of FineDiving-Pose (96 frames of a dive), or its "
        "annotations, FineDiving-Pose/{event}/{index}.json",
    ),
    options={"media": "folder of the frames or videos, if they do not lie beside the labels"},
    key="xu2022finediving",
)


def read(root: Path, *, media: str | Path | None = None) -> Dataset:
    """Ids are "{event}_{index}"; `kind` is the action type, `phases` the label of every frame of the dive.

    Raises AnnotationError and SplitError.
    """
    where = bases(root, *BELOW)
    file, table = _annotations(where)
    coarse_file = find_file(where, _in(FOLDERS, "FineDiving_coarse_annotation.pkl"))
    coarse = {} if coarse_file is None else load_pickle(coarse_file)
    if not isinstance(coarse, dict):
        raise AnnotationError("not a table of (event, index)", file=coarse_file)
    keys = [{"event": str(event), "index": int(index)} for event, index in table]
    found = find_media(media_bases(where, media, *BELOW), LAYOUTS, keys, required=media is not None)
    samples: list[Sample] = []
    problems: list[Problem] = []
    for n, (key, row) in enumerate(table.items()):
        place = None if found is None else Media(found.paths[n])
        try:
            sample, said = _sample(key, row, _marks(coarse.get(key)), coarse_file.name if coarse_file else "", place)
        except (TypeError, ValueError) as error:
            raise AnnotationError(f"a field is no number: {error}", file=file, sample=sample_id(key)) from error
        samples.append(sample)
        problems += said
    lists = [need_file(where, _in(FOLDERS, f"{p}_split.pkl"), what=f"{p} list") for p in ("train", "test")]
    folds = (Fold("0", _ids(lists[0]), _ids(lists[1])),)
    return Dataset(
        name=ABOUT.name,
        samples=tuple(samples),
        targets=(Target("score", times_difficulty=True, ranges={"": RULES}),),
        protocols=(
            Protocol("official", folds),
            Protocol(
                "paper",
                folds,
                ranges={"": TEST_SCORES},
                flags=("constants-from-test",),
                note="R-l2 divides by the range of the test scores, as published",
            ),
        ),
        plans={"*": "9x16of96"},
        problems=tuple(problems),
    )


def _pose(root: Path) -> dict[str, np.ndarray]:
    """id -> [T, 16, 3] of the dives that have a file, in the layout of which most are there, gaps closed.

    Raises AnnotationError: no file at all, one that cannot be read, an annotated dive of another number of frames.
    """
    where = bases(root, *BELOW)
    _, table = _annotations(where)
    found: dict[tuple[Any, Any], Path] = {}
    for base in where:
        for template in POSES:
            files = {key: base / template.format(event=key[0], index=int(key[1])) for key in table}
            there = {key: file for key, file in files.items() if file.is_file()}
            found = max(found, there, key=len)
    if not found:
        raise AnnotationError(f"no poses: looked for {', '.join(POSES)}", file=root)
    poses = {}
    for key, file in found.items():
        pose, frames = read_pose(file, sample_id(key)), len(table[key][4])
        if file.suffix == ".json" and len(pose) != frames:
            hint = "import the folder of poses with --root and the folder of the labels: it is marked as not aligned"
            said = f"{len(pose)} frames of pose, {frames} of the dive, and nobody can say which are missing"
            raise AnnotationError(said, file=file, sample=sample_id(key), field="image", hint=hint)
        poses[sample_id(key)] = filled(pose)
    return poses


STREAMS = {"pose": _pose}


def _sample(
    key: tuple[Any, Any], row: Sequence[Any], marks: Sequence[float], file: str, media: Media | None
) -> tuple[Sample, list[Problem]]:
    kind, score, difficulty, _, labels = row
    i = sample_id(key)
    judges, problems = usable_judges(i, marks, file)
    problems += disagreement(i, judges, float(difficulty), float(score))
    return Sample(
        id=i,
        targets={"score": float(score)},
        media=media,
        difficulty=float(difficulty),
        judges=judges,
        kind=str(kind),
        event=str(key[0]),
        phases=tuple(int(label) for label in labels),
    ), problems


def _marks(row: Any) -> list[float]:
    return [float(mark) for mark in row.get("judge_scores", ())] if isinstance(row, dict) else []


def sample_id(key: Sequence[Any]) -> str:
    """(event, index) -> "FINADivingWorldCup2021_Men3m_final_r1_8"."""
    return f"{key[0]}_{int(key[1])}"


def _in(folders: Sequence[str], name: str) -> list[str]:
    return [f"{folder}{name}" for folder in folders]


def _annotations(where: Sequence[Path]) -> tuple[Path, dict[tuple[Any, Any], Sequence[Any]]]:
    file = need_file(where, _in(FOLDERS, "fine-grained_annotation_aqa.pkl"), what="annotations of FineDiving")
    return file, _table(file)


def _table(file: Path) -> dict[tuple[Any, Any], Sequence[Any]]:
    plain = load_pickle(file)
    if not isinstance(plain, dict) or not plain:
        raise AnnotationError("not a table of (event, index)", file=file)
    for key, row in plain.items():
        if not isinstance(key, tuple) or len(key) != 2:
            raise AnnotationError("not a table of (event, index)", file=file, sample=str(key))
        if not isinstance(row, list | tuple) or len(row) != 5:
            wanted = "action type, score, difficulty, last frame of each step, label of each frame"
            raise AnnotationError(f"wanted a list of {wanted}", file=file, sample=sample_id(key))
    return plain


def _ids(file: Path) -> tuple[str, ...]:
    plain = load_pickle(file)
    if not isinstance(plain, list) or any(not isinstance(key, tuple) or len(key) != 2 for key in plain):
        raise SplitError("not a list of (event, index)", file=file)
    return tuple(sample_id(key) for key in plain)
