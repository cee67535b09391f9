"""Tiny ONNX files, written byte by byte: a detector and a pose network whose answers can be told from the picture.

Field numbers are those of onnx.proto3 (ONNX IR version 8, operator set 13).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

FLOAT, INT64 = 1, 7  # TensorProto.DataType


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a message: a number, or bytes with their length before them."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(op: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]) -> bytes:
    message = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, op)
    for name, value in attributes.items():
        if isinstance(value, int):
            message += field(5, field(1, name) + field(3, value) + field(20, 2))
        else:
            message += field(5, field(1, name) + b"".join(field(8, one) for one in value) + field(20, 7))
    return field(1, message)


def constant(name: str, values: np.ndarray) -> bytes:
    kind = INT64 if values.dtype == np.int64 else FLOAT
    dims = b"".join(field(1, size) for size in values.shape)
    return field(5, dims + field(2, kind) + field(8, name) + field(9, values.tobytes()))


def value_info(number: int, name: str, shape: Sequence[int]) -> bytes:
    dims = b"".join(field(1, field(1, size)) for size in shape)
    return field(number, field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, dims))))


def write(path: Path, *graph: bytes) -> Path:
    model = field(1, 8) + field(7, b"".join(graph) + field(2, "graph")) + field(8, field(1, "") + field(2, 13))
    path.write_bytes(model)
    return path


def write_pose(path: Path, height: int, width: int, joints: int = 17) -> Path:
    """An RTMPose: all joints at the brightest column and row; SimCC of two bins a pixel."""
    steps = [node("ReduceMax", ["x"], "grey", axes=[1], keepdims=0)]
    for name, size, axis in (("simcc_x", width, 1), ("simcc_y", height, 2)):
        steps += [
            node("ReduceMax", ["grey"], f"{name}1", axes=[axis], keepdims=0),
            constant(f"{name}_at", np.array([2])),
            node("Unsqueeze", [f"{name}1", f"{name}_at"], f"{name}2"),
            constant(f"{name}_twice", np.array([1, size, 2])),
            node("Expand", [f"{name}2", f"{name}_twice"], f"{name}3"),
            constant(f"{name}_flat", np.array([1, 1, 2 * size])),
            node("Reshape", [f"{name}3", f"{name}_flat"], f"{name}4"),
            constant(f"{name}_all", np.array([1, joints, 2 * size])),
            node("Expand", [f"{name}4", f"{name}_all"], name),
            value_info(12, name, (1, joints, 2 * size)),
        ]
    return write(path, *steps, value_info(11, "x", (1, 3, height, width)))


def write_detector(path: Path, size: int, boxes: Sequence[Sequence[float]]) -> Path:
    """A detector with its NMS in it: `boxes` (x1, y1, x2, y2, score), scores times the brightest of the picture."""
    rows = np.array([boxes], np.float32)
    return write(
        path,
        node("ReduceMax", ["x"], "max", axes=[1, 2, 3], keepdims=0),
        constant("white", np.array([255.0], np.float32)),
        node("Div", ["max", "white"], "light"),
        constant("boxes", rows[..., :4]),
        constant("scores", rows[..., 4:]),
        node("Mul", ["scores", "light"], "lit"),
        node("Concat", ["boxes", "lit"], "dets", axis=2),
        value_info(12, "dets", (1, len(boxes), 5)),
        value_info(11, "x", (1, 3, size, size)),
    )
