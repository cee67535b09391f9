"""Frames at load size: those of extraction, under shifts and crops, and the cache of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aqa.catalog.base import Media
from aqa.errors import VideoError
from aqa.extract.backbones.base import Pixels
from aqa.extract.decode import read_frames
from aqa.extract.pixels import to_frames
from aqa.extract.plan import parse_plan
from aqa.finetune.augment import EXEMPLAR, Augmentation, View, corner
from aqa.finetune.clip_cache import ClipCache
from aqa.finetune.frames import cut, load_frames
from aqa.finetune.live import ClipSpec

PIXELS = Pixels((48, 72), (32, 40), (0.5,) * 3, (0.5,) * 3)


def spec(plan: str, short: str = "edge") -> ClipSpec:
    return ClipSpec("x", parse_plan(plan, short), PIXELS)


def frames_of(media: Media) -> torch.Tensor:
    """All frames as extraction cuts them."""
    found = [
        to_frames(tuple(torch.from_numpy(plane) for plane in chunk.planes), chunk.layout, PIXELS)
        for chunk in read_frames(media, np.arange(20))
    ]
    return torch.cat(found)


def central(loaded: Any, shift: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    top, left = corner(View(), (48, 72), (32, 40))
    return cut(loaded, shift, top, left, (32, 40), False)


@pytest.mark.parametrize(
    ("plan", "short"),
    [("2x8@16", "edge"), ("3x8of16", "edge"), ("2x16@24", "edge"), ("2x16@24", "loop"), ("2x16@24", "zero")],
)
def test_clips_are_those_of_extraction(plan: str, short: str, films: Any):
    media = films.media["film03"]
    one = spec(plan, short)
    clips, zeros = central(load_frames(media, [one])["x"])
    wanted, all_frames = one.plan.indexes(20), frames_of(media)
    assert torch.equal(zeros, torch.from_numpy(wanted < 0))
    assert torch.equal(clips[~zeros], all_frames[torch.from_numpy(wanted)[~zeros]])


def test_a_shift_moves_the_range_into_the_frames_around_it(films: Any):
    media = Media(films.media["film03"].path, 2, 14)
    loaded = load_frames(media, [spec("1x8@12")], (-3, 4))["x"]
    everything = frames_of(films.media["film03"])
    for k, shift in enumerate(range(-3, 5)):
        wanted = np.clip(np.arange(2, 10) + shift, 0, 19)
        assert torch.equal(central(loaded, k)[0][0], everything[torch.from_numpy(wanted)]), shift


def test_a_shift_beyond_the_video_repeats_its_last_frame(films: Any):
    loaded = load_frames(films.media["film03"], [spec("1x8@20")], (0, 3))["x"]
    shifted = load_frames(Media(films.media["film03"].path, 10, 18), [spec("1x8@8")], (0, 3))["x"]
    everything = frames_of(films.media["film03"])
    assert torch.equal(central(loaded, 3)[0][0], everything[3:11])
    assert torch.equal(central(shifted, 3)[0][0], everything[[13, 14, 15, 16, 17, 18, 19, 19]])


def test_each_frame_is_decoded_once_for_two_streams(films: Any, monkeypatch: pytest.MonkeyPatch):
    from aqa.extract import video

    opened = []
    real = video.opened
    monkeypatch.setattr(video, "opened", lambda *a, **k: opened.append(a) or real(*a, **k))
    two = [spec("2x8@16"), replace(spec("1x16@16"), name="y", pixels=replace(PIXELS, crop=(16, 16)))]
    video.index_of(films.media["film05"].path)
    opened.clear()
    found = load_frames(films.media["film05"], two)
    assert len(opened) == 1
    assert set(found) == {"x", "y"}


def test_crops_and_mirrors(films: Any):
    loaded = load_frames(films.media["film03"], [spec("1x8@8")])["x"]
    clips, _ = cut(loaded, 0, 5, 7, (32, 40), False)
    mirrored, _ = cut(loaded, 0, 5, 7, (32, 40), True)
    assert torch.equal(clips, loaded.frames[:, 5:37, 7:47][None])
    assert torch.equal(mirrored, clips.flip(3))
    flow = loaded._replace(frames=loaded.frames[..., :2])
    plain, turned = (cut(flow, 0, 5, 7, (32, 40), flip)[0] for flip in (False, True))
    assert torch.equal(turned[..., 0], 255 - plain.flip(3)[..., 0])
    assert torch.equal(turned[..., 1], plain.flip(3)[..., 1])


def test_views_are_drawn_from_seed_epoch_and_sample_alone():
    chances = Augmentation(0.5, "random", (-3, 3))
    views = [chances.view(0, 1, sample) for sample in range(400)]
    assert views == [chances.view(0, 1, sample) for sample in range(400)]
    assert views != [chances.view(0, 2, sample) for sample in range(400)]
    assert views != [chances.view(0, 1, sample, EXEMPLAR) for sample in range(400)]
    assert {view.shift for view in views} == set(range(-3, 4))
    assert 150 < sum(view.flip for view in views) < 250
    corners = {corner(view, (34, 43), (32, 40)) for view in views}
    assert {top for top, _ in corners} == {0, 1, 2}
    assert {left for _, left in corners} == {0, 1, 2, 3}
    assert Augmentation().view(0, 1, 2) == View()


def test_the_cache_gives_the_same_and_decodes_once(films: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from aqa.finetune import clip_cache

    cache, media, specs = ClipCache(tmp_path / "frames", 10**9), films.media["film03"], [spec("2x8@16")]
    direct = load_frames(media, specs, (-1, 1))["x"]
    assert torch.equal(cache.load("film03", media, specs, (-1, 1))["x"].frames, direct.frames)
    monkeypatch.setattr(clip_cache, "load_frames", lambda *_: pytest.fail("decoded again"))
    again = cache.load("film03", media, specs, (-1, 1))["x"]
    assert torch.equal(again.frames, direct.frames)
    assert np.array_equal(again.places, direct.places)
    assert cache.used() >= direct.frames.numel()
    for others in (
        (media, specs, (-1, 2)),
        (media, [spec("2x8of16")], (-1, 1)),
        (replace(media, start=1), specs, (-1, 1)),
        (media, [replace(specs[0], pixels=replace(PIXELS, resize=(50, 72)))], (-1, 1)),
    ):
        with pytest.raises(pytest.fail.Exception):
            cache.load("film03", *others)


def test_a_crop_does_not_change_what_the_cache_keeps(films: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache, media = ClipCache(tmp_path / "frames", 10**9), films.media["film03"]
    frames = cache.load("film03", media, [spec("2x8@16")], (0, 0))["x"].frames
    assert frames.shape == (16, 48, 72, 3)


def test_the_cache_keeps_to_its_bound(films: Any, tmp_path: Path):
    one = 16 * 48 * 72 * 3
    cache, specs = ClipCache(tmp_path / "frames", int(2.5 * one)), [spec("2x8@16")]
    for name in list(films.media)[:5]:
        cache.load(name, films.media[name], specs, (0, 0))
    assert len(list((tmp_path / "frames").iterdir())) == 2
    assert cache.used() <= 2.5 * one


def test_a_damaged_film_is_an_error_and_leaves_nothing(films: Any, tmp_path: Path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(films.media["film03"].path.read_bytes()[:2000])
    cache = ClipCache(tmp_path / "frames", 10**9)
    with pytest.raises(VideoError):
        cache.load("bad", Media(bad), [spec("2x8@16")], (0, 0))
    assert not (tmp_path / "frames").exists()
