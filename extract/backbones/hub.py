"""Weights that torchvision publishes: the files by name, and fetching them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ...errors import WeightsError
from .base import Backbone, Pixels, Weights

TORCHVISION = "torchvision"  # as `Weights.source`: it can fetch the file itself
MODELS = {  # architecture -> torchvision's name, where it is another
    "pose": "keypointrcnn_resnet50_fpn",
    "regnet_y_400mf_gsm": "regnet_y_400mf",
}


def published(files: Mapping[str, tuple[str, Pixels]], licence: str, random: Pixels) -> dict[str, Weights]:
    """Tag -> weights. `files`: tag -> name of the published file, which ends in the first 8 digits of its sha256, and
    pixels; `random` are those of the random weights."""
    weights = {
        tag: Weights(
            tag,
            pixels,
            files=(file,),
            keys=("own",),
            sha256=file.removesuffix(".pth").rpartition("-")[2],
            licence=licence + " and ImageNet-22k" * ("22k" in file),
            source=TORCHVISION,
        )
        for tag, (file, pixels) in files.items()
    }
    return {**weights, "random": Weights("random", random, licence="none needed")}


def fetch(backbone: Backbone, weights: Weights, *, download: bool) -> Path:
    """torchvision's own file in torch's cache; with `download` it is fetched where it is missing.

    Raises:
        WeightsError: it is not there, or cannot be downloaded.
    """
    from torchvision.models import get_model_weights

    name, file = f"{backbone.arch}.{weights.tag}", weights.files[0]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if path.exists():
        return path
    if not download:
        hint = f"give {file} with --weights FILE, or --weights {TORCHVISION} to download it"
        raise WeightsError(f"{name} needs a weight file, and torch's cache does not have it", file=path, hint=hint)
    known = get_model_weights(MODELS.get(backbone.arch, backbone.arch))
    url = next(one.url for one in known if one.url.endswith("/" + file))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=weights.sha256, progress=False)
    except (OSError, RuntimeError) as error:  # no network, no space; another digest than published
        hint = f"download {url} where there is a network and give it with --weights FILE"
        raise WeightsError(f"the weights of {name} could not be downloaded: {error}", hint=hint) from error
    return path
