"""`cofinal`: size, simplex, targets at their borders, fine branch and losses by hand, companions, padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aqa.errors import BadParameter
from aqa.heads import FeatureSet, load_head, make_head
from aqa.heads.batches import Batch
from aqa.heads.cofinal import Cofinal, CofinalNet, Said, simplex, steps
from aqa.heads.noise import Live
from aqa.heads.torch_head import Spec, Step, built, spec_of

STEP = Step(0, 0)
MakeSpec = Callable[..., Spec]
VALUES = {
    0: ([0, 1 / 3, 2 / 3, 1], [1, 2 / 3, 1 / 3, 0]),
    1: ([0.25, 0.5, 0.75, 1], [1, 0.75, 0.5, 0.25]),
    2: ([0.1, 0.2, 0.8, 1], [1, 1, -1, -1]),
    3: ([-1, -0.8, 0.8, 1], [1, 0.8, -0.8, -1]),
}


def net_of(make_spec: MakeSpec, head: Cofinal, **other: Any) -> CofinalNet:
    return built(head, make_spec(**other), 0).double()  # pyright: ignore[reportReturnType]


def noise() -> Live:
    return Live(torch.Generator().manual_seed(0), torch.float64)


def taught(five: Batch, coarse: list[int], fine: list[int]) -> Batch:
    return five._replace(targets={"coarse": torch.tensor(coarse), "fine": torch.tensor(fine)})


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def coarse_by_hand(grades: np.ndarray, asked: nn.Linear, values: list[float]) -> np.ndarray:
    weight, bias = asked.weight.detach().numpy(), asked.bias.detach().numpy()
    found = []
    for sample in grades:
        present = [sigmoid(weight[i] @ sample[i] + bias[i]) for i in range(4)]
        found.append(sum(a * w for a, w in zip(present, values, strict=True)) / sum(present))
    return np.array(found)


def fine_by_hand(net: CofinalNet, grades: torch.Tensor) -> np.ndarray:
    """Torch's attention with the same weights, over the four grades of one sample at a time."""
    width = grades.shape[2]
    attention = nn.MultiheadAttention(width, 4, batch_first=True).double()
    state = {
        "in_proj_weight": net.among.inputs.weight,
        "in_proj_bias": net.among.inputs.bias,
        "out_proj.weight": net.among.output.weight,
        "out_proj.bias": net.among.output.bias,
    }
    attention.load_state_dict(state)
    found = []
    for sample in grades:
        one = sample[None]
        mixed = attention(one, one, one)[0].detach().numpy().reshape(-1)
        for layer in net.fine:
            mixed = layer.weight.detach().numpy() @ mixed + layer.bias.detach().numpy()
        found.append(mixed / np.linalg.norm(mixed))
    return np.array(found)


@pytest.mark.parametrize("clips", [1, 68])
def test_it_has_the_published_number_of_parameters_for_any_length(make_spec: MakeSpec, clips: int):
    net = built(Cofinal(), make_spec(1024, clips=clips), 0)
    assert sum(p.numel() for p in net.parameters()) == 3_714_664
    more = built(Cofinal(negative=True), make_spec(1024, clips=clips), 0)
    assert sum(p.numel() for p in more.parameters()) == 3_714_664 + 4 * 257


@pytest.mark.parametrize(("width", "classes"), [(100, 100), (128, 100), (10, 4)])
def test_the_columns_are_a_simplex(width: int, classes: int):
    columns = simplex(width, classes).numpy()
    assert columns.shape == (width, classes)
    wanted = np.full((classes, classes), -1 / (classes - 1))
    np.fill_diagonal(wanted, 1)
    assert columns.T @ columns == pytest.approx(wanted, abs=1e-12)


def test_the_columns_follow_the_seed_and_are_kept_with_the_head(dives: Callable[..., FeatureSet], tmp_path):
    train = dives(12)
    first, second = Cofinal(epochs=1, hidden=64).fit(train, seeds=[0, 1])
    assert not torch.equal(first.net.etf, second.net.etf)
    (again,) = Cofinal(epochs=1, hidden=64).fit(train, seeds=[1])
    assert torch.equal(again.net.etf, second.net.etf)
    second.save(tmp_path)
    loaded: Any = load_head(tmp_path)
    assert torch.equal(loaded.net.etf, second.net.etf)
    assert np.array_equal(loaded.predict(train).score, second.predict(train).score)


@pytest.mark.parametrize(
    ("place", "difficulty", "classes", "k", "coarse", "fine"),
    [
        (0.0, 1.0, 100, 0, 0, 0),
        (0.0099, 1.0, 100, 99, 0, 99),
        (0.01, 1.0, 100, 100, 1, 0),
        (0.29, 1.0, 100, 2900, 29, 0),  # 2899.9999999999995 in double precision
        (0.5678, 1.0, 100, 5678, 56, 78),
        (0.56789, 1.0, 100, 5678, 56, 78),
        (0.99999, 1.0, 100, 9999, 99, 99),
        (1.0, 1.0, 100, 10000, 100, 0),
        (0.5, 1.0, 128, 6400, 64, 0),
        (0.3, 1.0, 128, 3840, 38, 40),
        (-0.2, 1.0, 100, 0, 0, 0),  # outside: as at the end
        (1.4, 1.0, 100, 10000, 100, 0),
    ],
)
def test_coarse_and_fine_step_of_a_mark(place: float, difficulty: float, classes: int, k: int, coarse: int, fine: int):
    assert [int(one[0]) for one in steps(np.array([place]), np.array([difficulty]), classes)] == [coarse, fine]
    assert (coarse * 100 + fine) == k
    assert abs(k / (100 * classes) - min(max(place, 0), 1)) < 1 / (100 * classes)


def test_with_difficulty_the_coarse_step_is_of_the_score_and_the_fine_one_of_the_mark():
    coarse, fine = steps(np.array([0.7, 0.8125, 1.2]), np.array([3.0, 3.2, 2.0]), 100)
    assert coarse.tolist() == [210, 260, 200]  # .7 * 3; .8125 * 3.2; clipped to 1, times 2
    assert fine.tolist() == [0, 25, 0]


@pytest.mark.parametrize("use_difficulty", [True, False])
def test_labels_are_steps_of_the_range_of_marks(dives: Callable[..., FeatureSet], use_difficulty: bool):
    train = dives(20)
    head = Cofinal(use_difficulty=use_difficulty, theta=30.0 if use_difficulty else None)
    spec = spec_of(head, train)
    assert spec.times_difficulty == use_difficulty
    labels = head.labels(spec, train)
    for i in range(20):
        mark = train.score[i] / train.difficulty[i] / 30 if use_difficulty else train.score[i] / 123
        times = train.difficulty[i] if use_difficulty else 1.0
        mark = min(max(mark, 0), 1)
        assert labels["coarse"][i] == int(mark * times * 10000 + 1e-6) // 100
        assert labels["fine"][i] == int(mark * 10000 + 1e-6) % 100


@pytest.mark.parametrize("weights", list(VALUES))
@pytest.mark.parametrize("negative", [False, True])
def test_what_it_says_by_hand(make_spec: MakeSpec, five: Batch, weights: Any, negative: bool):
    head = Cofinal(hidden=64, heads=2, weights=weights, negative=negative, width=110, classes=105, dropout=0)
    net = net_of(make_spec, head, low=10.0, high=40.0).eval()
    said: Said = net(five.streams["x"], five.masks["x"])
    grades = said.grades.detach().numpy()
    assert said.fine.detach().numpy() == pytest.approx(fine_by_hand(net, said.grades), abs=1e-10)
    coarse = coarse_by_hand(grades, net.asked, VALUES[weights][0])
    assert said.coarse.detach().numpy() == pytest.approx(coarse, abs=1e-7)  # values were rounded to single precision
    if negative:
        assert net.asked_lacking is not None
        coarse = (coarse + 1 - coarse_by_hand(grades, net.asked_lacking, VALUES[weights][1])) / 2
    columns = net.etf.numpy()[:, :100]
    fine = np.array([int(np.argmax(columns.T @ f)) for f in said.fine.detach().numpy()])
    wanted = 10 + 30 * (coarse + fine / 10500)
    assert head.judge(net, five)["score"].detach().numpy() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("times_difficulty", [False, True])
@pytest.mark.parametrize(("negative", "align"), [(False, 0), (False, 1), (True, 1), (True, 2)])
def test_the_loss_by_hand(
    make_spec: MakeSpec,
    five: Batch,
    triplets: Callable[..., float],
    times_difficulty: bool,
    negative: bool,
    align: Any,
):
    head = Cofinal(hidden=64, triplet=0.7, negative=negative, align=align, dropout=0)
    net = net_of(make_spec, head, times_difficulty=times_difficulty).train()
    batch = taught(five, [61, 40, 83, 70, 55], [0, 50, 25, 99, 7])
    said: Said = net(five.streams["x"], five.masks["x"])
    grades, fine = said.grades.detach().numpy(), fine_by_hand(net, said.grades)
    values, lacks = net.values.double().tolist()
    coarse = coarse_by_hand(grades, net.asked, values)
    lacking = None if net.asked_lacking is None else coarse_by_hand(grades, net.asked_lacking, lacks)
    total = 0.0
    for i, (k, j) in enumerate(zip([61, 40, 83, 70, 55], [0, 50, 25, 99, 7], strict=True)):
        times = five.difficulty[i].item() if times_difficulty else 1.0
        total += sum((a - b) ** 2 for a, b in zip(fine[i], net.etf[:, j].tolist(), strict=True)) / 100 / 5
        total += (coarse[i] * times - k / 100) ** 2 / 5
        if lacking is not None:
            total += (lacking[i] * times - (times - k / 100)) ** 2 / 5
    total += 0.7 * triplets(grades, 1.0, align == 2)
    assert head.loss(net, batch, noise(), STEP).item() == pytest.approx(total, abs=1e-9)


def test_companions_do_not_matter(make_spec: MakeSpec, five: Batch):
    """The released code attends over the batch, so that the fine class depended on it."""
    head = Cofinal(hidden=64)
    net = net_of(make_spec, head).eval()
    together = net(five.streams["x"], five.masks["x"])
    for i in range(5):
        alone = net(five.streams["x"][i : i + 1], five.masks["x"][i : i + 1])
        assert torch.allclose(alone.fine[0], together.fine[i], atol=1e-12)
        assert torch.allclose(alone.coarse[0], together.coarse[i], atol=1e-12)


def test_padding_changes_neither_loss_nor_gradient_nor_judgement(make_spec: MakeSpec, five: Batch):
    head, results = Cofinal(hidden=64, negative=True, dropout=0), []
    for extra in (0, 9):
        net = net_of(make_spec, head)
        more = taught(five, [61, 40, 83, 70, 55], [0, 50, 25, 99, 7])._replace(
            streams={"x": nn.functional.pad(five.streams["x"], (0, 0, 0, extra), value=55.0)},
            masks={"x": nn.functional.pad(five.masks["x"], (0, extra))},
        )
        loss = head.loss(net.train(), more, noise(), STEP)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        statistics = torch.cat([b.flatten() for b in net.buffers()])
        results.append((loss.detach(), gradient, statistics, head.judge(net.eval(), more)["score"].detach()))
    for short, long in zip(*results, strict=True):
        assert torch.allclose(short, long, atol=1e-9)


def test_it_learns_32_samples_by_heart(dives: Callable[..., FeatureSet]):
    train = dives(32)
    (fitted,) = Cofinal(epochs=40, lr=3e-4, batch=8, theta=30, dropout=0).fit(train, seeds=[0])
    assert np.corrcoef(fitted.predict(train).score, train.score)[0, 1] > 0.98
    # The fine classes too, though they are worth little: each is the column that its sample was taught.
    labels = fitted.head.labels(fitted.spec, train)
    values = (train.streams["x"].values - fitted.scaling.mean["x"]) / fitted.scaling.sd["x"]
    found = []
    for i in range(32):
        clips = torch.from_numpy(values[train.streams["x"].offsets[i] : train.streams["x"].offsets[i + 1]])[None]
        fine = fitted.net(clips, torch.ones(clips.shape[:2], dtype=torch.bool)).fine
        found.append(int((fine @ fitted.net.etf).argmax()))
    assert np.mean(found == labels["fine"]) > 0.9


@pytest.mark.parametrize(
    "settings",
    [
        {"classes": "99"},
        {"classes": "10", "width": "128"},
        {"width": "99"},
        {"hidden": "30"},
        {"heads": "3"},
        {"weights": "4"},
        {"align": "3"},
        {"theta": "0"},
    ],
)
def test_parameters_that_do_not_fit_are_refused(settings: dict[str, str]):
    with pytest.raises(BadParameter):
        make_head("cofinal", settings)
