"""From an architecture and a weight file to a network: which weights these are, do they fit, what must be said."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...errors import BadParameter, MissingExtra, WeightsError
from ..weights import load_weights, sha256
from .base import Backbone, Finish, Pixels, Weights
from .hub import TORCHVISION, fetch
from .matching import Match, empty, fill, key_maps, match, own_names, random_network
from .tuned import TAG, TrainedOn, read_tuned


@dataclass(frozen=True)
class Resolved:
    """A network with its weights, frozen, in evaluation mode, float32 on the CPU.

    `net`: ``[B, C, T, H, W] -> [B, *shape(T, H, W)]``; `finish`, if there is one, makes what is kept of a sample.
    `sha256` is that of the weight file ("a+b" where it is two), or "seed:0". `warnings` are sentences for the user.
    """

    backbone: Backbone
    weights: Weights
    layer: str
    net: nn.Module
    sha256: str
    warnings: tuple[str, ...] = ()
    trained_on: TrainedOn | None = None  # of weights that `aqa finetune` left

    @property
    def name(self) -> str:
        """Architecture and tag: "c3d.sports1m"."""
        return f"{self.backbone.arch}.{self.weights.tag}"

    @property
    def pixels(self) -> Pixels:
        return self.weights.pixels

    @property
    def licence(self) -> str:
        return self.weights.licence

    @property
    def extractor(self) -> int:
        return self.backbone.extractor

    def allowed(self, frames: int, height: int, width: int) -> str | None:
        """None, or why such a clip cannot be taken and which is the nearest that can."""
        return self.backbone.allowed(frames, height, width)

    def shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape of one clip's feature. Raises BadParameter for a clip that is not allowed."""
        reason = self.allowed(frames, height, width)
        if reason is not None:
            raise BadParameter(reason, field="clip")
        return tuple(self.backbone.layers[self.layer](frames, height, width))

    @property
    def finish(self) -> Finish | None:
        """See `Backbone.finish`."""
        make = self.backbone.finish
        return None if make is None else make(self.layer, self.pixels)

    def kept(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape of a row of the stream: of what is kept of one clip, or of one of its frames. Raises BadParameter as
        `shape`."""
        shape, finish = self.shape(frames, height, width)[self.backbone.rows :], self.finish
        if finish is None:
            return shape
        return finish(np.zeros((1, *shape), np.float32), np.array([[height, width]]))[0].shape[1:]


def load(found: Backbone, tag: str | None, layer: str, weights: str | Path | None, seed: int) -> Resolved:
    """See `backbones.resolve`."""
    if found.extra is not None and importlib.util.find_spec(found.extra) is None:
        hint = f"install it: pip install {found.extra}"
        raise MissingExtra(f"the backbone {found.arch} needs {found.extra}", hint=hint)
    if tag == TAG and weights is None:
        hint = "give it with --weights: backbone.safetensors in the folder of a run"
        raise WeightsError(f"{found.arch}.{TAG} needs the file that `aqa finetune` left", hint=hint)
    if weights is None and tag not in (None, "random"):
        path = _published(found, tag, download=False)
    elif str(weights) == TORCHVISION:
        path = _published(found, tag, download=True)
    else:
        path = None if weights is None else Path(weights)
    if path is None and found.opens is not None:
        path = _published(found, tag, download=False)
    if path is None:
        net, said = random_network(found, layer, seed), (_meaning_of_random(found, seed),)
        return Resolved(found, found.weights["random"], layer, net, f"seed:{seed}", said)
    if tag == "random":
        raise BadParameter(f"{found.arch}.random takes no weight file", field="weights", hint="leave one of them out")
    if found.opens is not None:
        net, files = found.opens(path)
        which = found.weights[tag] if tag else _by_file_name(found, path)[0]
        return Resolved(found, which, layer, net, "+".join(sha256(file) for file in files))
    net, maps = empty(found, layer), key_maps(found)
    tuned = read_tuned(path, found.arch)
    if tuned is not None:
        weights_of_ours, trained_on = tuned
        result = match(load_weights(path, None), own_names(found), net)
        if result.problems:
            raise _misfit(found, layer, path, load_weights(path, None), result)
        said = (f"{path.name} was fine-tuned on {trained_on}",)
        return Resolved(found, weights_of_ours, layer, fill(net, result.tensors), sha256(path), said, trained_on)
    whole = any(name.startswith("backbone.") for name in net.state_dict())
    tensors = load_weights(path, None if whole else "backbone.")
    if found.added and not any(name.startswith(found.added) for name in tensors):
        begin = random_network(found, layer, 0).state_dict()
        tensors = {**tensors, **{name: value for name, value in begin.items() if name.startswith(found.added)}}
    if tag == TAG:
        hint = f"leave .{TAG} out to take it for weights from elsewhere"
        raise WeightsError("these weights are none that `aqa finetune` left", file=path, hint=hint)
    candidates = [found.weights[tag]] if tag else _by_file_name(found, path)
    nearest: Match | None = None
    for candidate in candidates:
        for keymap in (maps[name] for name in candidate.keys):
            result, digest = match(tensors, keymap, net), sha256(path)
            beside = _companion(keymap.companion, path)
            if result.missing and beside is not None:
                result = match({**load_weights(beside), **tensors}, keymap, net)
                digest = f"{digest}+{sha256(beside)}"
            if not result.problems:
                said = _alternatives(found, candidate, path, candidates) + _altered(candidate, path, digest)
                said += tuple(note for note in found.notes if note.startswith(f"{found.arch}.{candidate.tag} "))
                return Resolved(found, candidate, layer, fill(net, result.tensors), digest, said)
            nearest = result if nearest is None or result.problems < nearest.problems else nearest
    raise _misfit(found, layer, path, tensors, nearest)


def _meaning_of_random(found: Backbone, seed: int) -> str:
    return (
        f"{found.arch}.random: the weights are random numbers (seed {seed}), so the features are those of an untrained "
        "network: enough to try everything, nothing to publish or to compare with. With --weights FILE they become "
        "real; docs/backbones.md lists the files"
    )


def _by_file_name(found: Backbone, path: Path) -> list[Weights]:
    """The weights of an architecture, those that are published under this file name first."""
    real = [weights for weights in found.weights.values() if weights.tag != "random"]
    return sorted(real, key=lambda weights: not _named(weights, path))


def _named(weights: Weights, path: Path) -> bool:
    return any(fnmatch(path.name.lower(), pattern.lower()) for pattern in weights.files)


def _companion(names: tuple[str, str] | None, path: Path) -> Path | None:
    """The file with the rest of the network, if it lies beside `path`."""
    if names is None or names[0] not in path.name:
        return None
    beside = path.with_name(path.name.replace(*names))
    return beside if beside.exists() else None


def _alternatives(found: Backbone, chosen: Weights, path: Path, candidates: list[Weights]) -> tuple[str, ...]:
    """A sentence where the tag was not said and could be another: the pixels depend on it."""
    named = _named(chosen, path)
    others = [
        f"{found.arch}.{weights.tag}"
        for weights in candidates
        if weights is not chosen and (_named(weights, path) if named else set(weights.keys) & set(chosen.keys))
    ]
    if not others:
        return ()
    return (
        f"{path.name} is taken for {found.arch}.{chosen.tag} by its {'name' if named else 'tensors'}; it may also be "
        f"{' or '.join(others)}, with other pixels. Say which to be sure",
    )


def _altered(weights: Weights, path: Path, digest: str) -> tuple[str, ...]:
    if weights.sha256 is None or not _named(weights, path) or digest.startswith(weights.sha256):
        return ()
    return (f"{path.name} is not the file as published: its sha256 is {digest[:8]}..., not {weights.sha256[:8]}...",)


def _published(found: Backbone, tag: str | None, *, download: bool) -> Path:
    """The file of weights that were named without one."""
    weights = found.weights[tag] if tag else next(iter(found.weights.values()))
    name = f"{found.arch}.{weights.tag}"
    if weights.source == TORCHVISION:
        return fetch(found, weights, download=download)
    if download:
        raise BadParameter(f"torchvision does not publish {name}", field="weights", hint="give a weight file")
    hint = f"give it with --weights FILE; people have it as {', '.join(weights.files)} (from {weights.source})"
    if "random" in found.weights:
        hint += f"; {found.arch}.random begins without weights"
    raise WeightsError(f"{name} needs a weight file", hint=hint)


def _misfit(
    found: Backbone, layer: str, path: Path, tensors: Mapping[str, torch.Tensor], nearest: Match | None
) -> WeightsError:
    if nearest is None:
        return WeightsError(f"{found.arch} takes no weight files: its table names no key map", file=path)
    hint = None
    if nearest.keymap.companion and nearest.missing and not nearest.unexpected and not nearest.misshapen:
        first, second = nearest.keymap.companion
        hint = f"put {path.name.replace(first, second)} beside it, or take another layer of {found.arch}"
    elif fits := _fitting(tensors):
        hint = f"the file fits {' and '.join(fits)}"
    what = f"the weights do not fit {found.arch}:{layer} (read with {nearest.keymap.title}): {nearest}"
    return WeightsError(what, file=path, hint=hint)


def _fitting(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Which of our own backbones the tensors would fit, as "arch:layer"; for the error message alone."""
    from . import BACKBONES, backbone

    fits = []
    for arch in BACKBONES:
        other = backbone(arch)
        maps = [m for m in key_maps(other).values() if any(m.ours(name) is not None for name in tensors)]
        for layer in other.layers if maps else ():
            net = empty(other, layer)
            if any(not match(tensors, keymap, net).problems for keymap in maps):
                fits.append(f"{arch}:{layer}")
                break
    return fits
