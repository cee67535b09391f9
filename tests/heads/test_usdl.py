"""`usdl` and `musdl`: size, soft labels of the specification, the loss on five samples by hand, decoding, refusals."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm, spearmanr

from aqa.errors import BadParameter, UnmetNeeds
from aqa.heads import FeatureSet, make_head
from aqa.heads.batches import Batch
from aqa.heads.judges import total
from aqa.heads.noise import Live
from aqa.heads.torch_head import Spec, Step, built
from aqa.heads.usdl import Musdl, PanelNet, Usdl, soft_labels

STEP, NOISE = Step(0, 0), Live(torch.Generator())
MakeSpec = Callable[..., Spec]
Dives = Callable[..., FeatureSet]


def labels_at(centre: float, bins: int, sigma: float) -> np.ndarray:
    """[bins] by the density itself."""
    density = norm.pdf(np.arange(bins), centre, sigma)
    return density / density.sum()


def test_sizes_are_the_published_ones(make_spec: MakeSpec):
    usdl = built(Usdl(), make_spec(1024), 0)
    musdl = built(Musdl(), make_spec(1024, judges=7, constants={"lowest": 0.0, "highest": 10.0}), 0)
    assert sum(p.numel() for p in usdl.parameters()) == 308_325
    assert sum(p.numel() for p in musdl.parameters()) == 2_086_035


def test_the_label_of_a_score_of_88():
    label = soft_labels(torch.tensor([88 * 100 / 104.5], dtype=torch.float64), 101, 5.0)[0].exp().numpy()
    assert label.sum() == pytest.approx(1)
    assert label.argmax() == 84
    assert label.max() == pytest.approx(0.0798, abs=5e-5)
    assert label @ np.arange(101) == pytest.approx(84.20, abs=5e-3)
    assert -(label * np.log(label)).sum() == pytest.approx(3.02, abs=5e-3)
    assert label == pytest.approx(labels_at(84.2105263, 101, 5.0), abs=1e-9)


@pytest.mark.parametrize(("judge", "expected"), [(9.5, 7.96), (10.0, 8.16), (0.0, 1.84)])
def test_the_labels_of_judges_are_so_wide_that_their_expectation_is_another_mark(judge: float, expected: float):
    label = soft_labels(torch.tensor(judge * 2, dtype=torch.float64), 21, 5.0).exp().numpy()
    assert label.argmax() / 2 == judge
    assert label @ np.arange(21) / 2 == pytest.approx(expected, abs=5e-3)
    head, logits = Musdl(decode="expectation"), torch.from_numpy(np.log(label))
    assert head.decoded(logits)[0].item() * 10 == pytest.approx(expected, abs=5e-3)
    assert Musdl().decoded(logits)[0].item() * 10 == pytest.approx(judge)


def test_the_bins_of_jigsaws_are_the_sums_and_the_marks(make_spec: MakeSpec):
    head = Usdl(bins=25, sigma=1)
    net = built(head, make_spec(low=6.0, high=30.0), 0)
    assert isinstance(net, PanelNet)
    for total_mark in (6, 17, 30):
        place = torch.tensor([(total_mark - 6) / 24])
        likeliest = soft_labels(place * 24, 25, 1.0)
        assert likeliest.argmax().item() + 6 == total_mark
        decoded = head.decoded(likeliest)[0]
        assert (net.origin + net.unit * decoded).item() == pytest.approx(total_mark)


def test_labels_of_mtl_aqa_lose_little(shared_data: Path):
    """Of the specification: the true scores of the test part, put into 101 bins, have an MSE of .089."""
    with (shared_data / "mtl-aqa" / "derived_mtl_aqa.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    truth = np.array([float(row["final_score"]) for row in rows])
    decoded, _ = Usdl().decoded(soft_labels(torch.from_numpy(truth / 104.5 * 100), 101, 5.0))
    score = decoded.numpy() * 104.5
    assert np.mean((score - truth) ** 2) == pytest.approx(0.089, abs=5e-4)
    assert spearmanr(score, truth)[0] == pytest.approx(0.9998, abs=5e-5)


def test_judges_of_mtl_aqa_make_the_score(shared_data: Path):
    """Of the specification: the annotated judges through the rule rank at .9998 with an MSE of .055."""
    with (shared_data / "mtl-aqa" / "derived_mtl_aqa.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    judges = torch.tensor([[float(row[f"j{i}"]) for i in range(1, 8)] for row in rows], dtype=torch.float64)
    place, variance = Musdl().decoded(soft_labels(judges * 2, 21, 5.0))
    mark, _ = total(10 * place, variance, middle=True)
    score = mark.numpy() * np.array([float(row["difficulty"]) for row in rows])
    truth = np.array([float(row["final_score"]) for row in rows])
    assert np.mean((score - truth) ** 2) == pytest.approx(0.055, abs=5e-4)
    assert spearmanr(score, truth)[0] == pytest.approx(0.9998, abs=5e-5)


def forward(net: torch.nn.Module, batch: Batch, copies: int) -> np.ndarray:
    """Probabilities [B, copies, bins] by hand."""
    w = {name: value.detach().numpy() for name, value in net.named_parameters()}
    out = []
    for clips, there in zip(batch.streams["x"].numpy(), batch.masks["x"].numpy(), strict=True):
        x = clips[there].mean(axis=0)
        for j in range(copies):
            h = x
            for k in range(3):
                h = h @ w[f"layers.{k}.weight"][j] + w[f"layers.{k}.bias"][j, 0]
                h = np.maximum(h, 0) if k < 2 else h
            out.append(np.exp(h) / np.exp(h).sum())
    return np.array(out).reshape(len(batch.score), copies, -1)


@pytest.mark.parametrize("times_difficulty", [False, True])
def test_the_loss_of_usdl_is_the_divergence_over_the_bins(make_spec: MakeSpec, five: Batch, times_difficulty: bool):
    head = Usdl(bins=31, sigma=2.0, use_difficulty=times_difficulty)
    high = 50.0 if times_difficulty else 120.0
    net = built(head, make_spec(times_difficulty=times_difficulty, low=10.0, high=high), 0).double()
    chance, d = forward(net, five, 1)[:, 0], five.difficulty.numpy() if times_difficulty else np.ones(5)
    total_loss = 0.0
    for p, score, one in zip(chance, five.score.numpy(), d, strict=True):
        label = labels_at((score / one - 10) / (high - 10) * 30, 31, 2.0)
        total_loss += (label * np.log(label / p)).sum() / 31 / 5
    assert head.loss(net, five, NOISE, STEP).item() == pytest.approx(total_loss, abs=1e-12)
    width = (high - 10) / 30
    said = head.judge(net, five)
    assert said["score"].numpy(force=True) == pytest.approx((10 + width * chance.argmax(axis=1)) * d)
    mean = chance @ np.arange(31)
    sd = np.sqrt((chance * (np.arange(31) - mean[:, None]) ** 2).sum(axis=1) + 1 / 12)
    assert said["spread"].numpy(force=True) == pytest.approx(width * sd * d)
    expected = Usdl(bins=31, decode="expectation").judge(net, five)
    assert expected["score"].numpy(force=True) == pytest.approx((10 + width * mean) * d)


@pytest.mark.parametrize("times_difficulty", [False, True])
def test_the_loss_of_musdl_is_added_up_over_judges(make_spec: MakeSpec, five: Batch, times_difficulty: bool):
    head = Musdl(bins=9, sigma=1.5)
    spec = make_spec(times_difficulty=times_difficulty, judges=5, constants={"lowest": 1.0, "highest": 9.0})
    net = built(head, spec, 0).double()
    marks = np.random.default_rng(3).integers(2, 18, (5, 5)) / 2
    batch = five._replace(judges=torch.from_numpy(marks))
    chance = forward(net, batch, 5)
    wanted = 0.0
    for i in range(5):
        for j in range(5):
            label = labels_at(marks[i, j] - 1, 9, 1.5)
            wanted += (label * np.log(label / chance[i, j])).sum() / 9 / 5
    assert head.loss(net, batch, NOISE, STEP).item() == pytest.approx(wanted, abs=1e-12)
    said = head.judge(net, batch)
    for i in range(5):
        judged, steps = 1 + chance[i].argmax(axis=1), np.arange(9)
        variance = (chance[i] * (steps - chance[i] @ steps[:, None]) ** 2).sum(axis=1) + 1 / 12
        counted = np.argsort(judged, kind="stable")[1:4] if times_difficulty else np.arange(5)
        d = five.difficulty[i].item() if times_difficulty else 1.0
        assert said["score"][i].item() == pytest.approx(judged[counted].sum() * d)
        assert said["spread"][i].item() == pytest.approx(np.sqrt(variance[counted].sum()) * d)


@pytest.mark.parametrize("name", ["usdl", "musdl"])
def test_it_learns_32_samples_by_heart(name: str, dives: Dives):
    train = dives(32)
    settings = {"lr": "1e-3", "epochs": "60", "sigma": "1.0"}
    (fitted,) = make_head(name, settings).fit(train, None, seeds=[0], device="cpu")
    assert np.abs(fitted.predict(train).score - train.score).max() < 0.1 * np.ptp(train.score)


def test_scores_beyond_the_range_are_its_ends(make_spec: MakeSpec, five: Batch):
    net = built(Usdl(), make_spec(low=50.0, high=60.0), 0).double()
    inside = five._replace(score=five.score.clamp(50, 60))
    assert Usdl().loss(net, five, NOISE, STEP) == Usdl().loss(net, inside, NOISE, STEP)


def test_marks_that_are_not_of_ten_points_have_the_range_of_train(dives: Dives):
    train = dives(20)
    items = np.random.default_rng(1).integers(1, 6, (20, 6)).astype(float)
    jigsaws = replace(train, judges=items, score=items.sum(axis=1), range=(6.0, 30.0), times_difficulty=False)
    (fitted,) = Musdl(epochs=1, bins=5, sigma=1).fit(jigsaws, seeds=[0])
    score = fitted.predict(jigsaws).score
    assert np.array_equal(score, np.round(score))
    assert ((score >= 6) & (score <= 30)).all()
    assert fitted.spec.constants == {"lowest": 1.0, "highest": 5.0}


@pytest.mark.parametrize("name", ["musdl", "dae-musdl"])
def test_judges_that_are_missing_or_make_another_score_are_refused(name: str, dives: Dives):
    train, head = dives(20), make_head(name, {"epochs": "1"})

    def refused(data: FeatureSet, said: str) -> None:
        with pytest.raises(UnmetNeeds, match=said):
            head.fit(data, None, seeds=[0], device="cpu")

    refused(replace(train, judges=np.zeros((0, 0))), r"judges' marks are unknown for 20 of 20 samples: dive-0-0")
    one = train.judges.copy()
    one[3, 5] = np.nan
    refused(replace(train, judges=one), r"all 7 judges, and they are not all known for 1 of 20 samples: dive-0-3")
    refused(replace(train, judges=train.judges[:, :4]), "odd number of judges, and there are 4")
    refused(replace(train, judges=train.judges / 3), r"takes the middle three times the difficulty of the 7 judges")
    refused(replace(train, times_difficulty=False), r"takes the sum of the 7 judges for the score, and it is not for 1")
    refused(replace(train, difficulty=np.zeros(0)), "unknown for 20 of 20 samples")
    (fitted,) = head.fit(train, None, seeds=[0], device="cpu")
    with pytest.raises(UnmetNeeds, match="unknown for 20 of 20"):
        fitted.predict(replace(train, difficulty=np.zeros(0)))
    blind = replace(train, judges=np.zeros((0, 0)))
    assert np.array_equal(fitted.predict(blind).score, fitted.predict(train).score)


def test_marks_outside_of_the_range_and_parameters_that_do_not_fit_are_refused(dives: Dives):
    with pytest.raises(UnmetNeeds, match=r"a judge's mark is not in 0 to 6 for \d+ of 20 samples: dive"):
        Musdl(epochs=1, highest=6).fit(dives(20), seeds=[0])
    for name, value in (("bins", "1"), ("sigma", "0"), ("decode", "median")):
        with pytest.raises(BadParameter, match=name):
            make_head("usdl", {name: value})
    with pytest.raises(BadParameter, match="highest"):
        make_head("musdl", {"lowest": "3", "highest": "2"})
