"""The house: which room may import which, and what the light commands may not pull in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "errors": set(),
    "catalog": {"errors"},
    "cache": {"errors", "catalog"},
    "extract": {"errors", "catalog", "cache"},
    "heads": {"errors", "catalog", "cache"},
    "finetune": {"errors", "catalog", "cache", "extract", "heads"},
    "leaderboard": {"errors", "catalog", "cache"},
    "pipelines": {"errors", "catalog", "cache", "extract", "heads", "finetune", "leaderboard"},
}
MAY_NOT_NEED = {
    "catalog": {"torch", "h5py", "sklearn", "lightgbm"},
    "cache": {"torch", "sklearn", "lightgbm"},
    "heads": {"h5py", "av"},
    "leaderboard": {"torch", "h5py", "av", "sklearn", "lightgbm"},
}
FILES = [*sorted(p for room in MAY_IMPORT for p in (ROOT / room).rglob("*.py")), ROOT / "errors.py"]


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    package = ("aqa", *path.relative_to(ROOT).parent.parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *(node.module.split(".") if node.module else ())))
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_only_point_down(path: Path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    names = imported(path)
    rooms = {name.split(".")[1] for name in names if name.startswith("aqa.")} & MAY_IMPORT.keys()
    assert rooms - {room} <= MAY_IMPORT[room], f"{path} imports upwards or sideways"
    assert not {name.split(".")[0] for name in names} & MAY_NOT_NEED.get(room, set())


def test_rooms_use_relative_imports():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] != "aqa", path


def test_every_package_is_listed_for_installation():
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {
        ".".join(("aqa", *p.parent.relative_to(ROOT).parts))
        for room in MAY_IMPORT
        for p in (ROOT / room).rglob("__init__.py")
    }
    assert listed == there | {"aqa"}


def test_every_data_file_is_listed_for_installation():
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["aqa"]
    there = {
        p for room in MAY_IMPORT for p in (ROOT / room).rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")
    }
    assert there <= {p for pattern in listed for p in ROOT.glob(pattern)}


@pytest.mark.parametrize("command", [["--help"], ["extract", "--help"], ["fit", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(command: list[str]):
    code = (
        "import sys, aqa.pipelines.cli as c\n"
        f"sys.argv = ['aqa', *{command!r}]\n"
        "try: c.main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'torch', 'sklearn', 'lightgbm', 'numpy', 'pandas', 'scipy', 'h5py', 'av'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout or "aqa 0" in done.stdout
