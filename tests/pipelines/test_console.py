from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from aqa.errors import AqaError, DataError, MissingExtra, SomeFailed, UnknownName, VideoError
from aqa.pipelines.console import Console, counted
from aqa.pipelines.verb import Terminated, run_verb


def test_results_go_to_standard_output_and_the_rest_to_standard_error(capsys):
    console = Console(json=True)
    console.say("working")
    console.warn("look out")
    console.result([{"a": None, "ä": 1.5}], "text")
    seen = capsys.readouterr()
    assert json.loads(seen.out) == [{"a": None, "ä": 1.5}]
    assert seen.err.splitlines() == ["working", "warning: look out"]


def test_one_is_singular():
    assert [counted(n, "video") for n in (0, 1, 2)] == ["0 videos", "1 video", "2 videos"]


def test_quiet_keeps_warnings_and_the_result(capsys):
    console = Console(quiet=True)
    console.say("working")
    console.warn("look out")
    with console.progress("x", 3) as step:
        step()
    console.result([], "text")
    seen = capsys.readouterr()
    assert (seen.out, seen.err) == ("text\n", "warning: look out\n")


def test_off_a_terminal_progress_is_at_most_ten_lines(capsys):
    with Console().progress("extract", 57) as step:
        for _ in range(57):
            step()
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "extract: 57/57"
    assert len(lines) == 10


def test_nan_never_reaches_the_json():
    with pytest.raises(ValueError, match="JSON"):
        Console(json=True).result(float("nan"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AqaError("x"), 1),
        (SomeFailed("x"), 1),
        (UnknownName("head", "daee", ["dae"]), 2),
        (DataError("x"), 3),
        (VideoError("x", file="a.mp4", sample="s"), 3),
        (MissingExtra("x"), 4),
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
    ],
)
def test_exit_codes(error: BaseException, code: int):
    app = typer.Typer()

    def verb() -> None:
        raise error

    app.command()(run_verb(verb))
    done = CliRunner().invoke(app, [])
    assert done.exit_code == code
    assert done.stdout == ""
    if isinstance(error, AqaError):
        assert str(error) in done.stderr


def test_errors_survive_a_worker_process():
    import pickle

    error = VideoError("broken", file="a.mp4", sample="s 1", hint="re-encode it")
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), type(back), back.file, back.exit_code) == (str(error), VideoError, "a.mp4", 3)
    assert str(back) == "broken (file a.mp4, sample s 1). Re-encode it"
