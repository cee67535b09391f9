"""A run as one function: from the clips of a video to its score, for programs that have no aqa. Checked against the run
before it is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import AqaError, MissingExtra, UnmetNeeds
from ..heads.batches import Batch
from ..heads.fitted_torch import FittedTorch
from ..heads.saving import whole_file
from .live import Live
from .network import Computing, Tuned

Format = Literal["onnx", "torch.export"]
TOLERANCE = 1e-3  # of the width of the target's range
TRIALS = 3


class Whole(nn.Module):
    """(clips uint8 [1, T, L, H, W, C], difficulty [1]) -> score [1], and spread [1] where the head gives one.

    Clips are those of the stream's plan, resized and cropped, RGB; the rest is inside.
    """

    def __init__(self, stream: Live, fitted: FittedTorch) -> None:
        super().__init__()
        head = fitted.head
        self.fitted, self.how = fitted, Computing(torch.device("cpu"))
        standard = stream.name in fitted.scaling.mean
        self.net = Tuned([stream], fitted.net, pool=head.pool == "mean", standard=standard)
        if standard:
            self.net.use(fitted.scaling)
        self.scale = float(fitted.info.get("spread_scale", 1.0))
        self.eval()

    def forward(self, clips: Tensor, difficulty: Tensor) -> tuple[Tensor, ...]:
        nothing = torch.zeros(clips.shape[:3], dtype=torch.bool)
        (stream,) = self.net.streams
        streams, masks = self.net.seen({stream.name: self.net.features(0, clips, nothing, self.how)})
        unknown = torch.full_like(difficulty, torch.nan)
        batch = Batch(streams, masks, unknown, difficulty, unknown[:, None].expand(-1, 0), unknown > 0)
        said = self.fitted.head.judge(self.fitted.net, batch)
        return (said["score"], said["spread"] * self.scale) if "spread" in said else (said["score"],)


def export(stream: Live, fitted: FittedTorch, file: Path, form: Format) -> dict[str, float]:
    """Write `file` and, beside it, what its inputs are (.json): score and spread, nothing else that the head gives.
    Returns the largest deviations from the run, in points.

    Raises:
        UnmetNeeds: a head that compares with train samples.
        MissingExtra: onnx is not installed.
        AqaError: what was exported does not compute what the run does.
    """
    if fitted.bank is not None:
        hint = "export it as a bundle, which has them inside"
        raise UnmetNeeds(f"{fitted.head.name} compares with train samples", hint=hint)
    whole, inputs = Whole(stream, fitted), _inputs(stream, 0)
    low, high = fitted.fitted_on.range
    with whole_file(file) as path, torch.inference_mode(False), torch.no_grad():
        path = path.with_name(f"{path.name}{'.onnx' if form == 'onnx' else '.pt2'}")
        try:
            run = (_onnx if form == "onnx" else _program)(whole, inputs, path)
            deviations = {"score": 0.0, "spread": 0.0}
            for seed in range(TRIALS):
                clips, difficulty = _inputs(stream, seed)
                for name, ours, theirs in zip(
                    deviations, whole(clips, difficulty), run(clips, difficulty), strict=False
                ):
                    deviations[name] = max(deviations[name], float((ours - theirs).abs().max()))
            worst = max(deviations.values())
            if not worst <= TOLERANCE * (high - low):
                raise AqaError(f"the export differs by {worst:.3g} points from the run, and is not written", file=file)
            path.replace(path.with_name(path.name.rpartition(".")[0]))
        finally:
            path.unlink(missing_ok=True)
    _describe(stream, fitted, file)
    return deviations


def _inputs(stream: Live, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    height, width = stream.resolved.pixels.crop
    shape = (1, stream.clips, stream.plan.length, height, width, stream.spec.channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw), torch.tensor([2.0 + seed])


def _program(whole: Whole, inputs: tuple[Tensor, Tensor], path: Path) -> Callable[..., tuple[Tensor, ...]]:
    torch.export.save(torch.export.export(whole, inputs), path)
    return torch.export.load(path).module()


def _onnx(whole: Whole, inputs: tuple[Tensor, Tensor], path: Path) -> Callable[..., tuple[Tensor, ...]]:
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
        import onnxscript  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise MissingExtra(f"ONNX needs {error.name}", hint="pip install 'aqa[export]'") from error
    names = ["score", "spread"][: len(whole(*inputs))]
    program: Any = torch.onnx.export(
        whole, inputs, input_names=["clips", "difficulty"], output_names=names, dynamo=True, verbose=False
    )
    program.save(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = {one.name for one in session.get_inputs()}  # a head without difficulty has one input less

    def run(clips: Tensor, difficulty: Tensor) -> tuple[Tensor, ...]:
        given = {"clips": clips.numpy(), "difficulty": difficulty.numpy()}
        return tuple(torch.from_numpy(np.asarray(x)) for x in session.run(None, {n: given[n] for n in taken}))

    return run


def _describe(stream: Live, fitted: FittedTorch, file: Path) -> None:
    """What a program must do before and after: frames of the clips, pixels, and the range of the score."""
    frames = None if stream.plan.resample or stream.plan.window is None else stream.plan.indexes(stream.plan.window)
    said = {
        "inputs": {
            "clips": {
                "dtype": "uint8",
                "shape": [1, stream.clips, stream.plan.length, *stream.resolved.pixels.crop, stream.spec.channels],
            },
            "difficulty": {"dtype": "float32", "shape": [1]},
        },
        "plan": stream.plan.name,
        "frames": None if frames is None else frames.tolist(),
        "resize_and_crop": {name: asdict(stream.resolved.pixels)[name] for name in ("resize", "crop")},
        "colours": "flow x and y" if stream.spec.channels == 2 else "RGB",
        "values": "0..255; the network's own order and scale are inside",
        "head": fitted.head.name,
        "range": list(fitted.fitted_on.range),
    }
    with whole_file(file.with_name(f"{file.name}.json")) as path:
        path.write_text(json.dumps(said, indent=1), encoding="utf-8")
