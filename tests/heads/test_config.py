"""Parameters from text: what fits, what does not, and what the error says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from aqa.errors import BadParameter
from aqa.heads.config import changed, config_of, demand, describe, parameters, parse_settings, split_settings


@dataclass(frozen=True)
class Example:
    """All the types that a head's parameters have."""

    name: ClassVar[str] = "example"

    whole: int = 3
    real: float = 0.5
    flag: bool = False
    text: str = "mean"
    choice: Literal["standard", "none"] = "standard"
    maybe: float | None = None
    either: float | Literal["cv"] = "cv"
    many: tuple[int, ...] = (256, 128)
    pair: tuple[float, float] = (0.6, 0.4)
    made: tuple[str, ...] = field(default_factory=lambda: ("a",))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("whole", "12", 12),
        ("whole", "1e3", 1000),
        ("real", "1", 1.0),
        ("real", "1e-5", 1e-5),
        ("flag", "true", True),
        ("flag", "No", False),
        ("flag", "1", True),
        ("text", "segments:4", "segments:4"),
        ("choice", "none", "none"),
        ("maybe", "none", None),
        ("maybe", ".25", 0.25),
        ("either", "cv", "cv"),
        ("either", "100", 100.0),
        ("many", "512, 256,128", (512, 256, 128)),
        ("many", "", ()),
        ("pair", "0.5,0.5", (0.5, 0.5)),
        ("made", "x,y", ("x", "y")),
    ],
)
def test_a_value_takes_the_type_of_its_field(name: str, text: str, value: object) -> None:
    got = parse_settings(Example, {name: text})[name]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("whole", "2.5", "give a whole number"),
        ("whole", "many", "give a whole number"),
        ("real", "nan", "give a number"),
        ("real", "inf", "give a number"),
        ("flag", "maybe", "give true or false"),
        ("choice", "robust", "give one of standard, none"),
        ("maybe", "auto", "give a number or none"),
        ("either", "best", "give a number or cv"),
        ("many", "1,b", "give a whole number, or several with commas between"),
        ("pair", "1", "give 2 values with commas between, each a number"),
    ],
)
def test_a_value_that_does_not_fit_says_what_would(name: str, text: str, says: str) -> None:
    with pytest.raises(BadParameter) as error:
        parse_settings(Example, {name: text})
    assert f"'{text}' does not fit {name} of example" in str(error.value)
    assert error.value.hint == says


def test_an_unknown_parameter_suggests_the_nearest() -> None:
    with pytest.raises(BadParameter, match=r"unknown parameter of example 'chioce'\. Did you mean choice"):
        parse_settings(Example, {"chioce": "none"})


def test_settings_are_split_at_the_first_equals_sign() -> None:
    assert split_settings(["C=100", " pool = mean+std", "path=a=b"]) == {"C": "100", "pool": "mean+std", "path": "a=b"}
    assert split_settings(["C=1", "C=1"]) == {"C": "1"}


@pytest.mark.parametrize("items", [["C"], ["=3"], [" =3"], ["C=1", "C=2"]])
def test_what_is_no_setting_is_refused(items: list[str]) -> None:
    with pytest.raises(BadParameter):
        split_settings(items)


def test_changed_is_what_differs_from_the_defaults() -> None:
    assert changed(Example()) == {}
    assert changed(Example(whole=4, made=("a",), many=())) == {"whole": 4, "many": ()}
    assert config_of(Example(whole=4))["whole"] == 4
    assert list(config_of(Example())) == list(parameters(Example))
    assert parameters(Example)["made"][1] == ("a",)


def test_demand_names_the_parameter_and_what_fits() -> None:
    demand(Example(), "whole", True, "anything")
    with pytest.raises(BadParameter, match="whole of example is 3") as error:
        demand(Example(), "whole", False, "a number above 5")
    assert (error.value.field, error.value.hint) == ("whole", "give a number above 5")


def test_types_are_described_in_words() -> None:
    assert describe(int | None) == "a whole number or none"
    assert describe(Literal["one"]) == "one"
