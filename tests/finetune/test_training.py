"""The loop: what stops and goes on, what is split and put together, what stays frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aqa.catalog.base import Media
from aqa.errors import AqaError, BadParameter, StoreError, UnmetNeeds
from aqa.extract.backbones import resolve
from aqa.extract.plan import parse_plan
from aqa.finetune.live import live
from aqa.finetune.loop import Interrupted, Training, course
from aqa.finetune.network import Computing, freeze
from aqa.finetune.recipe import Recipe
from aqa.heads import make_head
from aqa.heads.torch_head import Step

Make = Callable[..., Training]
CHANCES = {"flip": 0.5, "crop": "random", "shifts": (-2, 2)}


def weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training.net.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def trained(training: Training) -> dict[str, torch.Tensor]:
    training.run()
    return weights(training)


def test_it_learns_and_the_backbone_moves(training: Make):
    made = training("mlp", {"hidden": "16", "epochs": "10", "lr": "3e-3"}, rates=(1e-3,), micro=2)
    before = weights(made)
    after = trained(made)
    assert not any(torch.equal(after[n], v) for n, v in before.items() if "conv" in n and n.endswith("weight"))
    losses = [row["loss"] for row in made.progress.history]
    assert losses[-1] < 0.8 * losses[0]
    assert made.progress.updates == 10 * 3


@pytest.mark.parametrize("head", ["mlp", "core", "usdl"])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(head: str, training: Make, tmp_path: Path):
    one, again, other = (
        trained(training(head, folder=tmp_path / str(k), seed=seed, **CHANCES)) for k, seed in enumerate((0, 0, 1))
    )
    assert same(one, again)
    assert not same(one, other)


# In the first epoch, at its end, while it is judged, in the second, while that is judged.
@pytest.mark.parametrize(("stop", "updates"), [(1, 1), (3, 3), (4, 3), (7, 4), (9, 6)])
@pytest.mark.parametrize("more", [{}, {"ema": 0.9, "clip": 1.0, "warm_up": 1.0}])
def test_stopped_and_resumed_is_never_stopped(
    stop: int, updates: int, more: dict[str, Any], training: Make, tmp_path: Path
):
    settings = {"votes": "3"}
    whole = training("core", settings, folder=tmp_path / "a", **CHANCES, **more)
    wanted = trained(whole)
    count = iter(range(1, 100))
    first = training("core", settings, folder=tmp_path / "b", stopping=lambda: next(count) == stop, **CHANCES, **more)
    with pytest.raises(Interrupted):
        first.run()
    assert first.progress.updates == updates
    second = training("core", settings, folder=tmp_path / "b", **CHANCES, **more)
    assert same(trained(second), wanted)
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in t.progress.history] for t in (second, whole)]
    assert rows[0] == rows[1]
    assert second.load_kept() == whole.load_kept()
    assert same(weights(second), weights(whole))
    assert not list((tmp_path / "b").glob(".*"))


def test_a_checkpoint_of_another_training_is_refused(training: Make, tmp_path: Path):
    training().run()
    other = training()
    other.digest = "other"
    with pytest.raises(StoreError, match="other settings"):
        other.run()


def test_a_damaged_checkpoint_is_an_error_with_a_way_out(training: Make, tmp_path: Path):
    training().run()
    path = tmp_path / "training" / "last.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(StoreError, match="Remove it to begin again"):
        training().run()


def test_every_so_many_epochs_are_kept(training: Make, tmp_path: Path):
    training("mlp", {"hidden": "8", "epochs": "4"}, keep=2).run()
    names = {path.name for path in (tmp_path / "training").iterdir()}
    assert names == {"last.safetensors", "best.safetensors", "epoch-002.safetensors", "epoch-004.safetensors"}


@pytest.mark.parametrize("head", ["mlp", "attention"])  # whose losses are means over samples
def test_micro_batches_make_the_update_of_the_whole_batch(head: str, training: Make, tmp_path: Path):
    plain = {"optimiser": "sgd", "batch": "5"}  # 12 films: 5, 5 and 2
    found = [trained(training(head, plain, micro=m, folder=tmp_path / str(m), **CHANCES)) for m in (5, 2, 1)]
    for other in found[1:]:
        for name, value in found[0].items():
            assert torch.allclose(value, other[name], atol=5e-5), name


@pytest.mark.parametrize("at_once", [1, 3])
def test_recomputed_activations_give_the_same_gradient(at_once: int, training: Make, tmp_path: Path):
    sgd, cpu = {"optimiser": "sgd"}, torch.device("cpu")
    plain = trained(training("mlp", sgd, folder=tmp_path / "a"))
    how = Computing(cpu, at_once=at_once, recompute=True)
    less = trained(training("mlp", sgd, how=how, folder=tmp_path / "b"))
    for name, value in plain.items():
        assert torch.allclose(value, less[name], atol=1e-6), name


def test_features_in_bf16_are_those_in_fp32_nearly(training: Make):
    made = training()
    clips = torch.randint(0, 255, (2, 2, 8, 56, 56, 3), dtype=torch.uint8)
    zeros = torch.zeros(clips.shape[:3], dtype=torch.bool)
    exact, half = (made.net.features(0, clips, zeros, Computing(torch.device("cpu"), p)) for p in ("fp32", "bf16"))
    assert half.dtype == torch.float32
    assert (half - exact).norm() < 0.02 * exact.norm()
    assert not torch.equal(half, exact)


def test_a_gradient_that_is_not_finite_stops_before_it_is_used(training: Make):
    made = training("mlp", {"epochs": "1"})
    weight = made.net.backbones[0].conv4a.weight
    before = weights(made)
    weight.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(AqaError, match="the gradient is not finite in epoch 1"):
        made.run()
    assert same(weights(made), before)


class Normed(nn.Module):
    """A network with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv3d(3, 64, 3, stride=4), nn.BatchNorm3d(64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)).relu().mean(dim=(2, 3, 4))


@pytest.mark.parametrize("norms", ["frozen", "train"])
def test_batch_normalisation_stays_frozen(norms: str, small: Any, training: Make):
    torch.manual_seed(0)
    stream = replace(small, resolved=replace(small.resolved, net=Normed()))
    made = training("mlp", streams=[stream], norms=norms)
    before = weights(made)
    after = trained(made)
    moved = not torch.equal(before["backbones.0.norm.running_mean"], after["backbones.0.norm.running_mean"])
    assert moved == (norms == "train")
    made.net.train()
    assert made.net.backbones[0].norm.training == (norms == "train")
    assert not torch.equal(before["backbones.0.conv.weight"], after["backbones.0.conv.weight"])


def test_layers_can_be_frozen_by_name(training: Make):
    made = training("mlp", freeze=("conv1", "conv2", "conv3*.bias"))
    before = weights(made)
    after = trained(made)
    still = {n.split(".", 2)[2] for n, v in before.items() if n.startswith("backbones") and torch.equal(v, after[n])}
    assert still == {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "conv3a.bias", "conv3b.bias"}
    with pytest.raises(BadParameter, match="no layer begins with 'fc'"):
        training("mlp", freeze=("fc",))


def test_each_part_has_its_rate(training: Make):
    made = training("mlp", {"lr": "0.02"}, rates=(0.005,))
    rates = {part.rate: part.names for part in made.parts}
    assert set(rates) == {0.02, 0.005}
    assert all(name.startswith("backbones") for name in rates[0.005])
    assert all(name.startswith("head") for name in rates[0.02])
    assert {part.rate for part in training("mlp", {"lr": "0.02"}).parts} == {0.02}


def test_the_course_of_the_rates():
    head, cosine = make_head("mlp", {"epochs": "10"}), make_head("mlp", {"epochs": "10", "schedule": "cosine"})
    plain = Recipe("mlp", ("c3d",), warm_up=2, steps=(5, 8), factor=0.1)
    assert [course(head, plain, e, p) for e, p in ((0, 0), (0, 0.5), (1, 0), (1, 0.5), (2, 0))] == [
        0,
        0.25,
        0.5,
        0.75,
        1,
    ]
    assert [course(head, plain, e, 0.3) for e in (4, 5, 7, 8)] == pytest.approx([1, 0.1, 0.1, 0.01])
    smooth = [course(cosine, Recipe("mlp", ("c3d",)), e, 0) for e in (0, 5, 9)]
    assert smooth == pytest.approx([1, 0.505, 0.01 + 0.99 * 0.5 * (1 + np.cos(0.9 * np.pi))])


def test_the_running_mean_of_weights_is_what_is_kept(training: Make):
    made = training("mlp", {"hidden": "8", "epochs": "1", "select": "last"}, ema=0.5)
    wanted = {name: value.clone() for name, value in made.net.named_parameters()}
    step = iter(range(100))

    def follow() -> None:
        next(step)
        for name, value in made.net.named_parameters():
            wanted[name] = 0.5 * wanted[name] + 0.5 * value.detach()

    made.step = follow
    made.run()
    made.load_kept()
    for name, value in made.net.named_parameters():
        assert torch.allclose(value, wanted[name], atol=1e-6)


def test_a_loss_that_is_not_finite_stops_with_the_samples(training: Make):
    made = training("mlp", {"lr": "1e30", "optimiser": "sgd"}, rates=(1e30,))
    with pytest.raises(AqaError, match=r"not finite in epoch \d, on film\d\d, ") as caught:
        made.run()
    assert "lower the rates" in str(caught.value).lower()


def test_a_bad_video_is_left_out_and_told(films: Any, training: Make, tmp_path: Path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(films.media["film03"].path.read_bytes()[:2000])
    gone = replace(films, media={**films.media, "film03": Media(bad), "film13": Media(tmp_path / "none.mp4")})
    for head in ("mlp", "core"):
        made = training(head, {"epochs": "2"}, films=gone, folder=tmp_path / head)
        made.run()
        assert set(made.progress.failed) == {"film03"}
        assert "cut short" in made.progress.failed["film03"]
        found, failed = made.judge.features(made.net, films.data.take(range(12, 16)))
        assert found.ids == ("film12", "film14", "film15")
        assert set(failed) == {"film13"}
        train, _ = made.judge.features(made.net, made.judge.train)
        fitted = made.judge.fitted(made.net, train, None, {"seed": 0})  # pyright: ignore[reportArgumentType]
        assert fitted.bank is None or "film03" not in fitted.bank.ids


def test_all_bad_videos_are_an_error(films: Any, training: Make, tmp_path: Path):
    gone = replace(films, media={name: Media(tmp_path / "none.mp4") for name in films.media})
    with pytest.raises(AqaError, match="not one sample of train can be read"):
        training("mlp", films=gone).run()


def test_exemplars_of_an_evaluation_are_made_once(training: Make):
    made = training("core", {"votes": "5"})
    made.run()
    asked: list[int] = []
    real = made.judge.loader.__class__.__call__

    def counted(self: Any, batches: Any) -> Any:
        asked.extend(ask.row for batch in batches for ask in batch)
        return real(self, batches)

    made.judge.loader.__class__.__call__ = counted  # pyright: ignore[reportAttributeAccessIssue]
    try:
        assert made.val is not None
        made.judge.quality(made.net, made.val)
    finally:
        made.judge.loader.__class__.__call__ = real  # pyright: ignore[reportAttributeAccessIssue]
    assert len(asked) == len(set(asked))
    assert len(asked) <= 4 + 12


def test_a_mirror_needs_streams_that_turn_round(films: Any, training: Make):
    from aqa.heads import Ragged

    steps = np.arange(len(films.data) + 1)
    flat = {"i3d": Ragged(np.ones((len(films.data), 64), np.float32), steps)}
    data = replace(films, data=replace(films.data, streams=flat))
    with pytest.raises(UnmetNeeds, match="does not turn round"):
        training("t2cr", films=data, flip=0.5)


def test_what_fits_is_counted_and_said(training: Make, monkeypatch: pytest.MonkeyPatch):
    from aqa.finetune import memory, update

    made = training("mlp", {"batch": "8"})
    monkeypatch.setattr(update, "free_bytes", lambda _: 10**12)
    assert made.fits() > 1000
    one = memory.kept_bytes(lambda: made.net.features(0, *frames(made), made.how).sum())
    assert 2**20 < one < 2**26  # two clips of 8 frames of 56 x 56 through eight convolutions
    weights = sum(p.numel() for p in made.trained)
    monkeypatch.setattr(update, "free_bytes", lambda _: int((12 * weights + 3.9 * one) / 0.8))
    assert made.fits() == 3
    automatic = training("mlp", {"batch": "8"}, automatic=True)
    assert automatic.micro == 3
    less = training("mlp", {"batch": "8"}, how=Computing(torch.device("cpu"), at_once=1, recompute=True))
    assert memory.kept_bytes(lambda: less.net.features(0, *frames(less), less.how).sum()) < one / 4


def frames(made: Training) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1, 2, 8, 56, 56, 3, dtype=torch.uint8), torch.zeros(1, 2, 8, dtype=torch.bool)


def test_a_full_memory_is_an_error_that_says_what_fits(training: Make, monkeypatch: pytest.MonkeyPatch):
    made = training("mlp", {"batch": "8"})
    monkeypatch.setattr(made, "_loss", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")))
    monkeypatch.setattr(made, "fits", lambda: 5)
    with pytest.raises(AqaError, match="does not hold 8 samples at once") as caught:
        made.run()
    assert "--batch 5 would fit" in str(caught.value)


def test_what_fits_is_asked_of_a_sample_that_can_be_read(
    films: Any, training: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from aqa.finetune import update

    monkeypatch.setattr(update, "free_bytes", lambda _: 10**12)
    gone = replace(films, media={**films.media, "film00": Media(tmp_path / "none.mp4")})
    for head in ("mlp", "core"):
        assert training(head, {"batch": "8"}, films=gone, folder=tmp_path / head).fits() > 1000


def test_a_full_memory_while_judging_is_said(training: Make, monkeypatch: pytest.MonkeyPatch):
    made = training()
    full = torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(made.net, "features", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(AqaError, match="full while samples are judged"):
        made.judge.features(made.net, made.judge.train)


def test_an_update_is_the_mean_of_what_can_be_read(films: Any, training: Make, tmp_path: Path):
    """Two of four films are gone: the gradient is that of the other two, not half of it."""
    gone = replace(films, media={**films.media, **{f"film{k:02d}": Media(tmp_path / "none.mp4") for k in range(2)}})
    found = []
    for films_, rows in ((gone, [0, 1, 2, 3]), (films, [2, 3])):
        made = training("mlp", {"optimiser": "sgd"}, films=films_, folder=tmp_path / str(len(rows)))
        asks = made.asks(torch.tensor(rows), None, 0)
        before = weights(made)
        made.update(len(rows), asks, iter(made.loader(asks)), Step(0, 0))
        found.append({name: value - before[name] for name, value in weights(made).items()})
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], rtol=1e-4, atol=1e-9), name
    made = training("mlp", films=gone, folder=tmp_path / "none")
    asks, before = made.asks(torch.tensor([0, 1]), None, 0), weights(made)
    made.update(2, asks, iter(made.loader(asks)), Step(0, 0))
    assert same(weights(made), before)


def test_a_layer_of_one_of_two_networks_can_be_frozen(small: Any, training: Make):
    one, other = nn.Sequential(nn.Linear(2, 2)), Normed()
    freeze([one, other], ("norm",))
    frozen = [name for net in (one, other) for name, p in net.named_parameters() if not p.requires_grad]
    assert frozen == ["norm.weight", "norm.bias"]
    stream = replace(small, resolved=replace(small.resolved, net=Normed()))
    made = training("mlp", streams=[stream], freeze=("norm",), norms="train")
    made.net.train()
    assert not made.net.backbones[0].norm.training  # its statistics stay with its weights


def test_nothing_to_choose_the_epoch_by_is_said(films: Any, training: Make, tmp_path: Path):
    gone = replace(films, media={**films.media, **{f"film{k}": Media(tmp_path / "none.mp4") for k in range(12, 16)}})
    with pytest.raises(AqaError, match="not one of the samples that choose the epoch can be read"):
        training(films=gone).run()


def test_c3d_avg_stl_has_its_parameters(training: Make):
    """Convolutions 27,655,936, fc6 33,558,528, the score 4,097."""
    stream = live(resolve("c3d.random:pool5"), parse_plan("2x16@32"))
    made = training("mlp", {"hidden": "4096"}, streams=[stream])
    assert sum(p.numel() for p in made.net.parameters()) == 61_218_561


def test_losses_in_bf16_are_finite_and_fall(training: Make):
    """Without oneDNN, whose gradients of 3D convolutions in bf16 are NaN now and then in torch 2.15."""
    before = torch.backends.mkldnn.enabled
    torch._C._set_mkldnn_enabled(False)
    try:
        how = Computing(torch.device("cpu"), "bf16")
        made = training("mlp", {"hidden": "16", "epochs": "2", "lr": "3e-3"}, rates=(1e-3,), how=how)
        made.run()
    finally:
        torch._C._set_mkldnn_enabled(before)
    losses = [row["loss"] for row in made.progress.history]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
