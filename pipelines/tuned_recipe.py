"""From what a user says on the command line to a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import heads as heads_room
from ..errors import UsageError
from ..finetune.recipe import Recipe, read_recipe, recipe_for
from .streams import pair_plans, pair_weights


@dataclass(frozen=True)
class Asked:
    """A recipe, and `named`: what the user called its backbones."""

    recipe: Recipe
    named: tuple[str, ...]

    def weights(self, given: Sequence[str]) -> list[str | None]:
        """The weight file of each backbone."""
        return pair_weights(self.named, given)


def asked_recipe(
    name: str | None,
    backbones: Sequence[str],
    head: str | None,
    settings: Sequence[str],
    plans: Sequence[str],
    said: Mapping[str, Any],
) -> Asked:
    """The recipe called `name`, or that of the paper of `backbones` and `head`, or a plain one of these; what is `said`
    (None: nothing) wins.

    Raises UsageError and its kin where it is not clear what to train.
    """
    if name is not None:
        recipe = read_recipe(name)
        recipe = replace(recipe, head=head or recipe.head, backbones=tuple(backbones) or recipe.backbones)
    elif backbones and head:
        recipe = recipe_for(tuple(backbones), head) or Recipe(head, tuple(backbones))
    else:
        raise UsageError("what is to be trained?", hint="give --backbone and --head, or --recipe")
    given = heads_room.split_settings(settings)
    own = {key.removeprefix(f"{recipe.head}."): value for key, value in given.items()}
    heads_room.make_head(recipe.head, own)  # refuses what the head does not have
    values = {key: value for key, value in said.items() if value is not None}
    if plans:
        paired = pair_plans(recipe.backbones, plans)
        if None in paired:
            raise UsageError("some backbones have no --plan", hint="give one for all, or one for each")
        values["plans"] = tuple(str(plan) for plan in paired)
    return Asked(replace(recipe, settings={**recipe.settings, **own}, **values), recipe.backbones)
