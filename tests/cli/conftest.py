"""A folder of little videos of anybody's own, and the `aqa` command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from aqa.pipelines.cli import app

Aqa = Callable[..., Result]


def moving_square(seed: int, frames: int = 20) -> Iterator[np.ndarray]:
    """A square that moves faster with the seed, 64x48."""
    rng = np.random.default_rng(seed)
    background = rng.integers(0, 90, (48, 64, 3), dtype=np.uint8)
    for i in range(frames):
        picture = background.copy()
        x = (i * (1 + seed % 5)) % 50
        picture[10:22, x : x + 12] = 250 - 10 * (seed % 7)
        yield picture


@pytest.fixture(scope="session")
def own_videos(tmp_path_factory: pytest.TempPathFactory, film) -> Path:
    """16 videos with samples.csv: 10 to train, 6 to test, judged by how fast the square is."""
    root = tmp_path_factory.mktemp("own videos ü")
    lines = ["id,media,score,split,difficulty,subject,speed,caption"]
    for k in range(16):
        film(root / f"clip {k}.mp4", moving_square(k))
        score = 10 * (k % 5) + k / 16
        lines.append(
            f"v{k:02d},clip {k}.mp4,{score},{'train' if k < 10 else 'test'},{2 + k % 3},s{k % 8 + 8 * (k > 9)}"
            f",{('slow', 'fast')[k % 5 > 2]},the square is {('slow', 'fast')[k % 5 > 2]}"
        )
    (root / "samples.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


@pytest.fixture
def aqa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aqa:
    """Run `aqa` with the given words in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AQA_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def value(result: Result) -> Any:
    """The one JSON value on standard output."""
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="session", name="value")
def value_fixture() -> Callable[[Result], Any]:
    return value


@pytest.fixture(scope="session")
def extracted(own_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The cache folder with C3D features (random weights) of `own_videos`, and what extract --json printed."""
    cache = tmp_path_factory.mktemp("cache")
    words = ["extract", "csv", "--root", own_videos, "--cache", cache, "--backbone", "c3d", "--workers", "0", "--json"]
    return cache, value(CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False))
