"""C3D: eight 3x3x3 convolutions and three fully connected layers on 16 frames of 112x112 pixels.

Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015, arXiv 1412.0767.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .base import Backbone, Pixels, Weights

# name, output channels, kernel and stride of the max-pool that follows, if one does
CONVOLUTIONS = (
    ("conv1", 64, (1, 2, 2)),
    ("conv2", 128, (2, 2, 2)),
    ("conv3a", 256, None),
    ("conv3b", 256, (2, 2, 2)),
    ("conv4a", 512, None),
    ("conv4b", 512, (2, 2, 2)),
    ("conv5a", 512, None),
    ("conv5b", 512, (2, 2, 2)),
)
FULLY_CONNECTED = (("fc6", 8192, 4096), ("fc7", 4096, 4096), ("fc8", 4096, 487))
WIDTHS = {"fc6": 4096, "pool5": 8192, "fc7": 4096, "fc8": 487}  # the first is the default


class C3D(nn.Module):
    """``[B, 3, 16, 112, 112] -> [B, width]``: pool5 8192, fc6 4096, fc7 4096, fc8 487.

    pool5 is flattened in the order (C, T, H, W) of 512x1x4x4; fc6 and fc7 come after their ReLU; fc8 are the logits of
    Sports-1M (index 463 is diving). No batch-norm, and no dropout at test. 79,991,015 parameters with fc8, 27,655,936
    of them in convolutions; what lies behind `layer` is not built.
    """

    def __init__(self, layer: str = "fc6") -> None:
        super().__init__()
        channels = 3
        for name, out, _ in CONVOLUTIONS:
            self.add_module(name, nn.Conv3d(channels, out, kernel_size=3, padding=1))
            channels = out
        self.connected = {"pool5": (), "fc6": ("fc6",), "fc7": ("fc6", "fc7"), "fc8": ("fc6", "fc7", "fc8")}[layer]
        for name, inputs, out in FULLY_CONNECTED:
            if name in self.connected:
                self.add_module(name, nn.Linear(inputs, out))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        x = clips
        for name, _, pool in CONVOLUTIONS:
            x = F.relu_(self.get_submodule(name)(x))
            if pool is not None:
                # 7x7 -> 4x4. The PyTorch and Keras ports pad pool5 by one; Caffe rounds up instead (docs/backbones.md).
                x = F.max_pool3d(x, pool, pool, padding=(0, 1, 1) if name == "conv5b" else 0)
        x = x.flatten(1)
        for name in self.connected:
            x = self.get_submodule(name)(x)
            if name != "fc8":
                x = F.relu_(x)
        return x


def allowed(frames: int, height: int, width: int) -> str | None:
    """C3D's fully connected layers fix the clip. See `Backbone.allowed`."""
    if (frames, height, width) == (16, 112, 112):
        return None
    return f"C3D takes 16 frames of 112x112, not {frames} of {height}x{width}; the nearest clip is 16x112x112"


# Every line says what its source really does to a frame. Scale 255: pixels stay in 0..255.
WHOLE_FRAME = (128, 171)  # height, width, whatever the aspect of the video
CROP = (112, 112)
SPORTS1M = "Sports-1M; no licence stated for the weights"

BACKBONE = Backbone(
    arch="c3d",
    layers={name: lambda *_, width=width: (width,) for name, width in WIDTHS.items()},
    build=C3D,
    allowed=allowed,
    weights={
        "sports1m": Weights(
            "sports1m",
            # The mean volume of the original has almost constant planes: its channel means are taken.
            Pixels(WHOLE_FRAME, CROP, (90.25, 97.66, 101.41), (1.0, 1.0, 1.0), "bgr", 255.0),
            files=("c3d.pickle", "c3d-sports1M_weights*.h5", "conv3d_deepnetA_sport1m_iter_1900000.npz"),
            keys=("own", "c3d-caffe", "c3d-keras"),
            licence=SPORTS1M,
            source="Caffe original; DavideA/c3d-pytorch (c3d.pickle), used as the original was; albertomontesg's Keras",
        ),
        "mtl_aqa": Weights(
            "mtl_aqa",
            Pixels(WHOLE_FRAME, CROP, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            files=("model_CNN_*.pth",),
            keys=("c3d-mtl-aqa",),
            source="ParitoshParmar/MTL-AQA: C3D-AVG, fine-tuned on the training scores of MTL-AQA",
        ),
        "sports1m_jfzhang95": Weights(
            "sports1m_jfzhang95",
            Pixels(WHOLE_FRAME, CROP, (90.0, 98.0, 102.0), (1.0, 1.0, 1.0), "bgr", 255.0),
            files=("c3d-pretrained.pth", "ucf101-caffe.pth"),
            keys=("c3d-jfzhang95",),
            licence=SPORTS1M,
            source="jfzhang95/pytorch-video-recognition",
        ),
        "sports1m_mmaction2": Weights(
            "sports1m_mmaction2",
            Pixels(128, CROP, (104.0, 117.0, 128.0), (1.0, 1.0, 1.0), "rgb", 255.0),
            files=("c3d_sports1m_pretrain_20201016-dcc47ddc.pth",),
            keys=("c3d-mmaction2",),
            sha256="dcc47ddc",
            licence="Apache-2.0 (open-mmlab/mmaction2); Sports-1M",
            source="open-mmlab/mmaction2",
        ),
        "sports1m_tf": Weights(
            "sports1m_tf",
            # crop_mean.npy is ordered like BGR but is subtracted from RGB frames: kept as it is used there.
            Pixels(112, CROP, (95.136, 102.862, 107.759), (1.0, 1.0, 1.0), "rgb", 255.0),
            files=("sports1m_finetuning_ucf101*.npz", "conv3d_deepnetA_sport1m_iter_1900000_TF*.npz"),
            keys=("c3d-tf",),
            licence=SPORTS1M,
            source="hx173149/C3D-tensorflow",
        ),
        "sports1m_davidea": Weights(
            "sports1m_davidea",
            Pixels((112, 200), CROP, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "rgb", 255.0),
            files=("c3d.pickle",),
            keys=("own",),
            licence=SPORTS1M,
            source="the predict script of DavideA/c3d-pytorch: RGB and no mean, not what the network was trained on",
        ),
        "sports1m_ekosman": Weights(
            "sports1m_ekosman",
            Pixels(WHOLE_FRAME, CROP, (124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
            files=("c3d.pickle",),
            keys=("own",),
            licence=SPORTS1M,
            source="ekosman/AnomalyDetectionCVPR2018-Pytorch",
        ),
        "random": Weights(
            "random",
            Pixels(WHOLE_FRAME, CROP, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            licence="none needed",
        ),
    },
    clip_length=16,
    paper="Tran et al., ICCV 2015, arXiv 1412.0767",
    notes=("c3d.mtl_aqa has seen the training scores of MTL-AQA: inside train everything looks better than it is",),
)
