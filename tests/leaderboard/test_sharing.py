from __future__ import annotations

import json
import shutil
import socket
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aqa.errors import SplitError, StoreError, UsageError
from aqa.leaderboard import table
from aqa.leaderboard.runs import Run, iter_runs
from aqa.leaderboard.sharing import export_runs, merge_runs

from .archives import files, members, rewrite, rezip


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
