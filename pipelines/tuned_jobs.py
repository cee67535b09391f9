"""What `aqa finetune` has to do: one job per fold, checked before any work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import catalog
from .. import heads as heads_room
from ..catalog.base import PAPER, Dataset, Fold
from ..errors import UnknownName, UnmetNeeds, UsageError
from ..extract.backbones import parse, resolve
from ..extract.backbones.hub import TORCHVISION
from ..extract.plan import parse_plan
from ..finetune.live import Live, live, seen_at
from ..finetune.promised import with_promises
from ..finetune.recipe import Recipe
from ..heads.torch_head import TorchHead
from .extraction import read_media_set, render_embedded
from .feature_set import feature_set, read_streams
from .finetuning import Began, TunedJob
from .jobs import chosen_folds, folds_of, set_flags, store_flags, test_range
from .settings import Place

if TYPE_CHECKING:
    from ..cache.store import FeatureStore
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
    released_frames: bool,
    options: Sequence[str] | None,
    device: str,
    console: Console,
) -> list[TunedJob]:
    """Every fold that is to be trained on. `start_seed`: of random weights, by default the first of `seeds`.

    Raises UsageError and its kin for what is wrong with the command, DataError for a set without media.
    """
    dataset = read_media_set(where, released_frames, options, console)
    if where.dataset in catalog.EMBEDDED:
        render_embedded(dataset, where.root, console)
    start_seed = seeds[0] if start_seed is None else start_seed
    streams = _streams(recipe, weights, short, dataset, start_seed, console)
    protocol, chosen = dataset.protocol(where.protocol), dataset.target(target)
    folds = _folds(dataset, protocol.folds, group, fold)
    ids = list(dict.fromkeys(i for one in folds for i in (*one.train, *one.test)))
    stores = _stores(where, recipe, ids)
    data = with_promises(feature_set(dataset, read_streams(stores, ids), ids, chosen, (0.0, 1.0)), streams)
    asked = _head(recipe, None)
    lacks = heads_room.unmet(asked, data)
    if lacks:
        raise UnmetNeeds(f"{asked.name} cannot be fitted: {'; '.join(lacks)}")
    flags = (*set_flags(dataset, protocol), *store_flags(dataset, stores))
    jobs = []
    for one in folds:
        head = asked
        if protocol.name == PAPER:
            head = _head(recipe, heads_room.published(asked.name, dataset.name, one.group, chosen.name))
        elif asked.select == "test":
            hint = "select=val, or --protocol paper, which marks its rows"
            raise UsageError(f"{head.name} with select=test would choose its epoch by the test part", hint=hint)
        range_, source = dataset.score_range(chosen, protocol, one.group, one.train)
        jobs.append(
            TunedJob(
                head=head,
                asked=asked,
                dataset=dataset,
                protocol=protocol,
                target=chosen,
                fold=one,
                index=folds_of(protocol, one.group).index(one),
                data=data,
                unjudged=(),
                range=range_,
                range_source=source,
                r_l2_range=test_range(dataset, protocol, one, chosen) if protocol.r_l2 == "test" else range_,
                stores=stores,
                seeds=seeds,
                held_out=0.0 if protocol.name == PAPER else held_out,
                labelled=1.0,
                device=device,
                runs=where.runs,
                flags=(*flags, *(["selected-on-test"] if head.select == "test" else [])),
                recipe=recipe,
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


def _folds(dataset: Dataset, folds: Sequence[Fold], group: str | None, fold: str | None) -> list[Fold]:
    groups = tuple(dict.fromkeys(one.group for one in folds))
    if group is not None and group not in groups:
        raise UnknownName(f"group of {dataset.name}", group, groups)
    chosen = [one for one in folds if group in (None, one.group)]
    return chosen_folds(dataset, chosen, fold)


def _stores(where: Place, recipe: Recipe, ids: Sequence[str]) -> list[FeatureStore]:
    """The cached streams beside those that are trained. Raises StoreError for samples without."""
    from ..cache.stores import select_store
    from .feature_set import usable_ids

    stores = [select_store(where.cache, where.dataset, name) for name in recipe.features]
    for store in stores:
        usable_ids(store.dataset, [store], ids, allow_missing=False)
    return stores


def _head(recipe: Recipe, published: dict[str, Any] | None) -> TorchHead:
    """Raises UsageError for a head that is not trained by gradients."""
    head: Any = heads_room.make_head(recipe.head, recipe.texts, published)
    if not isinstance(head, TorchHead):
        hint = "extract features and fit it on them (aqa extract, aqa fit)"
        raise UsageError(f"{recipe.head} is not trained by gradients", hint=hint)
    return head
