"""What a verb says: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Step = Callable[[], None]


def counted(n: int, noun: str) -> str:
    """1 and "video": "1 video"; 2: "2 videos"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


class Console:
    """`json`: the result is one JSON value on standard output. `quiet`: no progress and no remarks, only warnings."""

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json, self.quiet = json, quiet

    def say(self, text: str) -> None:
        """A remark, on standard error."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    def warn(self, text: str) -> None:
        """A warning, on standard error, also when quiet."""
        print(f"warning: {text}", file=sys.stderr, flush=True)  # noqa: T201

    def result(self, value: Any, text: Any = None) -> None:
        """The result: `value` as JSON with --json, else `text` (a string, or something that rich renders)."""
        if self.json:
            import json as json_module

            print(json_module.dumps(value, indent=1, ensure_ascii=False, allow_nan=False), flush=True)  # noqa: T201
        elif isinstance(text, str):
            print(text, flush=True)  # noqa: T201
        elif text is not None:
            from rich.console import Console as Terminal

            wide = None if sys.stdout.isatty() else 200  # a pipe has no width: do not fold the table to 80
            Terminal(width=wide, highlight=False).print(text)

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Step]:
        """A bar on a terminal, a plain line every tenth off it. Call the value once per finished item."""
        if self.quiet or total == 0:
            yield lambda: None
        elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            from rich.console import Console as Terminal
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=Terminal(stderr=True)) as bar:
                task = bar.add_task(label, total=total)
                yield lambda: bar.advance(task)
        else:
            done = 0

            def step() -> None:
                nonlocal done
                done += 1
                if done == total or done * 10 // total > (done - 1) * 10 // total:
                    self.say(f"{label}: {done}/{total}")

            yield step
