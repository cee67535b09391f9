"""Every backbone keeps its contract, and `check_backbone` notices one that does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aqa.errors import UnknownName, WeightsError
from aqa.extract.backbones import Backbone, Pixels, Weights, backbone, names
from aqa.extract.backbones.resolving import load
from aqa.extract.check import check_backbone

LONG = {"mc3_18", "r2plus1d_18", "s3d", "mvit_v2_s", "swin3d_s", "swin3d_b"}
RANDOM = [arch for arch in names() if "random" in backbone(arch).weights]  # rtmpose: tests/extract/test_rtmpose.py


@pytest.mark.parametrize("arch", [pytest.param(a, marks=pytest.mark.slow) if a in LONG else a for a in RANDOM])
def test_contract(arch: str) -> None:
    check_backbone(arch)


def test_unknown() -> None:
    with pytest.raises(UnknownName, match="c3d"):
        check_backbone("cd3")


class Tiny(nn.Module):
    """Mean of a strided convolution: ``[B, 3, T, H, W] -> [B, 5]``."""

    def __init__(self, layer: str = "mean") -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 5, 3, stride=2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.conv(clips).relu().mean((2, 3, 4))


def allowed(frames: int, height: int, width: int) -> str | None:
    return None if min(frames, height, width) >= 8 else f"too small, the nearest is {max(frames, 8)}x64x64"


PIXELS = Pixels(70, (64, 64), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
TINY = Backbone(
    arch="tiny",
    layers={"mean": lambda *_: (5,)},
    build=Tiny,
    allowed=allowed,
    weights={"mine": Weights("mine", PIXELS, keys=("own",)), "random": Weights("random", PIXELS)},
)


def test_a_backbone_of_ones_own() -> None:
    check_backbone(TINY)
    check_backbone(TINY, clip=(9, 20, 30))
    check_backbone(replace(TINY, finish=keeping(lambda found: found[:, :2])))
    check_backbone(replace(TINY, bf16=False))


def test_weights_without_a_key_map_are_refused(tmp_path: Path) -> None:
    torch.save(Tiny().state_dict(), tmp_path / "tiny.pth")
    keyless = replace(TINY, weights={**TINY.weights, "mine": Weights("mine", PIXELS)})
    with pytest.raises(WeightsError, match="names no key map"):
        load(keyless, None, "mean", tmp_path / "tiny.pth", 0)
    assert load(TINY, None, "mean", tmp_path / "tiny.pth", 0).name == "tiny.mine"


class OtherInBatch(Tiny):
    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return super().forward(clips) - super().forward(clips).mean(0, keepdim=True) / 2


class Noisy(Tiny):
    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        features = super().forward(clips)
        return features if features.is_meta else features + torch.rand(())


class Constant(Tiny):
    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return super().forward(clips) * 0 + self.conv.weight.mean()


class Double(Tiny):
    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return super().forward(clips).double()


class Hidden(Tiny):
    """Keeps a weight where no weight file can have it."""

    made = 0

    def __init__(self, layer: str = "mean") -> None:
        super().__init__(layer)
        Hidden.made += 1
        self.shift = float(Hidden.made)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return super().forward(clips) + self.shift


def keeping(make: Callable[[np.ndarray], np.ndarray], notes: dict | None = None) -> Callable:
    """A `Backbone.finish` that keeps what `make` makes."""

    def finish(found: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, dict]:
        with np.errstate(all="ignore"):
            return make(found), {"n": len(sizes)} if notes is None else notes

    return lambda layer, pixels: finish


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"layers": {"mean": lambda *_: (6,)}}, "is \\(2, 5\\), not \\(2, 6\\)"),
        ({"build": OtherInBatch}, "batch"),
        ({"build": Noisy}, "second time"),
        ({"build": Constant}, "one feature for different clips"),
        ({"build": Double}, "float32"),
        ({"build": Hidden}, "through a file"),
        ({"allowed": lambda *_: None}, "refuse 1x1x1"),
        ({"weights": {"mine": Weights("mine", PIXELS)}}, "random"),
        ({"weights": {**TINY.weights, "a.b": Weights("a.b", PIXELS)}}, "tag"),
        ({"weights": {**TINY.weights, "x": Weights("x", replace(PIXELS, mean=(0.5,)))}}, "3 numbers"),
        ({"weights": {**TINY.weights, "x": Weights("x", replace(PIXELS, crop=(80, 64)))}}, "larger"),
        ({"weights": {**TINY.weights, "x": Weights("x", PIXELS, keys=("no-such",))}}, "no-such"),
        ({"clip_length": 4}, "not allowed"),
        ({"finish": keeping(lambda found: found.astype(np.float64))}, "keeps float64"),
        ({"finish": keeping(lambda found: found[:1])}, "keeps float32 \\(1, 5\\)"),
        ({"finish": keeping(lambda found: found / 0)}, "not finite"),
        ({"finish": keeping(lambda found: found.sort(axis=1) or found)}, "changes what"),
        ({"finish": keeping(lambda found: found, {})}, "does not say"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict, said: str) -> None:
    with pytest.raises(AssertionError, match=f"backbone tiny: .*{said}"):
        check_backbone(replace(TINY, **wrong))
