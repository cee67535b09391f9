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
FINE_TUNED = "fine-tuned-on-train"


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
        shape = r.shape(self.plan.length, *r.pixels.crop)
        rows = r.backbone.rows
        return Job(name, r.net, r.pixels, self.plan, precision=precision, shape=shape, finish=r.finish, rows=rows)

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
        seen = self.resolved.trained_on
        if seen is not None:
            provenance["trained_on"] = asdict(seen)
            flags += (FINE_TUNED,) if seen.dataset == dataset.name else ()
            flags += (RANDOM_FLAG,) if seen.start.endswith(".random") else ()
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


def pair_plans(backbones: Sequence[str], plans: Sequence[str]) -> list[str | None]:
    """The clip plan of each backbone. `plans`: one for all backbones, or BACKBONE=PLAN for some; both may be given.

    Raises UsageError for two plans of one backbone and for a backbone that is not extracted.
    """
    named = [plan.rpartition("=") for plan in plans]
    said = [name for name, _, _ in named]
    if len(set(said)) < len(said) or set(said) - {"", *backbones}:
        hint = f"give one --plan for all, or --plan BACKBONE=PLAN with one of {', '.join(backbones)}"
        raise UsageError(f"the plans {', '.join(plans)} do not fit the backbones", hint=hint)
    known = {name: plan for name, _, plan in named}
    return [known.get(name, known.get("")) for name in backbones]


def with_person(backbones: Sequence[str], person: str | None) -> list[str]:
    """The backbones with `person` (tracked, largest, central) as the layer of those that find persons, unless they name
    a layer. Raises UsageError if it is given and there are none."""
    finding = [one for one in backbones if person is not None and person in parse(one)[0].layers]
    if person is not None and not finding:
        raise UsageError("--person is for backbones that find persons", hint="extract with --backbone pose or rtmpose")
    return [f"{one}:{person}" if one in finding and ":" not in one else one for one in backbones]


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
    """Resolve one backbone. `plans`: architecture -> plan, "*" for the others, where neither `plan` is given nor the
    backbone has one of its own. `precision` is that of all backbones that can compute in it.

    Raises BadParameter when the network cannot take the plan's clips, naming the nearest that it can.
    """
    found, _, layer = parse(spec)
    clips = parse_plan(plan or plans.get(found.arch) or found.plan or plans["*"], short)
    resolved = resolve(spec, weights, seed)
    height, width = resolved.pixels.crop
    reason = resolved.allowed(clips.length, height, width)
    if reason is not None:
        hint = "see --plan; --plan BACKBONE=PLAN is for one of several backbones"
        raise BadParameter(f"{found.arch} cannot take the clips of plan {clips.name}: {reason}", hint=hint)
    fingerprint = Fingerprint(
        backbone=resolved.name,
        layer=layer,
        shape=resolved.kept(clips.length, height, width),
        weights=resolved.sha256,
        pixels=asdict(resolved.pixels),
        plan=clips.name,
        short=clips.short,
        precision=precision if found.bf16 else "fp32",
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
