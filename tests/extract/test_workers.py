"""Decoding processes: what comes home, and what happens when one dies, hangs, or is left alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from aqa.catalog.base import Media
from aqa.errors import AqaError, VideoError
from aqa.extract import workers
from aqa.extract.decode import Begin, End, Wanted
from aqa.extract.frames import CHUNK_BYTES, Chunk
from aqa.extract.plan import parse_plan
from aqa.extract.workers import decode

WANTED = {"a": Wanted(parse_plan("dense:8:8"))}
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def collect(samples: list[Media], **options) -> list[list]:
    """Per sample its events; chunks are copied."""
    found: list[list] = [[] for _ in samples]
    for k, event in decode(samples, WANTED, **options):
        if isinstance(event, Chunk):
            event = (event.layout, event.numbers.copy(), event.times.copy(), [p.copy() for p in event.planes])
        found[k].append(event)
    return found


@pytest.fixture
def mixed(movie, frame_folder, tmp_path: Path) -> list[Media]:
    (tmp_path / "text.mp4").write_text("x")
    return [
        Media(movie(tmp_path / "a.mp4", 20)),
        Media(tmp_path / "text.mp4"),
        Media(movie(tmp_path / "b.avi", 12, (65, 49), "ffv1", "yuv420p"), 2, 10),
        Media(frame_folder(9)),
        Media(tmp_path / "none.mp4"),
    ]


@pytest.fixture
def large(movie, tmp_path: Path) -> Path:
    """Three chunks and a bit: a worker cannot be done with it while two are held."""
    frame = 1280 * 720 * 3 // 2
    return movie(tmp_path / "large.mp4", 3 * (CHUNK_BYTES // frame) + 2, (1280, 720), "mpeg4")


def test_processes_give_what_decoding_here_gives(mixed: list[Media]) -> None:
    here, there = (collect(mixed, workers=n) for n in (0, 2))
    for a, b in zip(here, there, strict=True):
        assert [type(e) for e in a] == [type(e) for e in b]
        for x, y in zip(a, b, strict=True):
            if isinstance(x, Begin):
                assert x.start == y.start
                assert np.array_equal(x.clips["a"], y.clips["a"])
            elif isinstance(x, tuple):
                assert x[0] == y[0]
                assert np.array_equal(x[1], y[1])
                assert np.array_equal(x[2], y[2], equal_nan=True)
                assert all(np.array_equal(p, q) for p, q in zip(x[3], y[3], strict=True))
            elif isinstance(x, VideoError):
                assert str(x) == str(y)
            else:
                assert x == y
    assert [type(events[-1]) for events in here] == [End, VideoError, End, End, VideoError]


def test_slots_are_used_again_and_again(large: Path) -> None:
    [here], [there] = (collect([Media(large)], workers=n) for n in (0, 1))
    assert len(here) == len(there) == 1 + 4 + 1
    for a, b in zip(here[1:-1], there[1:-1], strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(a[3], b[3], strict=True))


def test_a_frame_larger_than_a_slot_comes_through_the_pipe(movie, tmp_path: Path) -> None:
    size = (4096, 4096)  # 24 MB
    path = movie(tmp_path / "vast.mp4", 3, size, "mpeg4")
    [here], [there] = (collect([Media(path)], workers=n) for n in (0, 1))
    assert [len(e[1]) for e in there[1:-1]] == [1, 1, 1]
    assert all(np.array_equal(a[3][0], b[3][0]) for a, b in zip(here[1:-1], there[1:-1], strict=True))


@posix
@pytest.mark.parametrize("blow", ["SIGKILL", "SIGSEGV", "SIGSTOP"])
def test_a_worker_that_dies_or_hangs_costs_one_video(blow: str, movie, large: Path, tmp_path: Path) -> None:
    others = [Media(movie(tmp_path / f"{i}.mp4", 9)) for i in range(4)]
    samples = [others[0], Media(large), *others[1:]]
    ends: dict[int, object] = {}
    pids: set[int] = set()
    struck = False
    timeout = 2.0 if blow == "SIGSTOP" else 300.0
    for k, event in decode(samples, WANTED, workers=1, timeout=timeout):
        running = [process.pid or 0 for process in multiprocessing.active_children()]
        pids.update(running)
        if k == 1 and isinstance(event, Chunk) and not struck:
            struck = True
            os.kill(running[0], getattr(signal, blow))
        if isinstance(event, End | VideoError):
            assert k not in ends
            ends[k] = event
    assert len(pids) == 2, "it was replaced"
    assert not multiprocessing.active_children()
    assert [type(ends[k]) for k in range(5)] == [End, VideoError, End, End, End]
    said = "gave no frame in 2 s" if blow == "SIGSTOP" else f"died over it (signal {blow})"
    assert said in str(ends[1])
    assert str(large) in str(ends[1])


@posix
def test_memory_is_limited(movie, tmp_path: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("the system does not say how much memory a process has")
    vast = Media(movie(tmp_path / "vast.mp4", 3, (4096, 4096), "mpeg4"))
    small = Media(movie(tmp_path / "small.mp4", 9))
    found = collect([vast, small], workers=1, memory=40 * 2**20)
    assert isinstance(found[0][-1], VideoError)
    assert "memory" in str(found[0][-1]) or "died over it" in str(found[0][-1])
    assert isinstance(found[1][-1], End)


def test_whatever_a_file_makes_the_decoder_raise_the_others_go_on(mixed: list[Media], monkeypatch) -> None:
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("from the depths")

    monkeypatch.setattr(workers, "read_clips", broken)
    found = collect(mixed[:2], workers=0)
    assert [str(e) for [e] in found] == [
        f"decoding fails with ZeroDivisionError: from the depths (file {media.path})" for media in mixed[:2]
    ]


def test_leaving_early_ends_the_processes(large: Path) -> None:
    events = decode([Media(large)] * 4, WANTED, workers=2)
    next(events)
    assert len(multiprocessing.active_children()) == 2
    events.close()
    assert not multiprocessing.active_children()


def test_no_samples_need_no_process(monkeypatch) -> None:
    monkeypatch.setattr(workers, "_Worker", None)
    assert list(decode([], WANTED, workers=3)) == []


def run(script: str, *args: object) -> subprocess.Popen:
    code = textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


LOOP = """
    import multiprocessing, sys
    from pathlib import Path
    from aqa.catalog.base import Media
    from aqa.extract.decode import Wanted
    from aqa.extract.plan import parse_plan
    from aqa.extract.workers import decode
    if __name__ == "__main__":
        samples, wanted = [Media(Path(sys.argv[1]))] * 100000, {"a": Wanted(parse_plan("dense:8:8"))}
        for i, _ in enumerate(decode(samples, wanted, workers=2)):
            if i == 5:
                print(*[p.pid for p in multiprocessing.active_children()], flush=True)
"""


@posix
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_orphans(blow: signal.Signals, movie, tmp_path: Path) -> None:
    parent = run(LOOP, movie(tmp_path / "a.mp4", 9))
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    if blow == signal.SIGINT:
        os.killpg(parent.pid, blow)  # as a terminal does it
    else:
        parent.send_signal(blow)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == -blow if blow != signal.SIGINT else parent.returncode in (1, -blow, 130)
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in children):
        assert time.monotonic() < deadline, "an orphan is left"
        time.sleep(0.05)
    if blow == signal.SIGINT:
        assert said.count("Traceback") == 1, "the parent's alone"
        assert "SpawnProcess" not in said


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has looked after does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path("/proc").is_dir()


def test_workers_do_not_run_the_script_that_started_them(movie, tmp_path: Path) -> None:
    """It has no `if __name__ == "__main__"`."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom aqa.catalog.base import Media\n"
        "from aqa.extract.decode import Wanted\nfrom aqa.extract.plan import parse_plan\n"
        "from aqa.extract.workers import decode\nprint('script')\n"
        "print(len(list(decode([Media(Path(sys.argv[1]))], {'a': Wanted(parse_plan('dense:8:8'))}, workers=1))))\n"
        "print(sys.modules['__main__'].__file__ == __file__)\n"
    )
    path = movie(tmp_path / "a.mp4", 9)
    done = subprocess.run([sys.executable, script, path], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["script", "3", "True"]
    assert done.stderr == ""


def test_processes_that_cannot_start(monkeypatch, movie, tmp_path: Path) -> None:
    monkeypatch.setattr(workers, "_serve", os._exit)
    with pytest.raises(AqaError, match="cannot be started"):
        list(decode([Media(movie(tmp_path / "a.mp4", 9))], WANTED, workers=1))
    assert not multiprocessing.active_children()


def test_workers_import_no_torch() -> None:
    code = "import sys, aqa.extract.workers, aqa.extract; print('torch' in sys.modules, 'h5py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]
