"""Recorded steps: the same bits as the steps that they stand for, for every gradient head; when none is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aqa.errors import AqaError
from aqa.heads import FeatureSet, Needs, make_head, training
from aqa.heads.batches import Batch
from aqa.heads.noise import Noise
from aqa.heads.parallel import Stopped, each
from aqa.heads.together import Together
from aqa.heads.torch_head import Spec, Step, TorchHead
from aqa.heads.training import batch_sizes, fit

Dives = Callable[..., FeatureSet]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was recorded, in order; every size of batch is worth it."""
    found: list[Any] = []
    record = Together.record

    def keep(*inputs: Any) -> Any:
        found.append(record(*inputs))
        return found[-1]

    monkeypatch.setattr(Together, "record", keep)
    monkeypatch.setattr(training, "RECORD", 1)
    return found


@pytest.mark.parametrize("seeds", [pytest.param([4], marks=pytest.mark.slow), [4, 1, 7]])
def test_recorded_steps_give_the_same_bits(
    name: str,
    settings: dict[str, str],
    seeds: list[int],
    dives: Dives,
    numbers,
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[Any],
):
    head: Any = make_head(name, {**settings, "epochs": "3", "batch": "5"})
    train, val = dives(21), dives(9, 1)
    quick = fit(head, train, val, seeds=seeds, together=3)
    sizes = batch_sizes(head, torch.ones(21, dtype=torch.bool))  # five samples and the one that is left; halves of ten
    assert [step is not None for step in recorded] == [True] * len(sizes) * head.records
    monkeypatch.setattr(training, "RECORD", 1000)
    plain = fit(head, train, val, seeds=seeds, together=3)
    assert len(recorded) == len(sizes) * head.records
    for one, other in zip(quick, plain, strict=True):
        assert torch.equal(numbers(one), numbers(other))
        assert one.info["loss"] == other.info["loss"]


def test_a_loss_that_changes_with_the_epoch_is_not_recorded(dives: Dives, recorded):
    head: Any = make_head("dae", {"loss_kind": "v1", "epochs": "12"})
    fit(head, dives(16), seeds=[0])
    assert recorded == [None]


def test_few_updates_are_not_worth_it(dives: Dives, monkeypatch: pytest.MonkeyPatch, recorded):
    monkeypatch.setattr(training, "RECORD", 8)
    head: Any = make_head("dae", {"epochs": "4", "batch": "8"})  # 4 updates with 8 samples, 4 with the rest
    fit(head, dives(15), seeds=[0])
    assert recorded == []
    fit(head, dives(20), seeds=[0])  # 8 and 4
    assert len(recorded) == 1


class Counted(nn.Module):
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))
        self.idle = nn.Parameter(torch.zeros(1))
        self.register_buffer("count", torch.zeros(()))


@dataclass(frozen=True)
class Counting(TorchHead):
    """Counts its updates in a buffer; `whole`: all of its parameters are in the loss."""

    name = "counting"
    needs = Needs(together=True)

    whole: bool = True

    def build(self, spec: Spec) -> Counted:
        return Counted()

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:
        net.count += 1
        used = net.level + net.idle if self.whole else net.level
        return ((used - batch.score) ** 2).mean()

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        return {"score": net.level.expand(len(batch.score)) + 0 * batch.score}


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_what_a_loss_changes_in_place_stays_changed(seeds: list[int], dives: Dives, recorded):
    for one in fit(Counting(batch=4, epochs=3), dives(10), seeds=seeds, together=2):
        assert one.net.count == 9
    assert all(step is not None for step in recorded)


def test_a_parameter_without_gradient_is_left_alone_and_nothing_is_recorded(dives: Dives, recorded):
    (one,) = fit(Counting(batch=5, epochs=2, weight_decay=0.1, whole=False), dives(10), seeds=[0])
    assert recorded == [None]
    assert one.net.idle == 0
    assert one.net.level != 0


def test_groups_side_by_side_become_what_they_become_alone(dives: Dives, numbers, recorded):
    before, head = torch.get_num_threads(), make_head("dae-core", {"epochs": "3", "sampling": "0.3"})
    try:
        torch.set_num_threads(2)
        beside = head.fit(dives(21), dives(9, 1), seeds=[3, 0, 8, 5])
        for seed, one in zip([3, 0, 8, 5], beside, strict=True):
            (alone,) = head.fit(dives(21), dives(9, 1), seeds=[seed])
            assert one.info["seed"] == seed
            assert (numbers(one) - numbers(alone)).abs().max() < 1e-4
    finally:
        torch.set_num_threads(before)


def test_each_keeps_the_order_and_the_first_error_stops_the_others():
    assert each(lambda item, stop: item * item, range(5), 2) == [0, 1, 4, 9, 16]
    ended = []

    def work(item: int, stop: Event) -> int:
        if item == 1:
            raise AqaError("the second")
        if not stop.wait(10):
            ended.append(item)
        raise Stopped

    with pytest.raises(AqaError, match="the second"):
        each(work, range(4), 2)
    assert ended == []


def test_a_loss_that_is_not_finite_stops_groups_side_by_side(dives: Dives):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(AqaError, match="of seed"):
            make_head("mlp", {"hidden": "8", "epochs": "300", "lr": "1e30"}).fit(dives(30), seeds=[0, 1, 2, 3])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
