"""Where a training stands, in one safetensors file: weights, moments, and in its metadata the counters. It appears
whole or not at all. No state of a random generator is in it: every chance is drawn from the seed and the counters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import StoreError
from ..heads.saving import whole_file

LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass
class Progress:
    """Counters: `epoch` (from 0) that is being trained, `done` updates of it, `updates` of all; `total`, the sum of its
    losses times the samples, and `seen` samples. `history`: one row per finished epoch. `best`: epoch (from 1) with
    its measures. `failed`: sample -> why it could not be read."""

    epoch: int = 0
    done: int = 0
    updates: int = 0
    total: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    best: tuple[float, float] = (-3.0, 0.0)
    scaler: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def write_checkpoint(
    path: Path, net: Mapping[str, Tensor], optimiser: torch.optim.Optimizer | None, progress: Progress, digest: str
) -> None:
    """`net`: weights and buffers. `digest` says of which training this is. Raises StoreError."""
    tensors = {f"net.{name}": value for name, value in net.items()}
    scalars: dict[str, Any] = {}
    for k, state in {} if optimiser is None else optimiser.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{k}.{name}"] = value
            else:
                scalars[f"{k}.{name}"] = value
    apart = {n: v.detach().cpu().clone(memory_format=torch.contiguous_format) for n, v in tensors.items()}
    said = {"digest": digest, "progress": json.dumps(asdict(progress)), "optimiser": json.dumps(scalars)}
    with whole_file(path) as temporary:
        save_file(apart, temporary, metadata=said)


def read_checkpoint(
    path: Path, digest: str, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Any], Progress] | None:
    """Weights, the state of the optimiser by parameter, and the counters; None where there is no such file.

    Raises StoreError for a damaged file, and for one of another training.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            said = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        if said["digest"] != digest:
            hint = "remove it to begin again"
            raise StoreError("this checkpoint is of a training with other settings", file=path, hint=hint)
        progress = Progress(**json.loads(said["progress"]))
        progress.best = (progress.best[0], progress.best[1])
        scalars = json.loads(said["optimiser"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"cannot read: {error}", file=path, hint="remove it to begin again") from error
    net = {name.removeprefix("net."): value for name, value in tensors.items() if name.startswith("net.")}
    states: dict[str, Any] = {}
    for name, value in [*tensors.items(), *((f"optimiser.{n}", v) for n, v in scalars.items())]:
        if name.startswith("optimiser."):
            _, k, key = name.split(".", 2)
            states.setdefault(k, {})[key] = value
    return net, states, progress


def restore(optimiser: torch.optim.Optimizer, states: Mapping[str, Any]) -> None:
    """Puts the moments back, laid out in memory as the parameters are: fused optimisers go through it."""
    plain = optimiser.state_dict()
    plain["state"] = {int(k): dict(state) for k, state in states.items()}
    optimiser.load_state_dict(plain)
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)
