"""Putting weights into a network: strictly, by a key map, from a file or from a seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ..keymaps import KEYMAPS, KeyMap
from .base import Backbone

GAIN = "random_gain"  # attribute of a layer whose random weights are to be smaller
COUNTER = "num_batches_tracked"  # of batch-norm in training; files have it or not, and nothing here reads it


def empty(backbone: Backbone, layer: str) -> nn.Module:
    """The network without memory for its weights (on the device "meta"), so that no time goes into initialising it."""
    with torch.device("meta"):
        return backbone.build(layer)


def own_names(backbone: Backbone) -> KeyMap:
    """The identity on every name that the network has in any of its layers."""
    names = {name for layer in backbone.layers for name in _wanted(empty(backbone, layer))}
    return KeyMap("our own names", {name: name for name in sorted(names)})


def key_maps(backbone: Backbone) -> dict[str, KeyMap]:
    """Every key map of its weights by name, in their order."""
    names = dict.fromkeys(name for weights in backbone.weights.values() for name in weights.keys)
    return {name: own_names(backbone) if name == "own" else KEYMAPS[name] for name in names}


@dataclass(frozen=True)
class Match:
    """What a key map makes of a file for one network. `tensors` are under our names and in our layout."""

    keymap: KeyMap
    tensors: Mapping[str, torch.Tensor]
    missing: tuple[str, ...]  # our names
    unexpected: tuple[str, ...]  # names in the file
    misshapen: tuple[str, ...]  # "name: [3, 4] instead of [4, 4]"

    @property
    def problems(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.misshapen)

    def __str__(self) -> str:
        found = (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", self.misshapen))
        return "; ".join(f"{len(names)} {what}: {_few(names)}" for what, names in found if names)


def match(tensors: Mapping[str, torch.Tensor], keymap: KeyMap, net: nn.Module) -> Match:
    """Names that the map knows but `net` has not (layers behind the one asked for) are left out; all else must fit."""
    wanted = _wanted(net)
    ours: dict[str, torch.Tensor] = {}
    unexpected, misshapen = [], []
    for theirs, tensor in tensors.items():
        name = keymap.ours(theirs)
        if name is None:
            if not theirs.endswith(COUNTER):
                unexpected.append(theirs)
        elif name in wanted:
            found, shape = _without_ones(keymap.to_ours(tensor), wanted[name]), list(wanted[name])
            ours[name] = found
            if list(found.shape) != shape:
                misshapen.append(f"{theirs} {list(tensor.shape)} for {name} {shape}")
    for name, shape in wanted.items():
        if name not in ours and keymap.ones and name.endswith(keymap.ones):
            ours[name] = torch.ones(shape)
    missing = tuple(name for name in wanted if name not in ours)
    return Match(keymap, ours, missing, tuple(unexpected), tuple(misshapen))


def fill(net: nn.Module, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """`net`, which may be empty, with these weights, frozen and in evaluation mode."""
    # In memory of their own: where a file's tensors lie unaligned, some kernels round in another way.
    state = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    state |= {name: torch.zeros((), dtype=torch.long) for name in net.state_dict() if name.endswith(COUNTER)}
    net.load_state_dict(state, strict=True, assign=True)
    return net.requires_grad_(False).eval()


def random_network(backbone: Backbone, layer: str, seed: int) -> nn.Module:
    """The network with He's uniform initialisation (fan in), zero biases and identity norms.

    Signals keep their size through any depth of ReLUs; a module may ask for less by an attribute called `GAIN`. Only
    uniform numbers and single multiplications are used, so the bytes are the same on every platform. The global
    generator is not touched.
    """
    net = empty(backbone, layer)
    if any(name.rpartition(".")[2] not in NORM_BUFFERS for name, _ in net.named_buffers()):
        with torch.random.fork_rng(devices=[]):  # tables that the constructor computes cannot be had on "meta"
            net = backbone.build(layer)
    else:
        net = net.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            for name, parameter in module.named_parameters(recurse=False):
                parameter.copy_(_initial(module, name, parameter.shape, generator))
            for name, buffer in module.named_buffers(recurse=False):
                if name in NORM_BUFFERS:
                    buffer.fill_(1 if name == "running_var" else 0)
    return net.requires_grad_(False).eval()


NORM_BUFFERS = ("running_mean", "running_var", COUNTER)


def _initial(module: nn.Module, name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    if name.endswith("bias"):
        return torch.zeros(shape)
    if name == "weight" and len(shape) == 1:
        return torch.ones(shape)
    if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
        bound = getattr(module, GAIN, 1.0) * math.sqrt(6 / math.prod(shape[1:]))
    else:
        bound = 0.03  # position tables and class tokens
    return torch.rand(shape, generator=generator).sub_(0.5).mul_(2 * bound)


def _wanted(net: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in net.state_dict().items() if not name.endswith(COUNTER)}


def _without_ones(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """`tensor` as `shape` where they differ in dimensions of size 1 alone ([1, 1, 1, 1, C] of TensorFlow and Caffe)."""
    bare = [size for size in tensor.shape if size > 1]
    return tensor.reshape(shape) if bare == [size for size in shape if size > 1] else tensor


def _few(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
