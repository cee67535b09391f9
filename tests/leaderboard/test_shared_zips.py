"""What a zip by anybody can hold, by chance or on purpose."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from aqa.errors import AqaError, StoreError
from aqa.leaderboard import shared_files
from aqa.leaderboard.runs import RunKey, iter_runs
from aqa.leaderboard.sharing import export_runs, merge_runs

from .archives import files, members, rewrite, rezip


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "hier ü"


def test_names_in_run_json_never_lead_out_of_the_root(make_run, tmp_path: Path):
    run = make_run()
    for hostile in ("..", ".", "../../x", "/etc", "a/../../b"):
        names = dict.fromkeys(("dataset", "protocol", "target"), hostile)
        change = {**names, "group": hostile, "groups": [hostile], "features": [hostile], "head": hostile}
        key = RunKey(**names, group=hostile, features=(hostile,), head=hostile, identity={}, fold=0, seed=0)
        info = {**run.info, **change, "identity": {}, "digest": key.digest, "run_id": key.run_id}
        content = {
            "run.json": json.dumps(info).encode(),
            "predictions.csv": (run.folder / "predictions.csv").read_bytes(),
        }
        folder = key.folder.as_posix()
        rezip(tmp_path / "a.zip", {f"{folder}/{name}": data for name, data in content.items()})
        root = tmp_path / "deep" / "down" / "runs"
        before = set(tmp_path.rglob("*")) - set((tmp_path / "deep").rglob("*"))
        (written,) = merge_runs([tmp_path / "a.zip"], root).merged
        assert written.resolve().is_relative_to(root.resolve())
        assert set(tmp_path.rglob("*")) - set((tmp_path / "deep").rglob("*")) - {tmp_path / "deep"} == before
        assert [r.info["dataset"] for r in iter_runs(root, hostile)] == [hostile]
        shutil.rmtree(tmp_path / "deep")


class Bomb:
    def __reduce__(self):
        return Path.write_text, (Path("bomb-went-off"), "")


def hostile(file: Path, good: dict[str, bytes], kind: str) -> Path:
    """`file` made of the members of a good one and of a bad one."""
    name, data = next(iter(good.items()))
    with zipfile.ZipFile(file, "w") as archive:
        for member, content in good.items():
            archive.writestr(member, content)
        if kind == "up":
            archive.writestr("../../run.json", data)
        elif kind == "absolute":
            archive.writestr("/tmp/run.json", data)
        elif kind == "backslash":
            archive.writestr("..\\..\\run.json", data)
        elif kind == "link":
            link = zipfile.ZipInfo(name.replace("seed-0", "seed-1"))
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
        elif kind == "packed":
            archive.writestr(name.replace("seed-0", "seed-1"), data, compress_type=zipfile.ZIP_BZIP2)
        elif kind == "twice":
            archive.writestr(f"./{name}", data)
    if kind == "encrypted":
        whole = bytearray(file.read_bytes())
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            whole[whole.index(mark) + offset] |= 1
        file.write_bytes(whole)
    return file


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        *((kind, "leads out") for kind in ("up", "absolute", "backslash", "link")),
        *((kind, "encrypted or packed") for kind in ("encrypted", "packed")),
        ("twice", "one file twice"),
    ],
)
def test_hostile_zips_are_refused_whole(make_run, tmp_path: Path, here: Path, kind: str, said: str):
    export_runs([make_run()], tmp_path / "a.zip")
    file = hostile(tmp_path / "bad.zip", members(tmp_path / "a.zip"), kind)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match=said):
        merge_runs([tmp_path / "a.zip", file], here)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("limit", ["LARGEST", "LARGEST_SUM"])
def test_huge_files_are_refused_before_they_are_unpacked(make_run, tmp_path: Path, here: Path, monkeypatch, limit: str):
    run = make_run()
    rewrite(run, lambda text: text + "".join(f"v{i},val,1,1,,,,{'a' * 99}\n" for i in range(20_000)))
    export_runs([run], tmp_path / "a.zip")
    monkeypatch.setattr(shared_files, limit, 10**6)
    assert (tmp_path / "a.zip").stat().st_size < 10**6
    opened: list[Any] = []
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *words: opened.append(words))
    with pytest.raises(StoreError, match="more than 1,000,000"):
        merge_runs([tmp_path / "a.zip"], here)
    assert opened == []
    if limit == "LARGEST":
        with pytest.raises(StoreError, match="more than 1,000,000"):
            merge_runs([run.folder], here)


def test_a_member_is_not_bigger_than_it_says(make_run, tmp_path: Path, here: Path):
    """A size that lies is found out by the checksum, and no more than it says is unpacked."""
    run = make_run()
    export_runs([run], tmp_path / "a.zip")
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    place = whole.index(b"PK\x01\x02") + 24
    whole[place : place + 4] = (100).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(StoreError, match="not a zip that can be read"):
        merge_runs([tmp_path / "a.zip"], here)


def test_other_files_are_counted_and_never_loaded(make_run, tmp_path: Path, here: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = make_run()
    bomb = pickle.dumps(Bomb())
    for name in ("head.pkl", "head.json", "head.skops"):
        (run.folder / name).write_bytes(bomb)
    done = merge_runs([tmp_path / "runs"], here)
    assert (len(done.merged), done.ignored) == (1, 4)  # and history.csv
    export_runs([run], tmp_path / "a.zip")
    extra = {"readme.txt": b"hello", "x/head.pkl": bomb, "y/predictions.csv": b"no run.json beside it"}
    with_others = rezip(tmp_path / "b.zip", {**members(tmp_path / "a.zip"), **extra})
    assert merge_runs([with_others], tmp_path / "other").ignored == 3
    assert {path.name for path in tmp_path.glob("other/**/*") if path.is_file()} == {"run.json", "predictions.csv"}
    assert not (tmp_path / "bomb-went-off").exists()


def test_sources_without_runs_are_refused(tmp_path: Path, here: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip")
    cases = {
        "nowhere.zip": "no such file",
        "empty": "no runs are in it",
        "text.zip": "not a zip",
        "none.zip": "no runs are in it",
    }
    rezip(tmp_path / "none.zip", {"readme.txt": b""})
    for name, said in cases.items():
        with pytest.raises(StoreError, match=said) as seen:
            merge_runs([tmp_path / name], here)
        assert name in str(seen.value)
    assert not here.exists()


def test_whatever_happened_to_a_zip_is_an_error_of_ours_or_no_harm(make_run, tmp_path: Path):
    export_runs([make_run(seed=seed) for seed in range(2)], tmp_path / "a.zip")
    whole = (tmp_path / "a.zip").read_bytes()
    merge_runs([tmp_path / "a.zip"], tmp_path / "good")
    good, draw, refused = files(tmp_path / "good"), random.Random(0), 0
    for k in range(150):
        damaged = bytearray(whole)
        if k % 3 == 0:
            del damaged[draw.randrange(len(whole)) :]
        else:  # the directory of a zip is at its end: half of the damage is there
            start = len(whole) - 500 if k % 3 == 1 else 0
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(start, len(whole))] = draw.randrange(256)
        (tmp_path / "b.zip").write_bytes(damaged)
        root = tmp_path / f"root-{k}"
        try:
            merge_runs([tmp_path / "b.zip"], root)
        except AqaError:
            refused += 1
            assert not root.exists()
        else:
            assert files(root).items() <= good.items()  # clocks, attributes and comments may differ
    assert refused > 100
