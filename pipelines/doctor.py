"""``aqa doctor``: what this machine has, what aqa would use of it, and where things are."""

from __future__ import annotations

import importlib.util
import shutil
from typing import Any

from .console import Console
from .settings import load_settings, place
from .verb import Json, Quiet

# extra -> packages; grows with pyproject.toml
EXTRAS: dict[str, tuple[str, ...]] = {"captions": ("nltk", "sacrebleu"), "pose": ("rtmlib", "onnxruntime")}


def doctor(*, json: Json = False, quiet: Quiet = False) -> dict[str, Any]:
    """Print versions, devices, the precision that would be used, aqa.toml, and where cache and runs are.

    Example: aqa doctor --json
    """
    import torch
    from av import library_versions

    from ..extract.precision import choose
    from .versions import versions

    settings = load_settings()
    where = place(None, settings=settings)
    choice = choose()
    parent = where.cache.absolute()
    while not parent.exists():
        parent = parent.parent
    facts: dict[str, Any] = {
        "versions": versions(),
        "ffmpeg_libraries": {name: ".".join(map(str, v)) for name, v in sorted(library_versions.items())},
        "device": choice.device,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "precision": choice.precision,
        "precision_reason": choice.reason,
        "threads": torch.get_num_threads(),
        "extras": {
            extra: all(importlib.util.find_spec(package) is not None for package in packages)
            for extra, packages in EXTRAS.items()
        },
        "settings_file": None if settings.file is None else str(settings.file),
        "settings": {"default": settings.default, "dataset": settings.datasets},
        "dataset": where.dataset,
        "root": None if where.root is None else str(where.root),
        "cache": str(where.cache),
        "runs": str(where.runs),
        "disk_free_gb": round(shutil.disk_usage(parent).free / 1e9, 1),
    }
    lines = []
    for name, value in facts.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        lines.append(f"{name.replace('_', ' '):18} {'none' if shown in ('', [], None) else shown}")
    Console(json=json, quiet=quiet).result(facts, "\n".join(lines))
    return facts
