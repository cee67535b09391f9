"""Texts of MediaPipe's 33 landmarks, as the skeletons of FineDiving are passed around.

The number of frames that follow; for each a line "1" (persons), a line "33" (landmarks), a line of ten -1, and 33 lines
that begin with x, y and visibility, x and y in parts of the picture. A frame without a detection is left out, and
nothing says which: the first dive of FineDiving has 85 frames and 54 in its text. So the rows of such a file are the
frames with a detection in their order, and whether row n is frame n is known only where there are as many rows as
frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import AnnotationError
from .files import text

LANDMARKS = 33
LINES = LANDMARKS + 3  # of a frame


def mediapipe_rows(file: Path, sample: str | None = None) -> np.ndarray:
    """The rows of the file, [rows, 33, 3] float32: x, y in parts of the picture, visibility. There may be none.

    Raises AnnotationError.
    """
    lines = [line.split() for line in text(file).splitlines() if line.strip()]
    if not lines:
        raise AnnotationError("the file is empty", file=file, sample=sample)
    count = int(lines[0][0]) if len(lines[0]) == 1 and lines[0][0].isdecimal() else -1
    if count < 0:
        said = "the first line is not the number of frames, so this is no text of MediaPipe landmarks"
        raise AnnotationError(said, file=file, sample=sample)
    if len(lines) - 1 != LINES * count:
        said = f"{count} frames of {LINES} lines are promised, {len(lines) - 1} lines follow"
        raise AnnotationError(said, file=file, sample=sample, hint="the file may be cut off")
    rows = np.empty((count, LANDMARKS, 3), np.float32)
    for n in range(count):
        persons, landmarks, _, *joints = lines[1 + n * LINES : 1 + (n + 1) * LINES]
        if persons != ["1"] or landmarks != [str(LANDMARKS)]:
            said = f"row {n + 1}: wanted lines of 1 person and of {LANDMARKS} landmarks"
            raise AnnotationError(f"{said}, got {persons} and {landmarks}", file=file, sample=sample)
        try:
            rows[n] = [[float(word) for word in words[:3]] for words in joints]
        except ValueError as error:
            raise AnnotationError(f"row {n + 1}: {error}", file=file, sample=sample, field="landmarks") from error
    if not np.isfinite(rows).all():
        raise AnnotationError("a landmark is not finite", file=file, sample=sample, field="landmarks")
    return rows


def read_mediapipe(
    file: Path, sample: str | None = None, *, frames: int, which: Sequence[int] | None = None
) -> np.ndarray:
    """The poses of a video of `frames` frames, [frames, 33, 3]; frames without a detection are NaN, confidence 0.

    `which`: the frame of each row, from 0, rising. Without it there must be as many rows as frames, or none.

    Raises AnnotationError for a file that cannot be read, and where nobody can say which frame a row is of.
    """
    rows = mediapipe_rows(file, sample)
    if which is None:
        if len(rows) not in (0, frames):
            said = f"{len(rows)} rows for {frames} frames, and the file does not say which frames these are"
            hint = "give the frame of each row as `which`, or take the rows alone (mediapipe_rows)"
            raise AnnotationError(said, file=file, sample=sample, field="frames", hint=hint)
        which = range(len(rows))
    taken = np.asarray(which, np.int64).reshape(-1)
    inside = ((taken >= 0) & (taken < frames)).all()
    if len(taken) != len(rows) or (np.diff(taken) <= 0).any() or not inside:
        said = f"wanted {len(rows)} rising numbers below {frames}, one a row"
        raise AnnotationError(said, file=file, sample=sample, field="which")
    pose = np.full((frames, LANDMARKS, 3), (np.nan, np.nan, 0.0), np.float32)
    pose[taken] = rows
    return pose
