"""Every head, data set, backbone and set of weights says what to cite, or stands in a list of those that do not."""

from __future__ import annotations

from aqa.catalog import DATASETS
from aqa.extract.backbones import BACKBONES, backbone
from aqa.heads import HEADS, head_class
from aqa.leaderboard.citations import RANDOM, load

WITHOUT = {"demo", "csv"}  # data sets of nobody's, and of anybody's


def named(kind: str) -> dict[str, tuple[str, ...]]:
    return {name: keys for (of, name), keys in load().names.items() if of == kind}


def test_heads() -> None:
    heads = named("head")
    assert heads.keys() == HEADS.keys()
    assert {name for name, keys in heads.items() if not keys} == {n for n in HEADS if head_class(n)().needs.floor}


def test_data_sets() -> None:
    assert named("data set").keys() == DATASETS.keys() - WITHOUT
    assert all(named("data set").values())


def test_backbones_and_weights() -> None:
    assert named("backbone").keys() == BACKBONES.keys()
    tags = {f"{arch}.{tag}" for arch in BACKBONES for tag in backbone(arch).weights if tag != RANDOM}
    assert named("weights").keys() == tags
    assert all(named("backbone").values())
    assert all(named("weights").values())
