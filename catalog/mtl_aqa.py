"""MTL-AQA: 1412 dives of 15 competitions, with score, difficulty, dive class and the commentary as caption.

Parmar and Morris, CVPR 2019. Read in the three variants of the annotations that circulate: the authors', MUSDL's (with
the seven judges) and CoRe's (with judges and dive number).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import AnnotationError, SplitError, UnknownName
from .about import About
from .base import Dataset, Fold, Media, Problem, Protocol, Sample, Target
from .diving import disagreement, usable_judges
from .files import bases, find_file, need_file
from .frames import Layout, find_media, media_bases
from .pickles import load_pickle

# Undocumented by the authors; derived by joining the raw score sheets. Somersaults and twists are counted in halves.
CLASSES: Mapping[str, tuple[str, ...]] = {
    "position": ("free", "pike", "tuck"),
    "armstand": ("no", "yes"),
    "rotation": ("backward", "forward", "inward", "reverse"),
    "somersaults": tuple(f"{half / 2:g}" for half in range(10)),
    "twists": tuple(f"{half / 2:g}" for half in range(8)),
}
FIELDS = {
    "position": "position",
    "armstand": "armstand",
    "rotation": "rotation_type",
    "somersaults": "ss_no",
    "twists": "tw_no",
}
VARIANTS = {
    "core": "final_annotations_dict_with_dive_number",
    "musdl": "augmented_final_annotations_dict",
    "parmar": "final_annotations_dict",
}
LENGTH = 103  # frames read of each dive: they end at the annotated end; the annotated start is not used
ALIGNED = 3  # folders of one dive hold 109 images, the released training code shifts by 0..6, in the mean by 3
LAYOUTS = (
    Layout("A", "frames/{video:02d}_{sample:02d}"),
    Layout("B", "new/new_total_frames_256s/{video:02d}"),
    Layout("B", "new_total_frames_256s/{video:02d}"),
    Layout("B", "new/{video:02d}"),
    Layout("C", "frames_long/{video:02d}_{sample:02d}"),
    Layout("D", "whole_videos_frames/{video:02d}"),
    Layout("D", "whole_videos/{video:02d}"),
    Layout("dives", "{video:02d}_{sample:02d}"),
    Layout("videos", "{video:02d}"),
)
BELOW = (
    *("MTL-AQA", "MTL_AQA", "mtl_aqa", "mtl-aqa", "data", "MTL-AQA/data", "data/mtl_aqa", "data_preprocessed/MTL_AQA"),
    *("Ready_2_Use/MTL-AQA_split_0_data", "MTL-AQA_dataset_release/Ready_2_Use/MTL-AQA_split_0_data"),
    *("MTL-AQA/MTL-AQA_dataset_release/Ready_2_Use/MTL-AQA_split_0_data", "captions"),
)
# A dive's mark is at most 30 (three judges of 10); the highest difficulty in the set is 4.1. No score of the set, seen
# or unseen, can be higher, and no score was looked at to know it.
RULES = (0.0, 123.0)
TEST_SCORES = (0.0, 104.5)  # lowest and highest score of the official test part: what published R-l2 divide by

ABOUT = About(
    name="mtl-aqa",
    title="MTL-AQA, Olympic diving (1412 dives)",
    licence="none stated by the authors; research use, no redistribution",
    cite="P. Parmar, B. T. Morris. What and How Well You Performed? A Multitask Learning Approach to Action Quality "
    "Assessment. CVPR 2019.",
    source="https://github.com/ParitoshParmar/MTL-AQA",
    layouts=(
        "labels: final_annotations_dict[_with_dive_number].pkl or augmented_final_annotations_dict.pkl, with "
        "train_split_0.pkl and test_split_0.pkl, in info/ or in the folder itself",
        "A (MUSDL, DAE): data/frames/{video:02d}_{sample:02d}/*.jpg, 109 images of one dive, [3:106] is read",
        "B (CoRe, T2CR): MTL-AQA/new/new_total_frames_256s/{video:02d}/{frame:08d}.jpg, [end-103:end] is read",
        "B (HGCN, AQA-Benchmark): MTL-AQA/new/{video:02d}/, as B",
        "C (TPT, RICA2): MTL_AQA/frames_long/{video:02d}_{sample:02d}/*.jpg, as A",
        "D (authors): whole_videos_frames/{video:02d}/{frame:06d}.jpg, as B",
        "videos: whole_videos/{video:02d}.mp4, as B; a video named like the folder of any layout does as well",
    ),
    options={
        "variant": "core | musdl | parmar: which annotations to read; default: the richest that is there",
        "splits": "a train list, or a folder with train_split*.pkl and test_split*.pkl, to make a protocol of",
        "released_frames": "read [0:103] of the folders of one dive, as the released test codes of MUSDL and DAE do",
        "media": "folder of the frames or videos, if they do not lie beside the labels",
    },
    key="parmar2019mtlaqa",
)

Key = tuple[int, int]


def sample_id(key: Sequence[Any]) -> str:
    """(video, dive) -> "01_07": the name of the dive's folder in layouts A and C."""
    return f"{int(key[0]):02d}_{int(key[1]):02d}"


def read(
    root: Path,
    *,
    variant: str | None = None,
    splits: str | Path | None = None,
    released_frames: bool = False,
    media: str | Path | None = None,
) -> Dataset:
    """Ids are `sample_id`; `kind` is the dive number where the variant has it, else the five classes joined by "-".

    Raises AnnotationError for missing or damaged files, SplitError for a split that leaks (the smaller training sets
    that the authors distribute do: 36, 80 and 115 of their keys are in the official test part).
    """
    where = bases(root, *BELOW)
    file, others = _annotations(where, variant)
    table = _table(file)
    problems = _slips_elsewhere(others)
    captions = _captions(where)
    samples = []
    for key, row in table.items():
        try:
            sample, said = _sample(key, row, file.name, captions)
        except (TypeError, ValueError) as error:
            raise AnnotationError(f"a field is no number: {error}", file=file, sample=sample_id(key)) from error
        samples.append(sample)
        problems += said
    samples = _with_media(samples, tuple(table.items()), where, media, released_frames)
    folds = _official(where)
    protocols = [
        Protocol("official", folds, note="random split of the dives: every competition is in train and in test"),
        Protocol(
            "paper",
            folds,
            ranges={"": TEST_SCORES},
            flags=("constants-from-test",),
            note="R-l2 divides by the range of the test scores, as published",
        ),
    ]
    if splits is not None:
        protocols.insert(0, Protocol("splits", _own_split(Path(splits), folds[0])))
    return Dataset(
        name=ABOUT.name,
        samples=tuple(samples),
        targets=(Target("score", times_difficulty=True, ranges={"": RULES}),),
        protocols=tuple(protocols),
        plans={"c3d": "6x16@103", "i3d": "10x16@103", "mscadc": "16of103", "*": "10x16@103"},
        problems=tuple(problems),
    )


def vocabulary(root: Path) -> tuple[str, ...] | None:
    """The words of `vocab.json` by their index (0 "<eos>", 1 "<sos>"), None if it is not there.

    It was built on train and test together, and has no entry for unknown words.
    """
    file = find_file(bases(root, *BELOW), _named("vocab.json"))
    if file is None:
        return None
    try:
        words = json.loads(file.read_text(encoding="utf-8"))["ix_to_word"]
        return tuple(words[str(i)] for i in range(len(words)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(f"not the vocabulary of MTL-AQA: {error}", file=file, field="ix_to_word") from error


def _named(*names: str) -> list[str]:
    return [f"{folder}{name}" for name in names for folder in ("info/", "")]


def _annotations(where: Sequence[Path], variant: str | None) -> tuple[Path, list[Path]]:
    """The file of the variant, and those of other variants that have judges."""
    if variant is not None and variant not in VARIANTS:
        raise UnknownName("variant of the MTL-AQA annotations", variant, VARIANTS)
    stems = list(VARIANTS.values()) if variant is None else [VARIANTS[variant]]
    file = find_file(where, _named(*(f"{stem}{suffix}" for stem in stems for suffix in (".pkl", ""))))
    if file is None:
        wanted = _named(*(f"{stem}.pkl" for stem in stems))
        file = need_file(where, wanted, what="annotations of MTL-AQA", hint="see `aqa catalog show mtl-aqa`")
    judged = [find_file([file.parent], [f"{VARIANTS[name]}.pkl", VARIANTS[name]]) for name in ("core", "musdl")]
    return file, [other for other in judged if other is not None and other != file]


def _table(file: Path) -> dict[Key, Mapping[str, Any]]:
    plain = load_pickle(file)
    wanted = {"end_frame", "difficulty", "final_score", *FIELDS.values()}
    if not isinstance(plain, dict) or not plain:
        raise AnnotationError("not a table of (video, dive)", file=file)
    table: dict[Key, Mapping[str, Any]] = {}
    for key, row in plain.items():
        if not isinstance(key, tuple) or len(key) != 2 or not isinstance(row, dict):
            raise AnnotationError("not a table of (video, dive)", file=file, sample=str(key))
        for missing in sorted(wanted - row.keys()):
            raise AnnotationError("the field is missing", file=file, sample=sample_id(key), field=missing)
        table[int(key[0]), int(key[1])] = row
    return table


def _sample(key: Key, row: Mapping[str, Any], file: str, captions: Mapping[Key, str]) -> tuple[Sample, list[Problem]]:
    i = sample_id(key)
    score, difficulty = float(row["final_score"]), float(row["difficulty"])
    judges, problems = usable_judges(i, [float(mark) for mark in row.get("judge_scores", ())], file)
    problems += disagreement(i, judges, difficulty, score)
    attributes = {name: int(row[source]) for name, source in FIELDS.items()}
    for name, index in attributes.items():
        if not 0 <= index < len(CLASSES[name]):
            raise AnnotationError(f"there is no class {index}", file=file, sample=i, field=FIELDS[name])
    return Sample(
        id=i,
        targets={"score": score},
        difficulty=difficulty,
        judges=judges,
        kind=str(row.get("dive_number") or "-".join(str(index) for index in attributes.values())),
        event=f"{key[0]:02d}",
        attributes=attributes,
        caption=captions.get(key),
    ), problems


def _slips_elsewhere(others: Sequence[Path]) -> list[Problem]:
    """Impossible marks in annotation files that lie there and are not the ones that are read."""
    problems: list[Problem] = []
    for file in others:
        for key, row in _table(file).items():
            _, said = usable_judges(sample_id(key), [float(mark) for mark in row.get("judge_scores", ())], file.name)
            problems += [Problem(p.sample, p.field, f"{p.message.split(':')[0]}: that file is not used") for p in said]
    return problems


def _captions(where: Sequence[Path]) -> dict[Key, str]:
    file = find_file(where, _named("final_captions_dict.pkl"))
    if file is None:
        return {}
    plain = load_pickle(file)
    try:
        return {
            (int(video), int(dive)): " ".join(word for word in words if word not in ("<sos>", "<eos>"))
            for (video, dive), words in plain.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise AnnotationError(f"not a table of (video, dive) -> words: {error}", file=file) from error


def _with_media(
    samples: list[Sample],
    rows: Sequence[tuple[Key, Mapping[str, Any]]],
    where: Sequence[Path],
    media: str | Path | None,
    released_frames: bool,
) -> list[Sample]:
    keys = [{"video": key[0], "sample": key[1]} for key, _ in rows]
    found = find_media(media_bases(where, media, *BELOW), LAYOUTS, keys, required=media is not None)
    if found is None:
        return samples
    of_one_dive = "{sample" in found.layout.template
    first = 0 if released_frames else ALIGNED
    result = []
    for sample, path, (_, row) in zip(samples, found.paths, rows, strict=True):
        end = int(row["end_frame"])
        start, stop = (first, first + LENGTH) if of_one_dive else (max(0, end - LENGTH), end)
        result.append(replace(sample, media=Media(path, start, stop)))
    return result


def _official(where: Sequence[Path]) -> tuple[Fold, ...]:
    hint = "the lists are part of the authors' release; without them nothing can be trained or tested"
    files = [need_file(where, _named(f"{p}_split_0.pkl"), what=f"{p} list", hint=hint) for p in ("train", "test")]
    return (Fold("0", _ids(files[0]), _ids(files[1])),)


def _own_split(path: Path, official: Fold) -> tuple[Fold, ...]:
    """Train list `path`, or the lists in the folder `path`; a missing test list means the official one."""
    if path.is_file():
        return (Fold(path.stem, _ids(path), official.test),)
    lists = {part: sorted(path.glob(f"{part}_split*.pkl")) for part in ("train", "test")}
    train, test = lists["train"], lists["test"]
    if len(train) != 1 or len(test) > 1:
        names = ", ".join(file.name for file in (train if len(train) != 1 else test)) or "none"
        raise SplitError(f"one train list and at most one test list are wanted: {names}", file=path, field="splits")
    return (Fold(train[0].stem, _ids(train[0]), _ids(test[0]) if test else official.test),)


def _ids(file: Path) -> tuple[str, ...]:
    plain = load_pickle(file)
    if not isinstance(plain, list) or any(not isinstance(key, tuple) or len(key) != 2 for key in plain):
        raise SplitError("not a list of (video, dive)", file=file)
    return tuple(sample_id(key) for key in plain)
