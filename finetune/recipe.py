"""What a fine-tuning is, as data that a person can read: networks, head, rates, chances. The files of `recipes/` are
those of papers and say where every number comes from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..catalog import DATASETS
from ..errors import AqaError, BadParameter, UnknownName, UsageError
from ..extract.backbones import parse
from ..extract.plan import parse_plan
from ..heads import as_text, make_head

FOLDER = Path(__file__).parent / "recipes"
NETWORKS = ("head", "backbones")
TABLES = "for"


@dataclass(frozen=True)
class Recipe:
    """`backbones`: "c3d:pool5", trained; `plans` and `rates` (learning rates, the head's where there are none) in the
    same order. `features`: cached streams beside them. `head`, with `settings` as `--set` has them: epochs, batch, lr,
    optimiser, weight_decay, schedule and select are the head's own parameters.

    `freeze`: beginnings of names of layers that stay as they are; "all". `norms`: batch normalisation of the backbones
    keeps its statistics ("frozen") or learns them. `flip`, `crop`, `shifts`: see `Augmentation`. `resize`, `size`:
    height and width to which frames are resized and of what is cut from them, where these are not those of the weights.
    `warm_up`: epochs in which the rates rise from 0. `steps`: epochs from which they are multiplied by `factor`.
    `clip`: largest norm of an update's gradient, 0 for any. `ema`: share of the old in a running mean of the weights,
    which then judges; 0: none. `paper`, `differs`: the source, and what is not as there.
    """

    head: str
    backbones: tuple[str, ...]
    plans: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    freeze: tuple[str, ...] = ()
    norms: Literal["frozen", "train"] = "frozen"
    flip: float = 0.0
    crop: Literal["centre", "random"] = "centre"
    shifts: tuple[int, int] = (0, 0)
    resize: tuple[int, ...] = ()
    size: tuple[int, ...] = ()
    warm_up: float = 0.0
    steps: tuple[int, ...] = ()
    factor: float = 0.1
    clip: float = 0.0
    ema: float = 0.0
    paper: str = ""
    differs: str = ""

    def __post_init__(self) -> None:
        low, high = self.shifts
        demands = (
            (bool(self.backbones), "backbones", "at least one"),
            (len(self.plans) in (0, 1, len(self.backbones)), "plans", "one for all, or one per backbone"),
            (len(self.rates) in (0, 1, len(self.backbones)), "rates", "one for all, or one per backbone"),
            (all(rate >= 0 for rate in self.rates), "rates", "0 or more"),
            (0 <= self.flip <= 1, "flip", "a probability"),
            (low <= 0 <= high, "shifts", "a first shift of at most 0 and a last of at least 0"),
            (len(self.resize) in (0, 2) and all(side >= 1 for side in self.resize), "resize", "height and width"),
            (_inside(self.size, self.resize), "size", "height and width that fit into resize, which is then there too"),
            (self.warm_up >= 0, "warm_up", "0 or more"),
            (all(step >= 1 for step in self.steps), "steps", "epochs from 1"),
            (0 < self.factor <= 1, "factor", "above 0, at most 1"),
            (self.clip >= 0, "clip", "0 or more"),
            (0 <= self.ema < 1, "ema", "from 0 to below 1"),
            (not self.features or low == high == 0, "shifts", "0 beside cached streams, whose frames do not move"),
        )
        for ok, name, wanted in demands:
            if not ok:
                raise BadParameter(f"{name} is {getattr(self, name)}", field=name, hint=f"give {wanted}")

    def changed(self) -> dict[str, Any]:
        """What differs from a plain fine-tuning of these networks, for the label of a row."""
        apart = ("head", "backbones", "plans", "features", "settings", "paper", "differs")
        plain = Recipe(self.head, self.backbones)
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}
        return {name: value for name, value in found.items() if value != getattr(plain, name)}

    @property
    def texts(self) -> dict[str, str]:
        """`settings` as `--set` takes them."""
        return {name: as_text(value) for name, value in self.settings.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain values, without what only people read."""
        return {name: value for name, value in asdict(self).items() if name not in ("paper", "differs")}


def recipe_names() -> list[str]:
    """Those that come with aqa."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_recipe(name: str | Path, dataset: str = "") -> Recipe:
    """The recipe of a file, or that of ours with this name, as it is for a data set.

    Raises UnknownName and BadParameter for names that there are not and values that do not fit; UsageError for a file
    that is no TOML and for values of another type.
    """
    path = Path(name)
    if not path.is_file():
        path = FOLDER / f"{name}.toml"
        if not path.is_file():
            raise UnknownName("recipe", str(name), recipe_names())
    return recipe_of(_toml(path), path, dataset)


def recipe_of(plain: Mapping[str, Any], path: Path | str, dataset: str = "") -> Recipe:
    """A recipe of plain values, of which those of the table `for.<dataset>` win. All of them are checked, and the names
    of networks, plans and settings too. Raises as `read_recipe`."""
    tables = plain.get(TABLES, {})
    plain = {key: value for key, value in plain.items() if key != TABLES}
    recipe = chosen = _checked(plain, path, "")
    if not (isinstance(tables, Mapping) and all(isinstance(table, Mapping) for table in tables.values())):
        raise UsageError("what a recipe has for a data set is a table", file=path, field=TABLES, hint="[for.mtl-aqa]")
    for name, table in tables.items():
        if name not in DATASETS:
            raise UnknownName(f"data set in {path}", name, DATASETS)
        if set(NETWORKS).intersection(table):
            raise UsageError("a data set has no networks of its own", file=path, field=f"{TABLES}.{name}")
        settings = table.get("settings", {})
        both = {**recipe.settings, **settings} if isinstance(settings, Mapping) else settings
        found = _checked({**plain, **table, "settings": both}, path, f"{TABLES}.{name}")
        chosen = found if name == dataset else chosen
    return chosen


def recipe_for(backbones: tuple[str, ...], head: str, dataset: str = "") -> Recipe | None:
    """The recipe of ours for these architectures and layers (weights do not matter) and this head, if there is one; of
    several, such as single- and multi-task training of one network, that with the name of the head.

    Raises UnknownName for backbones that there are not; UsageError where none of several has that name.
    """
    wanted = [(found.arch, layer) for found, _, layer in map(parse, backbones)]
    fitting = [name for name in recipe_names() if _is_of(_toml(FOLDER / f"{name}.toml"), wanted, head)]
    fitting = [head] if head in fitting else fitting
    if len(fitting) > 1:
        raise UsageError(f"{' and '.join(fitting)} are of these networks", hint="say which with --recipe")
    return read_recipe(fitting[0], dataset) if fitting else None


def _is_of(plain: Mapping[str, Any], wanted: list[tuple[str, str]], head: str) -> bool:
    """Asks of no network that is not wanted whether there is one: somebody's package may have it."""
    specs = plain["backbones"]
    return (
        plain["head"] == head
        and len(specs) == len(wanted)
        and all(
            arch == spec.partition(":")[0].partition(".")[0] and layer == parse(spec)[2]
            for spec, (arch, layer) in zip(specs, wanted, strict=True)
        )
    )


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"not a recipe: {error}", file=path) from error


def _checked(plain: Mapping[str, Any], path: Path | str, table: str) -> Recipe:
    """A recipe whose names there are; `table`: of which part of the file an error is to speak."""
    hints = get_type_hints(Recipe)
    for key in plain:
        if key not in hints:
            raise UnknownName(f"key of {path}{f', {table},' if table else ''}", key, [*hints, TABLES])
    lacking = [name for name in NETWORKS if name not in plain]
    if lacking:
        raise UsageError(f"a recipe needs {' and '.join(lacking)}", file=path)
    try:
        recipe = Recipe(**{key: _value(key, value, hints[key]) for key, value in plain.items()})
        for spec in recipe.backbones:
            parse(spec)
        for plan in recipe.plans:
            parse_plan(plan)
        make_head(recipe.head, recipe.texts)
    except AqaError as error:
        error.file = str(path)
        error.field = f"{table}.{error.field}" if table and error.field else error.field or table
        raise
    return recipe


def _inside(size: tuple[int, ...], resize: tuple[int, ...]) -> bool:
    return len(size) == len(resize) and all(1 <= side <= whole for side, whole in zip(size, resize, strict=True))


def _value(key: str, value: Any, hint: Any) -> Any:
    """`value` of TOML or JSON as the type of the field."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(value, list):
        kind = inner[0]
        long = inner[-1] is Ellipsis or len(value) == len(inner)
        if long and all(_is(one, kind) for one in value):
            return tuple(kind(one) for one in value)
    elif origin is Literal and value in inner:
        return value
    elif origin is Mapping and isinstance(value, Mapping):
        return dict(value)
    elif origin is None and _is(value, hint):
        return hint(value)
    raise UsageError(f"{value!r} does not fit {key}", field=key, hint="see docs/finetuning.md")


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, (int, float) if kind is float else kind) and not (
        isinstance(value, bool) and kind is not bool
    )
