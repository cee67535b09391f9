"""Heads: from cached features to a judgement. Names, parameters, saved heads; the heads themselves load when asked.

A head is a line in `HEADS`, or an entry point of the group `aqa.heads` in somebody else's package::

    [project.entry-points."aqa.heads"]
    my-head = "my_package.my_head:MyHead"
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ..errors import BadParameter, MissingExtra, StoreError, UnknownName
from .base import FeatureSet, Fitted, Head, Judgement, Needs, Ragged
from .config import as_text, changed, config_of, parameters, parse_settings, split_settings
from .folds import out_of_fold
from .fusion import FusedHeads, fit_head, fused_folders, unmet
from .saving import HEAD_JSON, read_head

__all__ = [
    "ENTRY_POINTS",
    "HEADS",
    "FeatureSet",
    "Fitted",
    "Head",
    "Judgement",
    "Needs",
    "Ragged",
    "as_text",
    "changed",
    "config_of",
    "fit_head",
    "has_head",
    "head_class",
    "head_names",
    "load_head",
    "make_head",
    "out_of_fold",
    "parameters",
    "split_settings",
    "unmet",
]

ENTRY_POINTS = "aqa.heads"

HEADS: dict[str, str] = {
    "mean": "aqa.heads.floors:Mean",
    "difficulty": "aqa.heads.floors:Difficulty",
    "group-mean": "aqa.heads.floors:GroupMean",
    "metadata": "aqa.heads.floors:Metadata",
    "random": "aqa.heads.floors:Random",
    "ridge": "aqa.heads.linear:Ridge",
    "svr": "aqa.heads.linear:Svr",
    "knn": "aqa.heads.neighbours:Knn",
    "random-forest": "aqa.heads.trees:RandomForest",
    "lightgbm": "aqa.heads.trees:LightGbm",
    "gp": "aqa.heads.gp:Gp",
    "rank": "aqa.heads.rank:Rank",
    "pls": "aqa.heads.pls:Pls",
    "mlp": "aqa.heads.mlp:Mlp",
    "mtl": "aqa.heads.mtl:Mtl",
    "mscadc": "aqa.heads.mscadc:Mscadc",
    "usdl": "aqa.heads.usdl:Usdl",
    "musdl": "aqa.heads.usdl:Musdl",
    "dae": "aqa.heads.dae:Dae",
    "dae-mt": "aqa.heads.dae:DaeMt",
    "dae-musdl": "aqa.heads.dae_plugged:DaeMusdl",
    "dae-core": "aqa.heads.dae_plugged:DaeCore",
    "core": "aqa.heads.core:Core",
    "gdlt": "aqa.heads.gdlt:Gdlt",
    "stack": "aqa.heads.stack:Stack",
    "s4aqa": "aqa.heads.s4aqa:S4Aqa",
    "s4aqa-supervised": "aqa.heads.s4aqa:Supervised",
    "pseudo-label": "aqa.heads.consistency:PseudoLabel",
    "vat": "aqa.heads.consistency:Vat",
    "mean-teacher": "aqa.heads.consistency:MeanTeacher",
    "t2cr": "aqa.heads.t2cr:T2cr",
    "attention": "aqa.heads.attention:Attention",
    "hgcn": "aqa.heads.hgcn:Hgcn",
    "cofinal": "aqa.heads.cofinal:Cofinal",
    "tpt": "aqa.heads.tpt:Tpt",
    "segment": "aqa.heads.segment:Segment",
    "psnet": "aqa.heads.psnet:PsNet",
    "mcore": "aqa.heads.mcore:Mcore",
    "tsa": "aqa.heads.tsa:Tsa",
    "hpmcore": "aqa.heads.hpmcore:HpMcore",
    "gcn": "aqa.heads.gcn:Gcn",
}


def head_names() -> list[str]:
    """Every head by name: ours, then those of installed packages."""
    return list(dict.fromkeys([*HEADS, *sorted(entry.name for entry in entry_points(group=ENTRY_POINTS))]))


def head_class(name: str) -> type[Any]:
    """The class of the head called `name`.

    Raises:
        UnknownName: there is none; the nearest are suggested.
        MissingExtra: the head needs a package that is not installed.
    """
    others = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    place = HEADS.get(name) or others.get(name)
    if place is None:
        raise UnknownName("head", name, head_names())
    module, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            raise  # the head's own module is not there: a wrong name, not a missing package
        hint = f"install it: pip install {error.name}"
        raise MissingExtra(f"the head '{name}' needs the package {error.name}", hint=hint) from error


def published(name: str, dataset: str, group: str, target: str) -> dict[str, Any]:
    """The parameters with which the head's paper and its code trained it on a data set, where they are not its
    defaults; empty for a head of no paper. What the paper says of a group or a target wins."""
    said: Mapping[str, Mapping[str, Any]] = getattr(head_class(name), "published", {})
    places = ("", dataset, f"{dataset}/{group}", f"{dataset}/{target}")
    return {parameter: value for place in places for parameter, value in said.get(place, {}).items()}


def make_head(name: str, settings: Mapping[str, str] | None = None, published: Mapping[str, Any] | None = None) -> Head:
    """The head called `name` with parameters from text, as in `--set C=100`, over those `published`.

    Raises:
        UnknownName: no such head.
        BadParameter: a parameter that the head does not have, or a value that does not fit.
    """
    cls = head_class(name)
    return _made(cls, {**(published or {}), **parse_settings(cls, settings or {})})


def has_head(folder: Path) -> bool:
    """Whether a head was saved in `folder`. A run that was shared has none."""
    return (folder / HEAD_JSON).exists() or fused_folders(folder) is not None


def load_head(folder: Path | str, device: str = "cpu") -> Fitted:
    """The fitted head that was saved in `folder`, ready to predict on `device`.

    Raises:
        StoreError: no saved head there, or it is damaged or of another version.
        UnsafePickle: the files ask for more than the head is made of.
    """
    folder = Path(folder)
    fused = fused_folders(folder)
    if fused is not None:
        return FusedHeads({name: load_head(part, device) for name, part in fused.items()})
    plain = read_head(folder)
    cls = head_class(plain["head"])
    foreign = sorted(plain["config"].keys() - parameters(cls).keys())
    if foreign:
        hint = "fit the head again, or use the version of aqa that wrote it"
        raise StoreError(f"{plain['head']} has no parameter {', '.join(foreign)}", file=folder, hint=hint)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in plain["config"].items()}
    try:
        return _made(cls, values).load(folder, device)
    except KeyError as error:
        raise StoreError(f"head.json lacks {error}", file=folder, hint="fit the head again") from error


def _made(cls: type[Any], values: Mapping[str, Any]) -> Any:
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise BadParameter(f"{cls.name} does not take these parameters: {error}") from error
