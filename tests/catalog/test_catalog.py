from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aqa import catalog
from aqa.catalog.about import About
from aqa.catalog.base import Dataset
from aqa.errors import AnnotationError, UnknownName

ROOT = Path(__file__).resolve().parents[2]
READ_FROM_DISK = [name for name in catalog.DATASETS if name != "demo"]


@pytest.mark.parametrize("name", READ_FROM_DISK)
def test_what_is_said_of_a_data_set(name: str):
    about = catalog.about(name)
    assert isinstance(about, About)
    assert about.name == name
    assert about.title
    assert about.licence
    assert about.layouts
    if name != "csv":
        assert about.cite
        assert about.source.startswith("http")
        assert about.key


@pytest.mark.parametrize("name", READ_FROM_DISK)
def test_every_data_set_has_a_page_that_names_its_protocols_and_licence(name: str):
    page = (ROOT / "docs/datasets" / f"{name}.md").read_text(encoding="utf-8")
    assert "Licence" in page
    assert "Protocols" in page
    for option in catalog.about(name).options:
        assert f"`{option}`" in page


@pytest.mark.parametrize("name", READ_FROM_DISK)
def test_an_empty_folder_names_what_was_looked_for(name: str, tmp_path: Path):
    with pytest.raises(AnnotationError) as caught:
        catalog.read(name, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert any(word in str(caught.value) for word in (".pkl", ".mat", ".txt", ".npz", ".csv"))


@pytest.mark.parametrize("name", READ_FROM_DISK)
def test_a_root_must_be_given_and_exist(name: str, tmp_path: Path):
    with pytest.raises(AnnotationError, match="none was given") as caught:
        catalog.read(name)
    assert "--root" in str(caught.value)
    with pytest.raises(AnnotationError, match="no such folder"):
        catalog.read(name, tmp_path / "none")


def test_unknown_names_are_met_with_a_suggestion():
    with pytest.raises(UnknownName, match="Did you mean mtl-aqa"):
        catalog.read("mtl_aqa", "x")
    with pytest.raises(UnknownName, match="Did you mean"):
        catalog.about("ui-prdm")
    with pytest.raises(UnknownName, match="Did you mean jigsaws"):
        catalog.streams("jigsaw")
    with pytest.raises(UnknownName, match=r"option of mtl-aqa 'split'\. Did you mean splits"):
        catalog.read("mtl-aqa", "x", split="y")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("mtl-aqa", "mtl-aqa"),
        ("aqa-7", "aqa7"),
        ("jigsaws", "jigsaws"),
        ("rhythmic-gymnastics", "rg"),
        ("unlv-dive", "unlv-dive"),
        ("ui-prmd", "ui-prmd"),
    ],
)
def test_the_real_sets_survive_being_kept_as_json(shared_data: Path, name: str, folder: str):
    dataset = catalog.read(name, shared_data / folder)
    again = Dataset.from_json(json.loads(json.dumps(dataset.to_json())))
    assert again.digest() == dataset.digest() == catalog.read(name, shared_data / folder).digest()
    assert again.problems == dataset.problems
    assert again.protocols == dataset.protocols


def test_the_streams_that_the_sets_carry():
    names = {name: sorted(catalog.streams(name)) for name in READ_FROM_DISK}
    assert {name: found for name, found in names.items() if found} == {
        "jigsaws": ["kinematics"],
        "finediving": ["pose"],
        "rhythmic-gymnastics": ["i3d", "vst"],
        "fis-v": ["i3d", "vst"],
        "logo": ["i3d", "logo_feats", "vst"],
        "unlv-dive": ["p3d"],
        "ui-prmd": ["angles", "joints", "positions"],
    }
    assert sorted(catalog.streams("demo")) == ["pose"]


def test_the_table_alone_imports_no_reader_and_nothing_heavy():
    code = (
        "import sys; from aqa import catalog; assert 'mtl-aqa' in catalog.DATASETS;"
        "heavy = {'torch', 'h5py', 'scipy', 'pandas', 'sklearn'} & sys.modules.keys();"
        "readers = [m for m in sys.modules if m.startswith('aqa.catalog.') and m.count('.') == 2];"
        "print(sorted(heavy), sorted(readers))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['aqa.catalog.about', 'aqa.catalog.base']"


def test_no_reader_imports_torch_or_h5py():
    code = (
        "import importlib, sys; from aqa import catalog;"
        "[importlib.import_module(f'aqa.catalog.{m}') for n, m in catalog.DATASETS.items() if n != 'demo'];"
        "print(sorted({'torch', 'h5py', 'sklearn', 'av'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
