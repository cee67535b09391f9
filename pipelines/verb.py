"""What all verbs share: their common options, and what an error or a signal becomes: an exit code and one line."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from ..errors import AqaError

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks, only warnings and the result.")]
DatasetName = Annotated[
    str | None, typer.Argument(metavar="[DATASET]", help="Data set; without it the one in aqa.toml, else `demo`.")
]
Root = Annotated[Path | None, typer.Option("--root", help="Folder of the data set.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder of cached features [aqa-cache].")]
Runs = Annotated[Path | None, typer.Option("--runs", help="Folder of runs [runs].")]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol", help="Protocol; `aqa catalog show` lists them. paper: splits and settings of the papers."
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="run.json of a run to be made again; what is said beside it wins."),
]
Labelled = Annotated[
    float | None,
    typer.Option("--labelled", help="Share of train whose labels are used, drawn anew by every seed, as .4 [1]."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that no code takes it for an error of its own."""


def run_verb(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a verb for the command line: errors and signals become exit codes, its return value is dropped."""

    @functools.wraps(verb)
    def command(*args: Any, **kwargs: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminate)
        try:
            verb(*args, **kwargs)
        except AqaError as error:
            _print(f"error: {error}")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            _print("interrupted; the same command goes on where this one stopped")
            raise typer.Exit(130) from error
        except Terminated as error:
            _print("terminated; the same command goes on where this one stopped")
            raise typer.Exit(143) from error
        except BrokenPipeError:  # `aqa ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:  # a full disk, no permission, a file that went away: the message names it
            _print(f"error: {error}; what was finished is kept")
            raise typer.Exit(3) from error

    return command


def _terminate(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise Terminated


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
