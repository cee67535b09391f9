from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from aqa import catalog
from aqa.catalog.aqa7 import PUBLISHED, SPORTS
from aqa.catalog.frames import images
from aqa.errors import AnnotationError, SplitError

ROWS = {
    "train": [[1, 54, 84.15], [2, 3, 15.0], [3, 1, 30.0], [4, 206, 42.0], [5, 88, 70.0], [6, 91, 80.0], [7, 5, 50.0]],
    "test": [[1, 21, 86.4], [2, 4, 14.1], [3, 2, 20.0], [4, 7, 41.0], [5, 1, 60.0], [6, 2, 75.0]],
}


def write_lists(folder: Path, stem: str = "split_4_{}_list.mat", scale: float = 1.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in ROWS.items():
        table = np.array(rows) * [1, 1, scale]
        scipy.io.savemat(folder / stem.format(part), {f"consolidated_{part}_list": table})


def test_facts_of_the_real_lists(shared_data: Path):
    dataset = catalog.read("aqa-7", shared_data / "aqa7")
    sizes = {fold.group: (len(fold.train), len(fold.test)) for fold in dataset.protocol().folds}
    assert sizes == {
        "diving": (300, 70),
        "gym_vault": (120, 56),
        "ski_big_air": (120, 55),
        "snowboard_big_air": (140, 66),
        "sync_diving_3m": (60, 28),
        "sync_diving_10m": (63, 28),
    }
    assert sum(train for train, _ in sizes.values()) == 803
    assert sum(test for _, test in sizes.values()) == 303
    assert dataset.protocol().folds[0].train[:3] == ("diving-054", "diving-341", "diving-041")
    assert dataset.protocol().folds[0].test[:2] == ("diving-021", "diving-133")
    assert dataset.by_id["diving-054"].targets == {"score": 84.15}
    assert dataset.protocol().groups == SPORTS
    assert dataset.protocol().average == "fisher"
    for sport in SPORTS:
        scores = [sample.targets["score"] for sample in dataset.samples if sample.group == sport]
        assert (min(scores), max(scores)) == PUBLISHED[sport]


def test_ranges(shared_data: Path):
    dataset = catalog.read("aqa-7", shared_data / "aqa7")
    official, paper, target = dataset.protocol(), dataset.protocol("paper"), dataset.target()
    fold = {fold.group: fold for fold in official.folds}
    assert dataset.score_range(target, official, "ski_big_air", fold["ski_big_air"].train) == ((0.0, 50.0), "rules")
    assert dataset.score_range(target, official, "diving", fold["diving"].train)[1] == "train"
    assert dataset.score_range(target, paper, "gym_vault", fold["gym_vault"].train) == ((12.3, 16.87), "protocol")
    assert (official.flags, paper.flags) == ((), ("constants-from-test",))


@pytest.mark.parametrize("stem", ["split_4_{}_list.mat", "consolidated_{}_list.mat"])
def test_scores_times_100_are_recognised(tmp_path: Path, stem: str):
    write_lists(tmp_path / "Split_4", stem, scale=100)
    dataset = catalog.read("aqa-7", tmp_path)
    assert dataset.by_id["diving-054"].targets["score"] == pytest.approx(84.15)
    assert dataset.by_id["gym_vault-003"].targets["score"] == pytest.approx(15)


def test_trampoline_is_left_out(tmp_path: Path):
    write_lists(tmp_path / "Split_4")
    dataset = catalog.read("aqa-7", tmp_path)
    assert len(dataset.samples) == 12
    assert {sample.group for sample in dataset.samples} == set(SPORTS)


LAYOUTS = [
    ("Seven/{sport}-out/{id:03d}", "Seven/Split_4"),
    ("AQA-7/data/{sport}-out/{id:03d}", "AQA-7/Split_4"),
    ("data_preprocessed/AQA_7/frames/{sport}-out/{id:03d}", "data_preprocessed/AQA_7/info"),
    ("AQA_7/frames/{sport}-out/{id:03d}", "AQA_7/info"),
    ("{sport}-out/{id:03d}", "Split_4"),
    ("frames/{sport}-out/{id:03d}", "info"),
]


@pytest.mark.parametrize(("template", "lists"), LAYOUTS)
def test_frames_1_to_103_of_every_folder(tmp_path: Path, touch, template: str, lists: str):
    write_lists(tmp_path / lists)
    touch(tmp_path / template.format(sport="diving", id=54), [f"img_{n:05d}.jpg" for n in range(1, 111)])
    touch(tmp_path / template.format(sport="sync_diving_10m", id=2), [f"img_{n:05d}.jpg" for n in range(1, 104)])
    for root in {tmp_path, tmp_path / lists, (tmp_path / lists).parent}:
        dataset = catalog.read("aqa-7", root)
        for i in ("diving-054", "sync_diving_10m-002"):
            media = dataset.by_id[i].media
            assert media is not None
            assert list(images(media.path)[media.start : media.stop]) == [f"img_{n:05d}.jpg" for n in range(1, 104)]


@pytest.mark.parametrize(("template", "lists"), LAYOUTS)
def test_videos_are_the_twin_of_every_layout(tmp_path: Path, touch, template: str, lists: str):
    write_lists(tmp_path / lists)
    video = tmp_path / f"{template.format(sport='diving', id=54)}.avi"
    touch(video.parent, [video.name])
    media = catalog.read("aqa-7", tmp_path).by_id["diving-054"].media
    assert media is not None
    assert (media.path, media.start, media.stop) == (video, 0, 103)
    missing = catalog.read("aqa-7", tmp_path).by_id["gym_vault-003"].media
    assert missing is not None
    assert missing.path == tmp_path / f"{template.format(sport='gym_vault', id=3)}.avi"


def test_a_leak_is_a_split_error(tmp_path: Path):
    write_lists(tmp_path)
    table = np.array([*ROWS["test"], [1, 54, 84.15]])
    scipy.io.savemat(tmp_path / "split_4_test_list.mat", {"consolidated_test_list": table})
    with pytest.raises(SplitError, match="diving-054"):
        catalog.read("aqa-7", tmp_path)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([[8, 1, 50.0]], "no such class"),
        ([[1, 1.5, 50.0]], "no such class"),
        ([[1, 1]], "rows of class"),
        ([[7, 1, 50.0]], "empty"),
        ([[1, 1, np.nan]], "nan"),
    ],
)
def test_bad_lists(tmp_path: Path, table: list, said: str):
    write_lists(tmp_path)
    scipy.io.savemat(tmp_path / "split_4_train_list.mat", {"consolidated_train_list": np.array(table)})
    with pytest.raises(AnnotationError, match=said):
        catalog.read("aqa-7", tmp_path)


def test_a_file_that_is_no_list(tmp_path: Path):
    write_lists(tmp_path)
    (tmp_path / "split_4_train_list.mat").write_bytes(b"not MATLAB at all" * 20)
    with pytest.raises(AnnotationError, match=r"split_4_train_list\.mat"):
        catalog.read("aqa-7", tmp_path)
    scipy.io.savemat(tmp_path / "split_4_train_list.mat", {"other": np.zeros((1, 3))})
    with pytest.raises(AnnotationError, match="field consolidated_train_list"):
        catalog.read("aqa-7", tmp_path)
