"""Where one dive stands among many."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aqa.errors import DataError, StoreError
from aqa.heads.measures import MEASURES, VERSION, Measured
from aqa.heads.reference import FEWEST, collect, from_json


def tilt(value: float | None) -> Measured:
    return Measured("entry_tilt", "", "degrees", value, reason="" if value is not None else "why")


def many() -> list[tuple[str, str, list[Measured]]]:
    """30 dives 407C with tilts 0 to 29, 10 dives 205C with 100, 20 pikes with 50."""
    dives = [("407c", "tuck", [tilt(float(k))]) for k in range(30)] + [("205C", "tuck", [tilt(100.0)])] * 10
    return dives + [("107B", "pike", [tilt(50.0)])] * 20


def test_the_narrowest_group_that_is_large_enough():
    reference = collect(many(), {})
    assert reference.about["dives"] == 60
    same = reference.standing(tilt(9.5), "407C", "tuck")
    assert same is not None
    assert (same.group, same.of, same.percentile) == ("407C", 30, pytest.approx(100 * 10 / 30))
    tuck = reference.standing(tilt(99.0), "205C", "tuck")
    assert tuck is not None
    assert (tuck.group, tuck.of, tuck.percentile) == ("tuck", 40, 75.0)
    every = reference.standing(tilt(-1.0), "5233D", "")
    assert every is not None
    assert (every.group, every.of, every.percentile) == ("", 60, 0.0)


def test_ties_count_half():
    standing = collect(many(), {}).standing(tilt(50.0), "107B", "pike")
    assert standing is not None
    assert standing.percentile == 50.0


def test_no_percentile_of_what_is_not_measured_or_of_few():
    reference = collect(many(), {})
    assert reference.standing(tilt(None), "407C", "tuck") is None
    assert reference.standing(Measured("height", "", "torso lengths", 1.0), "407C", "tuck") is None
    few = collect([*many(), ("1", "", [Measured("height", "", "", 1.0)])], {})
    assert few.values["height"] == {}
    with pytest.raises(StoreError, match=f"19 dives, and {FEWEST} with the same measure"):
        collect([("", "", [tilt(1.0)])] * 19, {})
    with pytest.raises(StoreError, match="of 50 dives none is measured"):
        collect([("", "", [tilt(None)])] * 50, {})


def test_what_is_written_is_read():
    reference = collect(many(), {"dataset": "demo", "dataset_digest": "a60a"})
    plain = json.loads(json.dumps(reference.to_json()))
    assert set(plain["values"]) == set(MEASURES)
    again = from_json(plain, "r.json")
    assert dict(again.about) == dict(reference.about)
    assert again.standing(tilt(9.5), "407C", "tuck") == reference.standing(tilt(9.5), "407C", "tuck")


GOOD = {"format": 1, "measures": VERSION, "values": {"entry_tilt": {"": [1.0, 2.0]}}}


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ([], "not a reference"),
        ({"a": 1}, "not a reference"),
        ({**GOOD, "measures": VERSION + 1}, "this version has"),
        ({**GOOD, "format": 7}, "this version has"),
        ({**GOOD, "values": {}}, "no values"),
        ({**GOOD, "values": 3}, "no values"),
        ({**GOOD, "values": {"entry_tilt": {"": [2.0, 1.0]}}}, "no sorted list of numbers"),
        ({**GOOD, "values": {"entry_tilt": {"": [np.nan]}}}, "no sorted list of numbers"),
        ({**GOOD, "values": {"entry_tilt": {"tuck": ["x"]}}}, "values.entry_tilt.tuck"),
        ({**GOOD, "values": {"entry_tilt": {"": [[1.0]]}}}, "no sorted list of numbers"),
        ({**GOOD, "values": {"entry_tilt": {"": [10**400]}}}, "no sorted list of numbers"),
    ],
)
def test_damaged_references_are_refused(plain, message: str):
    with pytest.raises(DataError, match=message) as raised:
        from_json(plain, "r.json")
    assert raised.value.file == "r.json"
    assert "aqa measure" in (raised.value.hint or "") or "no values" in message
