import pytest

from aqa.cache.names import quote_id, unquote_id

AWKWARD = [
    "a",
    "a b",
    "a/b",
    "../../etc/passwd",
    ".",
    "..",
    ".hidden",
    "%2F",
    "a~b",
    "跳水",
    "é",
    "a\\b",
    "CON:",
    "a\nb",
    "*?",
]


@pytest.mark.parametrize("name", AWKWARD)
def test_quoting_is_reversible_and_never_a_path(name):
    quoted = quote_id(name)
    assert unquote_id(quoted) == name
    assert quoted.isascii()
    assert not set(quoted) & set('/\\:*?"<>|\n ')
    assert not quoted.startswith(".")


def test_usual_ids_stay_as_they_are():
    assert [quote_id(i) for i in ("01_05", "Ball_001", "unlv-003", "KT_B001", "a.b")] == [
        "01_05", "Ball_001", "unlv-003", "KT_B001", "a.b",
    ]  # fmt: skip


def test_golden_quotes():
    assert quote_id("a b/é") == "a%20b%2F%C3%A9"
    assert quote_id("..") == "%2E."
    assert quote_id("a~") == "a%7E"


def test_long_names_are_cut_and_stay_apart():
    one, two = quote_id("跳" * 300), quote_id("跳" * 299 + "x")
    assert one != two
    assert len(one) == len(two) == 133
    assert unquote_id(one) is None
    assert quote_id("x" * 180) == "x" * 180
    assert unquote_id(quote_id("x" * 181)) is None


def test_different_names_give_different_files():
    assert len({quote_id(name) for name in AWKWARD}) == len(AWKWARD)
