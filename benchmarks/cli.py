"""``aqa --help`` against the help of a typer app with two commands, run in turn: the ratio of the medians."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import write

PLAIN = """
import typer
app = typer.Typer(rich_markup_mode=None)
@app.command()
def one(x: int = 1): "first"
@app.command()
def two(y: str = ""): "second"
app()
"""
AQA = "from aqa.pipelines.cli import main; main()"


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args()
    pairs = [(seconds(AQA), seconds(PLAIN)) for _ in range(arguments.repeat)]
    ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    write(
        {"benchmark": "cli", "aqa_help_s": ours, "two_command_typer_s": plain, "ratio": ratio, "goal": 1.5},
        arguments.out,
    )


if __name__ == "__main__":
    main()
