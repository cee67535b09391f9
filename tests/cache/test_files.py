import os
import socket
import subprocess
import sys
import time

import pytest

from aqa.cache.files import clean, locked, whole_file, write_whole
from aqa.errors import StoreError


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, b"old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"ne")
        assert path.read_bytes() == b"old"
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        write_whole(tmp_path / "no" / "a.json", b"x")
    with pytest.raises(StoreError, match="cannot be written"), locked(tmp_path):
        pass


def finished_process() -> int:
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)


def test_what_killed_processes_left_is_removed_and_living_ones_keep_theirs(tmp_path):
    host = "".join(c if c.isalnum() else "_" for c in socket.gethostname())
    dead, hour, days = finished_process(), 3600, 3 * 24 * 3600
    ages = {
        f".tmp-{host}-{dead}-00000001": hour,
        f".tmp-{host}-{dead}-00000002": 0,  # maybe of a container with the same host name
        f".tmp-{host}-{os.getpid()}-00000003": days,
        f".tmp-{host}-1-00000004": days,  # somebody else's process, alive
        ".tmp-elsewhere-1-00000005": hour,
        ".tmp-elsewhere-1-00000006": days,
        ".tmp-notes": days,  # not ours
        "x.h5": days,
    }
    for name, age in ages.items():
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    clean(tmp_path)
    gone = ages.keys() - {path.name for path in tmp_path.iterdir()}
    assert gone == {f".tmp-{host}-{dead}-00000001", ".tmp-elsewhere-1-00000006"}
    clean(tmp_path, exclusive=True)
    assert {path.name for path in tmp_path.iterdir()} == {".tmp-notes", "x.h5"}


def test_a_lock_is_held_against_other_processes(tmp_path):
    lock = tmp_path / ".lock"
    code = (
        f"from aqa.cache.files import locked\nfrom pathlib import Path\nwith locked(Path({str(lock)!r})): print('in')"
    )
    with locked(lock):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=1)
    assert other.communicate()[0] == b"in\n"
