"""What a fine-tuning is, as data that a person can read: networks, head, rates, chances. The files of `recipes/` are
those of papers; `docs/finetuning.md` says where every number comes from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..errors import BadParameter, UnknownName, UsageError

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """`backbones`: "c3d:pool5", trained; `plans` and `rates` (learning rates, the head's where there are none) in the
    same order. `features`: cached streams beside them. `head`, with `settings` as `--set` has them: epochs, batch, lr,
    optimiser, weight_decay, schedule and select are the head's own parameters.

    `freeze`: beginnings of names of layers that stay as they are; "all". `norms`: batch normalisation of the backbones
    keeps its statistics ("frozen") or learns them. `flip`, `crop`, `shifts`: see `Augmentation`. `warm_up`: epochs in
    which the rates rise from 0. `steps`: epochs from which they are multiplied by `factor`. `clip`: largest norm of an
    update's gradient, 0 for any. `ema`: share of the old in a running mean of the weights, which then judges; 0: none.
    `paper`, `differs`: the source, and what is not as there.
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

    def to_json(self) -> dict[str, Any]:
        """Plain values, without what only people read."""
        return {name: value for name, value in asdict(self).items() if name not in ("paper", "differs")}


def recipe_names() -> list[str]:
    """Those that come with aqa."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_recipe(name: str | Path) -> Recipe:
    """The recipe of a file, or that of ours with this name.

    Raises UnknownName; UsageError for a file that is no TOML, for a key that no recipe has and for a value of another
    type.
    """
    path = Path(name)
    if not path.is_file():
        path = FOLDER / f"{name}.toml"
        if not path.is_file():
            raise UnknownName("recipe", str(name), recipe_names())
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"not a recipe: {error}", file=path) from error
    return recipe_of(plain, path)


def recipe_of(plain: Mapping[str, Any], path: Path | str) -> Recipe:
    """A recipe of plain values. Raises as `read_recipe`."""
    hints = get_type_hints(Recipe)
    for key in plain:
        if key not in hints:
            raise UnknownName(f"key of {path}", key, hints)
    lacking = [f.name for f in fields(Recipe) if f.name in ("head", "backbones") and f.name not in plain]
    if lacking:
        raise UsageError(f"a recipe needs {' and '.join(lacking)}", file=path)
    try:
        return Recipe(**{key: _value(key, value, hints[key], path) for key, value in plain.items()})
    except BadParameter as error:
        error.file = str(path)
        raise


def recipe_for(backbones: tuple[str, ...], head: str) -> Recipe | None:
    """The recipe of ours for these networks (weights do not matter) and head, if there is one."""
    wanted = tuple(_without_tag(one) for one in backbones)
    for name in recipe_names():
        found = read_recipe(name)
        if found.head == head and tuple(_without_tag(one) for one in found.backbones) == wanted:
            return replace(found, backbones=backbones)
    return None


def _without_tag(spec: str) -> str:
    arch, colon, layer = spec.partition(":")
    return arch.partition(".")[0] + colon + layer


def _value(key: str, value: Any, hint: Any, path: Path | str) -> Any:
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
    raise UsageError(f"{value!r} does not fit {key}", file=path, field=key, hint="see docs/finetuning.md")


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, (int, float) if kind is float else kind) and not (
        isinstance(value, bool) and kind is not bool
    )
