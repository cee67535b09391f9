"""Backbones and head as one network: from clips as uint8 to the batch that a head takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import BadParameter
from ..extract.pixels import to_input
from ..heads.batches import Scaling
from .live import Live

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
NORMS = (nn.modules.batchnorm._BatchNorm,)  # what all of them share


@dataclass(frozen=True)
class Computing:
    """How a backbone is run. `at_once`: clips per forward, 0 for all of a batch. `recompute`: activations are not kept
    but made again for the gradient, `at_once` clips at a time."""

    device: torch.device
    precision: Precision = "fp32"
    at_once: int = 0
    recompute: bool = False

    def cast(self) -> AbstractContextManager[object]:
        """The context in which a forward is computed."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.precision])


class Tuned(nn.Module):
    """`backbones`, one per live stream in the order of `streams`, and the `head`'s network.

    Pooled heads get the mean of a sample's clips. With `standard` features are standardised by numbers that stay as
    they are (`use`); `cached` has those of the streams that are not made here.
    """

    def __init__(
        self,
        streams: Sequence[Live],
        head: nn.Module,
        *,
        pool: bool,
        norms: Literal["frozen", "train"] = "frozen",
        standard: bool = False,
        cached: Scaling | None = None,
    ) -> None:
        super().__init__()
        self.streams, self.pool, self.norms, self.standard = tuple(streams), pool, norms, standard
        self.backbones = nn.ModuleList(deepcopy(stream.net) for stream in streams)  # others begin with it too
        self.head = head
        self.cached = cached or Scaling({}, {})
        for k, stream in enumerate(streams) if standard else ():
            self.register_buffer(f"mean_{k}", torch.zeros(stream.shape))
            self.register_buffer(f"sd_{k}", torch.ones(stream.shape))
        self.forwards: list[Callable[[Tensor], Tensor]] = list(self.backbones)  # compiled, where that was asked for

    @property
    def scaling(self) -> Scaling:
        """Of all streams, as a fitted head keeps it."""
        if not self.standard:
            return self.cached
        mean, sd = (
            {s.name: self.get_buffer(f"{part}_{k}").cpu().numpy() for k, s in enumerate(self.streams)}
            for part in ("mean", "sd")
        )
        return Scaling({**self.cached.mean, **mean}, {**self.cached.sd, **sd})

    def use(self, scaling: Scaling) -> None:
        """Standardise live features by `scaling` from now on."""
        for k, stream in enumerate(self.streams):
            self.get_buffer(f"mean_{k}").copy_(torch.from_numpy(scaling.mean[stream.name]))
            self.get_buffer(f"sd_{k}").copy_(torch.from_numpy(scaling.sd[stream.name]))

    def train(self, mode: bool = True) -> Tuned:
        """As of any module; batch normalisation of the backbones stays frozen if it is, or its weights are."""
        super().train(mode)
        for module in self.backbones.modules():
            if isinstance(module, NORMS):
                weights = list(module.parameters())
                if self.norms == "frozen" or (weights and not any(one.requires_grad for one in weights)):
                    module.eval()
        return self

    def features(self, k: int, clips: Tensor, zeros: Tensor, how: Computing) -> Tensor:
        """float32 [B, rows, *shape] of the k-th stream, of uint8 [B, T, L, H, W, C] and bool [B, T, L]."""
        flat, gone = clips.flatten(0, 1), zeros.flatten(0, 1)
        parts = []
        with how.cast():
            for some, dark in zip(_split(flat, how.at_once), _split(gone, how.at_once), strict=True):
                x = to_input(some.to(how.device, non_blocking=True), self.streams[k].resolved.pixels, torch.float32)
                x = x.masked_fill(dark.to(how.device)[:, None, :, None, None], 0)
                if how.recompute and torch.is_grad_enabled():
                    parts.append(checkpoint(self.forwards[k], x, use_reentrant=False))
                else:
                    parts.append(self.forwards[k](x))
        found = torch.cat(parts).float().unflatten(0, clips.shape[:2])
        return found.flatten(1, 2) if self.streams[k].by_frame else found

    def seen(self, features: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Streams and masks as the head is to see them, of live features [B, rows, *shape]."""
        streams, masks = {}, {}
        for k, (name, clips) in enumerate(features.items()):
            x = clips.mean(dim=1, keepdim=True) if self.pool else clips
            if self.standard:
                x = (x - self.get_buffer(f"mean_{k}")) / self.get_buffer(f"sd_{k}")
            streams[name] = x
            masks[name] = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        return streams, masks


def _split(x: Tensor, at_once: int) -> Iterable[Tensor]:
    return x.split(at_once) if at_once else (x,)


class Part(NamedTuple):
    """Parameters that are trained at one rate."""

    names: tuple[str, ...]
    parameters: list[nn.Parameter]
    rate: float


def freeze(nets: Iterable[nn.Module], patterns: Sequence[str]) -> None:
    """No gradients for the parameters whose names, in any of `nets`, begin with one of `patterns`, which may have * in
    them; "all" is all of them.

    Raises BadParameter for a pattern that meets none.
    """
    named = [(name, parameter) for net in nets for name, parameter in net.named_parameters()]
    names = [name for name, _ in named]
    for pattern in patterns:
        if pattern != "all" and not any(fnmatch(name, f"{pattern}*") for name in names):
            known = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
            raise BadParameter(f"no layer begins with '{pattern}'", field="freeze", hint=f"there are {known}, or all")
    for name, parameter in named:
        parameter.requires_grad_(not any(pattern == "all" or fnmatch(name, f"{pattern}*") for pattern in patterns))


def parts_of(net: Tuned, backbone_rates: Sequence[float], head_rate: Callable[[str], float]) -> list[Part]:
    """What is trained, by its rate: the backbones', and what the head says of each of its parameters."""
    by_rate: dict[tuple[int, float], tuple[list[str], list[nn.Parameter]]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        room, _, rest = name.partition(".")
        k = int(rest.partition(".")[0]) if room == "backbones" else -1
        rate = head_rate(rest) if k < 0 else backbone_rates[k]
        if rate > 0:
            names, parameters = by_rate.setdefault((k, rate), ([], []))
            names.append(name)
            parameters.append(parameter)
    return [Part(tuple(names), parameters, rate) for (_, rate), (names, parameters) in by_rate.items()]


def ragged(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values [N * T, *shape] and offsets [N + 1] of features [N, T, *shape]."""
    count, clips = features.shape[:2]
    return features.reshape(count * clips, *features.shape[2:]), np.arange(count + 1, dtype=np.int64) * clips
