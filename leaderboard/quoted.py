"""Published numbers beside a section: quoted, apart from its rows, and never ranked with them."""

from __future__ import annotations

from .published import Published, published_for, recomputed
from .table import Section

TITLE = "Published numbers, quoted and not run here"
# Protocols whose train and test parts are those of the papers.
PROTOCOLS = {"official", "paper", "gdlt", "four-fold"}
COLUMNS = (
    *(("method", True), ("year", False), ("given at test", True), ("labels", False), ("features", True)),
    *(("Spearman", False), ("R-l2 x100", False), ("remarks", True), ("read in", True)),
)  # title, and whether it is text


def quoted(section: Section) -> list[Published]:
    """What is published on the data set, target and group of `section`, best first; empty for protocols of our own."""
    return published_for(section.dataset, section.target, section.group) if section.protocol in PROTOCOLS else []


def cells(entry: Published) -> list[str]:
    """The texts of `COLUMNS`."""
    return [
        f"{entry.method} ({entry.venue})",
        str(entry.year),
        entry.given or "video alone",
        "" if entry.labelled == 1 else f"{entry.labelled:.0%}",
        entry.backbone,
        "" if entry.srcc is None else f"{entry.srcc:.4f}".rstrip("0"),
        "" if entry.r_l2 is None else f"{entry.r_l2:g}",
        "; ".join(_remarks(entry)),
        f"{entry.source} ({entry.evidence})",
    ]


def _remarks(entry: Published) -> list[str]:
    found = [{True: "selected on test", False: "", None: "selection unknown"}[entry.selected_on_test], entry.setting]
    if entry.averaged:
        again = recomputed(entry)
        rule = "Fisher z" if entry.averaged == "fisher" else "plain mean"
        odd = again is not None and entry.srcc is not None and abs(again - entry.srcc) > 0.0006
        found.append(f"averaged by {rule}" + (f"; its columns give {again:.4f}" if odd else ""))
    return [text for text in (*found, entry.note) if text]
