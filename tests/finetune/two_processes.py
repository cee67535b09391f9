"""Run by `test_processes.py` in two processes at once; each is one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from aqa.errors import AqaError
from aqa.finetune.loop import Training
from aqa.finetune.processes import Processes, processes

Make = Callable[..., Training]


@pytest.fixture(scope="module")
def among() -> Iterator[Processes]:
    with processes("cpu") as (found, _):
        yield found


def test_checkpoints_in_time_are_written_when_all_are_ready(training: Make, among: Processes, tmp_path: Path):
    """Every process has a clock of its own, and one is late."""
    made = training("mlp", {"hidden": "8", "epochs": "1", "batch": "2"}, among=among, micro=1, saved_every=0.4)
    made.step = lambda: time.sleep(0.2)
    if among.rank == 1:
        time.sleep(0.3)
    made.run()
    assert made.progress.updates == 6


def test_a_full_memory_of_one_is_an_error_of_all(training: Make, among: Processes, monkeypatch: pytest.MonkeyPatch):
    made = training("mlp", {"hidden": "8", "batch": "4"}, among=among, micro=2)
    if among.rank == 1:
        full = torch.OutOfMemoryError("CUDA out of memory")
        monkeypatch.setattr(made, "_loss", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(AqaError, match="does not hold 2 samples at once"):
        made.run()


def test_running_statistics_are_the_same_everywhere(among: Processes):
    mine = [torch.tensor([float(among.rank), 3.0]), torch.tensor(among.rank + 7)]
    among.averaged(mine)
    assert mine[0].tolist() == [0.5, 3.0]
    assert mine[1].item() == 7
