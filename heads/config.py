"""A head's parameters from text: `--set NAME=VALUE` against the fields of its frozen dataclass, and back."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import BadParameter, UnknownName

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# Of a union the first that takes the text wins, so "none" is a choice before it is None, and 1 is whole.
_ORDER = (Literal, types.NoneType, bool, int, float, tuple, str)


def split_settings(items: Iterable[str]) -> dict[str, str]:
    """{"C": "100"} of ["C=100"].

    Raises:
        BadParameter: an item without "=", or a name given twice with different values.
    """
    settings: dict[str, str] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise BadParameter(f"'{item}' is not NAME=VALUE", hint="write --set C=100")
        name, text = name.strip(), text.strip()
        if settings.setdefault(name, text) != text:
            raise BadParameter(f"{name} is set twice, to {settings[name]} and to {text}", field=name)
    return settings


def parameters(cls: type) -> dict[str, tuple[Any, Any]]:
    """name -> (type, default) of every parameter of a head's class, in order; MISSING where there is no default."""
    hints = get_type_hints(cls)
    return {f.name: (hints[f.name], _default(f)) for f in dataclasses.fields(cls)}


def parse_settings(cls: type, settings: Mapping[str, str]) -> dict[str, Any]:
    """The values that `settings` give to the parameters of `cls`.

    Raises:
        BadParameter: a name that is no parameter (the nearest is suggested) or a value that its type does not take.
    """
    known, values = parameters(cls), {}
    for name, text in settings.items():
        if name not in known:
            near = UnknownName(f"parameter of {cls.name}", name, known)  # pyright: ignore[reportAttributeAccessIssue]
            raise BadParameter(near.what, hint=near.hint)
        try:
            values[name] = _value(known[name][0], text)
        except ValueError as error:
            what = f"'{text}' does not fit {name} of {cls.name}"  # pyright: ignore[reportAttributeAccessIssue]
            raise BadParameter(what, field=name, hint=f"give {describe(known[name][0])}") from error
    return values


def as_text(value: Any) -> str:
    """The value of a parameter as `--set` takes it."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def config_of(head: Any) -> dict[str, Any]:
    """Every parameter of `head` with its value."""
    return {f.name: getattr(head, f.name) for f in dataclasses.fields(head)}


def changed(head: Any) -> dict[str, Any]:
    """The parameters of `head` that differ from their defaults."""
    return {f.name: getattr(head, f.name) for f in dataclasses.fields(head) if getattr(head, f.name) != _default(f)}


def demand(head: Any, name: str, ok: bool, what: str) -> None:
    """For a head's `__post_init__`: raises BadParameter unless `ok`; `what` says which values fit ("above 0")."""
    if not ok:
        value = getattr(head, name)
        raise BadParameter(
            f"{name} of {head.name} is {'empty' if value == '' else value}", field=name, hint=f"give {what}"
        )


def describe(hint: Any) -> str:
    """A type in words: "a number or one of cv"."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"{'one of ' * (len(inner) > 1)}{', '.join(map(str, inner))}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(one) for one in inner)
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return f"{describe(inner[0])}, or several with commas between"
        return f"{len(inner)} values with commas between, each {describe(inner[0])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", types.NoneType: "none"}
    return words.get(hint, str(hint))


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _value(hint: Any, text: str) -> Any:
    """`text` as a value of the type `hint`; ValueError if it does not fit."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        for one in sorted(inner, key=lambda one: _ORDER.index(get_origin(one) or one)):
            try:
                return _value(one, text)
            except ValueError:
                continue
        raise ValueError(text)
    if origin is Literal:
        for choice in inner:
            if text == str(choice):
                return choice
        raise ValueError(text)
    if origin is tuple:
        return _tuple(inner, text)
    if hint is types.NoneType and text.lower() == "none":
        return None
    if hint is bool and text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    if hint in (int, float):
        return _number(hint, text)
    if hint is str:
        return text
    raise ValueError(text)


def _tuple(inner: tuple[Any, ...], text: str) -> tuple[Any, ...]:
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if inner[-1] is Ellipsis:
        return tuple(_value(inner[0], part) for part in parts)
    if len(parts) != len(inner):
        raise ValueError(text)
    return tuple(_value(one, part) for one, part in zip(inner, parts, strict=True))


def _number(kind: type, text: str) -> int | float:
    number = float(text)
    if not math.isfinite(number) or (kind is int and not number.is_integer()):
        raise ValueError(text)
    return int(number) if kind is int else number
