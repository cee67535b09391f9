from __future__ import annotations

import json
import pickle
import random
import shutil
import socket
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aqa.errors import AqaError, SplitError, StoreError, UsageError
from aqa.leaderboard import shared_files, table
from aqa.leaderboard.runs import Run, RunKey, iter_runs, read_run
from aqa.leaderboard.sharing import export_runs, merge_runs


def edit(run: Run, **change: Any) -> Run:
    """Change fields of run.json."""
    path = run.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    return read_run(run.folder)


def rewrite(run: Run, change: Callable[[str], str]) -> Run:
    """Change the text of predictions.csv."""
    path = run.folder / "predictions.csv"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    return read_run(run.folder)


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(file: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return json.loads(json.dumps(table.rows(runs, count=200)))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "hier ü"


def test_a_file_holds_two_files_per_run_in_order_and_is_always_the_same(make_run, tmp_path: Path):
    runs = [make_run(head, seed=seed) for head in ("svr", "dae") for seed in (1, 0)]
    for run in runs:
        (run.folder / "head.safetensors").write_bytes(b"weights")
    first, second = tmp_path / "a.zip", tmp_path / "new" / "b.ZIP"
    made = export_runs(runs, first)
    assert (made.runs, made.samples, made.subjects, made.captions) == (4, 40, 0, False)
    for file in runs[0].folder.iterdir():
        file.touch()
    export_runs([*runs[::-1], runs[0]], second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:  # no clock, whose two seconds this test does not wait for
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    found = members(first)
    assert list(found) == sorted(found)
    folders = {run.folder.relative_to(tmp_path / "runs").as_posix() for run in runs}
    assert set(found) == {f"{folder}/{name}" for folder in folders for name in ("run.json", "predictions.csv")}
    for name, data in found.items():
        if name.endswith(".csv"):
            assert data == (tmp_path / "runs" / name).read_bytes()
        else:
            assert json.loads(data) == json.loads((tmp_path / "runs" / name).read_bytes())
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")] == []


def test_paths_of_the_machine_are_taken_out(make_run, tmp_path: Path):
    stream = {"fingerprint": {"backbone": "i3d", "weights": "ab12"}, "weights_file": str(tmp_path / "anna" / "w.pth")}
    other = {"fingerprint": {"backbone": "c3d"}, "weights_file": None}
    fitted = {"epoch": 3, "words": ["C:\\Users\\anna\\words.txt"], "layer": "relu(x) / 2"}
    run = make_run(streams={"i3d": stream, "c3d": other}, fitted=fitted)
    export_runs([run], tmp_path / "a.zip")
    merge_runs([tmp_path / "runs"], tmp_path / "from-folder")
    (merged,) = iter_runs(tmp_path / "from-folder")
    for text in (*members(tmp_path / "a.zip").values(), *files(merged.folder).values()):
        assert b"anna" not in text
        assert str(tmp_path).encode() not in text
        assert socket.gethostname().encode() not in text
    assert merged.info["streams"] == {"i3d": {**stream, "weights_file": "w.pth"}, "c3d": other}
    assert merged.info["fitted"] == {**fitted, "words": ["words.txt"]}
    assert {**merged.info, "streams": 0, "fitted": 0} == {**run.info, "streams": 0, "fitted": 0}


def test_two_groups_get_the_table_of_all_runs(make_run, tmp_path: Path, here: Path):
    groups = ["跳水", "Sprünge/à la carte"]
    ours = [make_run("ridge", group=g, groups=groups, seed=s, noise=9.0) for g in groups for s in range(3)]
    theirs = [make_run("dae", group=g, groups=groups, seed=s, spread=4.0) for g in groups for s in range(3)]
    wanted = rows([*ours, *theirs])
    assert [row["group"] for row in wanted].count("average") == 2
    export_runs(ours, tmp_path / "unsere.zip")
    export_runs(theirs, tmp_path / "leurs été")
    shutil.rmtree(tmp_path / "runs")
    done = merge_runs([tmp_path / "unsere.zip", tmp_path / "leurs été"], here)
    assert (len(done.merged), done.skipped, done.conflicts, done.ignored) == (12, [], [], 0)
    assert rows(list(iter_runs(here))) == wanted
    assert not list(here.rglob("history.csv"))


def test_merging_again_changes_nothing(make_run, tmp_path: Path, here: Path):
    runs = [make_run(seed=seed) for seed in range(2)]
    export_runs(runs, tmp_path / "a.zip")
    merge_runs([tmp_path / "a.zip"], here)
    stamps = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    again = merge_runs([tmp_path / "a.zip", tmp_path / "a.zip", tmp_path / "runs"], here)
    assert (again.merged, len(again.skipped), again.conflicts, again.ignored) == ([], 6, [], 2)
    own = merge_runs([tmp_path / "a.zip"], tmp_path / "runs")
    assert (own.merged, sorted(own.skipped)) == ([], sorted(run.folder for run in runs))
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == stamps


def test_a_run_is_kept_where_theirs_has_other_predictions_and_the_rest_is_merged(make_run, tmp_path: Path, here: Path):
    runs = [make_run(seed=seed) for seed in range(3)]
    export_runs(runs, tmp_path / "a.zip")
    content = members(tmp_path / "a.zip")
    merge_runs([rezip(tmp_path / "one.zip", {n: data for n, data in content.items() if "seed-1" in n})], here)
    name = next(name for name in content if name.endswith("seed-1/predictions.csv"))
    lines = content[name].decode().splitlines()
    score = lines[1].split(",")[3]
    lines[1] = lines[1].replace(score, f"{float(score) * (1 + 1e-6):.17g}")
    rezip(tmp_path / "a.zip", {**content, name: "\n".join(lines).encode()})
    for skipped, merged in ((0, 2), (2, 0)):
        done = merge_runs([tmp_path / "a.zip"], here)
        assert [path.name for path in done.conflicts] == ["seed-1"]
        assert (len(done.skipped), len(done.merged)) == (skipped, merged)
        assert files(here)[name] == content[name]


def test_a_killed_merge_leaves_whole_runs_and_goes_on(make_run, tmp_path: Path, here: Path, monkeypatch):
    export_runs([make_run(seed=seed) for seed in range(3)], tmp_path / "a.zip")
    rename = Path.rename
    for blow, seen in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left on device"), StoreError)):
        count = 0

        def dies(self: Path, target: Path, blow: BaseException = blow) -> Path:
            nonlocal count
            count += 1
            if count > 1:
                raise blow
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", dies)
        before = len(list(iter_runs(here)))
        with pytest.raises(seen):
            merge_runs([tmp_path / "a.zip"], here)
        assert len(list(iter_runs(here))) == before + 1
        assert {path.name for path in here.rglob("*") if path.is_file()} == {"run.json", "predictions.csv"}
        assert not list(here.rglob("*.tmp"))
    monkeypatch.undo()
    done = merge_runs([tmp_path / "a.zip"], here)
    assert (len(done.merged), len(done.skipped)) == (1, 2)


@pytest.mark.parametrize("name", ["a.zip", "a"])
def test_a_killed_export_leaves_what_was_there(make_run, tmp_path: Path, monkeypatch, name: str):
    run, out = make_run(), tmp_path / "out"
    out.mkdir()
    if name == "a.zip":
        (out / name).write_bytes(b"old")
    before = files(out)
    for blow, seen in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left on device"), StoreError)):

        def dies(self: Path, target: Path, blow: BaseException = blow) -> Path:
            raise blow

        monkeypatch.setattr(Path, "replace", dies)
        with pytest.raises(seen):
            export_runs([run], out / name, overwrite=True)
        assert files(out) == before
        assert [p.name for p in out.iterdir()] == list(before)


def test_what_is_there_is_not_replaced_unasked(make_run, tmp_path: Path):
    one, two = make_run(), make_run(seed=1)
    file, folder = tmp_path / "a.zip", tmp_path / "a"
    for place in (file, folder):
        export_runs([one], place)
        with pytest.raises(StoreError, match="is there already"):
            export_runs([two], place)
    assert files(folder).keys() == members(file).keys()
    export_runs([two], file, overwrite=True)
    assert all("seed-1" in name for name in members(file))
    with pytest.raises(StoreError, match="aqa runs merge"):
        export_runs([two], folder, overwrite=True)
    with pytest.raises(StoreError, match="no runs to export"):
        export_runs([], tmp_path / "none.zip")
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    with pytest.raises(UsageError, match="two places"):
        export_runs([one, *iter_runs(tmp_path / "copy")], tmp_path / "two.zip")
    assert not (tmp_path / "two.zip").exists()


def without(text: str, wanted: Sequence[str]) -> str:
    """The rows of predictions.csv without those of some ids."""
    return "\n".join(line for line in text.splitlines() if line.split(",")[0] not in wanted) + "\n"


def test_other_test_sets_are_refused_with_the_ids(make_run, tmp_path: Path, here: Path):
    ours, theirs = make_run("ridge"), make_run("dae")
    rewrite(ours, lambda text: without(text, [f"s-0-{i:02d}" for i in range(12)]))
    rewrite(theirs, lambda text: without(text, ["s-0-39"]).replace("s-0-20,", "neu ü,"))
    export_runs([ours], tmp_path / "a.zip")
    export_runs([theirs], tmp_path / "b.zip")
    merge_runs([tmp_path / "a.zip"], here)
    before = files(here)
    with pytest.raises(SplitError) as seen:
        merge_runs([tmp_path / "b.zip"], here)
    text = str(seen.value)
    assert str(here / ours.folder.relative_to(tmp_path / "runs")) in text
    assert str(tmp_path / "b.zip" / theirs.folder.relative_to(tmp_path / "runs")) in text
    assert "2 only in the first: s-0-20, s-0-39;" in text
    listed = ", ".join(["neu ü", *(f"s-0-{i:02d}" for i in range(9))])
    assert f"13 only in the second: {listed} and 3 more" in text
    assert "another truth" not in text
    assert files(here) == before
    with pytest.raises(SplitError, match="only in the first"):
        merge_runs([tmp_path / "b.zip", tmp_path / "a.zip"], tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
    with pytest.raises(SplitError, match="only in the first"):
        export_runs([ours, theirs], tmp_path / "both.zip")
    assert not (tmp_path / "both.zip").exists()


def test_other_truths_are_refused_with_both(make_run, tmp_path: Path, here: Path):
    ours, theirs = make_run("ridge"), make_run("dae")
    truth = ours.predictions["truth"][7]
    old = f"s-0-07,test,{truth:.17g},"
    merge_runs([ours.folder], here)
    rewrite(theirs, lambda text: text.replace(old, f"s-0-07,test,{truth * (1 + 1e-5):.17g},"))
    with pytest.raises(SplitError) as seen:
        merge_runs([theirs.folder], here)
    assert f"1 with another truth: s-0-07 ({truth:.10g} and {truth * (1 + 1e-5):.10g})" in str(seen.value)
    assert len(list(iter_runs(here))) == 1
    rewrite(theirs, lambda text: text.replace(f"{truth * (1 + 1e-5):.17g}", f"{truth * (1 + 1e-7):.17g}"))
    assert len(merge_runs([theirs.folder], here).merged) == 1  # rounded elsewhere


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("folds", 4, "1 and 4"),
        ("average", "arithmetic", "'fisher' and 'arithmetic'"),
        ("pooled", True, "False and True"),
        ("target_kind", "binary", "'score' and 'binary'"),
        ("groups", ["", "vault"], "[''] and ['', 'vault']"),
        ("r_l2_range", [0.0, 100.0], "[0.0, 104.5] and [0.0, 100.0]"),
    ],
)
def test_other_settings_of_one_table_are_refused(make_run, here: Path, field: str, value: Any, said: str):
    merge_runs([make_run("ridge").folder], here)
    other = make_run("dae", **{field: value})
    with pytest.raises(SplitError) as seen:
        merge_runs([other.folder], here)
    assert f"differ in {field}: {said}" in str(seen.value)
    assert str(other.folder) in str(seen.value)
    assert [run.info["head"] for run in iter_runs(here)] == ["ridge"]


def test_folds_and_groups_have_test_sets_and_ranges_of_their_own(make_run, tmp_path: Path, here: Path):
    runs = [make_run(fold=fold, folds=2, r_l2_range=[fold, 100.0]) for fold in range(2)]
    runs += [make_run(group=group, groups=["a", "b"], folds=folds) for group, folds in (("a", 1), ("b", 3))]
    export_runs(runs, tmp_path / "a.zip")
    assert len(merge_runs([tmp_path / "a.zip"], here).merged) == 4


DAMAGED_INFO = [
    ({"format": 99}, "newer"),
    ({"format": "1"}, "no format"),
    ({"fold": -1}, "whole number"),
    ({"fold": True}, "whole number"),
    ({"fold": 1}, "1 of 1 folds"),
    ({"seed": "0"}, "whole number"),
    ({"seed": 7}, "field run_id"),
    ({"dataset": ""}, "a name"),
    ({"dataset": ".."}, "field run_id"),
    ({"group": "x"}, "not among the groups"),
    ({"features": "c3d"}, "a list of texts"),
    ({"identity": {"config": {"C": 1}}}, "the other fields make it"),
    ({"digest": "01234567"}, "the other fields make it"),
    ({"run_id": "0123456789"}, "the other fields make it"),
    ({"average": "median"}, "fisher or arithmetic"),
    ({"target_kind": 1}, "score or binary"),
    ({"range": [0, float("nan")]}, "two numbers"),
    ({"range": [0]}, "two numbers"),
    ({"r_l2_range": None}, "two numbers"),
    ({"fit_seconds": float("inf")}, "a number"),
    ({"fit_seconds": 10**400}, "a number"),
    ({"parameters": 1.5}, "whole number or null"),
    ({"metrics": {"spearman": "high"}}, "a number or null"),
    ({"metrics": {}}, "a number or null"),
    ({"pooled": "no"}, "true or false"),
    ({"flags": [1]}, "a list of texts"),
    ({"streams": []}, "an object"),
    ({"changed": {"word": "\ud800"}}, "no text"),
]


@pytest.mark.parametrize(("change", "said"), DAMAGED_INFO, ids=lambda value: str(value)[:40])
def test_a_run_json_that_is_not_right_is_refused_by_its_field(make_run, tmp_path, here, change, said):
    good, bad = make_run(seed=1), make_run()
    export_runs([good, bad], tmp_path / "a.zip")
    content = members(tmp_path / "a.zip")
    name = next(name for name in content if name.endswith("seed-0/run.json"))
    content[name] = json.dumps({**json.loads(content[name]), **change}).encode()
    rezip(tmp_path / "a.zip", content)
    with pytest.raises(StoreError, match=said) as seen:
        merge_runs([tmp_path / "a.zip"], here)
    assert seen.value.file == str(tmp_path / "a.zip" / name)
    assert not here.exists()
    if "format" not in change:
        edit(bad, **change)
        with pytest.raises(StoreError, match=said):
            export_runs([read_run(bad.folder)], tmp_path / "b.zip")


@pytest.mark.parametrize("name", ["dataset", "fold", "identity", "metrics", "range", "format"])
def test_a_missing_field_is_named(make_run, tmp_path: Path, here: Path, name: str):
    run = make_run()
    info = {key: value for key, value in run.info.items() if key != name}
    (run.folder / "run.json").write_text(json.dumps(info))
    with pytest.raises(StoreError, match="no format" if name == "format" else "is not there") as seen:
        merge_runs([run.folder], here)
    assert seen.value.field == (name if name != "format" else None)


@pytest.mark.parametrize(
    "text", [b"", b"[1]", b'"a"', b'{"format": 1', b"\xff\xfe{}", b"[" * 200_000, b'{"format":null}']
)
def test_a_run_json_that_is_no_json_is_refused(make_run, here: Path, text: bytes):
    run = make_run()
    (run.folder / "run.json").write_bytes(text)
    with pytest.raises(StoreError, match=r"damaged.*run\.json"):
        merge_runs([run.folder], here)
    assert not here.exists()


def shorter(text: str) -> str:
    return "\n".join(line.rsplit(",", 1)[0] for line in text.splitlines())


def wider(text: str, name: str) -> str:
    header, *lines = text.splitlines()
    return "\n".join([f"{header},{name}", *(f"{line},1" for line in lines)])


DAMAGED_ROWS = [
    (lambda text: "", "cannot be read"),
    (lambda text: text.splitlines()[0], "no test predictions"),
    (lambda text: text.replace("test", "val"), "no test predictions"),
    (lambda text: text.replace("test", "train"), "unknown part 'train'"),
    (shorter, "no column subject"),
    (lambda text: text + text.splitlines()[3] + "\n", "there twice.*s-0-02"),
    (lambda text: text + "x,test,1.0,nan,,,,\n", "not finite: nan.*sample x.*field score"),
    (lambda text: text + "x,test,inf,1.0,,,,\n", "not finite: inf.*sample x.*field truth"),
    (lambda text: text + "x,test,,1.0,,,,\n", "not finite.*sample x.*field truth"),
    (lambda text: text + "x,test,1.0,viel,,,,\n", "cannot be read"),
    (lambda text: wider(text, "class dive"), "no column 'true dive'"),
    (lambda text: wider(text, "caption"), "no column 'reference'"),
]


@pytest.mark.parametrize(("change", "said"), DAMAGED_ROWS, ids=[said[:30] for _, said in DAMAGED_ROWS])
def test_predictions_that_are_not_right_are_refused(make_run, tmp_path: Path, here: Path, change, said: str):
    good, bad = make_run(seed=1), make_run()
    export_runs([good, bad], tmp_path / "a.zip")
    content = members(tmp_path / "a.zip")
    name = next(name for name in content if name.endswith("seed-0/predictions.csv"))
    content[name] = change(content[name].decode()).encode()
    rezip(tmp_path / "a.zip", content)
    with pytest.raises(StoreError, match=said) as seen:
        merge_runs([tmp_path / "a.zip"], here)
    assert seen.value.file == str(tmp_path / "a.zip" / name)
    assert not here.exists()
    del content[name]
    with pytest.raises(StoreError, match="is not there"):
        merge_runs([rezip(tmp_path / "b.zip", content)], here)


def test_a_run_must_lie_where_its_fields_say(make_run, tmp_path: Path, here: Path):
    export_runs([make_run()], tmp_path / "a.zip")
    content = members(tmp_path / "a.zip")
    rezip(tmp_path / "b.zip", {name.replace("seed-0", "seed-1"): data for name, data in content.items()})
    with pytest.raises(StoreError, match="another folder than its fields say, set/official"):
        merge_runs([tmp_path / "b.zip"], here)
    rezip(tmp_path / "c.zip", {f"copy of runs/{name}": data for name, data in content.items()})  # zipped by hand
    assert len(merge_runs([tmp_path / "c.zip"], here).merged) == 1


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
