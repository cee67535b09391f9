"""Poses from videos: joints in pixels of the video's frames, and one decode for all networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import nn

from aqa.catalog.base import Media
from aqa.extract import Done, Job, extract, parse_plan
from aqa.extract.backbones.base import Pixels
from aqa.extract.persons import COLUMNS, JOINTS, PERSONS, finish

FIT = Pixels("fit", (64, 96), (0.0,) * 3, (1.0,) * 3, scale=255.0)


class Brightest(nn.Module):
    """One sure person whose joints are all at the middle of the brightest pixel; nobody in a black frame."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        grey = clips[:, :, 0].mean(1)  # [B, H, W]
        best, at = grey.flatten(1).max(dim=1)
        x, y = at % grey.shape[2] + 0.5, at // grey.shape[2] + 0.5
        table = clips.new_zeros(len(clips), PERSONS, COLUMNS)
        table[:, 0, :5] = torch.stack([x - 8, y - 8, x + 8, y + 8, torch.ones_like(x)], dim=1)
        table[:, 0, 5:] = torch.stack([x, y, torch.ones_like(x)], dim=1).repeat(1, JOINTS)
        return table * (best > 60)[:, None, None]


def write_dots(path: Path, size: tuple[int, int], dots: Sequence[tuple[int, int] | None]) -> Path:
    """A lossless RGB video, black but for one soft dot in each frame that is brightest at pixel (column, row)."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    width = max(1.2, size[0] / 96, size[1] / 64)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "bgr0"
        for dot in dots:
            image = np.zeros((size[1], size[0], 3), np.uint8)
            if dot is not None:
                away = (columns - dot[0]) ** 2 + (rows - dot[1]) ** 2
                image[:] = (255 * np.exp(-away / (2 * width**2)))[..., None].astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def pose_job(name: str = "pose", plan: str = "dense:1:1", how: str = "tracked", pixels: Pixels = FIT) -> Job:
    shape = (PERSONS, COLUMNS)
    return Job(name, Brightest(), pixels, parse_plan(plan), shape=shape, finish=finish(how, pixels))


def only(samples: list[tuple[str, Media]], jobs: list[Job], **options: int) -> dict[tuple[str, str], Done]:
    found = {}
    for event in extract(samples, jobs, **{"workers": 0, "threads": 1, **options}):
        assert isinstance(event, Done), event
        found[event.id, event.job] = event
    return found


@pytest.mark.parametrize("size", [(96, 64), (64, 48), (65, 49), (213, 121), (61, 131), (640, 360)])
def test_joints_are_where_the_dot_is_in_the_video(size: tuple[int, int], tmp_path: Path) -> None:
    """Smaller, larger, wider, narrower than the network's input, odd sizes: to a pixel of the coarser of the two."""
    width, height = size
    dots = [(5 + t * (width - 11) // 9, height - 6 - t * (height - 12) // 9) for t in range(10)]
    media = Media(write_dots(tmp_path / "dots.mkv", size, dots))
    found = only([("x", media)], [pose_job(how="largest")])["x", "pose"]
    truth = np.array(dots) + 0.5
    off = np.abs(found.features[:, :, :2] - truth[:, None])
    pixel = max(1.0, height / 64, width / 96)  # of the network's input, in those of the video
    assert off.max() <= pixel * 1.01
    assert np.abs(found.features[:, 0, :2].mean(0) - truth.mean(0)).max() <= pixel / 2, "and not to one side"
    assert (found.features[..., 2] == 1).all()
    assert found.starts.tolist() == list(range(10))


def test_a_turned_video_has_the_joints_where_a_player_shows_them(tmp_path: Path, monkeypatch) -> None:
    from dataclasses import replace

    from aqa.extract import video

    media = Media(write_dots(tmp_path / "a.mkv", (64, 48), [(10, 40)]))
    upright = video.layout_of
    monkeypatch.setattr(video, "layout_of", lambda frame: replace(upright(frame), turns=1))
    found = only([("x", media)], [pose_job()])["x", "pose"]
    # a quarter turn counter-clockwise: column 10 of 64 becomes row 53 of 64, row 40 becomes column 40
    assert found.features[0, 0, :2] == pytest.approx([40.5, 53.5], abs=0.8)


def test_black_frames_and_single_frames(tmp_path: Path) -> None:
    dots = [None, (20, 20), (22, 20), None, None, (28, 20), None]
    samples = [
        ("gaps", Media(write_dots(tmp_path / "gaps.mkv", (64, 48), dots))),
        ("black", Media(write_dots(tmp_path / "black.mkv", (64, 48), [None] * 3))),
        ("one", Media(write_dots(tmp_path / "one.mkv", (64, 48), [(30, 10)]))),
        ("none", Media(tmp_path / "gaps.mkv", 3, 5)),
    ]
    found = only(samples, [pose_job()], batch=4)
    x, _, confidence = found["gaps", "pose"].features[:, 0].T
    assert confidence.tolist() == [0, 1, 1, 0, 0, 1, 0]
    assert np.allclose(x, [20.5, 20.5, 22.5, 24.5, 26.5, 28.5, 28.5], atol=0.8)
    assert found["gaps", "pose"].notes["pose"]["without"] == 4
    for name, frames in (("black", 3), ("none", 2)):
        assert not found[name, "pose"].features.any()
        assert found[name, "pose"].notes["pose"]["without"] == frames
    assert found["one", "pose"].features.shape == (1, JOINTS, 3)


def test_each_frame_is_decoded_once_for_clips_and_poses(movie, tmp_path: Path, monkeypatch) -> None:
    """Clips, poses and single frames in one pass: frames decoded are frames of the video, and batches are full."""
    from aqa.extract import video

    decoded: list[int] = []
    count = video._decoded

    def counted(*args):
        for frame in count(*args):
            decoded.append(1)
            yield frame

    monkeypatch.setattr(video, "_decoded", counted)
    opens: list[str] = []
    reads = av.open
    monkeypatch.setattr(av, "open", lambda file, *words, **more: opens.append(file) or reads(file, *words, **more))
    calls: list[int] = []
    jobs = [
        pose_job(),
        pose_job("every third", "10x1of10"),
        Job("clips", Clips(calls), Pixels((48, 64), (32, 32), (0.0,) * 3, (1.0,) * 3), parse_plan("dense:8:4")),
    ]
    file = movie(tmp_path / "a.mkv", 30)
    opens.clear()
    found = only([("x", Media(file))], jobs, batch=4)
    assert opens == [f"file:{file}"] * 2, "once to count its frames, once to decode them, for all three"
    assert len(decoded) == 30
    assert {(done.decoded, done.used) for done in found.values()} == {(30, 30)}
    assert [len(found["x", job.name].features) for job in jobs] == [30, 10, 7]
    assert calls == [4, 4], "7 clips"


class Clips(nn.Module):
    def __init__(self, calls: list[int]) -> None:
        super().__init__()
        self.calls = calls

    def __deepcopy__(self, memo: dict) -> Clips:
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(x))
        return x.mean((2, 3, 4))


def test_the_same_bytes_with_workers_and_beside_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = [
        (str(k), Media(write_dots(tmp_path / f"{k}.mkv", (64 + k, 49), [(10 + i, 10 + k) for i in range(5 + k)])))
        for k in rng.permutation(4)
    ]
    whole = {i: one.features.tobytes() for (i, _), one in only(samples, [pose_job()]).items()}
    both = only(samples[::-1], [pose_job("other", "3x1of3", "largest"), pose_job()], workers=2, batch=3)
    assert {i: one.features.tobytes() for (i, name), one in both.items() if name == "pose"} == whole
