"""Rhythmic Gymnastics, Fis-V and LOGO: label files and feature folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aqa import catalog
from aqa.errors import AnnotationError, SplitError

HEADER = "Video_Name\tDifficulty_Score    Execution_Score Total_Score\tPenalty\tVideo_length\n"
RG = {
    "train": "Ball_001\t10.50\t8.30\t18.80\t0.00\t92\nHoop_002\t7.20\t4.20\t10.80\t0.60\t93\n",
    "test": "Ball_022\t9.10\t7.60\t16.70\t0.00\t91\nHoop_003 9.00 6.95 15.95 0.00 90\n",
}
FIS_V = {"train": "1 28.71 29.36 1\n3 28.79 27.89 1\n7 20 21 0\n", "test": "5 32.2 28.9 0\n6 30 31 0\n"}


def write_texts(folder: Path, texts: dict[str, str], header: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, text in texts.items():
        (folder / f"{part}.txt").write_text(header + text)


def save(folder: Path, ids: list[str], clips: int = 3) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n, i in enumerate(ids):
        np.save(folder / f"{i}.npy", np.full((clips + n, 4), n, np.float32))


# --- Rhythmic Gymnastics


def test_facts_of_the_real_label_files(shared_data: Path):
    dataset = catalog.read("rhythmic-gymnastics", shared_data / "rg")
    assert len(dataset.samples) == 1000
    folds = dataset.protocol().folds
    assert [(fold.group, len(fold.train), len(fold.test)) for fold in folds] == [
        ("Ball", 200, 50),
        ("Clubs", 200, 50),
        ("Hoop", 200, 50),
        ("Ribbon", 200, 50),
    ]
    assert dataset.by_id["Ball_002"].targets == {"total": 10.8, "difficulty": 7.2, "execution": 4.2}
    assert dataset.by_id["Ball_022"].group == "Ball"
    assert dataset.problems == ()
    assert [target.name for target in dataset.targets] == ["total", "difficulty", "execution"]


@pytest.mark.parametrize("place", [".", "RG", "VST/RG"])
def test_rg_features_are_a_stream(tmp_path: Path, place: str):
    write_texts(tmp_path / place, RG, HEADER)
    ids = ["Ball_001", "Hoop_002", "Ball_022", "Hoop_003"]
    save(tmp_path / place / "swintx_avg_fps25_clip32", [*ids, "Ball_999"])
    vst = catalog.streams("rhythmic-gymnastics")["vst"](tmp_path)
    assert {i: x.shape for i, x in vst.items()} == {i: (3 + n, 4) for n, i in enumerate(ids)}
    with pytest.raises(AnnotationError, match="I3D/RG"):
        catalog.streams("rhythmic-gymnastics")["i3d"](tmp_path)


def test_missing_and_damaged_features_are_named(tmp_path: Path):
    write_texts(tmp_path, RG, HEADER)
    folder = tmp_path / "swintx_avg_fps25_clip32"
    save(folder, ["Ball_001", "Hoop_002"])
    vst = catalog.streams("rhythmic-gymnastics")["vst"]
    with pytest.raises(AnnotationError, match="2 of 4 samples are missing: Ball_022, Hoop_003"):
        vst(tmp_path)
    save(folder, ["Ball_022", "Hoop_003"])
    for bad in (np.zeros(4, np.float32), np.zeros((0, 4), np.float32), np.zeros((2, 4), np.int64)):
        np.save(folder / "Ball_022.npy", bad)
        with pytest.raises(AnnotationError, match="sample Ball_022"):
            vst(tmp_path)
    np.save(folder / "Ball_022.npy", np.array([[None]]), allow_pickle=True)
    with pytest.raises(AnnotationError, match="sample Ball_022"):
        vst(tmp_path)


def test_rg_total_that_does_not_add_up_is_said(tmp_path: Path):
    write_texts(tmp_path, {**RG, "test": RG["test"].replace("16.70", "15.70")}, HEADER)
    (problem,) = catalog.read("rhythmic-gymnastics", tmp_path).problems
    assert (problem.sample, problem.field) == ("Ball_022", "total")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Ball_009 1.0", "line 4"),
        ("Ball_009 1.0 x 2.0 0.0 90", "line 4"),
        ("Ball_009 nan 1.0 2.0 0.0 90", "no number"),
        ("Rope_009 1.0 1.0 2.0 0.0 90", "Rope_009"),
        ("Ball_001 1.0 1.0 2.0 0.0 90", "same id"),
    ],
)
def test_bad_rg_lines(tmp_path: Path, line: str, said: str):
    write_texts(tmp_path, {**RG, "train": RG["train"] + line}, HEADER)
    with pytest.raises(AnnotationError, match=said):
        catalog.read("rhythmic-gymnastics", tmp_path)


def test_rg_header_and_leak(tmp_path: Path):
    write_texts(tmp_path, RG)
    with pytest.raises(AnnotationError, match="lacks a column"):
        catalog.read("rhythmic-gymnastics", tmp_path)
    write_texts(tmp_path, {**RG, "test": RG["test"] + RG["train"]}, HEADER)
    with pytest.raises(SplitError, match="Ball_001"):
        catalog.read("rhythmic-gymnastics", tmp_path)


# --- Fis-V


def test_every_line_of_fis_v_is_read(tmp_path: Path):
    """500 lines without header: 400/100, where the released readers have 399/99."""
    rng = np.random.default_rng(0)
    ids = [str(i) for i in rng.permutation(np.arange(1, 501))]
    lines = [f"{i} {rng.uniform(6, 43):.2f} {rng.uniform(10, 38):.2f} 0" for i in ids]
    write_texts(tmp_path / "fis-v", {"train": "\n".join(lines[:400]), "test": "\n".join(lines[400:])})
    dataset = catalog.read("fis-v", tmp_path)
    sizes = {p.name: (len(p.folds[0].train), len(p.folds[0].test)) for p in dataset.protocols}
    assert sizes == {"official": (400, 100), "gdlt": (399, 99), "paper": (399, 99)}
    assert dataset.protocol().name == "official"
    assert dataset.protocol("gdlt").folds[0].train == dataset.protocol().folds[0].train[1:]
    assert set(dataset.protocol().folds[0].test) - set(dataset.protocol("gdlt").folds[0].test) == {ids[400]}


def test_fis_v_targets_and_features(tmp_path: Path):
    write_texts(tmp_path, FIS_V)
    dataset = catalog.read("fis-v", tmp_path)
    assert dataset.by_id["1"].targets == {"tes": 28.71, "pcs": 29.36}
    assert [target.name for target in dataset.targets] == ["tes", "pcs"]
    save(tmp_path / "swintx_avg_fps25_clip32", ["1", "3", "7", "5", "6"], clips=124)
    vst = catalog.streams("fis-v")["vst"](tmp_path)
    assert {i: len(x) for i, x in vst.items()} == {"1": 124, "3": 125, "7": 126, "5": 127, "6": 128}


def test_fis_v_with_a_header_that_somebody_wrote(tmp_path: Path):
    write_texts(tmp_path, FIS_V, "video TES PCS deduction\n")
    assert len(catalog.read("fis-v", tmp_path).protocol().folds[0].train) == 3


@pytest.mark.parametrize("line", ["9 28.1", "9 28,1 29", "9 inf 29 0", "1 2 3 0"])
def test_bad_fis_v_lines(tmp_path: Path, line: str):
    write_texts(tmp_path, {**FIS_V, "train": FIS_V["train"] + line})
    with pytest.raises(AnnotationError):
        catalog.read("fis-v", tmp_path)


def test_fis_v_leak(tmp_path: Path):
    write_texts(tmp_path, {**FIS_V, "test": FIS_V["test"] + "3 28.79 27.89 1"})
    with pytest.raises(SplitError, match="in train: 3"):
        catalog.read("fis-v", tmp_path)


# --- LOGO

LOGO = {
    ("WorldChampionship2019_free_final", 0): ["free", 90.25, 0.0, [3, 6], [12, 12, 12, 3, 3, 3]],
    ("WorldChampionship2019_free_final", 11): ["free", np.float64(80.5), 0.0, [2], np.array([1, 1])],
    ("WorldChampionship2022_tech", 7): ["tech", 77, 0.0, [1], [2]],
}


@pytest.fixture
def logo(dump):
    def write(folder: Path) -> None:
        keys = list(LOGO)
        dump(folder / "anno_dict.pkl", LOGO)
        dump(folder / "train_split3.pkl", keys[:2])
        dump(folder / "test_split3.pkl", keys[2:])

    return write


@pytest.mark.parametrize("place", ["LOGO/info", "info", "LOGO Anno&Split", "."])
def test_logo(tmp_path: Path, logo, touch, place: str):
    logo(tmp_path / place)
    touch(tmp_path / "LOGO/WorldChampionship2019_free_final/11", ["00000.jpg", "00001.jpg"])
    dataset = catalog.read("logo", tmp_path)
    sample = dataset.by_id["WorldChampionship2019_free_final_11"]
    assert (sample.targets, sample.kind, sample.phases) == ({"score": 80.5}, "free", (1, 1))
    assert sample.media is not None
    assert sample.media.path == tmp_path / "LOGO/WorldChampionship2019_free_final/11"
    (fold,) = dataset.protocol().folds
    assert fold.test == ("WorldChampionship2022_tech_7",)


def test_logo_features(tmp_path: Path, logo):
    logo(tmp_path / "info")
    save(tmp_path / "logo_feats", ["_".join(map(str, key)) for key in LOGO], clips=48)
    found = catalog.streams("logo")["logo_feats"](tmp_path)
    assert {i: len(x) for i, x in found.items()}["WorldChampionship2022_tech_7"] == 50
    with pytest.raises(AnnotationError, match="I3D"):
        catalog.streams("logo")["i3d"](tmp_path)


@pytest.mark.parametrize("row", [["free"], ["free", "high"], 3, ["free", 9.0, 0.0, [], ["Upper"]]])
def test_bad_logo_rows(tmp_path: Path, logo, dump, row: object):
    logo(tmp_path)
    dump(tmp_path / "anno_dict.pkl", {**LOGO, ("A", 1): row})
    with pytest.raises(AnnotationError, match="A"):
        catalog.read("logo", tmp_path)


def test_bad_logo_split(tmp_path: Path, logo, dump):
    logo(tmp_path)
    dump(tmp_path / "test_split3.pkl", list(LOGO)[:1])
    with pytest.raises(SplitError, match="free_final_0"):
        catalog.read("logo", tmp_path)
    dump(tmp_path / "test_split3.pkl", ["A_1"])
    with pytest.raises(SplitError, match="not a list"):
        catalog.read("logo", tmp_path)
