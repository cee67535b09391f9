"""What every backbone must do, as one function that authors of backbones can call."""

from __future__ import annotations

import copy
import json
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import torch

from ..errors import BadParameter
from .backbones import backbone
from .backbones.base import Backbone
from .backbones.matching import COUNTER, empty, key_maps, match
from .backbones.resolving import Resolved, load
from .keymaps import KEYMAPS
from .pixels import resize_limit

Clip = tuple[int, int, int]  # frames, height, width


def check_backbone(arch: str | Backbone, clip: Clip | None = None) -> None:
    """Asserts the contract of a backbone, with random weights: no file is needed.

    Its data agree with each other; every layer has the shape that it says, for every allowed clip tried; features are
    float32, finite, the same when computed again, do not depend on what else is in the batch, and survive bfloat16;
    they differ between clips and between seeds; where frames are rows there is one for each; what is kept of a sample
    is finite, also of one in which nothing was found; a clip that is not allowed is refused with the nearest; weights
    come back the same through a file and through each key map; torch's global generator is left alone.

    Args:
        arch: the name, or the `Backbone` itself while it is not installed as an entry point.
        clip: (frames, height, width) to compute with; by default the smallest allowed of a few.

    Raises:
        AssertionError: says what does not hold.
    """
    found = backbone(arch) if isinstance(arch, str) else arch
    _check_data(found)
    clips = [clip] if clip else _clips(found)
    _check_shapes(found, clips)
    before = torch.get_rng_state()
    resolved = load(found, "random", found.layer, None, 0)
    _check_refusal(resolved)
    sample, feature = _check_features(resolved, clips[0])
    if found.finish is not None:
        _check_finish(resolved, clips[0])
    _check_file(resolved, sample, feature)
    _check_key_maps(resolved)
    _hold(torch.equal(before, torch.get_rng_state()), found, "touches torch's global random numbers")


def _check_data(found: Backbone) -> None:
    _hold("random" in found.weights, found, "has no weights called random")
    _hold(found.extractor >= 1, found, "needs an extractor number of 1 or more")
    for tag, weights in found.weights.items():
        pixels = weights.pixels
        _hold(tag == weights.tag and not set(tag) & set(".:"), found, f"has a tag that cannot be named: {tag}")
        unknown = set(weights.keys) - {"own", *KEYMAPS}
        _hold(not unknown, found, f"{tag}: no such key map: {', '.join(sorted(unknown))}")
        channels = 2 if pixels.channels == "flow" else 3
        _hold(len(pixels.mean) == len(pixels.std) == channels, found, f"{tag}: mean and std need {channels} numbers")
        _hold(all(value > 0 for value in pixels.std), found, f"{tag}: std must be positive")
        height, width = resize_limit(pixels)
        _hold(pixels.crop[0] <= height and pixels.crop[1] <= width, found, f"{tag}: the crop is larger than the frame")
        reason = found.allowed(found.clip_length, *pixels.crop)
        _hold(reason is None, found, f"{tag}: its own clip is not allowed: {reason}")


def _check_refusal(resolved: Resolved) -> None:
    found, reason = resolved.backbone, resolved.allowed(1, 1, 1)
    _hold(reason is not None and any(c.isdigit() for c in reason), found, "must refuse 1x1x1 and name the nearest clip")
    try:
        resolved.shape(1, 1, 1)
    except BadParameter:
        return
    _hold(False, found, "gives a shape for a clip that is not allowed")


def _check_shapes(found: Backbone, clips: list[Clip]) -> None:
    published = [(found.clip_length, *weights.pixels.crop) for weights in found.weights.values()]
    for layer in found.layers:
        net = empty(found, layer).eval()
        for clip in dict.fromkeys([*clips, *published]):
            with torch.no_grad():
                shape = tuple(net(torch.empty(2, _channels(found), *clip, device="meta")).shape)
            said = (2, *found.layers[layer](*clip))
            _hold(shape == said, found, f"{layer} of {clip} is {shape}, not {said}")
            _hold(not found.rows or said[1:2] == clip[:1], found, f"{layer} of {clip} is {shape}: not a row per frame")


def _check_features(resolved: Resolved, clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    """Also gives a clip and its feature."""
    found, net = resolved.backbone, resolved.net
    _hold(not net.training and not any(p.requires_grad for p in net.parameters()), found, "is not frozen")
    clips = _noise(found, 2, clip)
    with torch.inference_mode():
        features = net(clips)
        _hold(features.dtype == torch.float32 and bool(features.isfinite().all()), found, "gives no finite float32")
        alone = net(clips[:1])
        _hold(torch.equal(alone, net(clips[:1])), found, "gives other features the second time")
        _hold(_distance(alone, features[:1]) < 1e-4, found, "depends on what else is in the batch")
        _hold(_distance(features[1:], features[:1]) > 1e-4, found, "gives one feature for different clips")
        other = load(found, "random", resolved.layer, None, 1).net(clips[:1])
        _hold(_distance(other, alone) > 1e-2, found, "gives the same feature for another seed")
        said = (2, *resolved.shape(*clip))
        _hold(tuple(features.shape) == said, found, f"gives {tuple(features.shape)} for {clip}, not {said}")
        if found.bf16:
            half = copy.deepcopy(net).to(torch.bfloat16)(clips[:1].bfloat16())
            _hold(half.dtype == torch.bfloat16 and bool(half.isfinite().all()), found, "is not finite in bfloat16")
            _hold(_distance(half.float(), alone) < 0.2, found, "is far off in bfloat16")
    return clips[:1], alone


def _check_finish(resolved: Resolved, clip: Clip) -> None:
    """What is kept has one shape and is finite: of what the network gives, of nothing but zeros, of one clip."""
    found, finish, kept = resolved.backbone, resolved.finish, resolved.kept(*clip)
    assert finish is not None
    with torch.inference_mode():
        given = resolved.net(_noise(found, 2, clip)).numpy()
    sizes = np.array([clip[1:], clip[1:]])
    for values in (given, given * 0, given[:1]):
        before = values.copy()
        made, notes = finish(values, sizes[: len(values)])
        shape = (len(values), *kept)
        _hold(made.shape == shape and made.dtype == np.float32, found, f"keeps {made.dtype} {made.shape}, not {shape}")
        _hold(bool(np.isfinite(made).all()), found, "keeps what is not finite")
        _hold(json.dumps(notes) != "{}", found, "does not say what happened to a sample")
        _hold(np.array_equal(before, values), found, "changes what the network gave")


def _check_file(resolved: Resolved, sample: torch.Tensor, feature: torch.Tensor) -> None:
    """Only where weights are published under the network's own names."""
    from safetensors.torch import save_file

    found = resolved.backbone
    tags = [tag for tag, weights in found.weights.items() if "own" in weights.keys]
    if not tags:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(resolved.net.state_dict(), path)
        again = load(found, tags[0], resolved.layer, path, 0)
        with torch.inference_mode():
            same = torch.equal(again.net(sample), feature)
    _hold(same, found, "changes when its weights go through a file")


def _check_key_maps(resolved: Resolved) -> None:
    """Every map that covers the layer."""
    found = resolved.backbone
    ours = {name: tensor for name, tensor in resolved.net.state_dict().items() if not name.endswith(COUNTER)}
    for title, keymap in key_maps(found).items():
        if not set(ours) <= {*keymap.names.values(), *_left_out(ours, keymap.ones)}:
            continue
        result = match(keymap.to_theirs(ours), keymap, resolved.net)
        _hold(not result.problems, found, f"its key map {title} does not fit: {result}")
        same = all(torch.equal(result.tensors[name], tensor) for name, tensor in ours.items())
        _hold(same, found, f"its key map {title} does not bring the weights back")


def _left_out(ours: dict[str, torch.Tensor], endings: tuple[str, ...]) -> list[str]:
    return [name for name in ours if endings and name.endswith(endings)]


def _clips(found: Backbone) -> list[Clip]:
    """The allowed ones of a few clips, the smallest first, and the longest that the weights are published for."""
    sizes = [(size, size) for size in (64, 112, 224)] + [weights.pixels.crop for weights in found.weights.values()]
    tried = [(frames, *size) for size, frames in product(sizes, (8, 16, found.clip_length))]
    allowed = [clip for clip in tried if found.allowed(*clip) is None]
    return sorted(dict.fromkeys(allowed), key=lambda clip: clip[0] * clip[1] * clip[2])


def _channels(found: Backbone) -> int:
    return len(found.weights["random"].pixels.mean)


def _noise(found: Backbone, batch: int, clip: Clip) -> torch.Tensor:
    """Normal noise whose clips differ in their mean too, so that a mean over everything still tells them apart."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, _channels(found), *clip, generator=generator) + torch.arange(batch).view(-1, 1, 1, 1, 1)


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Norm of the difference, relative to the norm of `b`."""
    return float((a - b).norm() / b.norm().clamp_min(1e-12))


def _hold(condition: bool, found: Backbone, what: str) -> None:
    if not condition:
        raise AssertionError(f"backbone {found.arch}: {what}")
