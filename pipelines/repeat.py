"""A run once more, from its run.json: what it was asked for, where the command does not say otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import heads as heads_room
from ..cache.fingerprint import Fingerprint
from ..catalog.base import PAPER
from ..errors import StoreError, UsageError, WeightsError

if TYPE_CHECKING:
    from ..finetune.recipe import Recipe
    from .finetuning import TunedJob

HELD_OUT, LABELLED = 0.15, 1.0
TUNED = "finetune"


def read_config(path: Path, *, tuned: bool) -> dict[str, Any]:
    """The run.json at `path`, or in that folder; `tuned`: of `aqa finetune`.

    Raises StoreError for what is no run.json, UsageError for the run of the other command.
    """
    from ..leaderboard.runs import read_info

    info = dict(read_info(path / "run.json" if path.is_dir() else path))
    names = ("dataset", "protocol", "target", "group", "head", "config", "streams", "identity", "fold_name", "seed")
    lacking = [name for name in names if name not in info]
    if lacking:
        raise StoreError(f"it lacks {', '.join(lacking)}", file=path, hint="take the run.json of a run")
    if (TUNED in info) != tuned:
        command = "aqa finetune" if TUNED in info else "aqa fit"
        raise UsageError(f"this is a run of {command}", file=path, hint=f"{command} --config {path}")
    return info


def once_more(info: Mapping[str, Any] | None, said: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """`said` by the command (None: nothing), and what the run of `info` had where nothing was said: dataset, protocol,
    target, group, fold, seeds, held_out, labelled. Folds and their like are names of one data set and protocol; on
    another one they are not taken over. Without a run: `seeds`, and the ordinary shares."""
    had: dict[str, Any] = {"seeds": list(seeds), "held_out": HELD_OUT, "labelled": LABELLED}
    if info is not None:
        had |= {"dataset": info["dataset"], "seeds": [info["seed"]], "labelled": info.get("labelled", LABELLED)}
        if info["protocol"] != PAPER and info["identity"].get("held_out") is not None:
            had["held_out"] = info["identity"]["held_out"]
        if said["dataset"] in (None, info["dataset"]):
            had |= {name: info[name] for name in ("protocol", "target")}
            had["group"] = info["group"] or None
            if said["protocol"] in (None, info["protocol"]) and said["group"] in (None, had["group"]):
                had["fold"] = info["fold_name"]
    return {name: had.get(name) if value is None else value for name, value in said.items()}


def head_settings(info: Mapping[str, Any]) -> dict[str, str]:
    """The parameters that make the run's head what it was, as `--set` takes them: those that it was asked for, and what
    defaults and papers would make of it otherwise now."""
    given = heads_room.make_head(info["head"], _texts(info.get("asked", info["config"])))
    asked = {name: heads_room.as_text(value) for name, value in heads_room.changed(given).items()}
    papers = {}
    if info["protocol"] == PAPER:
        papers = heads_room.published(*(info[name] for name in ("head", "dataset", "group", "target")))
    now = _texts(heads_room.config_of(heads_room.make_head(info["head"], asked, papers)))
    return asked | {name: text for name, text in _texts(info["config"]).items() if now[name] != text}


def config_words(info: Mapping[str, Any], heads: Sequence[str], settings: Sequence[str]) -> list[str]:
    """`settings` (NAME=VALUE) behind those of the run's head, if it is among `heads`; what is set anew is left out."""
    name = info["head"]
    if name not in heads:
        return list(settings)
    again = {full.removeprefix(f"{name}.") for full in heads_room.split_settings(settings)}
    had = {key: text for key, text in head_settings(info).items() if key not in again}
    return [*(f"{name}.{key}={text}" for key, text in had.items()), *settings]


def features_of(info: Mapping[str, Any], *, same_set: bool) -> str | None:
    """The cached streams of a run as `--features` takes them, on its own data set by their fingerprints."""
    names = []
    for name, made in info["streams"].items():
        stream = name.partition("@")[0]
        names.append(f"{stream}@{Fingerprint.from_json(made['fingerprint']).digest}" if same_set else stream)
    return "+".join(names) or None


def lacked_samples(info: Mapping[str, Any]) -> bool:
    """Whether samples without features were left out."""
    return any(flag.endswith("-samples-missing") for flag in info["flags"])


def tuned_config(info: Mapping[str, Any], path: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe of a run, and what else it was asked for: weights, short, start_seed, released_frames, options,
    precision, micro. Raises StoreError for a run of before these were kept."""
    from ..finetune.recipe import Recipe, recipe_of

    made = info[TUNED]
    names = Recipe.__dataclass_fields__
    recipe = recipe_of({name: value for name, value in made.items() if name in names}, path)
    rest = {name: value for name, value in made.items() if name not in names}
    if "weights" not in rest:
        raise StoreError("it does not say with which weights it began", file=path, hint="fine-tune again")
    return recipe, rest


def same_start(info: Mapping[str, Any], jobs: Sequence[TunedJob]) -> None:
    """Raises WeightsError where the files have changed that the run's backbones began with."""
    began = {row[0]: row[2] for row in info["identity"]["streams"]}
    for stream in jobs[0].streams:
        then = began.get(stream.name)
        if then is not None and then != stream.resolved.sha256:
            now = stream.resolved.sha256
            what = f"{stream.resolved.name} has the sha256 {now[:8]}... now, and had {then[:8]}... when the run began"
            raise WeightsError(what, field="weights", hint="give the file of then, or another one with --weights")


def _texts(config: Mapping[str, Any]) -> dict[str, str]:
    return {name: heads_room.as_text(value) for name, value in json.loads(json.dumps(config)).items()}
