"""What `aqa finetune` has to do: one job per fold, checked before any work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import catalog
from .. import heads as heads_room
from ..cache.stores import select_store
from ..catalog.base import PAPER, Dataset
from ..errors import UnmetNeeds, UsageError
from ..extract.backbones import parse, resolve
from ..extract.backbones.hub import TORCHVISION
from ..extract.plan import parse_plan
from ..finetune.live import Live, live, seen_at
from ..finetune.network import Precision
from ..finetune.promised import with_promises
from ..finetune.recipe import Recipe
from ..heads.torch_head import TorchHead
from .extraction import read_media_set, render_embedded
from .feature_set import feature_set, read_streams, usable_ids
from .finetuning import Began, TunedJob
from .folds import chosen_folds, folds_in, r_l2_range, refuse_seen, seen_by_stores
from .jobs import check_share, head_on, set_flags, store_flags
from .settings import Place

if TYPE_CHECKING:
    from .console import Console


WHOLE = "4x16of64"  # four clips over the whole video


def plan_tuned_jobs(
    where: Place,
    recipe: Recipe,
    *,
    weights: Sequence[str | None],
    short: str,
    target: str | None,
    group: str | None,
    fold: str | None,
    seeds: Sequence[int],
    start_seed: int | None = None,
    held_out: float,
    labelled: float,
    released_frames: bool,
    options: Sequence[str] | None,
    device: str,
    precision: Precision,
    console: Console,
) -> list[TunedJob]:
    """Every fold that is to be trained on. `start_seed`: of random weights, by default the first of `seeds`.

    Raises UsageError and its kin for what is wrong with the command, DataError for a set without media.
    """
    check_share(labelled)
    dataset = read_media_set(where, released_frames, options, console)
    if where.dataset in catalog.EMBEDDED:
        render_embedded(dataset, where.root, console)
    start_seed = seeds[0] if start_seed is None else start_seed
    streams = _streams(recipe, weights, short, dataset, start_seed, console)
    protocol, chosen = dataset.protocol(where.protocol), dataset.target(target)
    folds = chosen_folds(dataset, folds_in(dataset, protocol, group), fold)
    ids = list(dict.fromkeys(i for one in folds for i in (*one.train, *one.test)))
    stores = [select_store(where.cache, where.dataset, name) for name in recipe.features]
    usable_ids(dataset, stores, ids, allow_missing=False)  # raises StoreError for samples without the cached streams
    seen = seen_by_stores(stores)
    seen |= {s.name: asdict(s.resolved.trained_on) for s in streams if s.resolved.trained_on is not None}
    data = feature_set(dataset, read_streams(stores, ids), ids, chosen, (0.0, 1.0))
    asked = heads_room.make_head(recipe.head, recipe.texts)
    lacks = heads_room.unmet(asked, with_promises(data, streams))
    if lacks:
        raise UnmetNeeds(f"{asked.name} cannot be fitted: {'; '.join(lacks)}")
    flags = (*set_flags(dataset, protocol), *store_flags(dataset, stores))
    jobs = []
    for one in folds:
        refuse_seen(dataset, one, seen)
        head = head_on(asked, recipe.texts, dataset, protocol, one, chosen)
        if not isinstance(head, TorchHead):
            hint = "extract features and fit it on them (aqa extract, aqa fit)"
            raise UsageError(f"{head.name} is not trained by gradients", hint=hint)
        range_, source = dataset.score_range(chosen, protocol, one.group, one.train)
        jobs.append(
            TunedJob(
                head=head,
                asked=asked,
                dataset=dataset,
                protocol=protocol,
                target=chosen,
                fold=one,
                data=data,
                unjudged=(),
                range=range_,
                range_source=source,
                r_l2_range=r_l2_range(dataset, protocol, one, chosen, range_),
                stores=stores,
                seeds=seeds,
                held_out=0.0 if protocol.name == PAPER else held_out,
                labelled=labelled,
                device=device,
                runs=where.runs,
                flags=(*flags, *(["selected-on-test"] if head.select == "test" else [])),
                recipe=recipe,
                precision=precision,
                streams=streams,
                began=Began(
                    tuple(file if file in (None, TORCHVISION) else str(Path(file).absolute()) for file in weights),
                    start_seed,
                    released_frames,
                    tuple(options or ()),
                ),
            )
        )
    return jobs


def _streams(
    recipe: Recipe, weights: Sequence[str | None], short: str, dataset: Dataset, seed: int, console: Console
) -> tuple[Live, ...]:
    plans = recipe.plans * len(recipe.backbones) if len(recipe.plans) == 1 else recipe.plans
    found = []
    for k, (spec, file) in enumerate(zip(recipe.backbones, weights, strict=True)):
        arch = parse(spec)[0]
        plan = plans[k] if plans else _fixed(dataset.plans.get(arch.arch) or arch.plan or dataset.plans["*"], console)
        resolved = seen_at(resolve(spec, file, seed), recipe.resize, recipe.size)
        for warning in resolved.warnings:
            console.warn(warning)
        one = live(resolved, parse_plan(plan, short))
        resolved.shape(one.plan.length, *resolved.pixels.crop)  # raises BadParameter for clips that it cannot take
        found.append(one)
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        found = [replace(one, name=f"{one.name}@{k}") for k, one in enumerate(found)]
    return tuple(found)


def _fixed(plan: str, console: Console) -> str:
    """`plan`, or one over the whole video where it has no fixed number of clips."""
    if parse_plan(plan).window is not None:
        return plan
    console.say(f"{plan} has as many clips as a video is long: {WHOLE} is taken instead (--plan)")
    return WHOLE
