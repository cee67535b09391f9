"""JIGSAWS: 103 trials of three surgical tasks on the da Vinci system, marked on six items of a global rating scale.

Gao et al., M2CAI at MICCAI 2014. The four folds are those of MUSDL (Tang et al., CVPR 2020).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnnotationError, SplitError
from .about import About
from .base import Dataset, Fold, Media, Problem, Protocol, Sample, Target
from .features import read_table
from .files import bases, find_file, need_file, text
from .frames import Layout, find_media, media_bases
from .pickles import load_pickle
from .protocols import leave_one_out

TASKS = ("Suturing", "Needle_Passing", "Knot_Tying")
ITEMS = (
    "respect_for_tissue",
    "suture_needle_handling",
    "time_and_motion",
    "flow_of_operation",
    "overall_performance",
    "quality_of_final_product",
)
SKILLS = {"N": "novice", "I": "intermediate", "E": "expert"}  # self-proclaimed, by hours of practice
TRIAL = re.compile(rf"({'|'.join(TASKS)})_([A-Z])(\d{{3}})")  # task, surgeon, repetition
LAYOUTS = (
    Layout("MUSDL", "frames/{trial}_capture1"),
    Layout("release", "{task}/video/{trial}_capture1"),
    Layout("release", "video/{trial}_capture1"),
    Layout("tasks", "{task}/frames/{trial}_capture1"),
    Layout("plain", "{trial}_capture1"),
)
COLUMNS = 76  # four arms (left and right of the surgeon's console, left and right of the patient's side) x 19
KINEMATICS = ("{task}/kinematics/AllGestures/{trial}.txt", "kinematics/AllGestures/{trial}.txt")
BELOW = ("JIGSAWS", "JIGSAWS/data", "jigsaws", "data", "data/jigsaws")

ABOUT = About(
    name="jigsaws",
    title="JIGSAWS, surgical skill (103 trials of three tasks)",
    licence="given on request by JHU and Intuitive Surgical for research, not to be passed on",
    cite="Y. Gao et al. JHU-ISI Gesture and Skill Assessment Working Set (JIGSAWS): A Surgical Activity Dataset for "
    "Human Motion Modeling. M2CAI workshop, MICCAI 2014.",
    source="https://cirl.lcsr.jhu.edu/research/hmm/datasets/jigsaws_release/",
    layouts=(
        "labels: info/label.pkl (and info/splits.pkl for the four folds), as MUSDL has them, or the release's "
        "{task}/meta_file_{task}.txt",
        "MUSDL, DAE: JIGSAWS/data/frames/{trial}_capture1/, all images",
        "release: {task}/video/{trial}_capture1.avi, all frames; the left camera only",
        "stream kinematics, [T, 76]: {task}/kinematics/AllGestures/{trial}.txt",
    ),
    options={"media": "folder of the frames or videos, if they do not lie beside the labels"},
    key="gao2014jigsaws",
)


def read(root: Path, *, media: str | Path | None = None) -> Dataset:
    """Ids are the trials ("Knot_Tying_B001"), groups the tasks, subjects the surgeons' letters.

    The four-fold protocol is there if `splits.pkl` is. Raises AnnotationError and SplitError.
    """
    where = bases(root, *BELOW)
    labels, skills, problems = _labels(where)
    trials = sorted(labels, key=lambda trial: (TASKS.index(_parts(trial)[0]), trial))
    keys = [{"trial": trial, "task": _parts(trial)[0]} for trial in trials]
    found = find_media(media_bases(where, media, *BELOW), LAYOUTS, keys, required=media is not None)
    samples = []
    for n, trial in enumerate(trials):
        task, surgeon, _ = _parts(trial)
        samples.append(
            Sample(
                id=trial,
                targets={"grs": float(sum(labels[trial])), **dict(zip(ITEMS, map(float, labels[trial]), strict=True))},
                media=None if found is None else Media(found.paths[n]),
                group=task,
                judges=tuple(map(float, labels[trial])),  # one rater's items, which MUSDL models as its judges
                subject=surgeon,
                attributes={"skill": SKILLS[skills[trial]]} if trial in skills else {},
            )
        )
    return Dataset(
        name=ABOUT.name,
        samples=tuple(samples),
        targets=(
            Target("grs", ranges={"": (6.0, 30.0)}),
            *(Target(item, ranges={"": (1.0, 5.0)}) for item in ITEMS),
        ),
        protocols=_protocols(where, trials),
        plans={"*": "10x16of160"},
        problems=tuple(problems),
    )


def _kinematics(root: Path) -> dict[str, np.ndarray]:
    """Trial -> [T, 76], a row per frame of the video, of the trials that have a file. Raises AnnotationError."""
    where = bases(root, *BELOW)
    found = {}
    for trial in _labels(where)[0]:
        names = [name.format(task=_parts(trial)[0], trial=trial) for name in KINEMATICS]
        if (file := find_file(where, names)) is not None:
            found[trial] = read_table(file, COLUMNS, trial)
    if not found:
        raise AnnotationError(f"no kinematics: looked for {', '.join(KINEMATICS)}", file=root)
    return found


STREAMS = {"kinematics": _kinematics}


def _protocols(where: Sequence[Path], trials: Sequence[str]) -> tuple[Protocol, ...]:
    out: dict[str, list[Fold]] = {"supertrial": [], "user": []}
    for task in dict.fromkeys(_parts(trial)[0] for trial in trials):
        ids = [trial for trial in trials if _parts(trial)[0] == task]
        out["supertrial"] += leave_one_out(ids, [_parts(i)[2] for i in ids], group=task)
        out["user"] += leave_one_out(ids, [_parts(i)[1] for i in ids], group=task)
    protocols = [
        Protocol(
            "leave-one-supertrial-out",
            tuple(out["supertrial"]),
            pooled=True,
            note="the n-th repetition of every surgeon is left out: all surgeons are in train",
        ),
        Protocol(
            "leave-one-user-out",
            tuple(out["user"]),
            pooled=True,
            note="one surgeon is left out: the only protocol that says how a new surgeon would be marked",
        ),
    ]
    file = find_file(where, ("info/splits.pkl", "splits.pkl"))
    if file is not None:
        note = "MUSDL's folds, random over trials: 7 to 10 test trials, whose surgeons are in train as well"
        protocols.insert(0, Protocol("four-fold", _four_folds(file, trials), note=note))
    return tuple(protocols)


def _four_folds(file: Path, trials: Sequence[str]) -> tuple[Fold, ...]:
    plain = load_pickle(file)
    if not isinstance(plain, dict) or not plain.keys() <= set(TASKS):
        raise SplitError(f"not the folds of {', '.join(TASKS)}", file=file)
    folds = []
    for task in TASKS:
        ids = [trial for trial in trials if _parts(trial)[0] == task]
        if not ids or task not in plain:
            continue
        tests = [[str(trial) for trial in fold] for fold in plain[task]]
        listed = [trial for test in tests for trial in test]
        if sorted(listed) != sorted(ids):
            odd = sorted({i for i in {*listed, *ids} if listed.count(i) != 1 or i not in ids})
            raise SplitError(f"each trial of {task} must be in one fold: {', '.join(odd[:5])}", file=file)
        for n, test in enumerate(tests):
            folds.append(Fold(str(n), tuple(i for i in ids if i not in test), tuple(test), task))
    return tuple(folds)


def _parts(trial: str) -> tuple[str, str, str]:
    match = TRIAL.fullmatch(trial)
    if match is None:
        raise AnnotationError("not the name of a trial, such as Knot_Tying_B001", sample=trial, field="id")
    return match[1], match[2], match[3]


def _labels(where: Sequence[Path]) -> tuple[dict[str, tuple[int, ...]], dict[str, str], list[Problem]]:
    """Trial -> six items, trial -> self-proclaimed skill (from the release's files), and what is odd."""
    metas = {task: f"meta_file_{task}.txt" for task in TASKS}
    files = [find_file(where, (f"{task}/{name}", name, f"info/{name}")) for task, name in metas.items()]
    skills: dict[str, str] = {}
    labels: dict[str, tuple[int, ...]] = {}
    problems: list[Problem] = []
    for file in files:
        if file is not None:
            problems += _read_meta(file, labels, skills)
    wanted = ("info/label.pkl", "label.pkl", *(f"{task}/{name}" for task, name in metas.items()))
    pickled = find_file(where, wanted[:2]) if labels else need_file(where, wanted, what="labels of JIGSAWS")
    if pickled is not None:
        labels = _read_pickle(pickled)
    for trial, items in labels.items():
        _parts(trial)
        if len(items) != len(ITEMS) or not all(1 <= item <= 5 for item in items):
            raise AnnotationError(f"wanted six items of 1..5, got {items}", file=pickled, sample=trial, field="grs")
    return labels, skills, problems


def _read_pickle(file: Path) -> dict[str, tuple[int, ...]]:
    plain: Mapping[Any, Any] = load_pickle(file)
    try:
        return {str(trial): tuple(int(item) for item in items) for trial, items in plain.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise AnnotationError(f"not a table of trial -> six items: {error}", file=file) from error


def _read_meta(file: Path, labels: dict[str, tuple[int, ...]], skills: dict[str, str]) -> list[Problem]:
    """Lines of name, skill, total and six items, between any number of tabs."""
    problems = []
    for n, line in enumerate(text(file).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            trial, skill, total, *items = words
            marks = tuple(int(item) for item in items)
            stated = int(total)
        except ValueError as error:
            raise AnnotationError(f"line {n} is not name, skill, total, six items: {error}", file=file) from error
        labels[trial] = marks
        if skill in SKILLS:
            skills[trial] = skill
        if stated != sum(marks):
            said = f"the total is given as {stated}, the six items add up to {sum(marks)}, which is used"
            problems.append(Problem(trial, "grs", said))
    return problems
