"""UI-PRMD's Kinect skeletons: from angles and relative positions to where the joints are.

The files hold, for each of 22 joints, its position in the frame of the joint that it hangs on (the first is absolute)
and three angles in degrees about x, y and z, by which the frame of what hangs on it is turned. Order and hierarchy are
those of the program by which the authors show the data (UI-PRMD Visualize): x to the right, y up, z towards the camera,
cm. The data agree: every bone keeps its direction in the frame of its parent, toes point towards the camera, and what
is called left lies at positive x.

The rotation is ``R = Rz Rx Ry``, as in BVH files of the recorder. The authors' program multiplies ``Rz Ry Rx`` and says
of itself that the lower body is not entirely right; with it the feet of a deep squat drift by 19 cm about their median
place, with Rz Rx Ry by 3 cm (the standing foot of a hurdle step by 1 cm), and of the six orders this one is the best by
far. The same program turns the arms by the chest's own angles alone; here they hang on the trunk like everything else.
"""

from __future__ import annotations

import numpy as np

PARENTS = (-1, 0, 1, 2, 3, 4, 2, 6, 7, 8, 2, 10, 11, 12, 0, 14, 15, 16, 0, 18, 19, 20)
TO_CAMERA = np.array([1.0, -1.0, -1.0])  # y up, z to the camera -> y down, z away from it: half a turn about x


def places(positions: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Relative positions and angles [T, 66] (or [T, 22, 3]) to [T, 22, 3] float32, in cm.

    x to the right, y down, z away from the camera, as in a picture; the camera is at 0, 0, 0.
    """
    count = len(PARENTS)
    relative = positions.reshape(-1, count, 3).astype(np.float64)
    turn = _rotations(np.radians(angles.reshape(-1, count, 3).astype(np.float64)))
    at, frame = np.zeros_like(relative), np.zeros_like(turn)
    at[:, 0], frame[:, 0] = relative[:, 0], turn[:, 0]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        at[:, joint] = at[:, parent] + np.einsum("tij,tj->ti", frame[:, parent], relative[:, joint])
        frame[:, joint] = frame[:, parent] @ turn[:, joint]
    return (at * TO_CAMERA).astype(np.float32)


def _rotations(angles: np.ndarray) -> np.ndarray:
    """Angles [..., 3] about x, y, z in rad to Rz Rx Ry [..., 3, 3]."""
    (cx, cy, cz), (sx, sy, sz) = (np.moveaxis(f(angles), -1, 0) for f in (np.cos, np.sin))
    rows = (
        (cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy),
        (sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy),
        (-cx * sy, sx, cx * cy),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)
