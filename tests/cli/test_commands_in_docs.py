"""Every `aqa` command that the README and the docs show is one that aqa takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from aqa.pipelines.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"```(?:sh|bash|console)?\n(.*?)```", re.DOTALL)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            text = block.replace("\\\n", " ")
            found += [(page.name, line.split("#")[0].strip()) for line in text.splitlines() if line.startswith("aqa ")]
    return found


def options_of(command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def test_the_readme_shows_commands():
    assert len([line for page, line in commands() if page == "README.md"]) >= 6


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda text: text[:60])
def test_verb_and_options_exist(page: str, line: str):
    words = shlex.split(line)[1:]
    command = get_command(app)
    while words and hasattr(command, "commands") and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    known = options_of(command)
    wrong = [word for word in words if word.startswith("--") and word.split("=")[0] not in known]
    assert not wrong, f"{page}: {line}: {wrong}"
    if hasattr(command, "commands") and command.commands:
        assert not [w for w in words if not w.startswith("-")], f"{page}: {line}: no such verb"


def test_the_reference_is_of_this_version():
    """`make docs` writes docs/cli.md."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    todo = [("aqa", get_command(app))]
    while todo:
        name, command = todo.pop()
        todo += [(f"{name} {word}", inner) for word, inner in getattr(command, "commands", {}).items()]
        section = page.split(f"# `{name}`\n")[1].split("\n## ")[0] if name != "aqa" else page
        missing = [
            option for option in options_of(command) if option[0] == "-" and not re.search(rf"[` ]{option}\b", section)
        ]
        assert not missing, name
