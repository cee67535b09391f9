"""Poses of persons by torchvision's Keypoint R-CNN, ResNet-50 with a feature pyramid, trained on COCO's 17 joints.

He et al., Mask R-CNN, ICCV 2017, arXiv 1703.06870, section 5.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from ..persons import CHOICES, COLUMNS, PERSONS, finish
from .base import Backbone, Pixels
from .hub import published
from .matching import GAIN

PROPOSALS = 300  # of 1000 as published: enough for a few persons, and a quarter of the operations behind the pyramid
# Of random weights. Residual blocks add up, so that boxes would lie far outside the frame; and without weights every
# box is a person by one half, so that somebody is found.
RANDOM_GAINS = {
    "rpn.head.cls_logits": 1e-4,
    "rpn.head.bbox_pred": 1e-4,
    "roi_heads.box_predictor.cls_score": 0.0,
    "roi_heads.box_predictor.bbox_pred": 1e-4,
    "roi_heads.keypoint_predictor.kps_score_lowres": 1e-4,
}
CANDIDATE = 0.1  # score below which a box is nobody


class Persons(nn.Module):
    """``[B, 3, 1, H, W] -> [B, PERSONS, COLUMNS]``, for H and W that are multiples of 32.

    A row is a person, the surest first: box (x1, y1, x2, y2), score, then x, y and confidence of 17 joints, in pixels
    of the input; rows of zeros behind them. The confidence is the sigmoid of the largest value of the joint's heat map,
    which torchvision gives as its score: a number to compare and to cut at, not a probability.
    """

    def __init__(self, layer: str = "tracked") -> None:  # noqa: ARG002  (all layers are made of the same table)
        from torchvision.models.detection import keypointrcnn_resnet50_fpn
        from torchvision.models.detection.anchor_utils import AnchorGenerator

        super().__init__()
        with torch.device("cpu"):  # tables without a name: they are not in weight files
            anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
        net = keypointrcnn_resnet50_fpn(
            weights=None,
            weights_backbone=None,
            rpn_anchor_generator=anchors,
            rpn_post_nms_top_n_test=PROPOSALS,
            box_score_thresh=CANDIDATE,
            box_detections_per_img=PERSONS,
        )
        self.backbone, self.rpn, self.roi_heads = net.backbone, net.rpn, net.roi_heads
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0  # as the published weights were trained
        for name, gain in RANDOM_GAINS.items():
            setattr(self.get_submodule(name), GAIN, gain)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        from torchvision.models.detection.image_list import ImageList

        if clips.is_meta:  # what is found decides the shapes on the way, not the last one
            return clips.new_empty(len(clips), PERSONS, COLUMNS)
        images = ImageList(clips[:, :, 0], [(clips.shape[3], clips.shape[4])] * len(clips))
        maps = self.backbone(images.tensors)
        proposals, _ = self.rpn(images, maps)
        found, _ = self.roi_heads(maps, proposals, images.image_sizes)
        rows = [_rows(one["boxes"], one["scores"], one["keypoints"], one["keypoints_scores"]) for one in found]
        return pad_sequence([rows[0].new_zeros(PERSONS, COLUMNS), *rows], batch_first=True)[1:]


def _rows(boxes: torch.Tensor, scores: torch.Tensor, joints: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """[N, 4], [N], [N, 17, 3], [N, 17] of one frame to [N, COLUMNS]."""
    poses = torch.cat([joints[..., :2], logits.sigmoid()[..., None]], dim=-1)
    return torch.cat([boxes, scores[:, None], poses.flatten(1)], dim=1)


def allowed(frames: int, height: int, width: int) -> str | None:
    """One frame whose sides are multiples of 32, at least 64. See `Backbone.allowed`."""
    if frames == 1 and all(size >= 64 and size % 32 == 0 for size in (height, width)):
        return None
    nearest = "x".join(str(max(2, round(size / 32)) * 32) for size in (height, width))
    return (
        f"Keypoint R-CNN takes single frames with sides of 64, 96, 128... pixels, not {frames} of {height}x{width}; "
        f"nearest 1x{nearest}, as of the plans dense:1:1 and 96x1of96"
    )


def _fit(height: int, width: int) -> Pixels:
    return Pixels("fit", (height, width), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


FILE = "keypointrcnn_resnet50_fpn_coco-fc266e95.pth"

BACKBONE = Backbone(
    arch="pose",
    layers={how: lambda *_: (PERSONS, COLUMNS) for how in CHOICES},
    build=Persons,
    allowed=allowed,
    # 320 x 576 holds the 16:9 of broadcasts whole. 800 x 1344 is what the network was trained at: 5.8 times the work.
    weights=published(
        {"coco": (FILE, _fit(320, 576)), "coco_800": (FILE, _fit(800, 1344))},
        "BSD-3-Clause (torchvision); trained on COCO keypoints",
        _fit(192, 320),
    ),
    clip_length=1,
    plan="dense:1:1",
    bf16=False,
    finish=finish,
    paper="He et al., ICCV 2017, arXiv 1703.06870",
)
