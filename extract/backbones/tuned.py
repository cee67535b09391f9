"""Weights that `aqa finetune` leaves behind: a safetensors file that says itself which network it is, which pixels it
takes, and which samples it has seen the scores of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import WeightsError
from .base import Pixels, Weights

KEY = "aqa.backbone"
TAG = "tuned"


@dataclass(frozen=True)
class TrainedOn:
    """`ids`: samples of `dataset` whose scores the weights have seen; `start`: what these were, "c3d.sports1m";
    `earlier`: what those had been fine-tuned on before, none of which has any `earlier` itself."""

    dataset: str
    protocol: str
    fold: str
    ids: tuple[str, ...]
    start: str
    earlier: tuple[TrainedOn, ...] = ()

    def __str__(self) -> str:
        return f"{len(self.ids)} train samples of {self.dataset} (protocol {self.protocol}, fold {self.fold})"


def write_tuned(
    path: Path, net: Mapping[str, Tensor], arch: str, layer: str, weights: Weights, trained_on: TrainedOn
) -> None:
    """Write the weights `net` of a backbone. The caller sees to it that the file appears whole."""
    said = {
        "arch": arch,
        "layer": layer,
        "pixels": asdict(weights.pixels),
        "licence": weights.licence,
        "trained_on": asdict(trained_on),
    }
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in net.items()}
    save_file(tensors, path, metadata={KEY: json.dumps(said)})


def read_tuned(path: Path, arch: str) -> tuple[Weights, TrainedOn] | None:
    """What a file says of itself; None if it is not one of ours.

    Raises WeightsError for the weights of another architecture, and for a damaged note.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
    except (OSError, SafetensorError):
        return None  # whoever reads the tensors says what is wrong
    if text is None:
        return None
    try:
        said = json.loads(text)
        tuples: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in said["pixels"].items()}
        weights = Weights(TAG, Pixels(**tuples), keys=("own",), licence=said["licence"], source="aqa finetune")
        seen = _trained_on(said["trained_on"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"the note in the file is damaged: {error}", file=path, hint="fine-tune again") from error
    if said["arch"] != arch:
        raise WeightsError(f"these are weights of {said['arch']}, not of {arch}", file=path)
    return weights, seen


def _trained_on(said: Mapping[str, Any]) -> TrainedOn:
    earlier = tuple(_trained_on(one) for one in said.get("earlier", ()))
    return TrainedOn(**{**said, "ids": tuple(said["ids"]), "earlier": earlier})
