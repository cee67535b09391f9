"""Little films whose score can be seen, and trainings on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aqa.catalog.base import Media
from aqa.extract.backbones import resolve
from aqa.extract.plan import parse_plan
from aqa.finetune.live import Live, live
from aqa.finetune.loop import Training
from aqa.finetune.network import Computing
from aqa.finetune.recipe import Recipe
from aqa.finetune.tuning import Machine, prepare
from aqa.heads import FeatureSet, make_head

FILMS, FRAMES = 16, 20


def bright_square(seed: int) -> Iterator[np.ndarray]:
    """A square on a noisy ground that is the brighter the more points it gets, 96x64."""
    draw = np.random.default_rng(seed)
    ground = draw.integers(0, 90, (64, 96, 3), dtype=np.uint8)
    for i in range(FRAMES):
        picture = ground.copy()
        picture[10:40, (x := 10 + i) : x + 30] = 60 + 12 * (seed % FILMS)
        yield picture


@dataclass(frozen=True)
class Films:
    """Labels (no streams) and media of all films."""

    data: FeatureSet
    media: dict[str, Media]


@pytest.fixture(autouse=True)
def one_thread():
    """Operations of these networks are too small for several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory, film) -> Films:
    folder = tmp_path_factory.mktemp("films")
    ids = tuple(f"film{k:02d}" for k in range(FILMS))
    for k, name in enumerate(ids):
        film(folder / f"{name}.mp4", bright_square(k))
    draw = np.random.default_rng(0)
    difficulty = draw.choice([1.5, 2.0, 3.0], FILMS)
    marks = np.clip(np.arange(FILMS) + draw.normal(size=FILMS), 0, 20)
    data = FeatureSet(
        ids,
        {},
        marks * difficulty,
        (0.0, 70.0),
        times_difficulty=True,
        difficulty=difficulty,
        kind=tuple(draw.choice(["a", "b"], FILMS)),
        attributes={"bright": (np.arange(FILMS) > FILMS // 2).astype(np.int64)},
        caption=tuple(f"a {'bright' if k > FILMS // 2 else 'dark'} square" for k in range(FILMS)),
    )
    return Films(data, {name: Media(folder / f"{name}.mp4") for name in ids})


@pytest.fixture(scope="session")
def small() -> Live:
    """The stream of a small C3D with random weights on two clips of eight frames."""
    return fresh()


def fresh(plan: str = "2x8@16") -> Live:
    return live(resolve("c3d_small.random"), parse_plan(plan))


@pytest.fixture
def training(films: Films, tmp_path: Path) -> Callable[..., Training]:
    """A training on the first twelve films: head, its settings, what differs from a plain recipe and machine."""

    def make(head: str = "mlp", settings: dict[str, str] | None = None, **options: Any) -> Training:
        recipe = {name: options.pop(name) for name in list(options) if name in Recipe.__dataclass_fields__}
        machine = {name: options.pop(name) for name in list(options) if name in Machine.__dataclass_fields__}
        machine.setdefault("how", Computing(torch.device("cpu")))
        streams = options.pop("streams", None) or [fresh()]
        folder = options.pop("folder", tmp_path / "training")
        films_ = options.pop("films", films)
        plain = {"epochs": "2", "batch": "4", "scale": "none", "lr": "1e-3", **(settings or {})}
        rows = np.arange(len(films_.data))
        train, val = films_.data.take(rows[:12]), films_.data.take(rows[12:])
        return prepare(
            make_head(head, plain),
            Recipe(head, ("c3d_small",), **recipe),
            streams,
            train,
            options.pop("val", val),
            films_.media,
            Machine(**machine),
            seed=options.pop("seed", 0),
            folder=folder,
            digest="test",
            **options,
        )[0]

    return make
