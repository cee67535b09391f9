"""The stage between video and cache: frames are decoded, cut into clips and put through frozen networks.

    >>> from aqa.extract import Job, choose, extract, parse_plan
    >>> from aqa.extract.backbones import resolve

CPU and CUDA run the same code. On Apple GPUs (MPS, fp32, untested) frames are resized on the CPU. On Windows and macOS
decoding processes have no memory limit; all else is alike.

Names are imported when they are asked for: decoding processes come through here, and import no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "ClipPlan": "plan",
    "parse_plan": "plan",
    "Probe": "decode",
    "probe": "decode",
    "Choice": "precision",
    "TooImprecise": "precision",
    "choose": "precision",
    "Done": "engine",
    "Failed": "engine",
    "Job": "engine",
    "Resources": "engine",
    "extract": "engine",
    "resources": "engine",
}

__all__ = sorted(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
