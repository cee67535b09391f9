"""Films of the synthetic dives: really encoded, whole or not there, the same every time."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from aqa.catalog import demo
from aqa.catalog.demo import render, scene
from aqa.catalog.demo.programme import Dive, dives
from aqa.errors import StoreError

# Of the first dive, frames 0, 16 and 31: means over the four quarters of the picture.
FROZEN = [
    [[98.1, 100.5], [98.4, 96.9]],
    [[95.6, 98.1], [98.7, 96.4]],
    [[106.5, 104.9], [121.8, 117.7]],
]


def decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def with_splash(dive: Dive, splash: float) -> Dive:
    return replace(dive, faults=replace(dive.faults, splash=splash))


def test_a_film_decodes_to_what_was_drawn(tmp_path) -> None:
    dive = dives()[3]
    render.render_film(dive, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name in ("h264", "mpeg4")
        assert (stream.codec_context.pix_fmt, stream.average_rate) == ("yuv420p", 25)
        assert "synthetic" in container.metadata["comment"]
    seen, drawn = decoded(tmp_path / "a.mp4"), np.stack(list(scene.frames(dive)))
    assert seen.shape == drawn.shape == (sum(dive.frames), 120, 160, 3)
    loss = np.abs(seen.astype(int) - drawn)
    assert 0.5 < loss.mean() < 6  # encoded with loss, and nothing shifted
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]


def test_the_pictures_are_frozen_but_for_rounding() -> None:
    """Coarse means of three pictures: a change of looks is a new data set too."""
    pictures = list(scene.frames(dives()[0]))
    found = [pictures[i].reshape(2, 60, 2, 80, 3).mean((1, 3, 4)).round(1).tolist() for i in (0, 16, 31)]
    np.testing.assert_allclose(found, FROZEN, atol=1.0)


def test_the_same_bytes_every_time(tmp_path) -> None:
    for name in ("a.mp4", "b.mp4"):
        render.render_film(dives()[7], tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_mpeg4_where_x264_is_missing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    render.render_film(dives()[0], tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert len(decoded(tmp_path / "a.mp4")) == 32


def test_missing_films_alone_are_rendered(tmp_path) -> None:
    some, told = dives()[:3], []
    render.render(some[:1], tmp_path, workers=1)
    kept = render.film(tmp_path, some[0].id)
    kept.write_bytes(b"kept")
    root = render.render(some, tmp_path, progress=lambda done, total: told.append((done, total)), workers=2)
    assert root == tmp_path
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert kept.read_bytes() == b"kept"
    assert {p.name for p in tmp_path.iterdir()} == {"videos", "poses.npz"}
    assert sorted(p.stem for p in (tmp_path / "videos").iterdir()) == [dive.id for dive in some]
    assert len(decoded(render.film(tmp_path, some[2].id))) == sum(some[2].frames)


def test_poses_of_all_dives(tmp_path) -> None:
    render.write_poses(tmp_path / "poses.npz")
    with np.load(tmp_path / "poses.npz") as stored:
        ids, offsets, poses = (stored[name] for name in ("ids", "offsets", "poses"))
    assert ids.tolist() == [sample.id for sample in demo.read(tmp_path).samples]
    assert np.diff(offsets).tolist() == [sum(dive.frames) for dive in dives()]
    assert poses.shape == (offsets[-1], 16, 2)
    assert poses.dtype == np.float32
    np.testing.assert_allclose(poses[offsets[9] : offsets[10]], scene.joints(dives()[9]), atol=1e-4)


def test_the_diver_is_drawn_where_the_pose_says() -> None:
    """Around the pelvis there is skin or suit, not the wall; the wall is bluish, so red tells."""
    dive = dives()[2]
    for picture, joints in list(zip(scene.frames(dive), scene.joints(dive), strict=True))[: dive.frames[0]]:
        x, y = joints[6].round().astype(int)
        there = picture[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(0)
        away = picture[y - 1 : y + 2, 150:158].reshape(-1, 3).mean(0)
        assert there[0] - away[0] > 20


def test_a_worse_splash_shows_more_white_water() -> None:
    white = []
    for splash in (0.0, 0.3, 0.6, 1.0):
        last = list(scene.frames(with_splash(dives()[1], splash)))[-2]
        white.append(int((last.min(-1) > 170).sum()))
    assert white == sorted(white)
    assert white[-1] > white[0] + 200


def test_a_failure_leaves_nothing_and_keeps_what_is_done(tmp_path, monkeypatch) -> None:
    some, drawn = dives()[:2], scene.frames

    def full_disk(dive: Dive):
        if dive.id == some[1].id:
            raise OSError(28, "No space left on device")
        return drawn(dive)

    monkeypatch.setattr(scene, "frames", full_disk)
    with pytest.raises(StoreError, match="No space left") as caught:
        render.render(some, tmp_path, workers=1)
    assert "run it again" in str(caught.value)
    assert [p.name for p in (tmp_path / "videos").iterdir()] == [f"{some[0].id}.mp4"]


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        render.render(dives()[:1], tmp_path / "file", workers=1)


def test_what_a_killed_run_left_is_swept_away_later(tmp_path) -> None:
    (tmp_path / "videos").mkdir()
    old, new = (tmp_path / "videos" / f".demo-00{i}.x.part" for i in (1, 2))
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    render.render([], tmp_path, workers=1)
    assert not old.exists()
    assert new.exists()  # another run may be writing it


@pytest.mark.slow
def test_make_renders_everything(tmp_path) -> None:
    demo.make(tmp_path)
    for sample in demo.read(tmp_path).samples:
        assert sample.media is not None
        assert len(decoded(sample.media.path)) == sample.media.stop
