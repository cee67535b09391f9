"""From a run folder to a function of clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UnmetNeeds
from ..finetune.exporting import Format, export
from ..finetune.live import Live
from ..heads import load_head
from ..heads.fitted_torch import FittedTorch
from ..leaderboard.runs import Run
from .judging import extractions


def export_function(run: Run, file: Path, form: Format, weights: Sequence[str]) -> dict[str, Any]:
    """Write `file`, and return what `--json` prints. Raises UnmetNeeds for what is no single function."""
    made = extractions(run, weights)
    fitted = load_head(run.folder)
    if not isinstance(fitted, FittedTorch):
        hint = "export it as a bundle"
        raise UnmetNeeds(f"{run.info['head']} on {'+'.join(made)} is no network of its own", hint=hint)
    if len(made) != 1:
        raise UnmetNeeds(f"{run.info['head']} takes {len(made)} streams", hint="export it as a bundle")
    ((name, one),) = made.items()
    if one.plan.window is None:
        hint = "fit on clips of a plan such as 6x16@103, or export it as a bundle"
        raise UnmetNeeds(f"the clip plan {one.plan.name} has as many clips as a video is long", hint=hint)
    deviations = export(Live(name, one.resolved, one.plan), fitted, file, form)
    lost = [name for name in fitted.head.needs.gives if name != "spread"]
    return {"file": str(file), "format": form, "run": run.info["run_id"], "differs_by": deviations, "left_out": lost}
