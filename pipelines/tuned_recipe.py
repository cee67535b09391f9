"""From what a user says on the command line to a recipe, and the weights that its backbones begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import heads as heads_room
from ..errors import UsageError
from ..extract.backbones import parse
from ..finetune.recipe import Recipe, read_recipe, recipe_for
from .streams import pair_plans, pair_weights


@dataclass(frozen=True)
class Asked:
    """A recipe, and `weights`: the file that each of its backbones begins with, "torchvision", or None: random ones."""

    recipe: Recipe
    weights: tuple[str | None, ...]


def asked_recipe(
    name: str | None,
    backbones: Sequence[str],
    head: str | None,
    settings: Sequence[str],
    plans: Sequence[str],
    said: Mapping[str, Any],
    *,
    weights: Sequence[str] = (),
    dataset: str = "",
    repeated: Recipe | None = None,
) -> Asked:
    """The recipe called `name`, or that of the run to be `repeated`, or that of the paper of `backbones` and `head`, or
    a plain one of these; what is `said` (None: nothing) wins.

    Raises UsageError and its kin where it is not clear what to train.
    """
    ours = read_recipe(name, dataset) if name is not None else repeated
    if ours is not None:
        recipe = ours
        if head not in (None, ours.head):
            recipe = replace(ours, head=head, settings={}, paper="", differs="")
    elif backbones and head:
        ours = recipe_for(tuple(backbones), head, dataset)
        recipe = ours or Recipe(head, tuple(backbones))
    else:
        raise UsageError("what is to be trained?", hint="give --backbone and --head, or --recipe")
    named = tuple(backbones) or recipe.backbones
    files = tuple(pair_weights(named, weights))
    if backbones:
        published = recipe.backbones if len(recipe.backbones) == len(named) else named
        specs = [_as_published(*one) for one in zip(named, published, files, strict=True)]
    else:
        specs = [_random(spec) if weights and file is None else spec for spec, file in zip(named, files, strict=True)]
    given = heads_room.split_settings(settings)
    own = {key.removeprefix(f"{recipe.head}."): value for key, value in given.items()}
    heads_room.make_head(recipe.head, own)  # refuses what the head does not have
    values = {key: value for key, value in said.items() if value is not None}
    if plans:
        paired = pair_plans(named, plans)
        if None in paired:
            raise UsageError("some backbones have no --plan", hint="give one for all, or one for each")
        values["plans"] = tuple(str(plan) for plan in paired)
    recipe = replace(recipe, backbones=tuple(specs), settings={**recipe.settings, **own}, **values)
    return Asked(recipe, files)


def _as_published(said: str, published: str, file: str | None) -> str:
    """`said` with the tag of the backbone that was `published`, and so with its pixels, where a weight file is given
    and nothing else was said."""
    arch, tag, _ = parse(said)
    theirs, of_paper, _ = parse(published)
    if file is None or tag is not None or of_paper is None or arch.arch != theirs.arch:
        return said
    return said.replace(arch.arch, f"{arch.arch}.{of_paper}", 1)


def _random(spec: str) -> str:
    """`spec` with random weights."""
    name, colon, layer = spec.partition(":")
    return f"{name.partition('.')[0]}.random{colon}{layer}"
