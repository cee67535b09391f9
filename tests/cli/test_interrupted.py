"""Real processes that are interrupted, killed, starved of space or doubled: nothing is lost, nothing is half done."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aqa.cache.stores import find_stores

posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


def command(root: Path, cache: Path, *words: str) -> list[str]:
    line = ("extract", "csv", "--root", str(root), "--cache", str(cache), "--backbone", "c3d")
    few = ("--plan", "dense:16:16", "--limit", "8", "--workers", "1", "--batch", "1")  # eight clips in all
    return [sys.executable, "-W", "error", "-m", "aqa", *line, *few, *words]


def start(words: list[str], cwd: Path, **options) -> subprocess.Popen:
    pipe = subprocess.PIPE
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # A session of its own: what is left running can be found, and a terminal's Ctrl-C reaches the whole group.
    return subprocess.Popen(
        words, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True, **options
    )


def parts(cache: Path) -> int:
    return len(list(cache.rglob("parts/*.h5")))


def finished(folder: Path) -> dict[Path, int]:
    """run.json -> when it was written, of all runs; folders that are being written come and go meanwhile."""
    places = [Path(place) for place, _, files in os.walk(folder / "runs") if "run.json" in files]
    files = [place / "run.json" for place in places if not place.name.startswith(".")]
    return {file: file.stat().st_mtime_ns for file in files}


def gone(group: int) -> bool:
    """Whether all processes of the group have ended, in ten seconds at most."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def wait_for_parts(cache: Path, process: subprocess.Popen, wanted: int) -> None:
    while parts(cache) < wanted:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def packed(cache: Path) -> bytes:
    [store] = find_stores(cache, "csv")
    assert store.verify() == []
    assert not list(store.path.glob(".tmp-*"))
    return store.packed.read_bytes()


@pytest.fixture(scope="session")
def undisturbed(own_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    cache = tmp_path_factory.mktemp("undisturbed")
    process = start(command(own_videos, cache), cache)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return packed(cache)


@posix
@pytest.mark.parametrize(("blow", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_ctrl_c_and_terminate_say_so_and_the_same_command_goes_on(
    blow: str, code: int, own_videos: Path, undisturbed: bytes, tmp_path: Path
):
    process = start(command(own_videos, tmp_path), tmp_path)
    wait_for_parts(tmp_path, process, 2)
    if blow == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    else:
        process.terminate()
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, ""), said
    assert said.splitlines()[-1].endswith("the same command goes on where this one stopped")
    assert "Traceback" not in said
    assert gone(process.pid), "no decoder is left behind"
    kept = parts(tmp_path)
    assert kept >= 2
    again = start(command(own_videos, tmp_path, "--json"), tmp_path)
    out, said = again.communicate()
    assert again.returncode == 0, said
    assert (json.loads(out)["skipped"], json.loads(out)["done"]) == (kept, 8 - kept)
    assert packed(tmp_path) == undisturbed


@posix
@pytest.mark.slow
def test_forty_kills_and_the_next_run_completes(own_videos: Path, undisturbed: bytes, tmp_path: Path):
    draw = random.Random(0)
    met: list[int] = []
    cache = tmp_path / "0"
    for _ in range(40):
        process = start(command(own_videos, cache), tmp_path)
        # Importing takes seconds: the kills fall between the first use of the cache and the end.
        for line in process.stderr:
            if "decoding process" in line:
                break
        wanted = parts(cache) + draw.choice([0, 0, 1, 2])  # counted, so that a slow machine meets all states too
        while parts(cache) < wanted and process.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.4))
        process.kill()
        process.communicate()
        met.append(parts(cache))
        if list(cache.rglob("features.h5")):  # complete: the next kills meet a new one
            assert packed(cache) == undisturbed
            cache = tmp_path / str(len(met))
    assert len(set(met)) > 4, "the kills met different states"
    last = start(command(own_videos, cache), tmp_path)
    _, said = last.communicate()
    assert last.returncode == 0, said
    assert packed(cache) == undisturbed


def test_two_extractors_at_once(own_videos: Path, undisturbed: bytes, tmp_path: Path):
    both = [start(command(own_videos, tmp_path), tmp_path) for _ in range(2)]
    for process in both:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert packed(tmp_path) == undisturbed


def test_shards_make_the_same_file(own_videos: Path, undisturbed: bytes, tmp_path: Path):
    for shard in ("2/2", "1/2"):
        process = start(command(own_videos, tmp_path, "--shard", shard, "--limit", "4"), tmp_path)
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert packed(tmp_path) == undisturbed


@posix
def test_a_full_disk_leaves_nothing_half_written(own_videos: Path, undisturbed: bytes, tmp_path: Path):
    """A limit on the size of files stands for the disk: the write fails in the middle of a part."""
    import resource

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))

    words = command(own_videos, tmp_path, "--workers", "0")
    process = start(words, tmp_path, preexec_fn=small_files)
    _, said = process.communicate()
    assert process.returncode == 3, said
    assert "Traceback" not in said
    assert str(tmp_path) in said
    assert parts(tmp_path) == 0
    assert not list(tmp_path.rglob(".tmp-*"))
    again = start(command(own_videos, tmp_path), tmp_path)
    assert again.communicate()
    assert again.returncode == 0
    assert packed(tmp_path) == undisturbed


def test_a_cache_that_cannot_be_written(own_videos: Path, tmp_path: Path):
    (tmp_path / "cache").write_text("a file in the way")
    process = start(command(own_videos, tmp_path / "cache"), tmp_path)
    _, said = process.communicate()
    assert process.returncode == 3, said
    assert "Traceback" not in said
    assert str(tmp_path / "cache") in said


@posix
@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_repeats_nothing(tmp_path: Path):
    draw, rng = random.Random(0), np.random.default_rng(0)
    root, features = tmp_path / "set", tmp_path / "features"
    root.mkdir()
    features.mkdir()
    lines = [f"s{k:02d},s{k:02d}.mp4,{rng.uniform(0, 50):.2f},{'train' if k < 20 else 'test'}" for k in range(30)]
    (root / "samples.csv").write_text("\n".join(["id,media,score,split", *lines]) + "\n")
    for k in range(30):
        np.save(features / f"s{k:02d}.npy", rng.normal(size=(3, 6)).astype(np.float32))
    aqa = [sys.executable, "-W", "error", "-m", "aqa"]
    place = ["csv", str(features), "--root", str(root), "--as", "mine"]
    assert subprocess.run([*aqa, "cache", "import", *place], cwd=tmp_path, capture_output=True).returncode == 0
    sweep = [*aqa, "fit", "csv", "--head", "all", "--set", "epochs=5", "--seeds", "2", "--json"]
    written: dict[Path, int] = {}
    for _ in range(8):
        process = start(sweep, tmp_path)
        wanted = len(written) + draw.choice([1, 2, 3])
        while len(finished(tmp_path)) < wanted and process.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.2))
        process.kill()
        process.communicate()
        found = finished(tmp_path)
        assert found.items() >= written.items()
        written = found
    last = start(sweep, tmp_path)
    out, said = last.communicate()
    assert last.returncode == 0, said
    rows = json.loads(out)
    assert {"ridge", "dae", "core", "gdlt", "mean"} <= {row["head"] for row in rows}
    assert len({row["run_id"] for row in rows}) == len(rows)
    whole = finished(tmp_path)
    assert {path.parent for path in whole} == {tmp_path / row["run"] for row in rows}
    assert whole.items() >= written.items()
    assert len(written) >= 8
    assert all((path.parent / "predictions.csv").exists() for path in whole)
