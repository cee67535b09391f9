"""The page in a real Chromium: it sorts, filters, follows the theme, prints, and asks for nothing but itself.

Needs the extra `browser` and a Chromium: chromium, chromium-browser or google-chrome, or the one that AQA_CHROMIUM
names, which then has to work.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aqa.leaderboard import table
from aqa.leaderboard.columns import columns_of
from aqa.leaderboard.page.build import to_html

from .conftest import write_full, write_made_up
from .tree import parsed

NAMES = ("chromium", "chromium-browser", "google-chrome")
THEMES = [{"color_scheme": name} for name in ("light", "dark")]
SET = "#s1"  # the section of the data set "set"
# Contrast of every visible text with what is behind it (WCAG 2.2, 1.4.3), and the text.
CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const add = (e, colour, text) => {
    const [a, b] = [light(parse(colour)), light(behind(e))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), text, colour]);
  };
  for (const e of document.body.querySelectorAll("*")) {
    const own = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join("");
    if (e.tagName === "SCRIPT" || e.tagName === "STYLE" || !e.checkVisibility()) continue;
    if (own) add(e, e.closest("svg") ? getComputedStyle(e).fill : getComputedStyle(e).color, own);
    if (e.placeholder) add(e, getComputedStyle(e, "::placeholder").color, e.placeholder);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'aqa[browser]'")
    wanted = os.environ.get("AQA_CHROMIUM")
    found = wanted or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no {', '.join(NAMES)} on the path, and AQA_CHROMIUM is not set")
    with playwright.sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path=found)
        except playwright.Error as error:
            if wanted:
                raise
            pytest.skip(f"{found} does not start: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> list[table.Section]:
    write = partial(write_made_up, tmp_path_factory.mktemp("runs"))
    return table.sections(write_full(write), count=200)


@pytest.fixture(scope="module")
def file(sections: list[table.Section], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "leaderboard.html"
    path.write_text(to_html(sections), encoding="utf-8")
    return path


@pytest.fixture
def tab(browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page in a tab with the options of the test's parameter; afterwards nothing may have been reported, and
    nothing but the file asked for."""
    with browser.new_context(**getattr(request, "param", {})) as context:
        page, heard, asked = context.new_page(), [], []
        page.set_default_timeout(10_000)
        page.on("console", lambda message: heard.append((message.type, message.text)))
        page.on("pageerror", lambda error: heard.append(("page error", str(error))))
        page.on("request", lambda asking: asked.append(asking.url))
        page.goto(file.as_uri())
        yield page
        assert heard == []
        assert [url for url in asked if not url.startswith("blob:null/")] == [file.as_uri()]


def column(tab, title: str) -> list[str]:
    """The cells of a column of the table, from top to bottom."""
    heads = tab.locator(f"{SET} .board thead th").all_inner_texts()
    return tab.locator(f"{SET} .board tbody td:nth-child({heads.index(title) + 1})").all_inner_texts()


def background(tab) -> str:
    return tab.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_browser_reads_the_elements_that_are_written(tab, file: Path):
    def tags(element) -> list[str]:
        return [tag for child in element.children for tag in [child.tag, *tags(child)]]

    read = tab.evaluate("[...document.querySelectorAll('*')].map((e) => e.tagName.toLowerCase())")
    assert read == tags(parsed(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("title", ["Spearman", "MAE", "NLL", "parameters"])
def test_numbers_are_sorted_as_numbers_and_empty_cells_come_last(tab, sections, title: str):
    (wanted,) = (c for c in columns_of(sections[1]) if c.title == title)
    rows = [row for row in sections[1].rows if wanted.value(row) is not None]
    empty = [""] * (len(sections[1].rows) - len(rows))
    head = tab.locator(f"{SET} .board th", has=tab.get_by_role("button", name=title, exact=True))
    for order, down in (("descending", True), ("ascending", False), ("descending", True)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == order
        assert column(tab, title) == [wanted.cell(r) for r in sorted(rows, key=wanted.value, reverse=down)] + empty
    assert tab.locator(f"{SET} .board th:not([aria-sort=none])").count() == 1


def test_names_are_sorted_by_the_keyboard(tab):
    button = tab.locator(f"{SET} .board").get_by_role("button", name="head", exact=True)
    before = column(tab, "head")
    button.focus()
    tab.keyboard.press("Enter")
    up = column(tab, "head")
    tab.keyboard.press("Enter")
    assert column(tab, "head") == up[::-1] != before
    assert sorted(up) == sorted(before)
    assert [name for name in up if name.isalpha() and name.isascii()] == ["dae", "difficulty", "knn", "mean"]
    assert button.evaluate("(b) => document.activeElement === b")


def test_the_filter_keeps_rows_with_all_words_and_says_how_many(tab):
    def shown() -> tuple[list[str], str]:
        rows = tab.locator(f"{SET} .board tbody tr:visible td:first-child").all_inner_texts()
        return sorted(rows), tab.locator(f"{SET} .shown").inner_text()

    every, said = shown()
    assert said == "9 of 9 rows"
    box = tab.locator(f"{SET} input[type=search]")
    found = (
        ("KNN", ["knn"]),
        ("synthetic c3d", ["dae"]),
        ("</script>", ["</script><b>bold"]),
        ("x y z", []),
    )
    for words, wanted in found:
        box.fill(words)
        assert shown() == (wanted, f"{len(wanted)} of 9 rows")
    box.fill("")
    assert shown()[0] == every
    tab.locator(f"{SET} .floors").uncheck()
    assert shown() == ([name for name in every if name not in ("mean", "difficulty")], "7 of 9 rows")
    box.fill("floor")
    assert shown() == ([], "0 of 9 rows")
    tab.locator(f"{SET} .floors").check()
    assert shown() == (["difficulty", "mean"], "2 of 9 rows")
    assert tab.locator("#s0 .shown").inner_text() == "2 of 2 rows"


@pytest.mark.parametrize("tab", THEMES, indirect=True)
def test_the_theme_follows_the_system_until_the_button_says_otherwise(tab):
    button, system = tab.locator("#theme"), background(tab)
    tab.emulate_media(color_scheme="dark")
    dark = background(tab)
    tab.emulate_media(color_scheme="light")
    light = background(tab)
    assert light == "rgb(255, 255, 255)" != dark
    dark_first = system == light
    seen = []
    for _ in range(3):
        button.click()
        seen.append((button.inner_text(), background(tab)))
    chosen = [("Theme: dark", dark), ("Theme: light", light)]
    assert seen == [*(chosen if dark_first else chosen[::-1]), ("Theme: as the system", light)]


def test_the_numbers_of_a_picture_are_saved_as_they_are_shown(tab):
    figures = tab.locator("figure")
    assert figures.count() > 10
    for k in (0, figures.count() - 1):
        figure = figures.nth(k)
        figure.locator("summary").click()
        with tab.expect_download() as started:
            figure.locator(".save").click()
        assert Path(started.value.path()).read_text(encoding="utf-8") == figure.locator("pre").text_content()
        assert started.value.suggested_filename.endswith(f"{figure.locator('figcaption').inner_text()}.csv")


@pytest.mark.parametrize("tab", [{"viewport": {"width": w, "height": 900}} for w in (480, 1400)], indirect=True)
def test_the_page_is_no_wider_than_the_window(tab):
    tab.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    wide, window = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= window
    kept = tab.locator(f"{SET} .board tbody td:first-child").first.bounding_box()
    assert kept["width"] < window / 2  # the column that stays while the table scrolls leaves room for the others


@pytest.mark.parametrize("tab", THEMES, indirect=True)
def test_every_text_stands_out_from_what_is_behind_it(tab):
    tab.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    found = tab.evaluate(CONTRASTS)
    assert len(found) > 1000
    assert [one for one in found if one[0] < 4.5] == []


def test_on_paper_it_is_light_and_without_controls(tab):
    tab.locator("#theme").click()
    assert background(tab) != "rgb(255, 255, 255)"
    tab.emulate_media(media="print")
    assert background(tab) == "rgb(255, 255, 255)"
    assert tab.locator(".controls:visible, .save:visible, #theme:visible, nav:visible, pre:visible").count() == 0
    assert tab.locator("figure svg:visible").count() == tab.locator("figure").count() > 10
    assert [one for one in tab.evaluate(CONTRASTS) if one[0] < 4.5] == []
