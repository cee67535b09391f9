"""Pictures of how the heads of a section stand: intervals, cost against accuracy, and ranks over data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..table import Row, Section, head_of, main, name_of
from .svg import INK, LINES, MARKERS, SERIES, SOFT, Picture, canvas, log_scale, to_svg

LONGEST = 34  # letters of a name beside a picture
MOST = 40  # rows of a forest plot
NAMED = 20  # rows that are all named in a scatter plot; of more, those on the frontier


def short(name: str, longest: int = LONGEST) -> str:
    """Cut in the middle: what tells names apart is often at their end."""
    tail = longest // 3
    return name if len(name) <= longest else f"{name[: longest - tail - 1]}…{name[-tail:]}"


def label_of(section: Section, row: Row, longest: int = LONGEST) -> str:
    """The head, with its config, features and share of labels where rows of it differ in them."""
    alike = [other for other in section.rows if other["head"] == row["head"]]
    name = head_of(row) if len({head_of(other) for other in alike}) > 1 else row["head"]
    if len({other["features"] for other in alike}) > 1:
        name += f" ({row['features']})"
    if len({other["labelled"] for other in alike}) > 1:
        name += f" {row['labelled']:.3g}"
    return short(name, longest)


def forest(section: Section, name: str) -> Picture | None:
    """Spearman of every seed, their mean, and the bootstrap interval of the seed-averaged prediction."""
    every = [line for line in section.lines if line.row["spearman"] is not None]
    lines = every[:MOST]
    if not lines:
        return None
    keys = ("spearman", "spearman_averaged", "ci_low", "ci_high", "floor")
    data = pd.DataFrame([{"head": name_of(line.row), **{key: line.row[key] for key in keys}} for line in lines])
    with canvas(0.55 + 0.2 * len(lines)) as (figure, (ax,)):
        for k, line in enumerate(lines):
            row, colour = line.row, SOFT if line.row["floor"] else SERIES[0]
            if row["ci_low"] is not None:
                ax.plot([row["ci_low"], row["ci_high"]], [k, k], color=colour, lw=1.2, solid_capstyle="butt")
            if len(line.entries) == 1:
                seeds = [found["spearman"] for found in line.entries[0].per_seed.values()]
                ax.plot([s for s in seeds if s is not None], [k] * len(seeds), "|", color=colour, ms=7, mew=0.7)
            face = "none" if row["floor"] else colour
            ax.plot(row["spearman"], k, MARKERS[0], color=colour, markerfacecolor=face, ms=4.5)
        names = [short(name_of(line.row)) + (" (floor)" if line.row["floor"] else "") for line in lines]
        ax.set_yticks(range(len(lines)), names)
        ax.set_ylim(len(lines) - 0.4, -0.6)
        ax.set_xlabel("Spearman")
        ax.grid(axis="x", color=SOFT, lw=0.3, alpha=0.5)
        svg = to_svg(figure, name)
    best = lines[0].row
    alt = f"Forest plot of {len(lines)} heads. The first is {name_of(best)} with {best['spearman']:.3f}"
    alt += "" if best["ci_low"] is None else f", interval {best['ci_low']:.3f} to {best['ci_high']:.3f}"
    note = "Point: mean over seeds; strokes: seeds; line: 95% interval of the seed-averaged prediction; hollow: floors."
    if len(every) > len(lines):
        note += f" The first {len(lines)} of {len(every)} rows."
    return Picture("Spearman with 95% intervals", svg, alt + ".", data, note)


def learning(section: Section, name: str) -> Picture | None:
    """Spearman over the share of train samples whose labels were used, for heads with several shares."""
    curves: dict[str, list[Row]] = {}
    for row in section.rows:
        if row["spearman"] is not None and not row["floor"]:
            curves.setdefault(name_of({**row, "labelled": 1}), []).append(row)
    several = {head: rows for head, rows in curves.items() if len({row["labelled"] for row in rows}) > 1}
    curves = {head: sorted(rows, key=lambda row: row["labelled"]) for head, rows in several.items()}
    if not curves:
        return None
    keys = ("labelled", "spearman", "spearman_sd", "ci_low", "ci_high", "seeds")
    with canvas(3.2) as (figure, (ax,)):
        for k, (head, rows) in enumerate(curves.items()):
            x, y = ([row[key] for row in rows] for key in ("labelled", "spearman"))
            look, colour = MARKERS[k % 4] + LINES[k // 4 % 4], SERIES[k % 4]
            ax.plot(x, y, look, color=colour, ms=4.5, lw=1.2, label=short(head))
            known = [row for row in rows if row["ci_low"] is not None]
            at, low, high = ([row[key] for row in known] for key in ("labelled", "ci_low", "ci_high"))
            ax.vlines(at, low, high, color=colour, lw=0.6, alpha=0.6)
        ax.set_xlabel("share of train samples with a label")
        ax.set_ylabel("Spearman")
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
        svg = to_svg(figure, name)
    data = pd.DataFrame(
        [{"head": head, **{key: row[key] for key in keys}} for head, rows in curves.items() for row in rows]
    )
    first = {head: rows[0] for head, rows in curves.items()}
    alt = "Learning curves. With the fewest labels: "
    alt += ", ".join(f"{head} {row['spearman']:.3f} at {row['labelled']:.0%}" for head, row in first.items())
    note = "Points: mean over seeds, each with labels of its own; lines: 95% intervals over test samples."
    return Picture("Fewer labels", svg, f"{alt}.", data, note)


def pareto(section: Section, name: str) -> Picture | None:
    """Seconds of fitting a seed against what rows are ranked by; the frontier joins heads that none beats in both."""
    rows = [row for row in section.rows if not row["floor"] and main(row) is not None]
    if len(rows) < 2:
        return None
    what = "accuracy" if rows[0].get("accuracy") is not None else "Spearman"
    data = pd.DataFrame(
        {
            "head": [name_of(row) for row in rows],
            "fit_seconds": [max(row["fit_seconds"], 1e-3) for row in rows],
            "predict_ms": [row["predict_ms"] for row in rows],
            "parameters": [row["parameters"] for row in rows],
            what.lower(): [main(row) for row in rows],
        }
    )
    x, y = data["fit_seconds"].to_numpy(), data[what.lower()].to_numpy()
    best = np.array([not ((x <= a) & (y >= b) & ((x < a) | (y > b))).any() for a, b in zip(x, y, strict=True)])
    data["frontier"] = best
    order = np.flatnonzero(best)[np.argsort(x[best])]
    with canvas(3.2) as (figure, (ax,)):
        ax.plot(x[order], y[order], LINES[1], color=SERIES[0], lw=1, drawstyle="steps-post")
        ax.plot(x[best], y[best], MARKERS[0], color=SERIES[0], ms=5)
        ax.plot(x[~best], y[~best], MARKERS[0], color=SOFT, markerfacecolor="none", ms=5)
        for place, k in enumerate(np.argsort(x, kind="stable")):
            if not best[k] and len(rows) > NAMED:
                continue
            weight, offset = "bold" if best[k] else "normal", (4, 3 if place % 2 else -9)  # neighbours seldom collide
            ax.annotate(
                label_of(section, rows[k], 20),
                (x[k], y[k]),
                offset,
                textcoords="offset points",
                fontsize=7,
                fontweight=weight,
            )
        log_scale(ax, "x")
        ax.set_xlabel("seconds to fit one seed")
        ax.set_ylabel(what)
        ax.margins(0.12, 0.08)
        svg = to_svg(figure, name)
    names = ", ".join(label_of(section, rows[k], 20) for k in order)
    alt = f"Scatter of fitting time and {what} of {len(rows)} heads. On the frontier, from fast to slow: {names}."
    return Picture("Time against accuracy", svg, alt, data, "Full and bold: no other head is both faster and better.")


def critical_difference(found: Mapping[str, Any], name: str) -> Picture | None:
    """Mean ranks over data sets; heads that a bar joins do not differ (Wilcoxon, Holm, 5%; Demsar, JMLR 2006)."""
    pairs: Sequence[Mapping[str, Any]] | None = found["wilcoxon"]
    if pairs is None:
        return None
    from scikit_posthocs import critical_difference_diagram

    ranks = {row["head"]: row["mean_rank"] for row in found["heads"]}
    p = pd.DataFrame(1.0, index=list(ranks), columns=list(ranks))
    for pair in pairs:
        p.loc[pair["a"], pair["b"]] = p.loc[pair["b"], pair["a"]] = pair["p_holm"]
    with canvas(1.0 + 0.18 * len(ranks)) as (figure, (ax,)):
        ax.spines["top"].set_visible(True)
        looks = {"label_props": {"fontsize": 8}, "elbow_props": {"color": INK, "linewidth": 0.8}}
        crossbars = {"color": SERIES[0], "linewidth": 2.5, "solid_capstyle": "butt"}
        critical_difference_diagram(
            ranks,
            p,
            ax=ax,
            label_fmt_left="{label} ({rank:.2f})",
            label_fmt_right="({rank:.2f}) {label}",
            crossbar_props=crossbars,
            **looks,
        )
        svg = to_svg(figure, name)
    order = ", ".join(f"{row['head']} {row['mean_rank']:.2f}" for row in found["heads"])
    data = pd.DataFrame(
        [{"head": row["head"], "mean_rank": row["mean_rank"], **row["ranks"]} for row in found["heads"]]
    )
    return Picture("Critical differences over data sets", svg, f"Mean ranks: {order}.", data)
