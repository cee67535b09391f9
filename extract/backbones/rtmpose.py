"""Poses of persons by RTMPose behind a person detector, both ONNX files, through rtmlib and onnxruntime.

Jiang et al., RTMPose: Real-Time Multi-Person Pose Estimation based on MMPose, 2023, arXiv 2303.07399.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import MissingExtra, WeightsError
from ..persons import CHOICES, COLUMNS, JOINTS, PERSONS, finish
from .base import Backbone, Pixels, Weights

GREY = 114.0  # what the detectors' own frames are filled up with
DETECTORS = {"yolox": "YOLOX", "rtmdet": "RTMDet"}  # how a detector's file name begins -> its class in rtmlib


class Persons(nn.Module):
    """``[B, 3, 1, H, W] -> [B, PERSONS, COLUMNS]``: see `keypoint_rcnn.Persons`. Takes BGR of 0 to 255 minus `GREY`.

    rtmlib does not hand out the detector's scores: the score of everybody found is 1, the largest come first. The files
    are opened when they are first needed, so that the module can be copied.
    """

    def __init__(self, pose: Path, detector: Path) -> None:
        super().__init__()
        self.pose, self.detector = pose, detector
        self.tools: tuple[Any, Any] | None = None

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        if self.tools is None:
            device = "cuda" if clips.is_cuda else "cpu"
            detector = open_tool(_detector_class(self.detector), self.detector, device)
            self.tools = (detector, open_tool("RTMPose", self.pose, device))
        images = (clips[:, :, 0] + GREY).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        tables = np.stack([_table(np.ascontiguousarray(image), *self.tools) for image in images])
        return torch.from_numpy(tables).to(clips.device)


def _table(image: np.ndarray, detect: Any, pose: Any) -> np.ndarray:
    """float32 [PERSONS, COLUMNS] of a uint8 image [H, W, 3]."""
    table = np.zeros((PERSONS, COLUMNS), np.float32)
    boxes = np.asarray(detect(image), np.float32).reshape(-1, 4)
    boxes = boxes[np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(axis=1), kind="stable")][:PERSONS]
    if len(boxes):  # without boxes RTMPose takes the whole image for a person
        joints, confidence = pose(image, bboxes=boxes)
        # OpenCV's pixels have their middle at whole numbers, ours at halves.
        poses = np.concatenate([joints + 0.5, np.clip(confidence, 0, 1)[..., None]], axis=2)
        table[: len(boxes)] = np.concatenate([boxes, np.ones((len(boxes), 1)), poses.reshape(len(boxes), -1)], axis=1)
    return table


def open_tool(name: str, file: Path, device: str) -> Any:
    """rtmlib's class `name` on an ONNX file, for the input size that the file says.

    Raises:
        MissingExtra: rtmlib, or what it needs, is not there.
        WeightsError: onnxruntime cannot open the file.
    """
    try:
        onnxruntime, rtmlib = map(importlib.import_module, ("onnxruntime", "rtmlib"))
    except ImportError as error:  # OpenCV may lack a library of the system
        hint = "install the extra: pip install 'aqa[pose]'"
        raise MissingExtra(f"RTMPose cannot be run: {error}", hint=hint) from error
    if device == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        device = "cpu"
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it loads
            tool = getattr(rtmlib, name)(str(file), backend="onnxruntime", device=device)
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise WeightsError(f"onnxruntime cannot open it: {error}", file=file) from error
    height, width = tool.session.get_inputs()[0].shape[2:]
    if isinstance(height, int) and isinstance(width, int):
        tool.model_input_size = (width, height) if name == "RTMPose" else (height, width)
    return tool


def opens(pose: Path) -> tuple[nn.Module, tuple[Path, ...]]:
    """The network of a pose file and of the detector beside it, and both files. See `Backbone.opens`.

    Raises:
        WeightsError: a file is missing, there are several detectors, or the joints are not those of COCO.
    """
    if not pose.is_file():
        raise WeightsError("there is no such weight file", file=pose)
    known = " or ".join(f"{start}*.onnx" for start in DETECTORS)
    beside = [path for path in sorted(pose.parent.glob("*.onnx")) if path != pose and _detector_class(path)]
    if _detector_class(pose) or len(beside) != 1:
        what = "this is a detector" if _detector_class(pose) else f"{len(beside)} detectors lie beside it"
        raise WeightsError(what, file=pose, hint=f"give the pose file, with one detector ({known}) in its folder")
    outputs = open_tool("RTMPose", pose, "cpu").session.get_outputs()
    if len(outputs) != 2 or outputs[0].shape[1] != JOINTS:
        found = ", ".join(f"{one.name} {one.shape}" for one in outputs)
        hint = "take one that was trained on COCO or Body7"
        raise WeightsError(f"this is no RTMPose of {JOINTS} joints: it gives {found}", file=pose, hint=hint)
    return Persons(pose, beside[0]), (pose, beside[0])


def _detector_class(file: Path) -> str:
    return next((name for start, name in DETECTORS.items() if file.name.lower().startswith(start)), "")


def allowed(frames: int, height: int, width: int) -> str | None:
    """One frame. See `Backbone.allowed`."""
    if frames == 1 and min(height, width) >= 64:
        return None
    nearest = f"1x{max(height, 64)}x{max(width, 64)}"
    return f"RTMPose takes single frames, not {frames} of {height}x{width}; nearest {nearest}, as of the plan dense:1:1"


BACKBONE = Backbone(
    arch="rtmpose",
    layers={how: lambda *_: (PERSONS, COLUMNS) for how in CHOICES},
    build=lambda _: nn.Identity(),
    allowed=allowed,
    weights={
        "coco17": Weights(
            "coco17",
            Pixels("fit", (640, 640), (GREY,) * 3, (1.0,) * 3, "bgr", 255.0),
            files=("rtmpose-*.onnx",),
            licence="Apache-2.0 (open-mmlab/mmpose and mmdetection); COCO and the other sets of the file's name",
            source="open-mmlab/mmpose, projects/rtmpose",
        )
    },
    clip_length=1,
    plan="dense:1:1",
    bf16=False,
    finish=finish,
    opens=opens,
    extra="rtmlib",
    paper="Jiang et al., 2023, arXiv 2303.07399",
)
