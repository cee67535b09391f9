"""`gcn`: what it sees of a pose, mirrors, padding, learning, files, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aqa.catalog.skeletons import SKELETONS, flipped, normalised, to_mpii
from aqa.errors import BadParameter, UnmetNeeds
from aqa.heads import FeatureSet, Ragged, load_head, make_head, training, unmet
from aqa.heads.batches import Batch, Scaling, to_batch
from aqa.heads.check import check_head
from aqa.heads.fitted_torch import FittedTorch
from aqa.heads.gcn import Gcn, GcnNet
from aqa.heads.noise import Live, Replay
from aqa.heads.torch_head import Step, built, spec_of
from aqa.heads.training import fit

STEP = Step(0, 0)
SMALL: dict[str, Any] = {"hidden": 8, "frames": 6, "epochs": 2}
ENCODERS = ["hierarchical", "st"]
MPII = SKELETONS["mpii-16"]


def poses(count: int, seed: int = 0, *, layout: str = "mpii-16", binary: bool = False, least: int = 4) -> FeatureSet:
    """Bodies of `layout` that raise their last joint with quality, in pixels, of 4 to 9 frames."""
    draw, joints = np.random.default_rng([seed, 6]), len(SKELETONS[layout].joints)
    body = np.random.default_rng(1).normal(size=(joints, 3)) * 30
    quality, lengths = draw.uniform(-1, 1, count), draw.integers(least, least + 6, count)
    parts = []
    for q, length in zip(quality, lengths, strict=True):
        pose = 200 + body + draw.normal(size=(length, joints, 3))
        pose[:, -1, 1] -= 60 * q * np.linspace(0, 1, length)
        if SKELETONS[layout].third == "confidence":
            pose[..., 2] = draw.uniform(0.2, 1, (length, joints))
        parts.append(pose)
    score = (quality > 0).astype(np.float64) if binary else 50 + 20 * quality
    return FeatureSet(
        ids=tuple(f"pose-{seed}-{i}" for i in range(count)),
        streams={"pose": Ragged(np.concatenate(parts).astype(np.float32), np.concatenate([[0], np.cumsum(lengths)]))},
        score=score,
        range=(0.0, 1.0) if binary else (0.0, 100.0),
        target_kind="binary" if binary else "score",
    )


def net_and_batch(head: Gcn, data: FeatureSet) -> tuple[GcnNet, Batch]:
    seen = head.prepared(data)
    net: Any = built(head, spec_of(head, seen), 0)
    return net.double(), to_batch(seen, Scaling({}, {}), "cpu", torch.float64)


def with_values(data: FeatureSet, change: Callable[[np.ndarray], None]) -> FeatureSet:
    values = data.streams["pose"].values.copy()
    change(values)
    return replace(data, streams={"pose": Ragged(values, data.streams["pose"].offsets)})


@pytest.mark.parametrize(("encoder", "count"), [("hierarchical", 170_112 + 129), ("st", 370_624 + 129)])
def test_number_of_parameters(encoder: str, count: int):
    net, _ = net_and_batch(make_head("gcn", {"encoder": encoder}), poses(3))  # pyright: ignore[reportArgumentType]
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize(
    ("settings", "layout", "shape"),
    [
        ({}, "mpii-16", (16, 2)),
        ({"confidence": True}, "coco-17", (17, 3)),
        ({}, "kinect-22", (22, 3)),  # a depth is no confidence
        ({"convert": "mpii-16"}, "kinect-22", (16, 3)),
        ({"convert": "mpii-16"}, "coco-17", (16, 2)),
        ({"normalise": "pixel"}, "halpe-26", (26, 2)),
    ],
)
def test_what_it_sees_of_a_pose(settings: dict[str, Any], layout: str, shape: tuple[int, ...]):
    head, data = Gcn(**settings), poses(3, layout=layout)
    seen = head.prepared(data.take([2, 0])).streams["pose"]
    assert seen.shape == shape
    for row, i in enumerate((2, 0)):
        wanted = normalised(data.streams["pose"][i], SKELETONS[layout], head.normalise)
        if head.convert != "none":
            wanted = to_mpii(wanted, SKELETONS[layout])
        assert np.array_equal(seen[row], wanted[..., : shape[1]])


def test_frames_are_the_nearest_at_even_distances_and_all_of_them_where_told():
    x, mask = torch.randn(2, 9, 16, 2), torch.arange(9) < torch.tensor([9, 4])[:, None]
    data, seen = poses(2), {}
    for frames in (5, 0):
        net, _ = net_and_batch(Gcn(hidden=8, frames=frames), data)
        net.float().encoder.register_forward_hook(
            lambda module, given, out, frames=frames: seen.update({frames: (given, out)})
        )
        net(x, mask)
    (resampled, there), out = seen[5]
    assert torch.equal(resampled[0], x[0, [0, 2, 4, 6, 8]])
    assert torch.equal(resampled[1], x[1, [0, 1, 2, 2, 3]])
    assert there is None
    assert out.shape == (2, 5, 16)
    assert torch.equal(seen[0][0][0], x)
    assert torch.equal(seen[0][0][1], mask)


@pytest.mark.parametrize("binary", [False, True])
def test_the_loss_by_hand(binary: bool):
    head, data = Gcn(**SMALL), poses(5, binary=binary)
    net, batch = net_and_batch(head, data)
    loss = head.loss(net, batch, Live(torch.Generator()), STEP).item()
    raw = net(batch.streams["pose"], batch.masks["pose"]).detach().numpy()
    if binary:
        chance = 1 / (1 + np.exp(-raw))
        assert loss == pytest.approx(-np.log(np.where(data.score == 1, chance, 1 - chance)).mean())
        assert head.judge(net, batch)["score"].detach().numpy() == pytest.approx(chance)
    else:
        points = data.score.mean() + data.score.std() * raw
        assert loss == pytest.approx((((points - data.score) / data.score.std()) ** 2).mean(), rel=1e-6)
        assert head.judge(net, batch)["score"].detach().numpy() == pytest.approx(points, rel=1e-6)


def test_a_mirrored_sample_is_the_pose_in_a_mirror():
    head, data = Gcn(**SMALL, flip=True), poses(4)
    net, batch = net_and_batch(head, data)
    coins = torch.tensor([0.2, 0.7, 0.49, 0.5], dtype=torch.float64)
    mirrored = [flipped(data.streams["pose"][i], MPII, 400.0) for i in range(4)]
    turned = with_values(data, lambda values: None)
    parts = [mirrored[i] if coins[i] < 0.5 else data.streams["pose"][i] for i in range(4)]
    turned = replace(data, streams={"pose": Ragged(np.concatenate(parts), data.streams["pose"].offsets)})
    _, wanted = net_and_batch(head, turned)
    x, mask = batch.streams["pose"], batch.masks["pose"]
    drawn = net(x, mask, Replay([coins]))
    assert torch.allclose(drawn, net(wanted.streams["pose"], mask), atol=1e-4)
    assert not torch.allclose(drawn, net(x, mask), atol=1e-2)
    assert torch.equal(net.eval()(x, mask), net(x, mask))  # judged as it is
    assert Live(torch.Generator()).asked == []
    noise = Live(torch.Generator())
    Gcn(**SMALL).loss(net_and_batch(Gcn(**SMALL), data)[0], batch, noise, STEP)
    assert noise.asked == []  # nothing is drawn where nothing is turned


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("frames", [0, 6])
def test_padding_changes_neither_loss_nor_gradient_nor_judgement(encoder: Any, frames: int):
    head, results = Gcn(encoder=encoder, hidden=8, frames=frames), []
    for extra in (0, 5):
        net, batch = net_and_batch(head, poses(5))
        x = torch.nn.functional.pad(batch.streams["pose"], (0, 0, 0, 0, 0, extra), value=7.0)
        mask = torch.nn.functional.pad(batch.masks["pose"], (0, extra))
        batch = batch._replace(streams={"pose": x}, masks={"pose": mask})
        loss = head.loss(net, batch, Live(torch.Generator()), STEP)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        results.append((loss.detach(), gradient, head.judge(net.eval(), batch)["score"].detach()))
    for short, long in zip(*results, strict=True):
        assert torch.allclose(short, long, atol=1e-8)


@pytest.mark.parametrize(("encoder", "binary"), [("hierarchical", False), ("hierarchical", True), ("st", False)])
def test_it_learns_32_samples_by_heart(encoder: Any, binary: bool):
    train = poses(32, binary=binary)
    head = Gcn(encoder=encoder, hidden=8, frames=6, epochs=40, batch=8, lr=1e-2, schedule="cosine")
    (fitted,) = head.fit(train, seeds=[0])
    said = fitted.predict(train).score
    if binary:
        assert ((said > 0.5) == (train.score == 1)).all()
    else:
        assert np.corrcoef(said, train.score)[0, 1] > 0.98


def test_the_same_seed_gives_the_same_bits_and_saving_keeps_them(numbers: Any, tmp_path: Path):
    train, test, head = poses(12), poses(5, 1), Gcn(**SMALL, flip=True, confidence=True)
    (one,), (again,), (other,) = (head.fit(train, seeds=[seed]) for seed in (4, 4, 5))
    assert isinstance(one, FittedTorch)
    assert torch.equal(numbers(one), numbers(again))
    assert not torch.equal(numbers(one), numbers(other))
    one.save(tmp_path)
    assert np.array_equal(load_head(tmp_path).predict(test).score, one.predict(test).score)


def test_seeds_together_and_recorded_steps_become_what_they_become_alone(numbers: Any, monkeypatch: pytest.MonkeyPatch):
    train, head = poses(8), Gcn(hidden=16, frames=5, epochs=2, batch=4, flip=True)
    alone = [fit(head, train, seeds=[seed], dtype=torch.float64)[0] for seed in (3, 0)]
    for one, other in zip(fit(head, train, seeds=[3, 0], dtype=torch.float64, together=2), alone, strict=True):
        assert (numbers(one) - numbers(other)).abs().max() < 1e-8
    monkeypatch.setattr(training, "RECORD", 1)
    (recorded,) = fit(head, train, seeds=[3], dtype=torch.float64)
    assert torch.equal(numbers(recorded), numbers(alone[0]))


@pytest.mark.parametrize(
    "head",
    [
        Gcn(**SMALL, encoder="st", confidence=True),
        Gcn(hidden=8, frames=0, epochs=2, flip=True),
        Gcn(hidden=8, frames=0, epochs=2, encoder="st", normalise="pixel"),
    ],
    ids=["st", "ragged", "ragged-st"],
)
def test_other_encoders_and_ragged_samples_keep_the_contract(head: Gcn):
    check_head(head)


def test_gaps_and_numbers_that_are_none_are_closed_before_they_are_seen():
    data = poses(6)
    first = data.streams["pose"].offsets[2]

    def spoil(values: np.ndarray) -> None:
        values[first + 1, 3] = np.nan
        values[first + 2, 4, 2] = 0

    def close(values: np.ndarray) -> None:
        values[first + 1, 3, :2] = (values[first, 3, :2] + values[first + 2, 3, :2]) / 2
        values[first + 2, 4, :2] = (values[first + 1, 4, :2] + values[first + 3, 4, :2]) / 2

    (fitted,) = Gcn(**SMALL).fit(with_values(data, spoil), seeds=[0])
    (closed,) = Gcn(**SMALL).fit(with_values(data, close), seeds=[0])
    assert fitted.predict(with_values(data, spoil)).score == pytest.approx(closed.predict(data).score, abs=5)
    assert fitted.predict(with_values(data, spoil)).score == pytest.approx(
        fitted.predict(with_values(data, close)).score, abs=1e-3
    )


@pytest.mark.parametrize("frames", [0, 6])
def test_one_frame_and_no_joint_at_all(frames: int):
    train = poses(8)

    def empty(values: np.ndarray) -> None:
        values[: train.streams["pose"].offsets[1]] = np.nan
        values[train.streams["pose"].offsets[1] : train.streams["pose"].offsets[2], :, 2] = 0

    head = Gcn(hidden=8, frames=frames, epochs=1, confidence=True)
    (fitted,) = head.fit(with_values(train, empty), seeds=[0])
    assert np.isfinite(fitted.predict(with_values(train, empty)).score).all()
    single = replace(train, streams={"pose": Ragged(train.streams["pose"].values[:8], np.arange(9))})
    (of_single,) = head.fit(single, seeds=[0])
    for one in (fitted, of_single):
        assert np.isfinite(one.predict(single).score).all()


def test_streams_that_are_no_poses_are_refused_before_the_work_starts():
    head: Any = make_head("gcn")
    for joints, numbers in ((12, 3), (16, 2)):
        stream = Ragged(np.zeros((8, joints, numbers), np.float32), np.arange(9))
        data = replace(poses(8), streams={"pose": stream})
        (lack,) = unmet(head, data)
        assert f"[{joints}, {numbers}]" in lack
        assert "mpii-16" in lack
        with pytest.raises(UnmetNeeds, match="joints"):
            head.fit(data, seeds=[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": "10"},
        {"hidden": "0"},
        {"frames": "-1"},
        {"flip": "yes", "normalise": "pixel"},
        {"scale": "standard"},
        {"encoder": "lstm"},
        {"convert": "coco-17"},
    ],
)
def test_parameters_that_do_not_fit_are_refused(settings: dict[str, str]):
    with pytest.raises(BadParameter):
        make_head("gcn", settings)
