"""From videos to features: the right clips, whatever shares their batch, and whatever else is extracted or fails."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aqa.catalog.base import Media
from aqa.errors import AqaError, BadParameter, VideoError
from aqa.extract import Done, Failed, Job, extract, parse_plan, resources
from aqa.extract.backbones.base import Pixels
from aqa.extract.decode import read_frames
from aqa.extract.engine import batch_of
from aqa.extract.pixels import to_frames, to_input
from aqa.extract.precision import TooImprecise

PIXELS = Pixels(40, (32, 32), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


class Small(nn.Module):
    """Convolutions and a dense layer, as in C3D, with weights from a seed."""

    def __init__(self, channels: int = 3, out: int = 24, seed: int = 0) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv3d(channels, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool3d((1, 4, 4)),
            nn.Flatten(),
            nn.Linear(512, out),
        )
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class Mean(nn.Module):
    """The mean of each channel and frame: [B, C, T, H, W] -> [B, C, T]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean(dim=(3, 4))


PLAIN = Pixels((48, 64), (48, 64), (0.0,) * 3, (1.0,) * 3, scale=255.0)


def job(name: str = "small", plan: str = "4x8@24", pixels: Pixels = PIXELS, short: str = "edge", **kwargs) -> Job:
    module = kwargs.pop("module", None) or Small()
    return Job(name, module, pixels, parse_plan(plan, short), **kwargs)


def run(samples: Sequence[tuple[str, Media]], jobs: Sequence[Job], **options) -> dict[tuple[str, str], Done | Failed]:
    """(id, job) -> Done; (id, "") -> Failed."""
    found: dict[tuple[str, str], Done | Failed] = {}
    for result in extract(samples, jobs, **{"workers": 0, "batch": 4, "threads": 1, **options}):
        key = (result.id, result.job if isinstance(result, Done) else "")
        assert key not in found
        found[key] = result
    return found


@pytest.fixture
def videos(movie, tmp_path: Path) -> list[tuple[str, Media]]:
    """Of three sizes and lengths, one of them too short for the plan."""
    made = [("a", 30, (64, 48)), ("b", 17, (80, 60)), ("c", 24, (65, 49)), ("d", 26, (64, 48)), ("e", 40, (96, 48))]
    codec = {"c": ("ffv1", "yuv420p")}
    return [
        (name, Media(movie(tmp_path / f"{name}.mkv", n, size, *codec.get(name, ("libx264", "yuv420p")))))
        for name, n, size in made
    ]


def features(found: dict[tuple[str, str], Done | Failed], name: str = "small") -> dict[str, bytes]:
    return {i: r.features.tobytes() for (i, j), r in found.items() if isinstance(r, Done) and j == name}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bytes_do_not_depend_on_order_neighbours_processes_or_other_jobs(precision, videos) -> None:
    one = job(precision=precision)
    whole = features(run(videos, [one]))
    assert sorted(whole) == list("abcde")
    assert features(run(videos[::-1], [one])) == whole
    assert features(run(videos, [one], workers=2)) == whole
    for sample in videos:
        assert features(run([sample], [one]))[sample[0]] == whole[sample[0]], "alone"
    other = job("other", "dense:8:3", PLAIN, module=Mean())
    assert features(run(videos[1:] + videos[:1], [other, one])) == whole
    again = job("again", precision=precision)
    both = run(videos, [one, again])
    assert features(both) == features(both, "again") == whole


def test_clips_are_those_of_the_plan(movie, tmp_path: Path) -> None:
    """The mean of a frame tells its number, when bits are lit one by one."""
    path = movie(tmp_path / "a.mkv", 60, (64, 48), "ffv1", "yuv420p")
    media = Media(path, 10, 50)
    plans = {"window": "4x8@24", "dense": "dense:8:5", "resampled": "3x4of12", "spread": "8of30"}
    jobs = [job(name, plan, PLAIN, module=Mean(), shape=(3, parse_plan(plan).length)) for name, plan in plans.items()]
    [chunk] = read_frames(media, np.arange(60))
    frames = to_frames(tuple(map(torch.from_numpy, chunk.planes)), chunk.layout, PLAIN)
    means = frames.float().mean(dim=(1, 2)).numpy()  # [60, 3]
    found = run([("x", media)], jobs)
    for name, plan in plans.items():
        result = found["x", name]
        assert isinstance(result, Done)
        clips = parse_plan(plan).indexes(40)
        assert result.features.dtype == np.float32
        assert np.allclose(result.features, means[clips + 10].transpose(0, 2, 1), atol=1e-3)
        assert result.starts.tolist() == clips[:, 0].tolist()
        assert np.allclose(result.times, (clips[:, 0] + 10) / 25, atol=1e-3)
        assert (result.decoded, result.used) == (60 - 0 - 10, 40)


def test_features_are_those_of_the_network_called_by_hand(videos) -> None:
    net = Small().eval()
    found = run(videos[:1], [job(module=net)])["a", "small"]
    [chunk] = read_frames(videos[0][1], np.arange(24))
    frames = to_frames(tuple(map(torch.from_numpy, chunk.planes)), chunk.layout, PIXELS)
    clips = frames[torch.from_numpy(parse_plan("4x8@24").indexes(24))]
    with torch.inference_mode():
        truth = net(to_input(clips, PIXELS, torch.float32)).numpy()
    assert isinstance(found, Done)
    assert np.allclose(found.features, truth, atol=1e-4)


class FrameMean(Mean):
    """The same of each frame: [B, C, T, H, W] -> [B, T, C]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).transpose(1, 2)


def test_frames_of_clips_can_be_rows(videos) -> None:
    """One clip of twelve frames gives the rows of twelve clips of one frame; two clips theirs behind each other."""
    plain = {"pixels": PLAIN, "module": FrameMean(), "rows": True, "shape": (12, 3)}
    jobs = [job("whole", "1x12of12", **plain), job("halves", "2x6of12", **{**plain, "shape": (6, 3)})]
    found = run(videos, [*jobs, job("single", "12x1of12", PLAIN, module=Mean())], batch=2)
    for name, _ in videos:
        whole, halves, single = (found[name, kind] for kind in ("whole", "halves", "single"))
        assert isinstance(whole, Done)
        assert isinstance(halves, Done)
        assert isinstance(single, Done)
        assert whole.features.shape == (12, 3)
        assert np.array_equal(whole.features, single.features[:, :, 0])
        for other in (halves, single):
            assert np.array_equal(whole.features, other.features.reshape(12, 3))
            assert np.array_equal(whole.starts, other.starts)
            assert np.array_equal(whole.times, other.times)
    gone = run(videos[1:2], [Job("x", FrameMean(), PLAIN, parse_plan("2x12@24", "zero"), rows=True)])["b", "x"]
    assert isinstance(gone, Done)
    assert gone.starts.tolist() == [*range(17), *[-1] * 7]
    assert np.isnan(gone.times[17:]).all()
    assert not gone.features[17:].any()


def test_rows_are_what_is_finished(videos) -> None:
    def finish(found: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, dict]:
        return found[:, :1] * 0 + sizes[:, :1].astype(np.float32), {"rows": len(found)}

    rows = Job("x", FrameMean(), PLAIN, parse_plan("2x6of12"), shape=(6, 3), rows=True, finish=finish)
    found = run(videos[:1], [rows])["a", "x"]
    assert isinstance(found, Done)
    assert (found.features.tolist(), found.notes) == ([[48.0]] * 12, {"rows": 12})


@pytest.mark.parametrize(("short", "tail"), [("edge", 9), ("loop", 0), ("zero", None)])
def test_short_samples(short: str, tail: int | None, movie, tmp_path: Path) -> None:
    media = Media(movie(tmp_path / "a.mkv", 10, (64, 48), "ffv1", "yuv420p"))
    pixels = Pixels((48, 64), (48, 64), (10.0,) * 3, (1.0,) * 3, scale=255.0)
    found = run([("x", media)], [job(plan="2x8@16", pixels=pixels, short=short, module=Mean())])["x", "small"]
    assert isinstance(found, Done)
    first, second = found.features
    expected = np.zeros(3) if tail is None else first[:, tail] if tail < 8 else second[:, 1]
    assert np.allclose(second[:, 2], expected, atol=1e-3), "zeros are those of the network, not black"
    assert found.starts.tolist() == [0, 8]
    assert found.used == 10
    gone = run([("x", media)], [job(plan="3x4@16", short="zero", pixels=pixels, module=Mean())])["x", "small"]
    assert isinstance(gone, Done)
    assert gone.starts.tolist() == [0, 4, 8]
    far = run([("x", Media(media.path, 0, 3))], [job(plan="3x4@16", short="zero", module=Mean())])["x", "small"]
    assert isinstance(far, Done)
    assert far.starts.tolist() == [0, -1, -1]
    assert np.isnan(far.times).tolist() == [False, True, True]
    assert not far.features[1:].any()


def test_one_bad_video_stops_nothing(videos, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("x")
    samples = [videos[0], ("bad", Media(tmp_path / "text.mp4")), *videos[1:3], ("none", Media(tmp_path / "x.mp4"))]
    for workers in (0, 2):
        found = run(samples, [job(), job("two", "dense:8:8")], workers=workers)
        assert {i for i, name in found if name == ""} == {"bad", "none"}
        assert {i for i, name in found if name} == {"a", "b", "c"}
        bad = found["bad", ""]
        assert isinstance(bad, Failed)
        assert isinstance(bad.error, VideoError)
        assert "sample bad" in str(bad.error)
        assert "text.mp4" in str(bad.error)


def test_a_sample_that_is_too_short_for_one_job_fails_as_a_whole(videos) -> None:
    found = run(videos[:2], [job(), job("strict", "1x20@20", short="refuse")])
    assert sorted(found) == [("a", "small"), ("a", "strict"), ("b", "")]


def test_features_that_are_not_finite_are_an_error(videos) -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=(1, 2, 3, 4))[:, None] / 0

    found = run(videos[:1], [job(module=Broken())])["a", ""]
    assert isinstance(found, Failed)
    assert "not finite" in str(found.error)


def test_flow_and_rgb_of_one_folder(tmp_path: Path, image, picture) -> None:
    from PIL import Image

    for i in range(1, 11):
        image(tmp_path / f"img_{i:05d}.jpg", picture(i, 64, 48))
    for i in range(1, 10):
        for axis, level in (("x", 90 + i), ("y", 190 + i)):
            Image.fromarray(np.full((48, 64), level, np.uint8)).save(tmp_path / f"flow_{axis}_{i:05d}.png")
    flow = Pixels((48, 64), (48, 64), (0.0,) * 2, (1.0,) * 2, channels="flow", scale=255.0)
    jobs = [job("rgb", "dense:4:4", PLAIN, module=Mean()), job("flow", "dense:4:4", flow, module=Mean())]
    found = run([("x", Media(tmp_path))], jobs)
    rgb, motion = found["x", "rgb"], found["x", "flow"]
    assert isinstance(rgb, Done)
    assert isinstance(motion, Done)
    assert rgb.starts.tolist() == [0, 4, 6]
    assert motion.starts.tolist() == [0, 4, 5]
    assert np.allclose(motion.features[0], [[91, 92, 93, 94], [191, 192, 193, 194]], atol=1)
    assert np.isnan(motion.times).all()
    assert (rgb.decoded, rgb.used) == (10 + 18, 10 + 9)


def test_bf16_is_compared_with_fp32_on_the_first_clips(videos) -> None:
    said: list[str] = []
    found = run(videos, [job(precision="bf16")], log=said.append)
    assert len(features(found)) == 5
    [line] = [line for line in said if "bf16" in line]
    assert line.startswith("small: bf16 differs from fp32 by 0.")


def test_bf16_that_is_too_far_off_stops_before_anything_is_given_out(videos) -> None:
    class Touchy(nn.Module):
        """Differences that bf16 cannot see."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((8,), 1.001))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.weight - 1)[None].expand(len(x), -1)

    given: list = []
    with pytest.raises(TooImprecise, match="fp32"):
        given.extend(extract(videos, [job(module=Touchy(), precision="bf16")], workers=0))
    assert given == []


def test_a_network_of_another_shape_is_told(videos) -> None:
    with pytest.raises(AqaError, match=r"shape \(24,\), not \(512,\)"):
        run(videos[:1], [job(shape=(512,))])


def test_calls_that_cannot_be_right_are_refused(videos) -> None:
    for jobs in ([], [job(), job()]):
        with pytest.raises(BadParameter, match="jobs"):
            extract(videos, jobs)
    with pytest.raises(BadParameter, match="crop"):
        extract(videos, [job(pixels=Pixels(16, (32, 32), (0.0,) * 3, (1.0,) * 3))])
    for wrong in ({"workers": -1}, {"threads": 0}, {"batch": 0}):
        with pytest.raises(BadParameter, match="at least"):
            extract(videos, [job()], **wrong)


def test_resources_say_what_was_chosen(monkeypatch) -> None:
    monkeypatch.setattr("aqa.extract.engine.cores", lambda: 16)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert str(resources("cpu")) == "4 decoding processes, 16 torch threads, batches of 2 clips"
    assert resources("cpu", precision="bf16").batch == 1
    assert str(resources("cuda")) == "15 decoding processes, 4 torch threads, batches of 32 clips"
    assert (
        str(resources("cpu", workers=0, threads=2, batch=1)) == "decoding in line, 2 torch threads, batches of 1 clips"
    )
    monkeypatch.setattr("aqa.extract.engine.cores", lambda: 2)
    assert str(resources("cpu")) == "1 decoding process, 2 torch threads, batches of 2 clips"


def test_batches_of_single_frames_have_the_pixels_of_clips() -> None:
    frames, clips = parse_plan("dense:1:1"), parse_plan("dense:16:16")
    small, large = (Pixels(side, (side, side), (0.0,) * 3, (1.0,) * 3) for side in (112, 1000))
    assert [batch_of(Job("a", Small(), small, frames, p), "cpu") for p in ("fp32", "bf16")] == [32, 16]
    assert [batch_of(Job("a", Small(), small, clips, p), "cpu") for p in ("fp32", "bf16")] == [2, 1]
    assert batch_of(Job("a", Small(), large, frames), "cpu") == 1
    rows = [Job("a", Small(), small, parse_plan(plan), rows=True) for plan in ("1x96of96", "1x8of8")]
    assert [batch_of(one, "cpu") for one in rows] == [1, 4]


def test_torch_is_left_as_it_was(videos) -> None:
    before = torch.get_num_threads()
    results = extract(videos, [job()], workers=0, threads=1)
    next(results)
    results.close()
    assert torch.get_num_threads() == before
    assert not torch.is_inference_mode_enabled()
    net = Small()
    run(videos[:1], [job(module=net, precision="bf16")])
    assert net.training
    assert next(net.parameters()).dtype == torch.float32


def test_stopping_early_ends_the_processes(videos) -> None:
    results = extract(videos, [job()], workers=2, batch=4)
    next(results)
    results.close()
    assert not multiprocessing.active_children()


def test_frames_are_dropped_when_no_clip_needs_them(movie, tmp_path: Path, monkeypatch) -> None:
    """Memory follows the longest clip, not the video."""
    from aqa.extract import frames
    from aqa.extract.assembly import View

    small = 64 * 48 * 3 // 2 * 10
    monkeypatch.setattr(frames.fresh_room, "__defaults__", (small,))
    kept: list[int] = []
    add = View.add

    def watched(self, chunk, planes):
        yield from add(self, chunk, planes)
        kept.append(sum(len(f) for _, f in self._chunks))

    monkeypatch.setattr(View, "add", watched)
    path = movie(tmp_path / "long.mp4", 200)
    found = run([("x", Media(path))], [job(plan="dense:8:4", pixels=PLAIN, module=Mean())])["x", "small"]
    assert isinstance(found, Done)
    assert len(found.features) == 49
    assert len(kept) == 20
    assert max(kept) <= 20


def test_a_sample_that_begins_again_is_right(movie, tmp_path: Path, monkeypatch) -> None:
    """Its first clips were already computed with a wrong count of frames."""
    from aqa.extract import video

    path = movie(tmp_path / "a.mp4", 30)
    one = job(plan="dense:8:8")
    truth = features(run([("x", Media(path))], [one]))
    monkeypatch.setattr(video, "index_of", lambda _: video.Index(40, 0, None, (), None))
    found = run([("x", Media(path))], [one])
    assert features(found) == truth
    result = found["x", "small"]
    assert isinstance(result, Done)
    assert (result.decoded, result.used) == (60, 30)


def test_the_judged_dive_and_its_neighbours(shared_data: Path) -> None:
    """Real clips of five containers and sizes in shared batches, with two workers and two plans."""
    names = ["aqa7_diving_054.avi", "mtl-aqa_diving_sample.gif", "torchcodec_nasa_13013.mp4", "sample2.mp4"]
    samples = [(name, Media(shared_data / "clips" / name)) for name in names]
    jobs = [job(plan="10x16@103"), job("dense", "dense:16:16")]
    found = run(samples, jobs, workers=2)
    shapes = {key: result.features.shape for key, result in found.items() if isinstance(result, Done)}
    assert shapes == {
        **{(name, "small"): (10, 24) for name in names},
        (names[0], "dense"): (7, 24),
        (names[1], "dense"): (2, 24),
        (names[2], "dense"): (21, 24),
        (names[3], "dense"): (6, 24),
    }
    alone = run(samples[:1], jobs[:1])
    assert features(alone)[names[0]] == features(found)[names[0]]
