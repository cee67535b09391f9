"""What the tests of the torch heads share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aqa.heads import FeatureSet, Ragged, head_class
from aqa.heads.batches import Batch, Exemplars
from aqa.heads.fitted_torch import FittedTorch
from aqa.heads.torch_head import Spec

GRADIENT_HEADS: list[tuple[str, dict[str, str]]] = [
    ("mlp", {"hidden": "32"}),
    ("mtl", {"hidden": "32", "caption_hidden": "8"}),
    ("dae", {"sampling": "0.3"}),
    ("dae-mt", {"scale": "none"}),
    ("dae-musdl", {"loss_kind": "released"}),
    ("dae-core", {"sampling": "0.3", "votes": "3"}),
    ("usdl", {"decode": "expectation"}),
    ("musdl", {"decode": "expectation"}),
    ("core", {"votes": "3"}),
    ("gdlt", {"dropout": "0.2", "crop": "3", "heads": "2"}),
    ("s4aqa", {"hidden": "8"}),
    ("s4aqa-supervised", {"hidden": "8"}),
    ("pseudo-label", {"hidden": "8"}),
    ("vat", {"hidden": "8"}),
    ("mean-teacher", {"hidden": "8"}),
    ("t2cr", {"votes": "3"}),
    ("attention", {"hidden": "32"}),
    ("hgcn", {"groups": "2", "crop": "3"}),
    ("cofinal", {"hidden": "64", "dropout": "0.2", "crop": "3", "heads": "2", "negative": "yes"}),
    ("tpt", {"hidden": "64", "votes": "3", "parts": "3"}),
    ("segment", {"hidden": "8"}),
    ("psnet", {"hidden": "16", "lr": "1e-4"}),
    ("mcore", {"hidden": "16", "votes": "3"}),
    ("tsa", {"hidden": "16", "votes": "3", "lr": "1e-5"}),
    ("hpmcore", {"hidden": "8", "channels": "8", "gcn": "4", "votes": "3"}),
    ("gcn", {"encoder": "st", "hidden": "8", "frames": "5", "flip": "yes"}),
]


@pytest.fixture(params=GRADIENT_HEADS, ids=lambda pair: pair[0])
def gradient_head(request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    """Every gradient head in turn: its name, and settings that make it small and use its noise."""
    return request.param


@pytest.fixture
def name(gradient_head: tuple[str, dict[str, str]]) -> str:
    return gradient_head[0]


@pytest.fixture
def settings(gradient_head: tuple[str, dict[str, str]]) -> dict[str, str]:
    return gradient_head[1]


@pytest.fixture(scope="session", name="numbers")
def numbers_fixture() -> Callable[[FittedTorch], Tensor]:
    return numbers


def numbers(fitted: FittedTorch) -> Tensor:
    """All parameters and buffers, in one row."""
    return torch.cat([value.flatten().double() for value in fitted.net.state_dict().values()])


@pytest.fixture
def make_spec() -> Callable[..., Spec]:
    """A spec of one stream of `width` numbers, scores from 0 to 100 around 60."""

    def make(width: int = 6, **other: Any) -> Spec:
        plain: dict[str, Any] = {
            "streams": {"x": (width,)},
            "clips": 4,
            "samples": 5,
            "target_kind": "score",
            "times_difficulty": False,
            "low": 0.0,
            "high": 100.0,
            "mean": 60.0,
            "sd": 15.0,
            "judges": 0,
            "constants": {},
        }
        return Spec(**{**plain, **other})

    return make


@pytest.fixture
def five() -> Batch:
    """Five samples of 1 to 4 clips of 6 numbers, in float64, with difficulties."""
    draw = torch.Generator().manual_seed(5)
    mask = torch.arange(4) < torch.tensor([4, 2, 1, 3, 4])[:, None]
    clips = torch.randn(5, 4, 6, generator=draw, dtype=torch.float64) * mask[..., None]
    score = torch.tensor([61.0, 40.5, 83.25, 70.0, 55.5], dtype=torch.float64)
    difficulty = torch.tensor([2.0, 1.5, 3.2, 3.0, 2.5], dtype=torch.float64)
    return Batch({"x": clips}, {"x": mask}, score, difficulty, torch.zeros(5, 0), torch.ones(5, dtype=torch.bool))


@pytest.fixture
def pairs(five: Batch) -> Batch:
    """Five samples, each with one exemplar."""
    draw = torch.Generator().manual_seed(8)
    clips = torch.randn(5, 4, 6, generator=draw, dtype=torch.float64)
    score = torch.tensor([50.0, 41.0, 80.0, 10.0, 57.0], dtype=torch.float64)
    return five._replace(exemplars=Exemplars({"x": clips}, five.masks, score, five.difficulty))


@pytest.fixture
def triplets() -> Callable[..., float]:
    """The hardest triplet loss of grades [B, 4, d] by hand; `distinct`: every vector is a class of its own."""

    def by_hand(grades: np.ndarray, margin: float, distinct: bool = False) -> float:
        rows = [(k, q / np.linalg.norm(q)) for sample in grades for k, q in enumerate(sample)]
        rows = [(i if distinct else k, q) for i, (k, q) in enumerate(rows)]
        losses = []
        for i, (k, anchor) in enumerate(rows):
            far = max((1 - anchor @ q for j, (other, q) in enumerate(rows) if other == k and j != i), default=0.0)
            near = min(1 - anchor @ q for other, q in rows if other != k)
            losses.append(max(far - near + margin, 0.0))
        return float(np.mean(losses))

    return by_hand


@pytest.fixture
def dives(request: pytest.FixtureRequest) -> Callable[..., FeatureSet]:
    """`count` samples with seven judges, whose score, mark times difficulty, their 1 to `clips` clips can tell, and
    phases, which they cannot. Where a gradient head in turn takes poses, a clip is one; one that takes several unlike
    streams is given frames and poses of the samples beside their clips."""
    posed, unlike = False, ()
    if "gradient_head" in request.fixturenames:
        needs = head_class(request.getfixturevalue("name")).needs
        posed, unlike = needs.shape == 2, needs.shapes

    def make(count: int, seed: int = 0, *, clips: int = 4, width: int = 12, prefix: str = "dive") -> FeatureSet:
        draw = np.random.default_rng([seed, 3])
        quality, lengths = draw.normal(size=count), draw.integers(1, clips + 1, count)
        if posed:  # what does not move leaves batch normalisation nothing, if it is alone in a batch
            lengths = lengths + 1
        offsets, width = np.concatenate([[0], np.cumsum(lengths)]), 48 if posed else width
        slope = np.random.default_rng(4).normal(size=width)
        values = np.repeat(quality, lengths)[:, None] * slope + 0.5 * draw.normal(size=(offsets[-1], width))
        if posed:
            values = values.reshape(-1, 16, 3)
            values[..., 2] = 1
        streams = {"x": Ragged(values.astype(np.float32), offsets)}
        if unlike:
            streams["frames"] = Ragged(np.repeat(streams["x"].values, 2, axis=0), 2 * offsets)
            streams["pose"] = Ragged(draw.normal(size=(3 * offsets[-1], 16, 3)).astype(np.float32), 3 * offsets)
        difficulty = draw.choice([1.5, 2.0, 3.2], count)
        mark = np.clip(18 + 4 * quality, 1, 30)
        judges = np.repeat(np.round(2 * mark / 3)[:, None] / 2, 7, axis=1)
        judges[:, 0] = np.clip(judges[:, 0] - 1, 0, 10)  # one is severe, and does not count
        kind = draw.choice(["107B", "207C", "407C"], count)
        return FeatureSet(
            ids=tuple(f"{prefix}-{seed}-{i}" for i in range(count)),
            streams=streams,
            score=mark * difficulty,
            range=(0.0, 123.0),
            times_difficulty=True,
            difficulty=difficulty,
            judges=judges,
            kind=tuple(kind),
            caption=tuple(
                f"A {'good' if q > 0 else 'fair'} dive, with {d} points."
                for q, d in zip(quality, difficulty, strict=True)
            ),
            attributes={
                "group": np.searchsorted(["107B", "207C", "407C"], kind),
                "quality": np.searchsorted([-1.0, 0.0, 1.0], quality),
            },
            phases=tuple(
                (1,) * (10 + k % 9) + (12,) * (20 + k % 5) + (36,) * (20 if k % 9 < 8 else 0) for k in range(count)
            ),  # of every ninth they are not known
        )

    return make
