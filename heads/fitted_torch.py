"""A trained torch head: it judges in batches of a fixed size, and is kept as safetensors beside `head.json`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..errors import StoreError
from .base import FeatureSet, Judgement
from .batches import Batch, Exemplars, Scaling, select, with_exemplars
from .exemplars import Bank
from .needs import FittedOn
from .saving import read_head, whole_file, write_head
from .spread import rescaled, spread_factor
from .torch_head import Spec, TorchHead, built, rows_for

WEIGHTS = "head.safetensors"
ROWS = 64  # samples per batch when judging
CLIPS = 12_800  # of exemplars beside them, over all seeds; 64 samples with 10 exemplars of 20 clips have as many


@dataclass(frozen=True)
class FittedTorch:
    """`bank`, `exemplars`: labels and features of the train samples, for a head that compares with them."""

    head: TorchHead
    spec: Spec
    net: nn.Module
    scaling: Scaling
    fitted_on: FittedOn
    info: Mapping[str, Any]
    bank: Bank | None = None
    exemplars: Exemplars | None = None

    def predict(self, data: FeatureSet) -> Judgement:
        """Judge every sample of `data`; what is in the same batch changes nothing.

        Raises:
            UnmetNeeds: other streams or shapes than those fitted on, or samples without a label that is needed.
            StoreError: features that are not finite.
        """
        self.fitted_on.check(self.head, data)
        if len(data) == 0:
            return Judgement(np.zeros(0), np.zeros(0) if "spread" in self.head.needs.gives else None)
        weight = next(self.net.parameters())
        rows = rows_for(self.head, self.spec, self.scaling, data, weight.device, weight.dtype)
        chosen = None if self.bank is None else self.bank.nearest(data, int(self.info["seed"]))
        picked = None if chosen is None else torch.from_numpy(chosen).to(weight.device)
        self.net.eval()
        with torch.inference_mode():
            said = judge_all(self._all_said, partial(self.head.encoded, self.net), rows, self.exemplars, picked)
        values = {name: value.cpu().double().numpy() for name, value in said.items()}
        compared: tuple[tuple[str, ...], ...] = ()
        if self.bank is not None and chosen is not None:
            compared = tuple(tuple(self.bank.ids[i] for i in row) for row in chosen)
        return replace(rescaled(self.head.judgement(self.spec, values), self.info), exemplars=compared)

    def calibrated(self, held_out: FeatureSet) -> FittedTorch:
        """The same with its spread multiplied by the `spread_factor` of `held_out`. `info` says what it is and what it
        was taken from."""
        judged = self.predict(held_out)
        if judged.spread is None:
            raise TypeError(f"{self.head.name} gives no spread")
        scale = spread_factor(held_out.score, judged.score, judged.spread) * self.info.get("spread_scale", 1.0)
        said = {"spread_scale": scale, "spread_scaled_on": "val", "spread_samples": len(held_out)}
        return replace(self, info={**self.info, **said})

    def _all_said(self, batch: Batch) -> dict[str, Tensor]:
        return {**self.head.judge(self.net, batch), **self.head.further(self.net, batch)}

    def save(self, folder: Path) -> None:
        """Write `head.safetensors`, then `head.json`, each whole or not at all."""
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        for part in ("mean", "sd"):
            for name, value in getattr(self.scaling, part).items():
                tensors[f"scaling.{part}.{name}"] = torch.from_numpy(value)
        dtype = str(next(self.net.parameters()).dtype).removeprefix("torch.")
        state: dict[str, Any] = {"spec": self.spec.to_json(), "dtype": dtype}
        if self.bank is not None and self.exemplars is not None:
            labels = asdict(self.bank)
            tensors["bank.difficulty"] = torch.from_numpy(labels.pop("difficulty"))
            tensors["bank.score"] = self.exemplars.score
            tensors |= {f"bank.stream.{name}": value for name, value in self.exemplars.streams.items()}
            tensors |= {f"bank.mask.{name}": value for name, value in self.exemplars.masks.items()}
            state["bank"] = labels
        apart = {n: v.detach().cpu().clone(memory_format=torch.contiguous_format) for n, v in tensors.items()}
        with whole_file(Path(folder) / WEIGHTS) as path:
            path.write_bytes(save(apart))
        write_head(Path(folder), self.head, self.fitted_on, self.info, state)


def judge_all(
    judge: Callable[[Batch], dict[str, Tensor]],
    encode: Callable[[Exemplars], dict[str, Tensor]],
    rows: Batch,
    exemplars: Exemplars | None,
    chosen: Tensor | None,
    seeds: tuple[int, ...] = (),
) -> dict[str, Tensor]:
    """What `judge` says of all N `rows`, batch by batch, put together along the last axis.

    `chosen` [N, M]: rows of `exemplars` for each sample; what `encode` makes of them is made once of each. With `seeds`
    = (S,), `judge` and `encode` take and give batches of S seeds, [S, B, ...], and `chosen` is [S, N, M].
    """
    parts, size = [], ROWS
    if exemplars is not None and chosen is not None:
        exemplars, chosen = encoded_once(encode, exemplars, chosen, seeds)
        lengths = [math.prod(x.shape[len(seeds) + 1 : -1]) for x in exemplars.encoded.values()]
        beside = chosen.shape[-1] * max([*lengths, *(mask.shape[-1] for mask in exemplars.masks.values())])
        size = max(1, min(ROWS, CLIPS // (beside * math.prod(seeds))))
    for part in torch.arange(len(rows.score), device=rows.score.device).split(size):
        batch = select(rows, part.expand(*seeds, -1))
        if exemplars is not None and chosen is not None:
            batch = with_exemplars(batch, exemplars, chosen[..., part, :].flatten(-2))
        parts.append(judge(batch))
    return {name: torch.cat([part[name] for part in parts], dim=-1) for name in parts[0]}


def encoded_once(
    encode: Callable[[Exemplars], dict[str, Tensor]], exemplars: Exemplars, chosen: Tensor, seeds: tuple[int, ...]
) -> tuple[Exemplars, Tensor]:
    """Those of `exemplars` that are chosen, with what `encode` makes of them in the place of their clips, and `chosen`
    among these; both as they are where it makes nothing."""
    used, among = chosen.unique(return_inverse=True)
    parts: list[dict[str, Tensor]] = []
    for rows in used.split(ROWS):
        parts.append(encode(tree_map(lambda x, rows=rows: x[rows.expand(*seeds, -1)], exemplars)))
        if not parts[0]:
            return exemplars, chosen
    encoded = {name: torch.cat([part[name] for part in parts], dim=len(seeds)) for name in parts[0]}
    return Exemplars({}, {}, exemplars.score[used], exemplars.difficulty[used], encoded=encoded), among


def load_fitted(head: TorchHead, folder: Path, device: str) -> FittedTorch:
    """The inverse of `FittedTorch.save`.

    Raises:
        StoreError: the files are missing or damaged, or do not fit each other.
    """
    plain, path = read_head(folder), Path(folder) / WEIGHTS
    try:
        tensors, state = load(path.read_bytes()), plain["state"]
        head, spec = replace(head, **plain["config"]), Spec.from_json(state["spec"])
        net = built(head, spec, seed=0).to(getattr(torch, state["dtype"]))
        net.load_state_dict(_under("net.", tensors))
        scaling = Scaling(
            *({k: v.numpy() for k, v in _under(f"scaling.{p}.", tensors).items()} for p in ("mean", "sd"))
        )
        bank = exemplars = None
        if "bank" in state:
            bank, exemplars = _bank(state["bank"], _under("bank.", tensors))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(f"cannot read: {error}", file=path, hint="fit the head again") from error
    net.to(device).eval()
    exemplars = None if exemplars is None else tree_map(lambda tensor: tensor.to(device), exemplars)
    return FittedTorch(head, spec, net, scaling, FittedOn.from_json(plain["fitted_on"]), plain["info"], bank, exemplars)


def _bank(labels: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[Bank, Exemplars]:
    score, difficulty = tensors["score"], tensors["difficulty"]
    exemplars = Exemplars(_under("stream.", tensors), _under("mask.", tensors), score, difficulty.to(score.dtype))
    lists = {name: tuple(labels[name]) for name in ("ids", "kind")}
    return Bank(**{**labels, **lists, "difficulty": difficulty.numpy()}), exemplars


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
