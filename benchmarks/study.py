"""Every head on every data set at hand, and the tables of it in docs/results.md.

    python benchmarks/study.py [--work DIR] [--seeds 5] [--only demo --only unlv-dive] [--tables]

A command that was cut off goes on where it stopped: features and runs that are in DIR are not made again. Data sets
that are not here are left out, and said. `--tables` fits nothing and writes the tables of the runs that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path

import swapped

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results.md"
SHARED = Path(os.environ.get("AQA_SHARED", ROOT.parent / "shared")) / "data"
# The defaults of these are those of papers with a thousand samples and a GPU; the embedded set has 144 to train on.
SEQUENCES = ("mtl", "core", "dae-core", "gdlt", "cofinal", "tpt", "t2cr", "hgcn", "attention", "segment", "psnet")
SEMI = ("s4aqa", "s4aqa-supervised", "pseudo-label", "vat", "mean-teacher")
COLUMNS = {"head", "accuracy", "AUC", "Spearman", "sd", "95% interval", "like", "P(best)", "MAE", "R-l2 x100"} | {
    *("coverage", "own cov.", "AIoU@0.5", "AIoU@0.75", "tIoU", "seeds", "fit s", "parameters")
}
FLOORS = ("mean", "group-mean", "difficulty", "metadata", "random")
# What is fitted on true poses: streams, heads, settings. `joints` is the pose as 32 numbers a frame.
STAGES = (
    ("pose", (*FLOORS, "mcore", "tsa"), ("mcore.hidden=64", "epochs=30")),
    ("joints", ("mcore",), ("hidden=64", "epochs=15", "lr=5e-4")),
    ("c3d+joints+pose", ("hpmcore",), ("epochs=15", "hidden=64", "channels=64", "gcn=8")),
)
MEASURED = {"spearman": 3, "mae": 2, "tiou": 3, "aiou_75": 3}  # of a pair -> digits
SHARES = ("0.1", "0.2", "0.3", "0.4", "0.5", "1")
SMALL = (
    *("mlp.hidden=256", "mtl.hidden=256", "mtl.caption_hidden=64", "segment.hidden=32"),
    *("mcore.hidden=64", "gcn.hidden=16", "hpmcore.hidden=64", "hpmcore.channels=64", "hpmcore.gcn=8"),
    *("tsa.epochs=10", "hpmcore.epochs=15", "mcore.epochs=30", "gcn.epochs=30"),
    *(f"{head}.epochs=30" for head in SEQUENCES),
    *(f"{head}.hidden=128" for head in SEMI),
)


def aqa(*words: str) -> bool:
    """Run the command; what it says goes to the terminal. Whether all went well."""
    print("aqa", *words, flush=True)
    return subprocess.run([sys.executable, "-m", "aqa", *words], cwd=ROOT.parent, check=False).returncode == 0


def with_settings(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def demo(place: list[str], seeds: str) -> bool:
    """All heads with all labels, and the semi-supervised ones and some others with fewer."""
    ok = aqa("extract", "demo", "--backbone", "c3d.random", *place[:2])
    fit = ["fit", "demo", *place, "--features", "c3d", "--seeds", seeds]
    ok &= aqa(*fit, "--head", "all", *with_settings(SMALL))
    heads = [word for head in (*SEMI, "ridge", "dae-mt", "difficulty") for word in ("--head", head)]
    few = [*fit[:2], *place[:3], f"{place[3]}-few", *fit[6:]]
    for share in SHARES:
        ok &= aqa(*few, *heads, *with_settings(SMALL[-len(SEMI) :]), "--labelled", share)
    return ok


def stages(place: list[str], seeds: str) -> bool:
    """Heads that cut at the phases, on where the joints of `demo` truly are, in runs of their own."""
    from aqa.catalog.demo import default_root

    joints, ok = write_joints(default_root() / "poses.npz", Path(place[1]).parent / "joints"), True
    for name, source in (("pose", default_root()), ("joints", joints)):
        ok &= aqa("cache", "import", "demo", str(source), "--as", name, *place[:2])
    for features, heads, settings in STAGES:
        words = [word for head in heads for word in ("--head", head)]
        fit = ["fit", "demo", *place, "--features", features, "--seeds", seeds]
        ok &= aqa(*fit, *words, *with_settings(settings))
    return ok


def write_joints(poses: Path, folder: Path) -> Path:
    """A folder with an array [T, 32] for every dive."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    with np.load(poses) as kept:
        each = np.split(kept["poses"], kept["offsets"][1:-1])
        for name, own in zip(kept["ids"], each, strict=True):
            np.save(folder / f"{name}.npy", own.reshape(len(own), -1))
    return folder


def unlv_dive(place: list[str], seeds: str) -> bool:
    ok = aqa("cache", "import", "unlv-dive", str(SHARED / "unlv-dive"), "--as", "p3d", *place[:2])
    fit = ["fit", "unlv-dive", *place, "--features", "p3d"]
    ok &= aqa(*fit, "--head", "all", "--seeds", seeds)
    return ok & aqa(*fit, "--head", "svr", *with_settings(["C=100", "epsilon=9", "scale=none"]))


def ui_prmd(place: list[str], seeds: str) -> bool:
    ok = aqa("cache", "import", "ui-prmd", str(SHARED / "ui-prmd"), "--as", "angles", *place[:2])
    for protocol in ("leave-one-subject-out", "random"):
        fit = ["fit", "ui-prmd", *place, "--features", "angles", "--protocol", protocol, "--seeds", seeds]
        ok &= aqa(*fit, "--head", "all", *with_settings(["pool=stats"]))
    return ok


SETS = {"demo": demo, "unlv-dive": unlv_dive, "ui-prmd": ui_prmd}


def leaderboard(dataset: str, runs: str, *words: str) -> str:
    command = [sys.executable, "-m", "aqa", "leaderboard", dataset, "--runs", runs, *words]
    return subprocess.run(command, cwd=ROOT.parent, check=True, capture_output=True, text=True).stdout


def tables(dataset: str, runs: str) -> None:
    """Put the tables of `dataset` between its marks in docs/results.md."""
    parts = re.split(r"(?m)^(?=### )", leaderboard(dataset, runs, "--format", "md"))
    # of a set with groups the averages are enough here
    wanted = [part for part in parts if "· average" in part.split("\n")[0]] or [part for part in parts if part.strip()]
    between(dataset, "\n\n".join(narrow(part.rstrip()) for part in wanted))


def narrow(table: str, also: str = "") -> str:
    """`table` in Markdown with those of its columns that a page has room for, and `also`."""
    lines = table.split("\n")
    heads = next(line for line in lines if line.startswith("| head |")).split("|")
    kept = [k for k, title in enumerate(heads) if title.strip() in {*COLUMNS, also}]
    cut = (
        "|" + "|".join(line.split("|")[k] for k in kept) + "|" for line in lines if line.count("|") == len(heads) - 1
    )
    return "\n".join(next(cut) if line.count("|") == len(heads) - 1 else line for line in lines)


def fewer_labels(dataset: str, runs: str) -> None:
    """Put a table of heads and shares of labels between its marks."""
    rows = json.loads(leaderboard(dataset, runs, "--json"))["rows"]
    cells = {(row["head"], f"{row['labelled']:g}"): row for row in rows if row["spearman"] is not None}
    heads = sorted({head for head, _ in cells}, key=lambda head: -cells[head, "0.1"]["spearman"])
    lines = [" | ".join(["| head", *(f"{float(share):.0%}" for share in SHARES)]) + " |", "|---" * 7 + "|"]
    for head in heads:
        found = (cells[head, share] for share in SHARES)
        said = (f"{row['spearman']:.3f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]" for row in found)
        lines.append(" | ".join([f"| `{head}`", *said]) + " |")
    between(f"{dataset}, fewer labels", "\n".join(lines))


def stage_tables(runs: Path, cache: Path) -> None:
    """The rows of `STAGES`; every head that gives scores and phases against each other and against the floors; and what
    the streams of `hpmcore` are to it."""
    between("demo, phases and poses", narrow(leaderboard("demo", str(runs), "--format", "md").rstrip(), "features"))
    places = {path.parts[-2]: path for path in sorted(runs.glob("demo/official/score/all/*/*/fold-0"))}
    heads = {
        f"`{head}` {path.parts[-3]}": path
        for key, path in places.items()
        if (head := key.split("-")[0]) in ("mcore", "tsa", "hpmcore")
    }
    floors = {name: places[key] for name in FLOORS[:3] for key in places if key.rpartition("-")[0] == name}
    lines = ["| first | second | Spearman | MAE | tIoU | AIoU@0.75 |", "|---|---|---|---|---|---|"]
    for (a, first), (b, second) in [*combinations(heads.items(), 2), *product(heads.items(), floors.items())]:
        command = [sys.executable, "-m", "aqa", "compare", str(first), str(second), "--json", "--runs", str(runs)]
        said = json.loads(subprocess.run(command, cwd=ROOT.parent, check=True, capture_output=True, text=True).stdout)
        cells = (differs(said[key], digits) for key, digits in MEASURED.items())
        lines.append(" | ".join([f"| {a}", b, *cells]) + " |")
    between("demo, phases and poses, pairs", "\n".join(lines))
    (hpmcore,) = (path for name, path in heads.items() if name.startswith("`hpmcore`"))
    between("demo, streams of hpmcore", swapped.table(hpmcore, cache))


def differs(of: dict[str, float] | None, digits: int) -> str:
    """A difference with its 95% interval."""
    if of is None or of["difference"] is None:
        return ""
    low, high = f"{of['ci_low']:+.{digits}f}", f"{of['ci_high']:+.{digits}f}"
    return f"{of['difference']:+.{digits}f} [{low}, {high}]"


def between(name: str, body: str) -> None:
    """Put `body` between the marks of `name` in docs/results.md."""
    begin, end = f"<!-- study: {name} -->", f"<!-- end: {name} -->"
    page = RESULTS.read_text(encoding="utf-8")
    if begin not in page or end not in page:
        raise SystemExit(f"{RESULTS} has no place for {name}: {begin} ... {end}")
    head, rest = page.split(begin)[0], page.split(end)[1]
    RESULTS.write_text(f"{head}{begin}\n{body}\n{end}{rest}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("study"), help="cache and runs go there [study]")
    parser.add_argument("--seeds", default="5")
    parser.add_argument("--only", action="append", choices=SETS, help="this data set; may be given several times")
    parser.add_argument(
        "--tables", action="store_true", help="fit nothing, write the tables of the runs that are there"
    )
    options = parser.parse_args()
    work, ok = options.work.resolve(), True
    place = ["--cache", str(work / "cache"), "--runs", str(work / "runs")]
    for name in options.only or SETS:
        if name != "demo" and not (SHARED / name).exists():
            print(f"{name} left out: {SHARED / name} is not there (AQA_SHARED)")
            continue
        started = time.perf_counter()
        if not options.tables:
            ok &= SETS[name](place, options.seeds)
            if name == "demo":
                ok &= stages([*place[:3], str(work / "runs-stages")], options.seeds)
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        tables(name, str(work / "runs"))
        if name == "demo":
            fewer_labels(name, str(work / "runs-few"))
            stage_tables(work / "runs-stages", work / "cache")
    aqa("leaderboard", "--all", "--runs", str(work / "runs"), "-o", str(work / "leaderboard.html"))
    raise SystemExit(0 if ok else 1)


if __name__ == "__main__":
    main()
