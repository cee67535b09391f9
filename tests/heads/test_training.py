"""The loop: seeds together and alone, repeatability, which epoch is kept, small and ragged data, what is saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from aqa.errors import AqaError, BadParameter, StoreError
from aqa.heads import FeatureSet, Needs, Ragged, make_head
from aqa.heads.batches import Batch, Exemplars, Scaling, only, to_batch
from aqa.heads.fitted_torch import FittedTorch
from aqa.heads.noise import Live, Noise
from aqa.heads.selection import spearman
from aqa.heads.together import CACHE, Together, groups_of, over_seeds
from aqa.heads.torch_head import Spec, Step, TorchHead, built, rows_for, spec_of
from aqa.heads.training import by_rate, fit, make_optimiser, scheduled, set_rates

Dives = Callable[..., FeatureSet]
Numbers = Callable[[FittedTorch], Tensor]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-8), pytest.param(torch.float32, 1e-4, marks=pytest.mark.slow)]
)
def test_seeds_trained_together_become_what_they_become_alone(
    name: str, settings: dict[str, str], dtype: torch.dtype, tolerance: float, dives: Dives, numbers: Numbers
):
    head: Any = make_head(name, {**settings, "epochs": "4", "batch": "5"})  # 4 x 5 steps, the last of one sample
    train, val, seeds = dives(21), dives(9, 1), [3, 0, 8]
    beside = fit(head, train, val, seeds=seeds, dtype=dtype, together=3)
    for seed, one in zip(seeds, beside, strict=True):
        (alone,) = fit(head, train, val, seeds=[seed], dtype=dtype)
        for what in ("seed", "epoch", "epochs", "selected_on", "parameters"):
            if what != "epoch" or dtype == torch.float64 or "phases" not in head.needs.gives:  # a frame is whole
                assert one.info[what] == alone.info[what], what
        assert one.info["seed"] == seed
        assert one.info["loss"] == pytest.approx(alone.info["loss"], rel=tolerance)
        # The bias of a key changes nothing, so its gradient is rounding, which Adam makes steps of: in single precision
        # it is the judgements that agree, in double the weights too, to a thousandth of a step.
        score, scale = one.predict(val).score, train.range[1] - train.range[0]
        assert score / scale == pytest.approx(alone.predict(val).score / scale, abs=tolerance)
        if dtype == torch.float64:
            assert (numbers(one) - numbers(alone)).abs().max() < 100 * tolerance
    assert (numbers(beside[0]) - numbers(beside[1])).abs().max() > 0.01


def test_a_seed_gives_the_same_bits_again_and_the_global_state_is_left_alone(
    name: str, settings: dict[str, str], dives: Dives, numbers: Numbers
):
    head = make_head(name, {**settings, "epochs": "2"})
    torch.manual_seed(1)
    state, global_numpy = torch.random.get_rng_state(), np.random.get_state(legacy=False)  # noqa: NPY002
    first = head.fit(dives(12), None, seeds=[5], device="cpu")[0]
    assert torch.equal(state, torch.random.get_rng_state())
    assert str(global_numpy) == str(np.random.get_state(legacy=False))  # noqa: NPY002
    torch.manual_seed(2)
    again = head.fit(dives(12), None, seeds=[5], device="cpu")[0]
    assert isinstance(first, FittedTorch)
    assert isinstance(again, FittedTorch)
    assert torch.equal(numbers(first), numbers(again))


class Ramp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))


@dataclass(frozen=True)
class Scripted(TorchHead):
    """Its one parameter counts the epochs, and the score is the feature times what `script` says of them."""

    name = "scripted"
    needs = Needs(together=True, validates=True)

    lr: float = 1.0
    batch: int = 100
    epochs: int = 6
    script: tuple[float, ...] = ()

    def build(self, spec: Spec) -> Ramp:
        return Ramp()

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:
        return -net.level.sum()  # under Adam a gradient that never changes moves by the learning rate, 1

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        factors = torch.tensor([0.0, *self.script])
        return {"score": only(batch)[0][:, 0, 0] * factors[net.level.round().long()]}


def ladder(values: list[float], score: list[float]) -> FeatureSet:
    n = len(values)
    stream = Ragged(np.array(values, dtype=np.float32)[:, None], np.arange(n + 1))
    return FeatureSet(tuple(f"s{i}" for i in range(n)), {"x": stream}, np.array(score, dtype=np.float64), (0, 10))


@pytest.mark.parametrize(
    ("script", "truth", "kept"),
    [
        ((-1.0, 0.5, 2.0, 1.0, 3.0, -1.0), [1.0, 2.0, 3.0], 4),  # four epochs rank alike, the fourth has no error
        ((-1.0, -2.0, -3.0, 0.1, -1.0, -1.0), [1.0, 2.0, 3.0], 4),
        ((-1.0, -1.0, 0.0, -1.0, -1.0, -1.0), [2.0, 2.0, 2.0], 3),  # no ranking: the lowest error
        ((1.0, 1.0, 1.0, 1.0, 1.0, 1.0), [1.0, 2.0, 3.0], 1),  # the first of equals
    ],
)
def test_the_epoch_that_ranks_val_best_is_kept(script: tuple[float, ...], truth: list[float], kept: int):
    rows: list[Any] = []
    head, data = Scripted(scale="none", script=script), ladder([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    val = ladder([1.0, 2.0, 3.0], truth)
    fitted = head.fit(data, val, seeds=[0, 1], log=rows.append)
    assert [row["epoch"] for row in rows if row["seed"] == 1] == [1, 2, 3, 4, 5, 6]
    for one in fitted:
        assert (one.info["epoch"], one.info["selected_on"], one.info["epochs"]) == (kept, "val", 6)
        assert one.predict(val).score == pytest.approx(np.array([1.0, 2.0, 3.0]) * script[kept - 1])
    for row, factor in zip([row for row in rows if row["seed"] == 0], script, strict=True):
        assert row["val_mse"] == pytest.approx(np.mean((np.array([1.0, 2, 3]) * factor - truth) ** 2), abs=1e-6)
        constant = factor == 0 or len(set(truth)) == 1
        assert row["val_spearman"] == (None if constant else pytest.approx(math.copysign(1, factor)))


def test_without_val_or_when_told_so_the_last_epoch_is_kept():
    data = ladder([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    script = (1.0, -1.0, -1.0, -1.0, -1.0, -2.0)
    (without,) = Scripted(scale="none", script=script).fit(data, None, seeds=[0])
    (told,) = Scripted(scale="none", script=script, select="last").fit(data, data, seeds=[0])
    for one in (without, told):
        assert (one.info["epoch"], one.info["selected_on"]) == (6, "last")
        assert one.predict(data).score.tolist() == [-2.0, -4.0, -6.0]


def test_val_chooses_the_epoch_and_nothing_else(name: str, settings: dict[str, str], dives: Dives):
    losses: dict[bool, list[float]] = {True: [], False: []}
    head = make_head(name, {**settings, "epochs": "3"})
    for given in (True, False):
        log = losses[given]
        head.fit(
            dives(12),
            dives(6, 1) if given else None,
            seeds=[0],
            device="cpu",
            log=lambda r, log=log: log.append(r["loss"]),
        )
    assert losses[True] == losses[False]
    assert len(losses[True]) == 3


def test_spearman_is_scipys_with_ties_and_undefined_for_constants():
    draw = np.random.default_rng(0)
    scores, truth = draw.integers(0, 5, (4, 30)).astype(float), draw.integers(0, 8, 30).astype(float)
    wanted = [spearmanr(one, truth).statistic for one in scores]
    assert spearman(scores, truth) == pytest.approx(wanted)
    assert np.isnan(spearman(np.ones((2, 30)), truth)).all()
    assert np.isnan(spearman(scores, np.ones(30))).all()


@pytest.mark.parametrize("batch", ["1", "7", "64"])
def test_any_size_of_batch(name: str, settings: dict[str, str], batch: str, dives: Dives):
    head = make_head(name, {**settings, "epochs": "1", "batch": batch})
    train = dives(8, clips=1) if batch == "1" else dives(8)
    (fitted,) = head.fit(train, None, seeds=[0], device="cpu")
    assert np.isfinite(fitted.predict(dives(5, 1)).score).all()


def test_gradients_reach_the_clips(name: str, settings: dict[str, str], dives: Dives):
    """What end-to-end training needs: build, loss and judge on clips that come out of a network."""
    head, train = make_head(name, {**settings, "crop": "9"} if "crop" in settings else settings), dives(6)
    assert isinstance(head, TorchHead)
    spec = spec_of(head, train)
    net = built(head, spec, 0)
    batch = to_batch(train, Scaling({}, {}), "cpu", torch.float32)
    batch = batch._replace(targets={n: torch.from_numpy(labels) for n, labels in head.labels(spec, train).items()})
    clips = batch.streams["x"].requires_grad_()
    if head.needs.exemplars:
        flipped = Exemplars(*tree_map(lambda tensor: tensor.flip(0), batch[:4]))
        targets = {n: labels.flip(0) for n, labels in batch.targets.items()}
        batch = batch._replace(exemplars=flipped._replace(targets=targets))
    head.loss(net.train(), batch, Live(torch.Generator().manual_seed(0)), Step(0, 0)).backward()
    assert clips.grad is not None
    there = batch.masks["x"]
    if name == "s4aqa-supervised":  # the second half stands for samples without labels
        there = there & (torch.arange(len(there)) < 3)[:, None]
    assert (clips.grad[there].abs().flatten(1).sum(dim=1) > 0).all()
    assert (clips.grad[~there] == 0).all()
    assert head.judge(net.eval(), batch)["score"].shape == (6,)


def test_a_loss_that_is_not_finite_stops_and_says_so(dives: Dives):
    head = make_head("mlp", {"hidden": "8", "epochs": "3", "lr": "1e30"})
    with pytest.raises(AqaError, match=r"the loss is (nan|inf) in epoch 1 of seed 4") as caught:
        head.fit(dives(20), None, seeds=[4], device="cpu")
    assert "Lower lr" in str(caught.value)


def test_a_last_step_that_goes_too_far_is_no_result(dives: Dives):
    with pytest.raises(AqaError, match="in epoch 1 of seed 0"):
        make_head("mlp", {"epochs": "1", "batch": "99", "lr": "1e39"}).fit(dives(8), None, seeds=[0], device="cpu")


def test_features_that_are_not_finite_are_named_before_training(dives: Dives):
    train = dives(12)
    values = train.streams["x"].values.copy()
    values[train.streams["x"].offsets[7]] = np.nan
    train = replace(train, streams={"x": Ragged(values, train.streams["x"].offsets)})
    with pytest.raises(StoreError, match="not finite") as caught:
        make_head("dae").fit(train, None, seeds=[0], device="cpu")
    assert caught.value.sample == "dive-0-7"


def test_a_negative_seed_is_refused(dives: Dives):
    with pytest.raises(BadParameter, match="whole number"):
        make_head("dae").fit(dives(5), None, seeds=[0, -1], device="cpu")


def test_groups_fit_the_cache_and_are_of_equal_size(dives: Dives):
    head: Any = make_head("dae")
    spec = replace(spec_of(head, dives(5)), streams={"x": (1024,)})
    sizes = [len(group) for group in groups_of(head, spec, range(10), "cpu")]
    assert max(sizes) == min(3, CACHE // (16 * 295_554))
    assert max(sizes) - min(sizes) <= 1
    assert [seed for group in groups_of(head, spec, range(10), "cpu") for seed in group] == list(range(10))
    assert groups_of(head, spec, range(5), "cuda") == [[0, 1, 2, 3, 4]]
    assert groups_of(head, spec, [], "cpu") == []
    apart = replace(head.needs, together=False)
    assert groups_of(_with_needs(head, apart), spec, range(3), "cpu") == [[0], [1], [2]]


def _with_needs(head: TorchHead, needs: Needs) -> TorchHead:
    kind = type("Apart", (type(head),), {"needs": needs})
    return kind()


def test_one_seed_is_called_plainly_and_several_through_vmap():
    def double(tree: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(tree["a"].shape)
        return {"b": 2 * tree["a"]}

    seen: list[torch.Size] = []
    for count in (1, 3):
        out = over_seeds(double)(count, {"a": torch.ones(count, 2)})
        assert torch.equal(out["b"], torch.full((count, 2), 2.0))
    assert seen == [torch.Size([2]), torch.Size([2])]


def test_the_cosine_ends_at_a_hundredth(dives: Dives):
    head: Any = make_head("dae", {"schedule": "cosine", "lr": "0.01", "epochs": "10", "optimiser": "sgd"})
    nets = Together(head, spec_of(head, dives(5)), [0], "cpu", torch.float32)
    optimiser = make_optimiser(head, by_rate(head, nets))
    rates = []
    for epoch in range(10):
        set_rates(optimiser, scheduled(head, epoch))
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.01)
    assert rates[5] == pytest.approx(0.01 * 0.505)
    assert rates == sorted(rates, reverse=True)
    set_rates(optimiser, scheduled(head, 10))
    assert optimiser.param_groups[0]["lr"] == pytest.approx(1e-4)
    assert optimiser.param_groups[0]["momentum"] == 0.9


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_the_optimiser_is_torchs(optimiser: str, dives: Dives, numbers: Numbers):
    """Three steps of the loop against three steps of a plain loop over the same batches."""
    train = dives(12)
    head: Any = make_head(
        "dae", {"optimiser": optimiser, "lr": "0.01", "weight_decay": "0.1", "batch": "4", "epochs": "1"}
    )
    (ours,) = fit(head, train, seeds=[6], dtype=torch.float64)
    net = built(head, ours.spec, 6).double()
    more = {"momentum": 0.9} if optimiser == "sgd" else {}
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimiser]
    plain = kind(net.parameters(), lr=0.01, weight_decay=0.1, **more)
    rows = rows_for(head, ours.spec, ours.scaling, train, "cpu", torch.float64)
    first = int(np.random.SeedSequence(6).generate_state(3)[0])
    order = torch.randperm(12, generator=torch.Generator().manual_seed(first))
    for index in order.split(4):
        batch = Batch(*[{"x": v["x"][index]} if isinstance(v, dict) else v[index] for v in rows[:6]])
        plain.zero_grad()
        head.loss(net, batch, Live(torch.Generator()), Step(0, 0)).backward()
        plain.step()
    assert torch.allclose(numbers(ours), torch.cat([v.flatten() for v in net.state_dict().values()]), atol=1e-12)


@pytest.mark.parametrize(("name", "seeds", "expected"), [("dae", 1, 1), ("core", 1, 2), ("core", 2, 1)])
def test_threads_of_small_and_medium_networks(name: str, seeds: int, expected: int, dives: Dives):
    before, seen = torch.get_num_threads(), set()
    try:
        torch.set_num_threads(2)
        head = make_head(name, {"epochs": "1"})
        head.fit(dives(8, width=1024), seeds=range(seeds), log=lambda row: seen.add(torch.get_num_threads()))
        assert (seen, torch.get_num_threads()) == ({expected}, 2)
    finally:
        torch.set_num_threads(before)


def test_small_networks_train_on_one_thread_and_the_number_is_put_back(dives: Dives):
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        make_head("dae", {"epochs": "1"}).fit(
            dives(8), None, seeds=[0], device="cpu", log=lambda row: seen.append(torch.get_num_threads())
        )
        assert (seen, torch.get_num_threads()) == ([1], 2)
        with pytest.raises(AqaError, match="the loss is"):
            make_head("mlp", {"hidden": "8", "epochs": "3", "lr": "1e30"}).fit(dives(8), None, seeds=[0], device="cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
