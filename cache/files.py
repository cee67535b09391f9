"""Files that appear whole or not at all, locks between processes, and what is left behind by killed ones."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from filelock import FileLock

from ..errors import StoreError

FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "the file is too big"}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}

# A temporary file is written and renamed without a pause. One whose process is dead is rubbish; the minute is for
# containers that share a host name but not their process ids. Of other hosts only the age is known.
DEAD_AFTER, FOREIGN_AFTER = 60.0, 24 * 3600.0

_TEMPORARY = re.compile(r"\.tmp-(?P<host>.*)-(?P<pid>\d+)-[0-9a-f]{8}")

Identity = tuple[int, int, int]


def identity(status: os.stat_result) -> Identity:
    """(inode, size, modification time): changes when the file is replaced."""
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns OSError into a StoreError that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            hint = f"free some space on the disk of {path.parent} and run the same command again: nothing was lost"
            raise StoreError(FULL[error.errno], file=path, hint=hint) from error
        if error.errno in READ_ONLY:
            hint = "the cache can be read but not written: check the permissions, or choose another with --cache"
            raise StoreError(f"no permission to write ({error.strerror})", file=path, hint=hint) from error
        raise StoreError(f"cannot be written ({error.strerror or error})", file=path) from error


@contextmanager
def whole_file(path: Path, lock: Path | None = None) -> Iterator[IO[bytes]]:
    """An unbuffered new file that becomes `path` when the block ends well, synced to disk; else nothing is left.

    `lock`: file of the lock that is held during the rename.
    Raises: StoreError if the disk is full or the folder cannot be written.
    """
    temporary = _temporary(path)
    with writing(path):
        try:
            with temporary.open("x+b", buffering=0) as file:
                yield file
                os.fsync(file.fileno())
            with locked(lock) if lock else nullcontext():
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder that becomes `path` when the block ends well; else nothing is left. If another process was quicker
    with the same folder, its stays. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path` against threads and processes, for as long as it takes. Raises StoreError."""
    lock = FileLock(path)
    with writing(path):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def clean(folder: Path, *, exclusive: bool = False) -> None:
    """Removes temporary files and folders of processes that are gone. `exclusive`: nobody else writes here, so all."""
    now = time.time()
    for path in folder.glob(".tmp-*"):
        found = _TEMPORARY.fullmatch(path.name)
        if found is None:
            continue
        try:
            age = now - path.stat().st_mtime
        except FileNotFoundError:  # renamed or removed meanwhile
            continue
        limit = FOREIGN_AFTER
        if found["host"] == _host() and os.name == "posix":  # elsewhere there is no harmless way to ask for a process
            limit = float("inf") if _alive(int(found["pid"])) else DEAD_AFTER
        if exclusive or age > limit:
            with writing(path):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.parent / f".tmp-{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
