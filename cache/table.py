"""The data set's table beside the features, and in which words two versions of it differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..catalog.base import Dataset, Fold, Sample
from ..errors import AqaError, StoreError
from .files import write_whole
from .hdf5 import BROKEN
from .record import FORMAT, require_format

SHOWN = 60  # characters of a value


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Writes the table of `dataset` to `path`, whole or not at all. Raises StoreError."""
    table = {"format": FORMAT, "digest": dataset.digest(), "dataset": dataset.to_json()}
    write_whole(path, (json.dumps(table, ensure_ascii=False, indent=1) + "\n").encode())


def read_dataset(path: Path) -> tuple[Dataset, str]:
    """The table at `path` and the digest that it had when it was written. Raises StoreError."""
    hint = "run the extract or import command again: it writes the table anew"
    table = read_json(path, hint)
    try:
        return Dataset.from_json(table["dataset"]), str(table["digest"])
    except (*BROKEN, AttributeError, AqaError) as error:
        raise StoreError(f"no table of a data set ({error})", file=path, hint=hint) from error


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """The object in a JSON file of this cache format. Raises StoreError with `hint` if it is damaged or missing."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot be read ({error})", file=path, hint=hint) from error
    if not isinstance(plain, dict):
        raise StoreError("damaged (no JSON object)", file=path, hint=hint)
    require_format(plain.get("format"), path)
    return plain


def dataset_changes(old: Dataset, new: Dataset) -> list[str]:
    """One line per thing that a user would want to know: samples added, removed or labelled differently, frame ranges,
    folds. Empty if and only if the digests agree."""
    if old.digest() == new.digest():
        return []
    old, new = Dataset.from_json(old.to_json()), Dataset.from_json(new.to_json())
    lines = [f"sample {sample}: removed" for sample in old.by_id if sample not in new.by_id]
    for sample in new.samples:
        before = old.by_id.get(sample.id)
        lines += [f"sample {sample.id}: added"] if before is None else _sample_changes(before, sample)
    if [i for i in old.by_id if i in new.by_id] != [i for i in new.by_id if i in old.by_id]:
        lines.append("samples: another order")
    lines += _table_changes("target", _plain_named(old, "targets"), _plain_named(new, "targets"))
    protocols = {protocol.name: protocol for protocol in old.protocols}
    for protocol in new.protocols:
        if protocol.name in protocols:
            lines += _fold_changes(f"protocol {protocol.name}", protocols[protocol.name].folds, protocol.folds)
    lines += _table_changes("protocol", _plain_named(old, "protocols"), _plain_named(new, "protocols"))
    before, after = ({**data.to_json(), "samples": 0, "targets": 0, "protocols": 0} for data in (old, new))
    lines += [f"{key}: {_short(before[key])} -> {_short(after[key])}" for key in after if before[key] != after[key]]
    return lines or [f"{new.name}: something of which there are no words (digest {old.digest()} -> {new.digest()})"]


def _sample_changes(old: Sample, new: Sample) -> list[str]:
    if old == new:
        return []
    pairs: list[tuple[str, Any, Any]] = [("frames", _frames(old), _frames(new))]
    pairs += [(f"target {name}", a, b) for name, a, b in _items(old.targets, new.targets)]
    pairs += [(f"attribute {name}", a, b) for name, a, b in _items(old.attributes, new.attributes)]
    others = ("group", "difficulty", "judges", "kind", "event", "subject", "caption", "phases")
    pairs += [(name, getattr(old, name), getattr(new, name)) for name in others]
    return [f"sample {new.id}: {name} {_short(a)} -> {_short(b)}" for name, a, b in pairs if a != b]


def _fold_changes(where: str, old: tuple[Fold, ...], new: tuple[Fold, ...]) -> list[str]:
    lines = []
    before = {(fold.group, fold.name): fold for fold in old}
    after = {(fold.group, fold.name): fold for fold in new}
    for key in dict.fromkeys([*before, *after]):
        name = f"{where}, fold {' '.join(filter(None, key))}"
        a, b = before.get(key), after.get(key)
        if a is None or b is None:
            lines.append(f"{name}: {'added' if a is None else 'removed'}")
            continue
        for part in ("train", "test"):
            ids, ids_now = getattr(a, part), getattr(b, part)
            if set(ids) != set(ids_now):
                gone, came = set(ids) - set(ids_now), set(ids_now) - set(ids)
                lines.append(f"{name}: {part} {_ids('-', gone)} {_ids('+', came)}")
            elif ids != ids_now:
                lines.append(f"{name}: {part} in another order")
    return lines


def _table_changes(kind: str, old: Mapping[str, dict], new: Mapping[str, dict]) -> list[str]:
    lines = []
    for name, a, b in _items(old, new):
        if a is None or b is None:
            lines.append(f"{kind} {name}: {'added' if a is None else 'removed'}")
        else:
            lines += [f"{kind} {name}: {key} {_short(x)} -> {_short(y)}" for key, x, y in _items(a, b) if x != y]
    if list(old) != list(new) and set(old) == set(new):
        lines.append(f"{kind}s: another order ({', '.join(new)})")
    return lines


def _plain_named(data: Dataset, field: str) -> dict[str, dict]:
    """Targets or protocols by name, as plain values; folds have lines of their own."""
    rows = data.to_json()[field]
    return {row["name"]: {k: v for k, v in row.items() if k != "folds"} for row in rows}


def _items(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    return [(key, old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new])]


def _frames(sample: Sample) -> str | None:
    if sample.media is None:
        return None if sample.frames is None else str(sample.frames)
    return f"{sample.media.start}:{'' if sample.media.stop is None else sample.media.stop}"


def _ids(sign: str, ids: set[str]) -> str:
    return f"{sign}{len(ids)} ({_short(', '.join(sorted(ids)))})" if ids else f"{sign}0"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
