"""Pictures as SVG inside the page: drawn by matplotlib, coloured by the page, so that they follow its theme."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Drawn in these colours, which the page's style sheet replaces by its own, one set for light and one for dark.
INK, SOFT, PAPER = "#010101", "#020202", "#fdfdfd"
SERIES = ("#030303", "#040404", "#050505", "#060606")
VARIABLES = {INK: "--ink", SOFT: "--soft", PAPER: "--paper"} | {c: f"--series-{k}" for k, c in enumerate(SERIES)}
MARKERS = ("o", "s", "^", "D")  # so that colour is not needed
LINES = ("-", "--", "-.", ":")
WIDTH = 6.4  # inches


@dataclass(frozen=True)
class Picture:
    """`alt` says in words what is to be seen; `data` are the numbers it is drawn from."""

    title: str
    svg: str
    alt: str
    data: pd.DataFrame
    note: str = ""

    @property
    def csv(self) -> str:
        return self.data.to_csv(index=False, float_format="%.6g", lineterminator="\n")


@contextmanager
def canvas(height: float, columns: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of `columns` axes side by side in the page's look."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    look: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "aqa",
        "text.parse_math": False,
        "font.size": 9,
        "axes.edgecolor": SOFT,
        "axes.labelcolor": INK,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "text.color": INK,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
    }
    with mpl.rc_context(look):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
        yield figure, list(axes)


def log_scale(ax: Axes, which: Literal["x", "y"]) -> None:
    """Ticks written out, those between powers of ten where there is room: without mathtext, matplotlib's own labels
    are its source."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain())


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element without size, its ids made unique by `name`."""
    out = io.StringIO()
    with warnings.catch_warnings():
        # matplotlib measures texts with its own font; the browser has others for what that one lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    size = re.search(r'viewBox="[^"]*"', text)
    assert size is not None  # matplotlib always writes one
    text = f'<svg {size[0]} xmlns="http://www.w3.org/2000/svg">' + text[text.index(">") + 1 :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)  # the page has its own
    text = re.sub(r"<[^>]*>", lambda tag: _tag(tag[0], name), text)  # what is written in the picture stays as it is
    return re.sub(r"\n\s*", "\n", text).strip()


def _tag(tag: str, name: str) -> str:
    tag = re.sub(r"font-family: [^;]*; ", "", tag)
    tag = re.sub(r'^<g id="[^"]*"', "<g", tag)
    tag = re.sub(r'xlink:href="#|url\(#|\bid="', lambda m: m[0].replace("xlink:", "") + f"{name}-", tag)
    tag = re.sub(r"(\d+\.\d\d)\d+", r"\1", tag)  # hundredths of a point are enough
    for colour, variable in VARIABLES.items():
        tag = tag.replace(colour, f"var({variable})")
    return tag
