from __future__ import annotations

from pathlib import Path

import pytest

from aqa import catalog
from aqa.catalog.frames import images
from aqa.catalog.jigsaws import ITEMS, TASKS
from aqa.errors import AnnotationError, SplitError

LABELS = {f"{task}_{surgeon}00{n}": [1, 2, 3, 4, 5, n] for task in TASKS for surgeon in "BC" for n in (1, 2)}
FOLDS = {task: [[f"{task}_B001", f"{task}_C002"], [f"{task}_B002", f"{task}_C001"]] for task in TASKS}


@pytest.fixture
def tiny(dump):
    def write(info: Path) -> None:
        dump(info / "label.pkl", LABELS)
        dump(info / "splits.pkl", FOLDS)

    return write


def test_facts_of_the_real_files(shared_data: Path):
    dataset = catalog.read("jigsaws", shared_data / "jigsaws")
    assert [protocol.name for protocol in dataset.protocols] == [
        "four-fold",
        "leave-one-supertrial-out",
        "leave-one-user-out",
    ]
    four = dataset.protocol()
    sizes = {task: [len(fold.test) for fold in four.folds if fold.group == task] for task in TASKS}
    assert sizes == {"Knot_Tying": [9, 9, 9, 9], "Needle_Passing": [7, 7, 7, 7], "Suturing": [9, 10, 10, 10]}
    assert (four.average, four.pooled, four.flags) == ("fisher", False, ())
    first = next(fold for fold in four.folds if fold.group == "Knot_Tying")
    short = "H005 G003 C004 H003 G001 F005 I001 I002 B001"
    assert first.test == tuple(f"Knot_Tying_{name}" for name in short.split())
    assert set(first.train) | set(first.test) == {s.id for s in dataset.samples if s.group == "Knot_Tying"}
    assert len(dataset.samples) == 103


def test_targets(shared_data: Path):
    dataset = catalog.read("jigsaws", shared_data / "jigsaws")
    assert [target.name for target in dataset.targets] == ["grs", *ITEMS]
    sample = dataset.by_id["Needle_Passing_B001"]
    assert sample.targets["grs"] == 8
    assert [sample.targets[item] for item in ITEMS] == [1, 1, 1, 2, 1, 2]
    assert (sample.group, sample.subject) == ("Needle_Passing", "B")
    for task, low, high in (("Knot_Tying", 6, 22), ("Needle_Passing", 7, 24), ("Suturing", 8, 30)):
        totals = [s.targets["grs"] for s in dataset.samples if s.group == task]
        assert (min(totals), max(totals)) == (low, high)
    assert dataset.target().ranges == {"": (6, 30)}
    assert dataset.target("time_and_motion").ranges == {"": (1, 5)}


def test_leave_one_out_protocols(shared_data: Path):
    dataset = catalog.read("jigsaws", shared_data / "jigsaws")
    assert len(dataset.shared_subjects(dataset.protocol())) == 8
    sizes = {"leave-one-supertrial-out": (5, 5, 5), "leave-one-user-out": (8, 7, 8)}  # G passed no needles
    for name, folds in sizes.items():
        protocol = dataset.protocol(name)
        assert protocol.pooled
        for task, count in zip(TASKS, folds, strict=True):
            mine = [fold for fold in protocol.folds if fold.group == task]
            assert len(mine) == count
            tested = sorted(i for fold in mine for i in fold.test)
            assert tested == sorted(s.id for s in dataset.samples if s.group == task)
    assert dataset.shared_subjects(dataset.protocol("leave-one-user-out")) == ()
    supertrial = dataset.protocol("leave-one-supertrial-out").folds[0]
    assert {i[-3:] for i in supertrial.test} == {"001"}


def meta(task: str) -> str:
    """The release's lines: irregular double tabs, CRLF."""
    lines = []
    for trial, items in LABELS.items():
        if trial.startswith(task):
            lines.append(f"{trial} \t\t N \t {sum(items)} \t\t " + "\t".join(map(str, items)))
    return "\r\n".join(lines) + "\r\n\r\n"


@pytest.mark.parametrize("place", ["JIGSAWS/{0}/meta_file_{0}.txt", "{0}/meta_file_{0}.txt", "meta_file_{0}.txt"])
def test_the_release_s_own_files(tmp_path: Path, place: str):
    for task in TASKS:
        path = tmp_path / place.format(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(meta(task).encode())
    dataset = catalog.read("jigsaws", tmp_path)
    assert [protocol.name for protocol in dataset.protocols] == ["leave-one-supertrial-out", "leave-one-user-out"]
    sample = dataset.by_id["Suturing_C002"]
    assert (sample.targets["grs"], sample.attributes, sample.subject) == (17, {"skill": "novice"}, "C")


def test_one_task_alone_and_a_total_that_does_not_add_up(tmp_path: Path, dump):
    (tmp_path / "meta_file_Suturing.txt").write_text(meta("Suturing").replace("N \t 16", "N \t 26"))
    dump(tmp_path / "splits.pkl", FOLDS)
    dataset = catalog.read("jigsaws", tmp_path)
    assert dataset.protocol("four-fold").groups == ("Suturing",)
    assert [problem.sample for problem in dataset.problems] == ["Suturing_B001", "Suturing_C001"]
    assert "26" in dataset.problems[0].message
    assert dataset.by_id["Suturing_B001"].targets["grs"] == 16


LAYOUTS = [
    ("JIGSAWS/data/frames/{trial}_capture1", "JIGSAWS/data/info"),
    ("data/frames/{trial}_capture1", "data/info"),
    ("{task}/video/{trial}_capture1", "info"),
    ("JIGSAWS/{task}/video/{trial}_capture1", "JIGSAWS/info"),
    ("video/{trial}_capture1", "."),
    ("{trial}_capture1", "info"),
]


@pytest.mark.parametrize("suffix", ["", ".avi"])
@pytest.mark.parametrize(("template", "info"), LAYOUTS)
def test_all_frames_of_the_left_camera(tmp_path: Path, tiny, touch, template: str, info: str, suffix: str):
    tiny(tmp_path / info)
    path = tmp_path / (template.format(task="Suturing", trial="Suturing_C002") + suffix)
    if suffix:
        touch(path.parent, [path.name, path.name.replace("capture1", "capture2")])
    else:
        touch(path, ["frame_0002.png", "frame_0001.png", "frame_0010.png"])
    dataset = catalog.read("jigsaws", tmp_path)
    media = dataset.by_id["Suturing_C002"].media
    assert media is not None
    assert (media.path, media.start, media.stop) == (path, 0, None)
    if not suffix:
        assert images(media.path) == ("frame_0001.png", "frame_0002.png", "frame_0010.png")
    assert dataset.plans == {"*": "10x16of160"}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"Suturing_B001": [1, 2, 3]}, "six items"),
        ({"Suturing_B001": [1, 2, 3, 4, 5, 6]}, "1..5"),
        ({"Sewing_B001": [1] * 6}, "not the name of a trial"),
        ([1, 2], "not a table"),
        ({"Suturing_B001": [1] * 6}, None),
    ],
)
def test_bad_labels(tmp_path: Path, dump, labels: object, said: str | None):
    dump(tmp_path / "label.pkl", labels)
    with pytest.raises(AnnotationError if said else SplitError, match=said):  # one trial cannot be left out alone
        catalog.read("jigsaws", tmp_path)


def test_folds_must_hold_every_trial_once(tmp_path: Path, tiny, dump):
    tiny(tmp_path)
    dump(tmp_path / "splits.pkl", {**FOLDS, "Suturing": [["Suturing_B001"], ["Suturing_B001", "Suturing_C002"]]})
    with pytest.raises(SplitError, match="Suturing_B001, Suturing_B002"):
        catalog.read("jigsaws", tmp_path)
    dump(tmp_path / "splits.pkl", {"Sewing": []})
    with pytest.raises(SplitError, match="not the folds"):
        catalog.read("jigsaws", tmp_path)
    (tmp_path / "meta_file_Suturing.txt").write_text("Suturing_B001 N x 1 1 1 1 1 1")
    with pytest.raises(AnnotationError, match="line 1"):
        catalog.read("jigsaws", tmp_path)
