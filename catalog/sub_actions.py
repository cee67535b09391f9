"""FineDiving's sub-actions: which of its frame labels are take-offs, somersaults of which position, twists, the entry.

Xu et al., FineDiving, CVPR 2022; its file `Sub_action_Types_Table.pkl`. The embedded set `demo` has the same labels.
"""

from __future__ import annotations

from collections.abc import Sequence

TAKE_OFFS = frozenset(range(1, 8))
STRAIGHT = frozenset({*range(8, 12), 39})
PIKE = frozenset({*range(12, 20), 37})
TUCK = frozenset({*range(20, 29), 40})
TWISTS = frozenset({*range(29, 36), 41, 42})
ENTRY = 36

SOMERSAULTS = {**dict.fromkeys(STRAIGHT, "straight"), **dict.fromkeys(PIKE, "pike"), **dict.fromkeys(TUCK, "tuck")}


def are_sub_actions(labels: Sequence[int]) -> bool:
    """Whether frame labels are those of a dive: a take-off first, and nothing but sub-actions of the table behind it.

    LOGO numbers the actions of swimmers in its own way, and others do in theirs.
    """
    known = SOMERSAULTS.keys() | TWISTS | {ENTRY}
    return bool(labels) and labels[0] in TAKE_OFFS and set(labels) - TAKE_OFFS <= known and len(set(labels)) > 1
