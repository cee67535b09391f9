"""Every error that aqa raises on purpose, in one tree, each with the exit code of the command line.

::

    AqaError                    1
    ├── UsageError              2   the command or the call is wrong
    │   ├── UnknownName         2   no such head, backbone, data set...: the nearest is suggested
    │   ├── BadParameter        2   a name or a value that does not fit a config
    │   └── UnmetNeeds          2   a head needs what this data set or stream does not have
    ├── DataError               3   a file that the user has is wrong
    │   ├── AnnotationError     3
    │   ├── SplitError          3   train and test share samples, unknown ids
    │   ├── VideoError          3   a video or a frame folder cannot be read
    │   ├── UnsafePickle        3   a pickle asks for more than plain data
    │   ├── WeightsError        3   a weight file does not fit the network
    │   └── StoreError          3   cached features or runs are missing, damaged or cannot be written
    │       └── FingerprintMismatch 3   they were made in another way
    ├── MissingExtra            4   an optional package is not installed
    └── SomeFailed              1   the rest was done; the failed items are listed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

LISTED = 40  # names in a message


class AqaError(Exception):
    """Base of all. ``what`` says what is wrong; the keywords say where; ``hint`` says what to do."""

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        file: str | Path | None = None,
        sample: str | None = None,
        field: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.sample, self.field, self.hint = what, sample, field, hint
        self.file = None if file is None else str(file)

    def __str__(self) -> str:
        where = [f"{k} {v}" for k, v in (("file", self.file), ("sample", self.sample), ("field", self.field)) if v]
        text = self.what if not where else f"{self.what} ({', '.join(where)})"
        return text if not self.hint else f"{text}. {self.hint[0].upper()}{self.hint[1:]}"

    def __reduce__(self):  # keeps the keywords when a worker process sends the error home
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(cls: type[AqaError], state: dict) -> AqaError:
    error = cls.__new__(cls)
    Exception.__init__(error, state["what"])
    error.__dict__.update(state)
    return error


class UsageError(AqaError):
    exit_code = 2


class UnknownName(UsageError):
    """``name`` is not among ``known``; the nearest ones are suggested."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names[:LISTED]) or 'none'}{more}"
        super().__init__(f"unknown {kind} '{name}'", hint=hint)


class BadParameter(UsageError):
    pass


class UnmetNeeds(UsageError):
    pass


class DataError(AqaError):
    exit_code = 3


class AnnotationError(DataError):
    pass


class SplitError(DataError):
    pass


class VideoError(DataError):
    pass


class UnsafePickle(DataError):
    pass


class WeightsError(DataError):
    pass


class StoreError(DataError):
    pass


class FingerprintMismatch(StoreError):
    pass


class MissingExtra(AqaError):
    exit_code = 4


class SomeFailed(AqaError):
    exit_code = 1
