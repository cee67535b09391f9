"""Which runs a verb is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import StoreError
from .settings import Place

if TYPE_CHECKING:
    from ..leaderboard.runs import Run


def select_runs(
    where: Place,
    *,
    all_datasets: bool = False,
    protocol: str | None = None,
    target: str | None = None,
    group: str | None = None,
) -> list[Run]:
    """The finished runs in `where.runs` on `where.dataset`, or on every data set, that have the names given.

    Raises StoreError where there is none.
    """
    from ..leaderboard.runs import iter_runs

    wanted = {"protocol": protocol, "target": target, "group": group}
    found = [
        run
        for run in iter_runs(where.runs, None if all_datasets else where.dataset)
        if all(not value or run.info[name] == value for name, value in wanted.items())
    ]
    if not found:
        what = "any data set" if all_datasets else where.dataset
        said = ", ".join(f"{name} {value}" for name, value in wanted.items() if value)
        raise StoreError(
            f"no runs on {what}" + (f" with {said}" if said else ""),
            file=where.runs,
            hint=f"`aqa fit {where.dataset} --head ridge` makes one; `aqa runs ls` lists those that are there",
        )
    return found
