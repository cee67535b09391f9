"""From what a user names (`--backbone`, `--weights`, `--plan`) to networks, fingerprints and stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..cache.fingerprint import Fingerprint
from ..cache.store import FeatureStore
from ..cache.stores import create_store, find_stores
from ..catalog.base import Dataset
from ..errors import BadParameter, UsageError
from ..extract.backbones import Resolved, parse, resolve
from ..extract.engine import Job
from ..extract.plan import ClipPlan, parse_plan
from ..extract.precision import Choice

RANDOM_FLAG = "random-backbone"


@dataclass(frozen=True)
class Extraction:
    """One stream to be extracted: the network, the plan, and the fingerprint that the two make."""

    stream: str  # "c3d", "c3d:pool5"
    spec: str  # as the user named it
    weights_file: Path | None
    resolved: Resolved
    plan: ClipPlan
    fingerprint: Fingerprint

    def job(self, name: str) -> Job:
        """For the engine."""
        precision = "bf16" if self.fingerprint.precision == "bf16" else "fp32"
        r = self.resolved
        return Job(name, r.net, r.pixels, self.plan, precision=precision, shape=self.fingerprint.shape)

    def store(self, cache: Path, dataset: Dataset, choice: Choice) -> FeatureStore:
        """The store of this stream, made if need be."""
        from .versions import versions

        provenance: dict[str, Any] = {
            "spec": self.spec,
            "weights_file": None if self.weights_file is None else str(self.weights_file.absolute()),
            "licence": self.resolved.licence,
            "precision_reason": choice.reason,
            "versions": versions(),
        }
        flags = (RANDOM_FLAG,) if self.fingerprint.weights.startswith("seed:") else ()
        return create_store(cache, dataset, self.stream, self.fingerprint, provenance, flags)


def pair_weights(backbones: Sequence[str], weights: Sequence[str]) -> list[str | None]:
    """The weight file of each backbone. `weights`: one per backbone in the same order (`random` for none), or
    BACKBONE=FILE for some; `torchvision` means what torchvision publishes.

    Raises UsageError where it is not clear which file belongs to which backbone.
    """
    named = [w.partition("=") for w in weights]
    if weights and all(eq and name in backbones for name, eq, _ in named):
        files = {name: file for name, _, file in named}
        return [files.get(name) for name in backbones]
    if weights and len(weights) != len(backbones):
        raise UsageError(
            f"{len(backbones)} backbones and {len(weights)} weight files",
            hint="give one --weights after each --backbone (`--weights random` for none), or --weights BACKBONE=FILE",
        )
    return [None if w == "random" else w for w in weights] or [None] * len(backbones)


def prepare(
    spec: str,
    weights: str | None,
    *,
    plan: str | None,
    plans: dict[str, str],
    short: str,
    precision: str,
    seed: int = 0,
) -> Extraction:
    """Resolve one backbone. `plans`: architecture -> plan, "*" for the others, where `plan` is not given.

    Raises BadParameter when the network cannot take the plan's clips, naming the nearest that it can.
    """
    found, _, layer = parse(spec)
    clips = parse_plan(plan or plans.get(found.arch) or plans["*"], short)
    resolved = resolve(spec, weights, seed)
    height, width = resolved.pixels.crop
    reason = resolved.allowed(clips.length, height, width)
    if reason is not None:
        raise BadParameter(f"{found.arch} cannot take the clips of plan {clips.name}: {reason}", hint="see --plan")
    fingerprint = Fingerprint(
        backbone=resolved.name,
        layer=layer,
        shape=resolved.shape(clips.length, height, width),
        weights=resolved.sha256,
        pixels=asdict(resolved.pixels),
        plan=clips.name,
        short=clips.short,
        precision=precision,
        extractor=resolved.extractor,
    )
    stream = found.arch if layer == found.layer else f"{found.arch}:{layer}"
    file = None if weights in (None, "torchvision") else Path(str(weights))
    return Extraction(stream, spec, file, resolved, clips, fingerprint)


def keep_precision(extraction: Extraction, cache: Path, dataset: str) -> Extraction:
    """With --precision auto a store that is there decides: its precision was chosen when it was made."""
    for store in find_stores(cache, dataset):
        same = replace(extraction.fingerprint, precision=store.fingerprint.precision)
        if store.stream == extraction.stream and store.fingerprint.digest == same.digest:
            return replace(extraction, fingerprint=same)
    return extraction
