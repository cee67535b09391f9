"""Whether a video file is all there. Demuxers end quietly where a file was cut; its own sizes tell."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_ATOMS = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"pnot", b"uuid"})
_SEGMENT = b"\x18\x53\x80\x67"


def cut_short(path: Path) -> str | None:
    """How the file is cut short, in words, or None if it is whole or of a kind that does not tell.

    Known are MP4 and MOV, AVI, Matroska and WebM, GIF. Raises OSError.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        for known, check in _CHECKS:
            if known(head):
                file.seek(0)
                return check(file, size)
    return None


def _missing(size: int, should: int) -> str:
    return f"it has {size} of {should} bytes"


def _mp4(file: BinaryIO, size: int) -> str | None:
    at, seen = 0, set()
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # up to the end of the file
            length = size - at
        if length < 8 or not kind.isalnum():
            return None  # not boxes: padding, or damage that the decoder will meet
        seen.add(kind)
        at += length
        if at > size:
            return _missing(size, at)
    return None if seen & {b"moov", b"moof"} else "its index (the moov box at the end) is missing"


def _riff(file: BinaryIO, size: int) -> str | None:
    length = int.from_bytes(file.read(8)[4:], "little")
    return _missing(size, length + 8) if size < length + 8 and length != 0xFFFFFFFF else None


def _matroska(file: BinaryIO, size: int) -> str | None:
    file.seek(4)
    header = _vint(file)
    if header is None:
        return None
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return None
    segment = _vint(file)
    return _missing(size, file.tell() + segment) if segment is not None and file.tell() + segment > size else None


def _vint(file: BinaryIO) -> int | None:
    """An EBML number; None where it says "unknown"."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0xFF >> length)]) + file.read(length - 1), "big")
    return None if value == (1 << 7 * length) - 1 else value


def _gif(file: BinaryIO, size: int) -> str | None:
    data = file.read()
    cut = "it ends inside an image"
    if size < 13:
        return cut
    at = 13 + _colours(data[10])
    while at < size:
        kind = data[at]
        if kind == 0x3B:
            return None
        if kind == 0x2C:  # image: descriptor, colours, code size
            if at + 10 >= size:
                return cut
            at += 11 + _colours(data[at + 9])
        elif kind == 0x21:
            at += 2
        else:
            return None  # not a block: junk behind the images
        while at < size and data[at]:
            at += 1 + data[at]
        if at >= size:
            return cut
        at += 1
    return None  # only the trailer is missing, and nobody needs it


def _colours(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


_CHECKS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], str | None]], ...] = (
    (lambda head: head[4:8] in _ATOMS, _mp4),
    (lambda head: head[:4] == b"RIFF", _riff),
    (lambda head: head[:4] == b"\x1aE\xdf\xa3", _matroska),
    (lambda head: head[:4] == b"GIF8", _gif),
)
