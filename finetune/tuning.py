"""From samples, media and a recipe to a training: the counterpart of `heads/training.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..catalog.base import Media
from ..catalog.skeletons import flipped, of_joints
from ..errors import UnmetNeeds
from ..extract.precision import channels_last
from ..heads.base import FeatureSet, Ragged
from ..heads.batches import Batch, Scaling, fit_scaling, to_batch
from ..heads.needs import JOINTS, FittedOn, ready_to_fit
from ..heads.torch_head import TorchHead, built, need_difficulty, seen_by, spec_of
from ..heads.training import batch_sizes
from .clip_cache import ClipCache
from .evaluating import Judge
from .live import Live
from .loading import Loader, Videos
from .loop import Training
from .memory import too_much
from .network import Computing, Tuned, freeze
from .processes import Processes
from .promised import with_promises
from .recipe import Recipe
from .update import Rows


@dataclass(frozen=True)
class Machine:
    """What a training runs on. `micro`: samples computed at once, 0: all of a batch; `automatic`: as many as fit.
    `workers`: decoding processes."""

    how: Computing
    among: Processes = field(default_factory=Processes)
    micro: int = 0
    workers: int = 0
    cache: ClipCache | None = None
    compiled: bool = False
    automatic: bool = False


def prepare(
    head: TorchHead,
    recipe: Recipe,
    streams: Sequence[Live],
    train: FeatureSet,
    val: FeatureSet | None,
    media: Mapping[str, Media],
    machine: Machine,
    *,
    seed: int,
    folder: Path,
    digest: str,
    **options: Any,
) -> tuple[Training, FittedOn]:
    """A training of `head` with the networks of `streams`, ready to run, and what the head will be fitted on.

    `train`, `val`: with their cached streams, if any. `media`: of all samples that will be judged too. `options` are
    those of `Training`.

    Raises:
        UnmetNeeds, AnnotationError: the data does not fit the head.
        BadParameter: a layer to freeze that there is none of.
    """
    train = with_promises(train, tuple(streams))
    ready_to_fit(head, train)
    if recipe.flip:
        _need_mirrors(train, streams)
    fitted_on = FittedOn.of(head, train)
    known = train.take(np.flatnonzero(np.isfinite(train.score))) if head.needs.unlabelled else train
    seen = seen_by(head, known, known.streams)
    spec, bank = spec_of(head, seen), head.bank(seen)
    if spec.times_difficulty:
        need_difficulty(head, train)
    device, standard = machine.how.device, head.scale == "standard"
    kept = {name: stream for name, stream in train.streams.items() if name not in {s.name for s in streams}}
    cached = seen_by(head, replace(train, streams=kept), kept)
    scaling = fit_scaling(cached) if standard else Scaling({}, {})
    labels = {name: torch.from_numpy(values).to(device) for name, values in head.labels(spec, train).items()}
    rows = _rows(head, replace(train, streams=kept), scaling, recipe, device, labels)
    spec = replace(spec, updates=sum(batch_sizes(head, rows.plain.labelled).values()))
    net = Tuned(
        streams,
        built(head, spec, seed),
        pool=head.pool == "mean",
        norms=recipe.norms,
        standard=standard,
        cached=scaling,
    )
    freeze(net.backbones, recipe.freeze)
    net.to(device)
    channels_last(net.backbones)
    if machine.compiled:
        net.forwards = [torch.compile(backbone) for backbone in net.backbones]
    samples = tuple(media.items())
    videos = Videos(samples, tuple(stream.spec for stream in streams), recipe.shifts, machine.cache)
    loader = Loader(videos, workers=machine.workers, pin=device.type == "cuda")
    micro = machine.micro or -(-head.batch // machine.among.count)
    places = {sample: k for k, (sample, _) in enumerate(samples)}
    stopping = options.get("stopping", lambda: False)
    judge = Judge(head, spec, train, bank, loader, places, machine.how, micro, machine.among, seed, stopping)
    if standard and not (folder / "last.safetensors").exists():
        found, _ = judge.features(net, train)
        net.use(fit_scaling(seen_by(head, found, found.streams)))
    training = Training(
        net, judge, rows, loader, recipe, machine.how, machine.among, seed, micro, val, folder, digest, **options
    )
    if machine.automatic:
        training.micro = min(micro, training.fits())
        if training.micro < 1:
            raise too_much(1, 0)
        training.judge = replace(judge, batch=training.micro)
    return training, fitted_on


def _rows(
    head: TorchHead,
    train: FeatureSet,
    scaling: Scaling,
    recipe: Recipe,
    device: torch.device,
    labels: Mapping[str, torch.Tensor],
) -> Rows:
    """The labels and cached streams of train, and the same in a mirror where samples are to be seen in one."""

    def batch(data: FeatureSet) -> Batch:
        return to_batch(seen_by(head, data, data.streams), scaling, device, torch.float32)._replace(targets=labels)

    plain = batch(train)
    if not (recipe.flip and train.streams):
        return Rows(plain, plain)
    mirrored = {
        name: Ragged(flipped(stream.values, of_joints(stream.shape[0]), None), stream.offsets)
        for name, stream in train.streams.items()
    }
    return Rows(plain, batch(replace(train, streams=mirrored)))


def _need_mirrors(train: FeatureSet, streams: Sequence[Live]) -> None:
    """Raises UnmetNeeds where a cached stream cannot be turned round with its video."""
    live = {stream.name for stream in streams}
    for name, stream in train.streams.items():
        if name not in live and len(stream.shape) != JOINTS:
            hint = "set flip = 0, or train the network that made it too"
            raise UnmetNeeds(f"the cached stream {name} does not turn round with the video", field="flip", hint=hint)
