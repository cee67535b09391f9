"""From decoded planes to what a network takes: resize, turn, crop, colour, scale; batched, on the device.

Resizing is bilinear with the filter widened to the scale (antialias), as `PIL.Image.resize(BILINEAR)` and torchvision
do it with PIL images: the released codes' transform, without their random choice of the filter. It runs on the planes
as they were decoded, before the colours are mixed: the mixing is linear, so the order is free up to rounding, and 4:2:0
has half the pixels of RGB. Chroma is taken as sited in the middle of its four pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from ..errors import BadParameter
from .backbones.base import Pixels
from .frames import Layout

# Kr and Kb of ITU-R BT.601 and BT.709: R, G, B from Y', Cb, Cr.
_LUMA = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
_LANES = 4  # the resize of uint8 handles four channels at once: four frames of a plane are as fast as one


def resized(pixels: Pixels, height: int, width: int) -> tuple[int, int]:
    """Height and width after resizing: those of `pixels`, or its short side with the aspect kept, rounded down as by
    torchvision; to fit, the largest of the same aspect, rounded to the nearest."""
    if pixels.resize == "fit":
        scale = min(pixels.crop[0] / height, pixels.crop[1] / width)
        return max(1, round(height * scale)), max(1, round(width * scale))
    if not isinstance(pixels.resize, int):
        return pixels.resize
    short, long = sorted((height, width))
    rest = int(pixels.resize * long / short)
    return (pixels.resize, rest) if height <= width else (rest, pixels.resize)


def resize_limit(pixels: Pixels) -> tuple[int, int]:
    """Height and width that every resized frame has at least; to fit, those of the frame that it is put into."""
    if pixels.resize == "fit":
        return pixels.crop
    return (pixels.resize, pixels.resize) if isinstance(pixels.resize, int) else pixels.resize


def check_pixels(pixels: Pixels) -> None:
    """Raises BadParameter if the crop does not lie inside the resized frame, or mean and std have not one number per
    channel."""
    limit = resize_limit(pixels)
    if pixels.crop[0] > limit[0] or pixels.crop[1] > limit[1]:
        raise BadParameter(f"a crop of {pixels.crop} does not fit into frames of {pixels.resize}", field="crop")
    channels = 2 if pixels.channels == "flow" else 3
    if len(pixels.mean) != channels or len(pixels.std) != channels:
        raise BadParameter(f"mean and std need {channels} numbers for {pixels.channels}", field="mean")


def to_frames(planes: tuple[torch.Tensor, ...], layout: Layout, pixels: Pixels) -> torch.Tensor:
    """Planes uint8 [F, *shape of the layout] to frames uint8 [F, height, width, C] of the crop: RGB, or two of flow.

    On CUDA the resize is done in float32 and rounded once, elsewhere in integers as PIL does; they differ by at most
    one level per plane. The result of a frame does not depend on the frames beside it.
    """
    height, width = resized(pixels, *layout.shown)
    target = (width, height) if layout.turns % 2 else (height, width)
    small = [_resize(plane, target) for plane in planes]
    if layout.turns:
        small = [torch.rot90(plane, layout.turns, (1, 2)) for plane in small]
    top, left = round((height - pixels.crop[0]) / 2), round((width - pixels.crop[1]) / 2)  # torchvision's rounding
    if pixels.resize != "fit":
        small = [plane[:, top : top + pixels.crop[0], left : left + pixels.crop[1]] for plane in small]
    if layout.kind == "yuv420":
        y, u, v = small
        frames = _rgb(y, u, v, layout)
    else:
        frames = small[0].contiguous() if layout.kind == "rgb" else torch.stack(small, dim=-1)
    return frames if pixels.resize != "fit" else _framed(frames, pixels)


def _framed(frames: torch.Tensor, pixels: Pixels) -> torch.Tensor:
    """uint8 [F, h, w, C] in the upper left of [F, *crop, C], on the colour that becomes zero in the network's input."""
    colour = [round(255 * mean / pixels.scale) for mean in pixels.mean]
    if pixels.channels == "bgr":
        colour = colour[::-1]
    out = frames.new_tensor(colour).expand(len(frames), *pixels.crop, -1).clone()
    out[:, : frames.shape[1], : frames.shape[2]] = frames
    return out


def to_input(clips: torch.Tensor, pixels: Pixels, dtype: torch.dtype) -> torch.Tensor:
    """Clips uint8 [B, T, H, W, C] to the network's input [B, C, T, H, W] of `dtype`, channels last in memory."""
    if pixels.channels == "bgr":
        clips = clips.flip(-1)
    factor = clips.new_tensor([pixels.scale / (255 * s) for s in pixels.std], dtype=torch.float32)
    offset = clips.new_tensor([-m / s for m, s in zip(pixels.mean, pixels.std, strict=True)], dtype=torch.float32)
    return torch.addcmul(offset, clips.float(), factor).to(dtype).permute(0, 4, 1, 2, 3)


def _resize(plane: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """uint8 [F, H, W] or [F, H, W, C] to `size`."""
    if tuple(plane.shape[1:3]) == size:
        return plane
    if plane.dim() == 4:
        return _interpolate(plane.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
    if plane.is_cuda:
        return _interpolate(plane[:, None], size)[:, 0]
    whole = len(plane) // _LANES * _LANES
    parts = [part.reshape(-1, n, *part.shape[1:]) for part, n in _lanes(plane, whole)]
    return torch.cat([_interpolate(part, size).flatten(0, 1) for part in parts])


def _lanes(plane: torch.Tensor, whole: int) -> list[tuple[torch.Tensor, int]]:
    rest = len(plane) - whole
    return ([(plane[:whole], _LANES)] if whole else []) + ([(plane[whole:], rest)] if rest else [])


def _interpolate(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """uint8 [N, C, H, W] to [N, C, *size]."""
    if not images.is_cuda:
        return functional.interpolate(images, size, mode="bilinear", antialias=True)
    exact = functional.interpolate(images.float(), size, mode="bilinear", antialias=True)
    # Half a level and a bit: exact halves are frequent, and must not fall to either side by chance.
    return (exact + (0.5 + 2**-9)).floor().clamp(0, 255).to(torch.uint8)


def _rgb(y: torch.Tensor, u: torch.Tensor, v: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Y', Cb, Cr uint8 [F, H, W] to R'G'B' uint8 [F, H, W, 3].

    Each term is cut off to a whole number as in FFmpeg's scaler, which makes the other formats, so that all come out
    alike (green is half a level to one and a half too dark by that). The bit added is for whole numbers that float32
    misses.
    """
    kr, kb = _LUMA[layout.matrix]
    kg = 1 - kr - kb
    low, lumas, chromas = (0, 255, 255) if layout.full else (16, 219, 224)

    def term(plane: torch.Tensor, zero: int, factor: float) -> torch.Tensor:
        return torch.floor_((plane.float() - zero).mul_(factor).add_(2**-9))

    luma = term(y, low, 255 / lumas)
    chroma = 2 * 255 / chromas
    red = luma + term(v, 128, (1 - kr) * chroma)
    green = luma + term(u, 128, -(1 - kb) * kb / kg * chroma) + term(v, 128, -(1 - kr) * kr / kg * chroma)
    blue = luma + term(u, 128, (1 - kb) * chroma)
    return torch.stack((red, green, blue), dim=-1).clamp_(0, 255).to(torch.uint8)
