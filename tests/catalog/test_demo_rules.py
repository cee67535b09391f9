"""The rules of the synthetic dives, held against published dives and against MTL-AQA's annotations."""

from __future__ import annotations

import pandas as pd
import pytest

from aqa.catalog.demo import rules
from aqa.catalog.demo.commentary import caption, described, said
from aqa.catalog.demo.draws import Draws
from aqa.catalog.demo.programme import dives
from aqa.catalog.demo.rules import Faults
from aqa.errors import BadParameter

NO_FAULTS = Faults(0, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "position", "armstand", "rotation", "somersaults", "twists"),
    [("407C", 2, 0, 2, 7, 0), ("6243D", 0, 1, 0, 4, 3), ("5253B", 1, 0, 0, 5, 3), ("614B", 1, 1, 1, 4, 0)],
)
def test_attributes_are_the_class_indices_of_mtl_aqa(
    text: str, position: int, armstand: int, rotation: int, somersaults: int, twists: int
) -> None:
    assert rules.attributes(rules.parse(text)) == {
        "position": position,
        "armstand": armstand,
        "rotation": rotation,
        "somersaults": somersaults,
        "twists": twists,
    }


def test_every_dive_number_of_mtl_aqa_parses_into_its_annotated_classes(shared_data) -> None:
    table = pd.read_csv(shared_data / "mtl-aqa" / "derived_mtl_aqa.csv").drop_duplicates("dive_number")
    wrong = []
    for row in table.itertuples():
        found = rules.attributes(rules.parse(str(row.dive_number)))
        if list(found.values()) != [row.position, row.armstand, row.rotation_type, row.ss_no, row.tw_no]:
            wrong.append(row.dive_number)
    assert len(table) == 58
    assert wrong == []


def test_difficulties_occur_in_real_competitions(shared_data) -> None:
    table = pd.read_csv(shared_data / "mtl-aqa" / "derived_mtl_aqa.csv")
    real = set(zip(table.dive_number, table.difficulty, strict=True))
    assert set(rules.DIFFICULTY.items()) - real == set()


@pytest.mark.parametrize("text", ["", "C", "407", "407A", "417C", "4072C", "7101B", "5503B", "61B", "４07C", "x07C"])
def test_what_is_no_dive_number_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="not a dive number"):
        rules.parse(text)


def test_phases_are_those_that_finediving_gives_the_same_dives() -> None:
    inward, twisting, arm = rules.parse("407C"), rules.parse("5253B"), rules.parse("626C")
    assert (rules.take_off_phase(inward), *rules.flight_phases(inward)) == (4, 25)
    assert (rules.take_off_phase(twisting), *rules.flight_phases(twisting)) == (2, 31, 15)
    assert (rules.take_off_phase(arm), *rules.flight_phases(arm)) == (6, 24)


@pytest.mark.parametrize(
    ("difficulty", "judges", "score"),
    [
        (3.2, (9.5, 9, 9.5, 9, 8.5, 9.5, 8.5), 88.0),
        (3.2, (9, 8.5, 9, 9, 9, 9, 9), 86.4),
        (3.2, (8, 8, 7.5, 8, 7.5, 7.5, 8), 75.2),
        (2.8, (0, 0, 0, 0, 0, 0, 10), 0.0),
    ],
)
def test_score_of_real_dives(difficulty: float, judges: tuple[float, ...], score: float) -> None:
    assert rules.score(difficulty, judges) == score


@pytest.mark.parametrize(
    ("value", "mark"), [(-1.0, 0.0), (0.24, 0.0), (0.25, 0.5), (7.74, 7.5), (7.75, 8.0), (9.9, 10.0), (12.0, 10.0)]
)
def test_marks_are_half_points(value: float, mark: float) -> None:
    assert rules.mark(value) == mark


def test_every_fault_costs_what_the_table_says_whatever_its_sign() -> None:
    assert rules.execution(NO_FAULTS) == 10.0
    for name in Faults.__slots__:
        for sign in (1.0, -1.0):
            worst = Faults(**{n: sign * (n == name) for n in Faults.__slots__})
            assert rules.execution(worst) == pytest.approx(10.0 - getattr(rules.DEDUCTIONS, name))
    assert rules.execution(Faults(1, 1, 1, 1, 1, 1, 1, 1)) == 0.0


def test_dives_are_named_as_commentators_do() -> None:
    assert described(rules.parse("407C")) == "an inward three and a half somersaults in the tuck position"
    assert described(rules.parse("614B")) == "an armstand forward two somersaults in the pike position"
    assert described(rules.parse("5253B")) == (
        "a back two and a half somersaults with one and a half twists in the pike position"
    )


def test_caption_names_the_worst_faults_and_no_others() -> None:
    assert said(NO_FAULTS) == []
    assert said(Faults(0.1, -0.5, 0.34, 0.6, 0.0, 0.4, -0.7, 0.36)) == [
        "short of the vertical",
        "legs apart",
        "too close to the platform",
    ]
    for dive in dives():
        text = caption(dive)
        assert described(dive.number) in text
        assert all(fault in text for fault in said(dive.faults))
        assert text.isascii()
        assert text == text.lower()


def test_draws_are_the_same_everywhere() -> None:
    draws = Draws(1, 2, 3)
    assert [draws.uniform() for _ in range(3)] == [0.6704722626516632, 0.1110146366693816, 0.5115090823948739]
    assert Draws(1, 2).uniform() != Draws(1, 3).uniform()


def test_draws_have_the_distributions_that_they_claim() -> None:
    draws = Draws(5)
    normal = [draws.normal() for _ in range(4000)]
    mean = sum(normal) / len(normal)
    assert abs(mean) < 0.06
    assert abs(sum((x - mean) ** 2 for x in normal) / len(normal) - 1.0) < 0.08
    assert {draws.integer(2, 4) for _ in range(200)} == {2, 3, 4}
    assert sorted(draws.shuffled(list("abcdef"))) == list("abcdef")
    assert all(-1 <= draws.uniform(-1, 2) < 2 for _ in range(200))
