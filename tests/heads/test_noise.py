"""Every seed gets the noise that it would get alone, and a loss that asks differently than recorded is stopped."""

from __future__ import annotations

import pytest
import torch

from aqa.heads.noise import Live, Replay, draw, dropout


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_what_was_recorded_is_drawn_for_each_seed_as_alone():
    live = Live(generator(7), torch.float64)
    first, second = live.normal(3, 2), live.uniform(4)
    assert live.asked == [("normal", (3, 2)), ("uniform", (4,))]
    drawn = draw(live.asked, [generator(1), generator(7)], torch.float64)
    assert [tuple(one.shape) for one in drawn] == [(2, 3, 2), (2, 4)]
    replay = Replay(one[1] for one in drawn)
    assert torch.equal(replay.normal(3, 2), first)
    assert torch.equal(replay.uniform(4), second)
    assert not torch.equal(drawn[0][0], first)


def test_asking_for_other_noise_than_recorded_is_an_error():
    with pytest.raises(RuntimeError, match=r"asked for noise \(2,\) and \(3,\)"):
        Replay([torch.zeros(3)]).normal(2)
    with pytest.raises(RuntimeError, match="nothing more"):
        Replay([]).uniform(2)


def test_dropout_zeroes_the_share_and_keeps_the_mean():
    x = torch.ones(200, 100)
    assert dropout(x, 0.3, None) is x
    assert dropout(x, 0.0, Live(generator(0))) is x
    dropped = dropout(x, 0.3, Live(generator(0)))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)


def test_noise_is_inside_its_bounds_and_leaves_the_global_state_alone():
    before = torch.random.get_rng_state()
    live = Live(generator(0))
    uniform, normal = live.uniform(10_000), live.normal(10_000)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert normal.mean().abs() < 0.05
    assert normal.std().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(before, torch.random.get_rng_state())
