from __future__ import annotations

from pathlib import Path

import pytest

from aqa.errors import UnknownName, UsageError
from aqa.pipelines.settings import Settings, load_settings, place


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AQA_CONFIG", raising=False)


def write(text: str, folder: Path) -> None:
    (folder / "aqa.toml").write_text(text, encoding="utf-8")


def test_without_a_file_the_embedded_set_and_the_working_directory():
    where = place(None, settings=Settings())
    assert (where.dataset, where.root, where.cache, where.runs) == ("demo", None, Path("aqa-cache"), Path("runs"))


def test_the_file_says_what_the_command_line_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write('[dataset.mtl-aqa]\nroot = "/data/M"\ncache = "fast"\nprotocol = "paper"\n', tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    where = place(None)
    assert (where.dataset, where.root, where.protocol) == ("mtl-aqa", Path("/data/M"), "paper")
    assert where.cache == tmp_path / "fast"  # relative to the file
    assert where.runs == Path("runs")
    said = place("mtl-aqa", root=Path("/x"), protocol="official")
    assert (said.root, said.protocol) == (Path("/x"), "official")
    assert place("jigsaws").root is None


def test_default_decides_among_several(tmp_path: Path):
    write('default = "b"\n[dataset.a]\n[dataset.b]\nruns = "r"\n', tmp_path)
    assert place(None).dataset == "b"
    assert place(None).runs == tmp_path / "r"
    write("[dataset.a]\n[dataset.b]\n", tmp_path)
    assert place(None).dataset == "demo"


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("[dataset.a]\nrot = 'x'\n", UnknownName, "did you mean root|Did you mean root"),
        ("[datasets.a]\n", UnknownName, "dataset"),
        ("[dataset.a]\nroot = 3\n", UsageError, "string"),
        ("[dataset]\na = 'x'\n", UsageError, "table"),
        ("root = \n", UsageError, "TOML"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, error: type[Exception], match: str):
    write(text, tmp_path)
    with pytest.raises(error, match=match):
        load_settings()


def test_a_file_named_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    other = tmp_path / "other.toml"
    other.write_text('default = "rg"\n')
    monkeypatch.setenv("AQA_CONFIG", str(other))
    assert load_settings().default == "rg"
    monkeypatch.setenv("AQA_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings()
