"""Pictures of where heads are right and wrong: predictions, errors, calibration, training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from ..conformal import bounds
from ..entries import Entry
from ..table import Line, Section, name_of
from .ranking import label_of, short
from .svg import LINES, MARKERS, SERIES, SOFT, Picture, canvas, log_scale, to_svg

HEADS = 4  # as many as there are markers; the best ones
ABREAST = 80  # letters that the width of a picture holds
LEVELS = np.arange(0.1, 1.0, 0.1)


def best_heads(section: Section, count: int = HEADS) -> list[Line]:
    return [line for line in section.lines if not line.row["floor"]][:count]


def judged_of(line: Line) -> pd.DataFrame:
    """The seed-averaged test predictions of a row, of all its groups."""
    return pd.concat([entry.judged for entry in line.entries], ignore_index=True)


def predicted(section: Section, name: str) -> Picture | None:
    """Predicted against true scores of the best heads, with the 90% interval of each prediction."""
    lines = best_heads(section)
    if not lines or lines[0].entries[0].info["target_kind"] == "binary":
        return None
    frames, inside = [], []
    with canvas(2.1 if len(lines) > 2 else 3.0, len(lines)) as (figure, axes):
        for k, (line, ax) in enumerate(zip(lines, axes, strict=True)):
            judged = judged_of(line)
            truth, score, low, high = (judged[n].to_numpy() for n in ("truth", "score", "low", "high"))
            known = bool(np.isfinite(low).all())
            hit = (low <= truth) & (truth <= high) if known else np.ones(len(truth), dtype=bool)
            ax.vlines(truth, low, high, color=SERIES[k], lw=0.4, alpha=0.35)
            ax.plot(truth[hit], score[hit], MARKERS[k], color=SERIES[k], ms=2)
            ax.plot(truth[~hit], score[~hit], MARKERS[k], color=SERIES[k], markerfacecolor="none", ms=3, mew=0.7)
            ends = [min(truth.min(), score.min()), max(truth.max(), score.max())]
            ax.plot(ends, ends, color=SOFT, lw=0.8)
            label = label_of(section, line.row, 18)
            ax.set_title(label)
            ax.set_xlabel("true")
            frames.append(judged[["id", "truth", "score", "low", "high"]].assign(head=name_of(line.row)))
            inside.append(f"{label} {hit.mean():.0%}" if known else f"{label} (no interval)")
        axes[0].set_ylabel("predicted")
        svg = to_svg(figure, name)
    alt = f"Scatter of predicted and true scores. Inside their 90% interval: {', '.join(inside)}."
    note = "Strokes: the conformal 90% interval of each prediction; hollow: the true score is outside of it."
    return Picture("Predicted against true", svg, alt, pd.concat(frames, ignore_index=True), note)


def errors_by_difficulty(section: Section, name: str) -> Picture | None:
    """Mean absolute error of the best heads and the best floor in up to five bins of difficulty."""
    difficulty = judged_of(section.compared[0])["difficulty"].to_numpy()
    if not np.isfinite(difficulty).all() or len(np.unique(difficulty)) < 3:
        return None
    edges = np.unique(np.quantile(difficulty, np.linspace(0, 1, 6)))

    def part(judged: pd.DataFrame) -> np.ndarray:
        return np.clip(np.searchsorted(edges, judged["difficulty"].to_numpy(), side="right") - 1, 0, len(edges) - 2)

    return _errors(section, name, "difficulty", [f"{a:g} to {b:g}" for a, b in pairwise(edges)], part)


def errors_by_group(section: Section, name: str) -> Picture | None:
    """Mean absolute error of the best heads and the best floor in each group."""
    groups = list(dict.fromkeys(judged_of(section.compared[0])["group"]))
    if len(groups) < 2:
        return None

    def part(judged: pd.DataFrame) -> np.ndarray:
        return np.array([groups.index(group) for group in judged["group"]])

    return _errors(section, name, "group", groups, part)


def _errors(
    section: Section, name: str, what: str, bins: Sequence[str], part: Callable[[pd.DataFrame], np.ndarray]
) -> Picture | None:
    """Of rows with the same test samples. Bins whose names do not fit side by side are set one below the other."""
    same = [line for line in section.lines if line.test_set == section.compared[0].test_set]
    floors = [line for line in same if line.row["floor"] and line.row["head"] != "random"]
    lines = [line for line in same if not line.row["floor"]][:HEADS] + floors[:1]
    if not lines:
        return None
    names, rows = [label_of(section, line.row, 24) for line in lines], []
    below, along = sum(max(len(label), 6) + 2 for label in bins) > ABREAST, range(len(bins))
    with canvas(1.1 + 0.2 * len(bins) if below else 2.6) as (figure, (ax,)):
        for k, line in enumerate(lines):
            judged = judged_of(line)
            number = part(judged)
            error = np.abs(judged["truth"].to_numpy() - judged["score"].to_numpy())
            means = [float(error[number == j].mean()) if (number == j).any() else np.nan for j in along]
            floor = line.row["floor"]
            colour, look = (SOFT, "x") if floor else (SERIES[k], MARKERS[k])
            x, y = (means, along) if below else (along, means)
            ax.plot(x, y, look + LINES[k % 4], color=colour, ms=5, lw=1, label=names[k])
            counts = [int((number == j).sum()) for j in along]
            found = zip(bins, counts, means, strict=True)
            rows += [{"head": name_of(line.row), what: label, "n": n, "mae": mae} for label, n, mae in found]
        counts = [row["n"] for row in rows[: len(bins)]]
        if below:
            ax.set_yticks(along, [f"{short(label)} (n = {n})" for label, n in zip(bins, counts, strict=True)])
            ax.set_ylim(len(bins) - 0.4, -0.6)
            ax.set_xlim(left=0)
            ax.set_xlabel("mean absolute error")
        else:
            ax.set_xticks(along, [f"{label}\nn = {n}" for label, n in zip(bins, counts, strict=True)])
            ax.set_ylim(bottom=0)
            ax.set_ylabel("mean absolute error")
            ax.set_xlabel(what)
        columns = max(1, min(len(lines), ABREAST // max(map(len, names)) - 1))
        ax.legend(fontsize=7, ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        svg = to_svg(figure, name)
    data = pd.DataFrame(rows)
    worst = max(rows[: len(bins)], key=lambda row: (row["mae"] == row["mae"], row["mae"]))
    alt = f"Mean absolute error by {what}. {names[0]} is worst in {worst[what]}: {worst['mae']:.2f} points."
    return Picture(f"Error by {what}", svg, alt, data)


def calibration(section: Section, name: str) -> Picture | None:
    """What intervals of several levels cover on test, of the best heads: conformal ones, and those of own spreads. For
    a binary target: how often the class is 1 where a probability is said."""
    lines = best_heads(section)
    if not lines:
        return None
    binary = lines[0].entries[0].info["target_kind"] == "binary"
    rows: list[dict[str, object]] = []
    with canvas(3.0) as (figure, (ax,)):
        ax.plot([0, 1], [0, 1], color=SOFT, lw=0.8)
        for k, line in enumerate(lines):
            for kind, x, y in _reliability(line) if binary else _coverages(line):
                look = MARKERS[k] + (LINES[0] if kind != "own spread" else LINES[2])
                face = SERIES[k] if kind != "own spread" else "none"
                label = label_of(section, line.row, 24) + ("" if kind != "own spread" else ", own spread")
                ax.plot(x, y, look, color=SERIES[k], markerfacecolor=face, ms=4, lw=1, label=label)
                pairs = zip(x.tolist(), y.tolist(), strict=True)
                rows += [{"head": name_of(line.row), "kind": kind, "nominal": a, "observed": b} for a, b in pairs]
        ax.set_xlabel("probability said" if binary else "nominal level of the interval")
        ax.set_ylabel("share of class 1" if binary else "share of test samples inside")
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.set_box_aspect(1)
        if rows:
            ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
        svg = to_svg(figure, name)
    if not rows:
        return None
    last = [row for row in rows if row["nominal"] == LEVELS[-1]]
    at = ", ".join(f"{row['head']}, {row['kind']}, {row['observed']:.0%}" for row in last)
    alt = "Reliability of probabilities." if binary else f"Calibration of intervals. At a nominal 90% are inside: {at}."
    note = "On the diagonal a promise is kept; below it, it is not."
    return Picture("Calibration", svg, alt, pd.DataFrame(rows), "" if binary else note)


def _coverages(line: Line) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Levels and what they cover, by conformal intervals and by the head's own spread."""
    from scipy import stats

    judged = judged_of(line)
    truth, score, spread = (judged[n].to_numpy() for n in ("truth", "score", "spread"))
    found = []
    conformal = [_conformal_coverage(line.entries, float(level)) for level in LEVELS]
    if None not in conformal:
        found.append(("conformal", LEVELS, np.array(conformal, dtype=float)))
    if np.isfinite(spread).all():
        deviations = stats.norm.ppf(0.5 + LEVELS / 2)
        own = [float(np.mean(np.abs(truth - score) <= d * spread)) for d in deviations]
        found.append(("own spread", LEVELS, np.array(own)))
    return found


def _conformal_coverage(entries: Sequence[Entry], level: float) -> float | None:
    inside = []
    for entry in entries:
        for fold, part in entry.judged.groupby("fold"):
            wide = entry.factor(int(str(fold)), level)
            if wide is None:
                return None
            low, high = bounds(part["score"].to_numpy(), part["spread"].to_numpy() if entry.weighted else None, wide)
            inside.append((part["truth"].to_numpy() >= low) & (part["truth"].to_numpy() <= high))
    return float(np.concatenate(inside).mean())


def _reliability(line: Line) -> list[tuple[str, np.ndarray, np.ndarray]]:
    judged = judged_of(line)
    probability, truth = judged["score"].to_numpy(), judged["truth"].to_numpy()
    number = np.clip((probability * 5).astype(int), 0, 4)
    filled = [k for k in range(5) if (number == k).any()]
    x = np.array([probability[number == k].mean() for k in filled])
    return [("probability", x, np.array([truth[number == k].mean() for k in filled]))]


def training(section: Section, name: str) -> Picture | None:
    """Loss and, where there is one, correlation on the held-out part over the epochs: mean over folds and seeds."""
    curves = []
    for line in section.lines:
        histories = [run.history for entry in line.entries for run in entry.runs]
        tables = [one for one in histories if len(one) > 1 and {"epoch", "loss"} <= set(one.columns)]
        if tables:
            curves.append((line, pd.concat(tables).groupby("epoch").mean(numeric_only=True)))
        if len(curves) == HEADS:
            break
    if not curves:
        return None
    known = any("val_spearman" in mean and mean["val_spearman"].notna().any() for _, mean in curves)
    kept = "val_spearman" if known else None  # with one or two held-out samples there is none
    data = []
    with canvas(2.4, 2 if kept else 1) as (figure, axes):
        for k, (line, mean) in enumerate(curves):
            step = max(1, len(mean) // 200)
            mean = mean.iloc[::step]
            axes[0].plot(
                mean.index, mean["loss"], LINES[k], color=SERIES[k], lw=1.2, label=label_of(section, line.row, 24)
            )
            if kept and kept in mean:
                axes[1].plot(mean.index, mean[kept], LINES[k], color=SERIES[k], lw=1.2)
            columns = [c for c in ("loss", kept) if c in mean]
            data.append(mean[columns].reset_index().assign(head=name_of(line.row)))
        if all((mean["loss"] > 0).all() for _, mean in curves):
            log_scale(axes[0], "y")
        axes[0].set_ylabel("loss on train")
        axes[0].legend(fontsize=7)
        if kept:
            axes[1].set_ylabel("Spearman, held-out part")
        for ax in axes:
            ax.set_xlabel("epoch")
            ax.locator_params(axis="x", integer=True)
        svg = to_svg(figure, name)
    ends = ", ".join(f"{label_of(section, line.row, 24)} {mean['loss'].iloc[-1]:.3g}" for line, mean in curves)
    alt = f"Training curves; the loss ends at: {ends}."
    return Picture("Training", svg, alt, pd.concat(data, ignore_index=True), "Mean over folds and seeds.")
