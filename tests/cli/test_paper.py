"""`--protocol paper`: the settings of papers, and rows that say where the test part was looked at."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from aqa import heads
from aqa.catalog.aqa7 import PUBLISHED
from aqa.heads.gdlt import Gdlt

APPARATUS = {"Ball": 250, "Clubs": 400, "Hoop": 500, "Ribbon": 150}  # epochs of GDLT
SGD = {"optimiser": "sgd", "lr": 0.01, "weight_decay": 1e-4, "schedule": "cosine", "batch": 32, "margin": 1}  # of GDLT
ADAM = {"optimiser": "adam", "lr": 1e-4, "weight_decay": 1e-5, "batch": 4, "epochs": 100, "dropout": 0, "scale": "none"}
COFINAL_RG = {"optimiser": "sgd", "lr": 0.01, "schedule": "cosine", "weight_decay": 1e-4, "batch": 32, "theta": 25}
FEW = {"Ball": 4, "Clubs": 3, "Hoop": 5, "Ribbon": 2}


@pytest.mark.parametrize(
    ("head", "place", "facts"),
    [
        ("mlp", ("mtl-aqa", "", "score"), {"batch": 3, "divisor": 17, "select": "test"}),
        ("mtl", ("mtl-aqa", "", "score"), {"batch": 3, "divisor": 17, "gamma": 0.01, "lr": 1e-4, "epochs": 100}),
        ("usdl", ("mtl-aqa", "", "score"), {"bins": 101, "sigma": 5, "weight_decay": 0, "batch": 4, "epochs": 100}),
        ("usdl", ("jigsaws", "Suturing", "grs"), {"bins": 25, "sigma": 1, "epochs": 80, "select": "last"}),
        ("musdl", ("mtl-aqa", "", "score"), {"bins": 21, "sigma": 5, "weight_decay": 1e-5, "select": "test"}),
        ("musdl", ("jigsaws", "Suturing", "grs"), {"bins": 5, "lowest": 1, "highest": 5, "weight_decay": 0}),
        ("dae", ("mtl-aqa", "", "score"), {"loss_kind": "released", "batch": 8, "weight_decay": 1e-5, "lr": 1e-4}),
        ("core", ("mtl-aqa", "", "score"), {"lr": 1e-3, "batch": 2, "theta": 30, "epochs": 200, "votes": 10}),
        ("core", ("aqa-7", "diving", "score"), {"lr": 1e-3, "batch": 4, "theta": None, "weight_decay": 0}),
        ("dae-core", ("mtl-aqa", "", "score"), {"theta": 30, "loss_kind": "released", "calibrate": False}),
        ("t2cr", ("mtl-aqa", "", "score"), {"lr": 1e-3, "weight_decay": 0, "batch": 3, "epochs": 200, "votes": 10}),
        ("t2cr", ("finediving", "", "score"), {"batch": 2, "by": "kind", "scale": "none", "select": "test"}),
        ("gdlt", ("fis-v", "", "tes"), {**SGD, "crop": 124, "dropout": 0.7, "epochs": 320, "triplet": 0.5}),
        ("gdlt", ("fis-v", "", "pcs"), {**SGD, "crop": 124, "dropout": 0.7, "epochs": 400, "theta": 45, "divisor": 45}),
        ("gdlt", ("mtl-aqa", "", "score"), {**ADAM, "theta": 30, "divisor": 1}),
        ("gdlt", ("finediving", "", "score"), {**ADAM, "theta": 30, "divisor": 1}),
        ("gdlt", ("logo", "", "score"), {**ADAM, "theta": 100, "divisor": 1}),
        ("gdlt", ("aqa-7", "diving", "score"), {**ADAM, "theta": None, "divisor": 0.81}),
        ("gdlt", ("jigsaws", "Suturing", "grs"), {**ADAM, "theta": None, "divisor": 1}),
        *(
            (
                "gdlt",
                ("rhythmic-gymnastics", group, "total"),
                {**SGD, "crop": 68, "epochs": epochs, "dropout": 0.3, "triplet": 1, "theta": 25, "divisor": 25},
            )
            for group, epochs in APPARATUS.items()
        ),
        ("hgcn", ("mtl-aqa", "", "score"), {"groups": 8, "batch": 2, "lr": 1e-4, "weight_decay": 1e-5, "divisor": 1}),
        ("hgcn", ("finediving", "", "score"), {"groups": 8, "batch": 4, "weight_decay": 1e-5, "scale": "none"}),
        ("hgcn", ("aqa-7", "diving", "score"), {"groups": 8, "batch": 4, "weight_decay": 1e-5, "epochs": 100}),
        (
            "hgcn",
            ("rhythmic-gymnastics", "Ball", "total"),
            {"groups": 1, "batch": 32, "weight_decay": 1e-4, "crop": 68},
        ),
        ("hgcn", ("fis-v", "", "tes"), {"groups": 1, "batch": 4, "weight_decay": 1e-4, "crop": 68, "mask": "released"}),
        ("hgcn", ("logo", "", "score"), {"groups": 1, "batch": 4, "weight_decay": 1e-4, "crop": 48, "select": "test"}),
        ("attention", ("mtl-aqa", "", "score"), {"batch": 8, "scale": "standard", "select": "val"}),
        (
            "cofinal",
            ("mtl-aqa", "", "score"),
            {"theta": 30, "lr": 1e-4, "weight_decay": 1e-4, "batch": 2, "weights": 2},
        ),
        (
            "cofinal",
            ("finediving", "", "score"),
            {"theta": 30, "width": 128, "classes": 100, "weights": 1, "dropout": 0},
        ),
        ("cofinal", ("aqa-7", "diving", "score"), {"theta": None, "width": 128, "weight_decay": 1e-5, "weights": 1}),
        ("cofinal", ("logo", "", "score"), {"theta": 100, "lr": 0.01, "batch": 4, "triplet": 0.5, "negative": False}),
        *(
            ("cofinal", ("rhythmic-gymnastics", group, "total"), {**COFINAL_RG, **facts})
            for group, facts in {
                "Ball": {"epochs": 250, "weights": 2, "negative": True, "align": 1},
                "Clubs": {"epochs": 400, "weights": 3, "negative": True, "align": 1},
                "Hoop": {"epochs": 300, "weights": 2, "negative": True, "align": 2},
                "Ribbon": {"epochs": 150, "weights": 3, "negative": False, "align": 1},
            }.items()
        ),
        *(
            (
                "cofinal",
                ("fis-v", "", target),
                {"hidden": 448, "heads": 7, "epochs": 200, "triplet": 0.5, "dropout": 0.3},
            )
            for target in ("tes", "pcs")
        ),
        ("tpt", ("mtl-aqa", "", "score"), {"lr": 1e-4, "comparing_lr": 1e-3, "batch": 24, "epochs": 250, "theta": 30}),
        ("tpt", ("aqa-7", "diving", "score"), {"theta": None, "votes": 10, "margin": 3.2, "select": "test"}),
        ("mcore", ("finediving", "", "score"), {"epochs": 200, "by": "kind", "scale": "none", "use_difficulty": False}),
        ("mcore", ("mtl-aqa", "", "score"), {"lr": 1e-3, "batch": 8, "votes": 10, "by": "auto", "select": "test"}),
        ("tsa", ("finediving", "", "score"), {"epochs": 200, "by": "kind", "lr": 1e-3, "batch": 8, "told": 0.25}),
        ("hpmcore", ("finediving", "", "score"), {"epochs": 201, "schedule": "cosine", "lr": 5e-4, "by": "kind"}),
        ("hpmcore", ("mtl-aqa", "", "score"), {"use_difficulty": False, "by": "auto", "votes": 10, "gcn": 64}),
        ("gcn", ("mtl-aqa", "", "score"), {"lr": 5e-4, "batch": 8, "scale": "none", "select": "val"}),
        ("ridge", ("mtl-aqa", "", "score"), {}),
    ],
)
def test_settings_are_those_of_the_specifications(head: str, place: tuple[str, str, str], facts: dict[str, object]):
    made = heads.make_head(head, {}, heads.published(head, *place))
    assert {name: getattr(made, name) for name in facts} == facts


def test_the_unit_of_gdlt_on_aqa_7_is_a_hundredth_of_the_range():
    for sport, (low, high) in PUBLISHED.items():
        assert heads.published("gdlt", "aqa-7", sport, "score")["divisor"] == pytest.approx((high - low) / 100)


def test_epochs_of_each_apparatus_and_one_average(aqa, value, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = {f"rhythmic-gymnastics/{group}": {"epochs": epochs} for group, epochs in FEW.items()}
    monkeypatch.setattr(Gdlt, "published", {**Gdlt.published, **few})
    rng = np.random.default_rng(0)
    root = tmp_path / "RG"
    root.mkdir()
    features = tmp_path / "features"
    features.mkdir()
    for part, count in (("train", 8), ("test", 6)):
        lines = ["Video_Name Difficulty_Score Execution_Score Total_Score Penalty Video_length"]
        for name in (f"{apparatus}_{part == 'test':d}{k:02d}" for apparatus in APPARATUS for k in range(count)):
            difficulty, execution = rng.uniform(2, 10, 2).round(2)
            lines.append(f"{name} {difficulty:.2f} {execution:.2f} {difficulty + execution:.2f} 0.00 92")
            np.save(features / f"{name}.npy", rng.normal(size=(3, 4)).astype(np.float32))
        (root / f"{part}.txt").write_text("\n".join(lines) + "\n")
    words = ("cache", "import", "rhythmic-gymnastics", features, "--root", root, "--as", "vst", "--json")
    assert value(aqa(*words))["done"] == 56
    fit = ("fit", "rhythmic-gymnastics", "--head", "gdlt", "--head", "ridge", "--seeds", 1)
    rows = [row for row in value(aqa(*fit, "--protocol", "paper", "--json")) if row["head"] == "gdlt"]
    assert {row["group"]: row["config"]["epochs"] for row in rows} == FEW
    for row in rows:
        assert row["selected_on"] == "test"
        with (Path(row["run"]) / "history.csv").open() as file:
            assert len(list(csv.DictReader(file))) == FEW[row["group"]]
        with (Path(row["run"]) / "predictions.csv").open() as file:
            assert {line["part"] for line in csv.DictReader(file)} == {"test"}
    table = value(aqa("leaderboard", "rhythmic-gymnastics", "--json", "--resamples", 100))["rows"]
    average = {row["head"]: row for row in table if row["group"] == "average"}
    assert "epochs" not in average["gdlt"]["config"]
    assert average["gdlt"]["config"]["theta"] == 25
    assert "selected-on-test" in average["gdlt"]["flags"]
    assert "selected-on-test" not in average["ridge"]["flags"]
    chosen = value(aqa(*fit, "--protocol", "paper", "--set", "gdlt.epochs=2", "--set", "gdlt.select=last", "--json"))
    assert {(row["config"]["epochs"], row["selected_on"]) for row in chosen if row["head"] == "gdlt"} == {(2, "last")}
    refused = aqa(*fit, "--set", "gdlt.select=test")
    assert refused.exit_code == 2
    assert "--protocol paper, which marks its rows" in refused.stderr


def test_r_l2_of_aqa_7_is_over_the_test_scores_as_published(aqa, value, shared_data: Path):
    words = ("--root", shared_data / "aqa7", "--protocol", "paper", "--head", "mean", "--json")
    value(aqa("fit", "aqa-7", *words))
    table = value(aqa("leaderboard", "aqa-7", "--json", "--resamples", 100))["rows"]
    ranges = {row["group"]: row["range"] for row in table}
    # 17.505 to 95.624 of the scores normalised by 12.3 to 16.87
    assert ranges["gym_vault"] == pytest.approx([12.3 + 4.57 * 0.17505, 12.3 + 4.57 * 0.95624], abs=1e-3)
    assert ranges["diving"] == [21.6, 102.6]
    assert all("constants-from-test" in row["flags"] for row in table)
