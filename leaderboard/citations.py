"""What to cite for data sets, heads, backbones and weights, from `citations.toml` beside this file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError

if TYPE_CHECKING:
    from .runs import Run

FILE = Path(__file__).with_name("citations.toml")
TABLES = {"data set": "datasets", "head": "heads", "backbone": "backbones", "weights": "weights"}  # by kind of name
IMPORT, RANDOM = "import", "random"  # a fingerprint's backbone where features came from elsewhere; a tag of weights
REQUIRED = {
    "article": ("author", "title", "journal", "year"),
    "inproceedings": ("author", "title", "booktitle", "year"),
    "misc": ("author", "title", "howpublished", "year"),
}
VERBATIM = ("doi", "url")

Name = tuple[str, str]  # kind, name: ("head", "dae"), ("weights", "c3d.sports1m")
Entry = Mapping[str, Any]  # `key`, `type`, then the fields


@dataclass(frozen=True)
class Citations:
    """`entries` by key; `names`: what to cite for a name, as keys."""

    entries: Mapping[str, Entry]
    names: Mapping[Name, tuple[str, ...]]


@cache
def load(file: Path = FILE) -> Citations:
    """The file. Raises StoreError for an entry that lacks a field, and for a key without an entry."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"citations cannot be read: {error}", file=file, hint="correct the file") from error
    entries = {key: {"key": key, **fields} for key, fields in content.get("entries", {}).items()}
    for key, entry in entries.items():
        required = REQUIRED.get(entry.get("type", ""))
        if required is None:
            hint = f"known: {', '.join(REQUIRED)}"
            raise StoreError("no such type of entry", file=file, sample=key, field="type", hint=hint)
        for field in required:
            if not entry.get(field):
                raise StoreError("missing", file=file, sample=key, field=field, hint="correct the entry")
    names = {(kind, name): tuple(keys) for kind, t in TABLES.items() for name, keys in content.get(t, {}).items()}
    for (kind, name), keys in names.items():
        for key in keys:
            if key not in entries:
                raise StoreError(f"there is no entry {key}", file=file, sample=name, field=TABLES[kind])
    return Citations(entries, names)


def names_in(runs: Iterable[Run]) -> list[Name]:
    """What is to be cited for runs: data sets, heads, backbones, weights, each once."""
    found: dict[Name, None] = {}
    for run in runs:
        dataset = run.info["dataset"]
        found |= {("data set", dataset): None, ("head", run.info["head"]): None}
        for stream, store in run.info.get("streams", {}).items():
            backbone = store.get("start", store["fingerprint"]["backbone"])  # of weights that `aqa finetune` left
            names = [("imported features", f"{stream} of {dataset}")] if backbone == IMPORT else names_of(backbone)
            found |= dict.fromkeys(names)
    return list(found)


def names_of(backbone: str) -> list[Name]:
    """The architecture and, unless they are random, the weights of `arch[.tag]`."""
    arch, _, tag = backbone.partition(".")
    return [("backbone", arch), *([("weights", backbone)] if tag not in ("", RANDOM) else [])]


def cite(names: Iterable[Name]) -> tuple[list[Entry], list[str]]:
    """The entries for `names`, data sets first, each once, and the names of which no citation is known.

    An entry has one more field, `cited_for`: the names that it is for.
    """
    known, order = load(), [*TABLES]
    entries: dict[str, dict[str, Any]] = {}
    unknown = []
    for kind, name in sorted(names, key=lambda n: order.index(n[0]) if n[0] in order else len(order)):
        if (kind, name) not in known.names:
            unknown.append(f"{kind} {name}")
        for key in known.names.get((kind, name), ()):
            entries.setdefault(key, {**known.entries[key], "cited_for": []})["cited_for"].append(f"{kind} {name}")
    return list(entries.values()), unknown


def to_bibtex(entry: Entry) -> str:
    """A BibTeX entry, in UTF-8. A second pair of braces keeps the capitals of the title."""
    lines = [f"@{entry['type']}{{{entry['key']},"]
    for name, value in entry.items():
        if name not in ("key", "type", "cited_for"):
            text = str(value) if name in VERBATIM else re.sub(r"([&%#_$])", r"\\\1", str(value))
            lines.append(f"  {name} = {{{{{text}}}}}," if name == "title" else f"  {name} = {{{text}}},")
    return "\n".join([*lines, "}"])


def to_text(entry: Entry) -> str:
    """One line: authors, title, where and when, link."""
    said = entry["author"]
    authors = said.strip("{}") if said.startswith("{") else said.replace(" and ", ", ")
    where = next(entry[name] for name in ("journal", "booktitle", "howpublished") if name in entry)
    if entry["type"] == "article" and "volume" in entry:
        where += f" {entry['volume']}" + (f"({entry['number']})" if "number" in entry else "")
    link = f"https://doi.org/{entry['doi']}" if "doi" in entry else entry.get("url", "")
    return f"{authors}. {entry['title']}. {where}, {entry['year']}. {link}".rstrip()
