"""Semi-supervised heads: batches, losses by hand, the part that unlabelled samples play."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aqa.errors import AnnotationError
from aqa.heads import FeatureSet, Ragged, make_head
from aqa.heads.batches import Batch
from aqa.heads.consistency import MeanTeacher, PseudoLabel, Vat, unit
from aqa.heads.fitted_torch import FittedTorch
from aqa.heads.mlp import Mlp
from aqa.heads.noise import Live
from aqa.heads.s4aqa import S4Aqa, Supervised, one_segment, reversed_gradient
from aqa.heads.semi import SemiNet, halves, places
from aqa.heads.torch_head import Step, built
from aqa.heads.training import Draws, batch_sizes, fit

Dives = Callable[..., FeatureSet]
MakeSpec = Callable[..., Any]
SEMI = ["s4aqa", "pseudo-label", "vat", "mean-teacher"]


@pytest.fixture(autouse=True)
def double() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def hidden(data: FeatureSet, kept: int) -> FeatureSet:
    """Only the first `kept` samples have labels."""
    return data.without_labels(np.arange(len(data)) >= kept)


def numbers_of(fitted: Sequence[FittedTorch]) -> Tensor:
    return torch.cat([v.flatten().double() for one in fitted for v in one.net.state_dict().values()])


def test_batches_are_labelled_samples_and_then_as_many_unlabelled_ones():
    labelled = torch.tensor([False, True, False, True, True, False, False, False])
    head = S4Aqa(batch=2)
    batches = Draws([0, 1], torch.zeros(8)).batches(head, labelled)
    assert batch_sizes(head, labelled) == {4: 3}
    assert [tuple(batch.shape) for batch in batches] == [(2, 4)] * 3
    for seed in range(2):
        first, second = (torch.cat([b[seed, part] for b in batches]).tolist() for part in (slice(2), slice(2, 4)))
        assert sorted(set(first)) == [1, 3, 4]
        assert sorted(set(second)) == [0, 2, 5, 6, 7]
        assert max(second.count(row) for row in second) == 2  # the pool of five fills six places
    assert not torch.equal(batches[0][0], batches[0][1])


def test_where_all_have_labels_they_serve_as_unlabelled_too():
    labelled = torch.ones(6, dtype=torch.bool)
    batches = Draws([0], torch.zeros(6)).batches(S4Aqa(batch=3), labelled)
    assert len(batches) == 2
    for part in (slice(3), slice(3, 6)):
        assert sorted(torch.cat([b[0, part] for b in batches]).tolist()) == list(range(6))


def test_other_heads_see_every_sample_once():
    head = Mlp(batch=4)
    assert batch_sizes(head, torch.ones(10, dtype=torch.bool)) == {4: 2, 2: 1}
    batches = Draws([0], torch.zeros(10)).batches(head, torch.ones(10, dtype=torch.bool))
    assert sorted(torch.cat(list(batches), dim=1)[0].tolist()) == list(range(10))


def encoded(net: SemiNet, x: np.ndarray) -> np.ndarray:
    """f of one sample x [T, D], segment by segment."""
    weight = {name: value.detach().numpy() for name, value in net.named_parameters()}

    def layer(name: str, row: np.ndarray) -> np.ndarray:
        return weight[f"{name}.weight"] @ row + weight[f"{name}.bias"]

    h = [np.maximum(layer("segment", row), 0) for row in x]
    total = np.zeros(256)
    for t in range(len(x)):
        before = h[t - 1] if t > 0 else np.zeros_like(h[0])
        after = h[t + 1] if t + 1 < len(x) else np.zeros_like(h[0])
        angle = [t / 10_000 ** (2 * k / 256) for k in range(128)]
        place = np.concatenate([np.sin(angle), np.cos(angle)])
        total += np.maximum(layer("neighbours", np.concatenate([before, h[t], after])) + place, 0)
    return np.maximum(layer("whole", total / len(x)), 0)


def test_the_encoder_is_its_formula_and_leaves_padding_out(make_spec: MakeSpec, five: Batch):
    net = SemiNet(make_spec(), 8).double()
    x, mask = five.streams["x"], five.masks["x"]
    found = net.encode(x, mask).detach().numpy()
    for i in range(5):
        assert found[i] == pytest.approx(encoded(net, x[i][mask[i]].numpy()))


def test_sizes(make_spec: MakeSpec):
    def count(net: torch.nn.Module) -> int:
        return sum(p.numel() for p in net.parameters())

    spec = make_spec(1024)
    assert count(Supervised().build(spec)) == 984_321
    assert count(S4Aqa().build(spec)) == 1_657_730
    assert count(MeanTeacher().build(spec)) == 984_321  # the teacher is no parameter
    assert places(3, 256, like=torch.zeros(1)).shape == (3, 256)


def test_one_segment_is_masked_and_it_is_there():
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    draws = torch.linspace(0, 0.999, 300)
    chosen = torch.stack([one_segment(mask, torch.stack([d, d])) for d in draws])
    assert (chosen.sum(dim=2) == 1).all()
    assert (chosen & ~mask).sum() == 0
    assert chosen[:, 0].sum(dim=0).tolist() == [100, 100, 100, 0]


def test_the_gradient_is_reversed_and_the_value_is_not():
    f = torch.tensor([1.0, -2.0], requires_grad=True)
    out = reversed_gradient(f)
    assert out.tolist() == [1.0, -2.0]
    (out * torch.tensor([3.0, 5.0])).sum().backward()
    assert f.grad is not None
    assert f.grad.tolist() == [-3.0, -5.0]


def six(five: Batch) -> Batch:
    """Three labelled samples, and three without a label."""
    pick = torch.tensor([0, 1, 2, 3, 4, 0])
    streams, masks = ({n: v[pick] for n, v in part.items()} for part in (five.streams, five.masks))
    score = five.score[pick].clone()
    score[3:] = torch.nan
    return Batch(streams, masks, score, five.difficulty[pick], five.judges[pick], torch.arange(6) < 3)


def test_the_loss_of_s4aqa_by_hand(make_spec: MakeSpec, five: Batch):
    head, spec, batch = S4Aqa(recovery=3.0, alignment=0.7), make_spec(), six(five)
    net = head.build(spec).double()
    got = head.loss(net, batch, Live(torch.Generator().manual_seed(1), torch.float64), Step(0, 0)).item()
    draw = torch.rand(3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).numpy()
    x = [batch.streams["x"][i][batch.masks["x"][i]].numpy() for i in range(6)]

    def through(name: str, row: np.ndarray) -> np.ndarray:
        first, _, last = getattr(net, name)
        h = np.maximum(first.weight.detach().numpy() @ row + first.bias.detach().numpy(), 0)
        return last.weight.detach().numpy() @ h + last.bias.detach().numpy()

    score, bias = net.score.weight.detach().numpy()[0], net.score.bias.item()
    errors = [score @ encoded(net, x[i]) + bias - (batch.score[i].item() - 60) / 15 for i in range(3)]
    wrong, kinds = [], []
    for i in range(3):
        k = int(draw[i] * len(x[3 + i]))
        masked = x[3 + i].copy()
        masked[k] = 0
        f = encoded(net, masked)
        wrong.append(np.abs(through("recover", f) - x[3 + i][k]).mean())
        kinds.append([encoded(net, x[i]), encoded(net, x[3 + i]), f])
    logits = np.array([[through("labelled", f)[0] for f in row] for row in kinds])
    says = 1 / (1 + np.exp(-logits))
    adversary = -np.log(says[:, 0]).mean() - 0.5 * (np.log(1 - says[:, 1]).mean() + np.log(1 - says[:, 2]).mean())
    assert got == pytest.approx(np.mean(np.square(errors)) + 3.0 * np.mean(wrong) + 0.7 * adversary)


@pytest.mark.parametrize("head", [PseudoLabel(), Vat(), MeanTeacher()], ids=lambda head: head.name)
def test_agreement_ramps_up_from_nearly_nothing(make_spec: MakeSpec, five: Batch, head: Any):
    net = head.build(make_spec(updates=10)).double()
    labelled, unlabelled = halves(six(five))

    def agreement() -> float:
        return head.unsupervised(
            net, labelled, unlabelled, Live(torch.Generator().manual_seed(0), torch.float64)
        ).item()

    assert net.ramp.updates == 300  # of 10 updates in each of 100 epochs
    early = agreement()
    net.ramp.done.fill_(300)
    late = agreement()
    assert late > 0
    assert early == pytest.approx(late * np.exp(-5))
    net.ramp.done.fill_(10_000)
    assert agreement() == late


def test_the_adversary_moves_the_score_more_than_chance(make_spec: MakeSpec, five: Batch):
    head = Vat(weight=1.0, radius=0.1)
    net = head.build(make_spec(updates=1)).double()
    net.ramp.done.fill_(1e6)
    _, unlabelled = halves(six(five))
    x, mask = unlabelled.streams["x"], unlabelled.masks["x"]
    there = mask[..., None].to(x.dtype).expand_as(x)
    worst = head.unsupervised(net, unlabelled, unlabelled, Live(torch.Generator().manual_seed(0), torch.float64))
    draw = torch.Generator().manual_seed(1)
    for _ in range(50):
        step = unit(torch.randn(x.shape, generator=draw) * there, there)
        assert (step.square().flatten(1).sum(1) / there.flatten(1).sum(1)).tolist() == pytest.approx([1, 1, 1])
        assert (net(x + head.radius * step, mask) - net(x, mask)).square().mean() < worst


def test_the_teacher_is_the_running_mean_of_the_student(dives: Dives):
    data, head = dives(16), MeanTeacher(hidden=4, batch=16, decay=0.6)
    one, two, three = (fit(replace(head, epochs=k), data, seeds=[0], dtype=torch.float64)[0] for k in (1, 2, 3))
    students = [built(head, one.spec, 0).state_dict(), *(fitted.net.state_dict() for fitted in (one, two, three))]
    teacher = three.net.state_dict()
    for name in ("segment.weight", "neighbours.bias", "score.weight"):
        w0, w1, w2, w3 = (student[name] for student in students)
        wanted = (w0 + w1) / 2  # a plain mean, until the decay is reached
        wanted = 0.6 * (0.6 * wanted + 0.4 * w2) + 0.4 * w3
        assert torch.allclose(teacher[f"teacher.{name}"], wanted)
        assert not torch.equal(teacher[f"teacher.{name}"], w3)


@pytest.mark.parametrize("name", SEMI)
def test_unlabelled_samples_play_one(name: str, dives: Dives):
    data = dives(24)
    head = make_head(name, {"epochs": "2", "hidden": "8"})
    (with_them,) = head.fit(hidden(data, 8), seeds=[0], device="cpu")
    (without,) = head.fit(data.take(range(8)), seeds=[0], device="cpu")
    assert not torch.equal(numbers_of([with_them]), numbers_of([without]))
    assert with_them.info["labelled_samples"] == without.info["labelled_samples"] == 8
    assert with_them.spec.mean == without.spec.mean


def test_heads_that_need_labels_refuse_samples_without(dives: Dives):
    with pytest.raises(AnnotationError, match="not a finite number"):
        make_head("mlp", {}).fit(hidden(dives(12), 6), seeds=[0], device="cpu")
    with pytest.raises(AnnotationError, match="not a finite number"):
        make_head("s4aqa", {}).fit(hidden(dives(12), 0), seeds=[0], device="cpu")


@pytest.mark.parametrize("name", [*SEMI, "s4aqa-supervised"])
def test_it_learns_32_samples_by_heart(name: str, dives: Dives):
    torch.set_default_dtype(torch.float32)
    data = dives(32)
    settings = {"epochs": "150", "lr": "0.003", "hidden": "64", "weight_decay": "0"}
    settings |= {"recovery": "0.1", "alignment": "0"} if name == "s4aqa" else {}
    settings |= {"noise_sd": "0.05"} if name in ("pseudo-label", "mean-teacher") else {}
    (one,) = make_head(name, settings).fit(data, seeds=[0], device="cpu")
    error = np.abs(one.predict(data).score - data.score)
    assert error.mean() < 0.1 * data.score.std()


def test_recovery_learns_from_unlabelled_samples_what_segments_are_like(dives: Dives):
    """Segments follow from one another: after training, a masked one is recovered better than by its mean."""
    torch.set_default_dtype(torch.float32)
    rng = np.random.default_rng(0)
    base = rng.normal(size=(60, 1, 3))
    values = (base @ rng.normal(size=(3, 6)) + 0.05 * rng.normal(size=(60, 4, 6))).reshape(240, 6).astype(np.float32)
    data = replace(dives(60), streams={"x": Ragged(values, np.arange(0, 241, 4))})
    (one,) = make_head("s4aqa", {"epochs": "60", "lr": "0.003", "hidden": "64"}).fit(
        hidden(data, 6), seeds=[0], device="cpu"
    )
    net: Any = one.net
    x = torch.from_numpy(one.scaling.apply("x", values)).reshape(60, 4, 6)
    mask = torch.ones(60, 4, dtype=torch.bool)
    masked = x.clone()
    masked[:, 2] = 0
    with torch.no_grad():
        error = (net.recover(net.encode(masked, mask)) - x[:, 2]).abs().mean().item()
    assert error < 0.5 * (x[:, 2] - x.mean(dim=(0, 1))).abs().mean().item()
