"""Colour, resize, crop and scale, against FFmpeg's scaler, Pillow and torchvision."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from aqa.catalog.base import Media
from aqa.errors import BadParameter
from aqa.extract.backbones.base import Pixels
from aqa.extract.decode import read_frames
from aqa.extract.frames import Layout
from aqa.extract.pixels import check_pixels, resized, to_frames, to_input

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
C3D = Pixels((128, 171), (112, 112), ZERO, ONE)


def same_size(height: int, width: int) -> Pixels:
    return Pixels((height, width), (height, width), ZERO, ONE)


def scene(frames: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with edges, uint8 [F, H, W, 3]."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 256, (frames, 6, 8, 3), dtype=np.uint8)
    big = [np.asarray(Image.fromarray(x).resize((width, height), Image.Resampling.BICUBIC)) for x in low]
    out = np.stack(big).copy()
    out[:, height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, (frames, 1, 1, 3))
    return out


def planes_of(frames: int, height: int, width: int) -> tuple[np.ndarray, ...]:
    """Smooth Y', Cb, Cr of 4:2:0, of all colours that there are and some that there are not."""
    y, u, v = np.moveaxis(scene(frames, height, width), 3, 0)
    return y.copy(), u[:, ::2, ::2].copy(), v[:, ::2, ::2].copy()


def scaled(planes: tuple[np.ndarray, ...], colorspace: int, full: bool) -> np.ndarray:
    """RGB uint8 [F, H, W, 3] by FFmpeg's scaler. `colorspace`: 1 is BT.709, 5 BT.601."""
    out = []
    for y, u, v in zip(*planes, strict=True):
        stacked = np.concatenate([p.reshape(-1, y.shape[1]) for p in (y, u, v)])
        frame = av.VideoFrame.from_ndarray(stacked, format="yuvj420p" if full else "yuv420p")
        frame.colorspace = colorspace
        frame.color_range = 2 if full else 1
        out.append(frame.to_ndarray(format="rgb24"))
    return np.stack(out)


def tensors(planes: tuple[np.ndarray, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(map(torch.from_numpy, planes))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "colorspace"), [("bt601", 5), ("bt709", 1)])
def test_colours_are_those_of_the_scaler(matrix, colorspace: int, full: bool) -> None:
    y, u, v = planes_of(6, 48, 64)
    truth = scaled((y, u, v), colorspace, full)
    # One chroma sample serves 2 x 2 pixels there; here they are resized, which is smooth, so they are repeated before.
    doubled = tuple(c.repeat(2, 1).repeat(2, 2) for c in (u, v))
    layout = Layout("yuv420", 48, 64, matrix, full)
    error = np.abs(to_frames(tensors((y, *doubled)), layout, same_size(48, 64)).numpy().astype(int) - truth)
    assert error.max() <= 3
    assert error.mean() < 0.5


def test_black_grey_and_white_are_exact() -> None:
    levels = torch.tensor([16, 126, 235], dtype=torch.uint8)
    y = levels.view(3, 1, 1).expand(3, 4, 4).contiguous()
    c = torch.full((3, 2, 2), 128, dtype=torch.uint8)
    rgb = to_frames((y, c, c), Layout("yuv420", 4, 4), same_size(4, 4))
    assert rgb[:, 0, 0].tolist() == [[0] * 3, [128] * 3, [255] * 3]
    ramp = torch.arange(256, dtype=torch.uint8).view(256, 1, 1).expand(256, 2, 2).contiguous()
    c = torch.full((256, 1, 1), 128, dtype=torch.uint8)
    rgb = to_frames((ramp, c, c), Layout("yuv420", 2, 2, full=True), same_size(2, 2))
    assert rgb[:, 0, 0, 1].tolist() == list(range(256))


@pytest.mark.parametrize("size", [(240, 320), (281, 500), (100, 80), (128, 171)])
@pytest.mark.parametrize("pixels", [C3D, Pixels((256, 455), (224, 224), ZERO, ONE), Pixels(128, (112, 112), ZERO, ONE)])
def test_rgb_is_resized_and_cropped_as_by_pillow_and_torchvision(size: tuple[int, int], pixels: Pixels) -> None:
    from torchvision.transforms.v2 import functional as tv

    rgb = scene(2, *size)
    got = to_frames((torch.from_numpy(rgb),), Layout("rgb", *size), pixels)
    height, width = resized(pixels, *size)
    for image, ours in zip(rgb, got, strict=True):
        small = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        theirs = tv.pil_to_tensor(tv.center_crop(small, list(pixels.crop))).permute(1, 2, 0)
        assert (ours.int() - theirs.int()).abs().max() <= 1
        assert tuple(tv.resize(Image.fromarray(image), pixels.resize).size) == (width, height)  # type: ignore[arg-type]


def test_the_crop_of_c3d_begins_at_row_8_and_column_30() -> None:
    rgb = (
        torch.arange(128 * 171, dtype=torch.int64)
        .remainder(251)
        .to(torch.uint8)
        .view(1, 128, 171, 1)
        .repeat(1, 1, 1, 3)
    )
    got = to_frames((rgb,), Layout("rgb", 128, 171), C3D)
    assert torch.equal(got, rgb[:, 8:120, 30:142])


def test_planes_and_rgb_of_a_video_give_the_same_pixels_but_for_chroma(shared_data: Path) -> None:
    for name in ("aqa7_diving_054.avi", "sample1.mp4"):
        path = shared_data / "clips" / name
        wanted = np.arange(0, 60, 12)
        with av.open(str(path)) as file:
            rgb = [f.to_ndarray(format="rgb24") for i, f in enumerate(file.decode(video=0)) if i in wanted]
        theirs = np.stack([np.asarray(Image.fromarray(x).resize((171, 128), Image.Resampling.BILINEAR)) for x in rgb])
        got = [
            to_frames(tuple(map(torch.from_numpy, c.planes)), c.layout, C3D) for c in read_frames(Media(path), wanted)
        ]
        error = np.abs(torch.cat(got).numpy().astype(int) - theirs[:, 8:120, 30:142])
        assert error.mean() < 0.5
        assert np.quantile(error, 0.999) <= 6


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7, 8])
def test_a_frame_does_not_depend_on_those_beside_it(frames: int) -> None:
    planes = tensors(planes_of(8, 90, 120))
    layout = Layout("yuv420", 90, 120)
    together = to_frames(planes, layout, C3D)
    some = to_frames(tuple(p[8 - frames :] for p in planes), layout, C3D)
    assert torch.equal(some, together[8 - frames :])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["rgb", "yuv420"])
def test_turned_frames(turns: int, kind) -> None:
    """Turning first gives the same, but for the order of the two passes of the resize, which round."""
    pixels = Pixels(40, (32, 32), ZERO, ONE)
    planes = tensors(planes_of(3, 60, 100) if kind == "yuv420" else (scene(3, 60, 100),))
    got = to_frames(planes, Layout(kind, 60, 100, turns=turns), pixels)
    upright = tuple(torch.rot90(p, turns, (1, 2)).contiguous() for p in planes)
    size = (100, 60) if turns % 2 else (60, 100)
    error = (got.int() - to_frames(upright, Layout(kind, *size), pixels).int()).abs()
    assert error.max() <= (1 if kind == "rgb" else 4)
    assert error.float().mean() < 0.5
    assert got.shape == (3, 32, 32, 3)


def test_a_turned_video_stands_upright(movie, tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mp4", 1)
    [upright] = read_frames(Media(path), np.arange(1))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    struct.pack_into(">9i", data, at, 0, -1 << 16, 0, 1 << 16, 0, 0, 0, 0, 1 << 30)  # 90 counter-clockwise
    (turned := tmp_path / "b.mp4").write_bytes(data)
    [chunk] = read_frames(Media(turned), np.arange(1))
    got = to_frames(tuple(map(torch.from_numpy, chunk.planes)), chunk.layout, same_size(64, 48))[0]
    whole = to_frames(tuple(map(torch.from_numpy, upright.planes)), upright.layout, same_size(48, 64))[0]
    # The coloured quarter at the bottom comes to the right side.
    assert whole[40, 10].tolist() == pytest.approx([200, 60, 90], abs=12)
    assert got[10, 43].tolist() == pytest.approx([200, 60, 90], abs=12)
    assert torch.equal(got, torch.rot90(whole, 1, (0, 1)))


@pytest.mark.parametrize(
    ("size", "inside"),
    [((90, 160), (54, 96)), ((61, 45), (64, 47)), ((240, 320), (64, 85)), ((7, 301), (2, 96)), ((1, 1), (64, 64))],
)
def test_a_frame_that_is_to_fit_keeps_its_aspect_and_lies_in_the_upper_left(size, inside) -> None:
    pixels = Pixels("fit", (64, 96), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    rgb = torch.from_numpy(np.ascontiguousarray(scene(2, *size)))
    got = to_frames((rgb,), Layout("rgb", *size), pixels)
    assert got.shape == (2, 64, 96, 3)
    height, width = resized(pixels, *size)
    assert (height, width) == inside
    plain = to_frames((rgb,), Layout("rgb", *size), Pixels(inside, inside, (0.0,) * 3, (1.0,) * 3))
    assert torch.equal(got[:, :height, :width], plain)
    around = to_input(got[None], pixels, torch.float32)[0]  # [C, F, H, W]
    around[:, :, :height, :width] = 0
    assert float(around.abs().max()) < 0.5 / 255 / 0.224 + 1e-6, "what is around is nothing to the network"


def test_the_colour_around_a_frame_is_that_of_its_channel_order() -> None:
    pixels = Pixels("fit", (4, 8), (10.0, 20.0, 30.0), (1.0,) * 3, "bgr", 255.0)
    got = to_frames((torch.zeros(1, 4, 4, 3, dtype=torch.uint8),), Layout("rgb", 4, 4), pixels)
    assert got[0, 0, -1].tolist() == [30, 20, 10]
    assert not to_input(got[None], pixels, torch.float32)[0, :, 0, :, 4:].any()


def test_a_turned_frame_that_is_to_fit_stands_upright() -> None:
    pixels = Pixels("fit", (64, 96), (0.0,) * 3, (1.0,) * 3)
    rgb = torch.from_numpy(np.ascontiguousarray(scene(1, 48, 96)))
    layout = Layout("rgb", 48, 96, turns=1)
    assert layout.shown == (96, 48)
    got = to_frames((rgb,), layout, pixels)
    assert not got[:, :, 32:].any()
    upright = to_frames((torch.rot90(rgb, 1, (1, 2)).contiguous(),), Layout("rgb", 96, 48), pixels)
    assert int((got.int() - upright.int()).abs().max()) <= 1


def test_flow_keeps_its_two_channels() -> None:
    x, y = (torch.full((2, 20, 30), level, dtype=torch.uint8) for level in (10, 200))
    pixels = Pixels((10, 15), (10, 10), (0.0, 0.0), (1.0, 1.0), channels="flow", scale=2.0)
    got = to_frames((x, y), Layout("flow", 20, 30), pixels)
    assert got.shape == (2, 10, 10, 2)
    assert got[0, 0, 0].tolist() == [10, 200]


def test_normalisation_of_published_weights() -> None:
    clips = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 1, 1, 1, 3).expand(2, 4, 5, 6, 3)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    imagenet = to_input(clips, Pixels(8, (5, 6), mean, std), torch.float32)
    assert imagenet.shape == (2, 3, 4, 5, 6)
    expected = [(v / 255 - m) / s for v, m, s in zip((0, 128, 255), mean, std, strict=True)]
    assert imagenet[0, :, 0, 0, 0].tolist() == pytest.approx(expected, abs=1e-6)
    caffe = to_input(clips, Pixels(8, (5, 6), (90.0, 98.0, 102.0), ONE, "bgr", 255.0), torch.float32)
    assert caffe[1, :, 3, 4, 5].tolist() == pytest.approx([165, 30, -102], abs=1e-4)
    i3d = to_input(clips, Pixels(8, (5, 6), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), torch.float32)
    assert i3d[0, :, 0, 0, 0].tolist() == pytest.approx([-1, 128 / 127.5 - 1, 1], abs=1e-6)
    quick = to_input(clips, Pixels(8, (5, 6), mean, std), torch.bfloat16)
    assert quick.dtype == torch.bfloat16
    assert quick.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(quick, imagenet.to(torch.bfloat16)), "rounded once"


def test_crops_and_means_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadParameter, match="crop"):
        check_pixels(Pixels((128, 171), (129, 112), ZERO, ONE))
    with pytest.raises(BadParameter, match="crop"):
        check_pixels(Pixels(100, (100, 101), ZERO, ONE))
    with pytest.raises(BadParameter, match="need 2 numbers for flow"):
        check_pixels(Pixels(100, (100, 100), ZERO, ONE, channels="flow"))
    check_pixels(C3D)
