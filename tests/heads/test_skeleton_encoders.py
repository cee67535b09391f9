"""The skeleton encoders against units written out in numpy; relabelled joints, padding, companions, odd inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from aqa.catalog.skeletons import SKELETONS, Skeleton
from aqa.heads.skeleton_gcn import HierarchicalGcn, HierarchicalUnit
from aqa.heads.skeleton_graph import hierarchy, members, partitions
from aqa.heads.skeleton_layers import JointsEncoder
from aqa.heads.stgcn import StGcn, StUnit

from .skeleton_by_hand import (
    GROUPS,
    Sequences,
    convolved,
    hierarchical,
    normed,
    padded,
    plus,
    projected,
    relu,
    shaken,
    weights,
)

MPII = SKELETONS["mpii-16"]
LENGTHS = (7, 1, 4)
ENCODERS = [HierarchicalGcn, StGcn]


def sequences(channels: int, joints: int = 16, lengths: Sequence[int] = LENGTHS) -> Sequences:
    draw = np.random.default_rng(3)
    return [draw.normal(size=(length, joints, channels)) for length in lengths]


def said(unit: nn.Module, parts: Sequences) -> Sequences:
    """What a unit, which has joints first, says of the frames that are there."""
    x, mask = padded(parts, extra=2, value=9.0)
    out = unit(x.permute(2, 0, 1, 3), mask).permute(1, 2, 0, 3).detach().numpy()
    return [one[there] for one, there in zip(out, mask.numpy(), strict=True)]


@pytest.mark.parametrize(("inputs", "outputs", "first"), [(2, 8, True), (8, 8, False), (8, 16, False)])
def test_a_hierarchical_unit_by_hand(inputs: int, outputs: int, first: bool):
    graph, rows = torch.tensor(hierarchy(MPII)), torch.tensor(members(MPII))
    unit = HierarchicalUnit(graph, None if first else rows, inputs, outputs, residual=not first)
    shaken(unit)
    parts = sequences(inputs)
    for ours, by_hand in zip(said(unit, parts), hierarchical(parts, unit, first=first), strict=True):
        assert ours == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize(("inputs", "outputs", "residual"), [(2, 8, False), (8, 8, True), (8, 16, True)])
def test_a_unit_of_stgcn_by_hand(inputs: int, outputs: int, residual: bool):
    unit = StUnit(torch.tensor(partitions(MPII)), inputs, outputs, residual=residual)
    shaken(unit)
    w, parts = weights(unit), sequences(inputs)
    near = np.eye(16)
    for a, b in MPII.bones:
        near[a, b] = near[b, a] = 1
    away = [next(k for k, group in enumerate(GROUPS) if joint in group) for joint in range(16)]
    mixed = []
    for part in parts:
        out = np.zeros((len(part), 16, outputs))
        for v in range(16):
            for u in np.flatnonzero(near[v]):
                s = 0 if away[u] == away[v] else 1 if away[u] < away[v] else 2
                share = w("graph.importance")[s, v, u] / near[v].sum()
                out[:, v] += share * part[:, u] @ w("graph.weight.weight")[s]
        mixed.append(out)
    h = relu(normed(mixed, w("graph_norm.weight"), w("graph_norm.bias")))
    wanted = normed(convolved(h, w("time.weight")), w("time_norm.weight"), w("time_norm.bias"))
    if residual:
        wanted = plus(wanted, parts if inputs == outputs else projected(parts, w, "residual.project"))
    for ours, by_hand in zip(said(unit, parts), relu(wanted), strict=True):
        assert ours == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "layout", "inputs", "count"),
    [
        (HierarchicalGcn, "mpii-16", 2, 170_112),
        (HierarchicalGcn, "coco-17", 2, 151_409),
        (HierarchicalGcn, "kinect-22", 3, 231_244),
        (StGcn, "mpii-16", 2, 370_624),
        (StGcn, "kinect-22", 3, 374_304),
    ],
)
def test_number_of_parameters(kind: type[JointsEncoder], layout: str, inputs: int, count: int):
    net = kind(SKELETONS[layout], inputs, 64)  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert sum(p.numel() for p in net.parameters()) == count


def test_the_parameters_of_the_hierarchical_encoder_by_hand():
    graph, total = 4 * 3 * 16 * 16, 2 * 32
    for k, (inputs, outputs) in enumerate([(2, 64), (64, 64), (64, 64), (64, 64), (64, 128)]):
        quarter = outputs // 4
        down, mix, edge = inputs * outputs + 2 * outputs, 12 * (quarter**2 + 2 * quarter), 8 * quarter**2 + 2 * outputs
        attention = outputs * quarter + 2 * quarter + quarter**2 + 2 * quarter + quarter * outputs + outputs
        project = inputs * outputs + 2 * outputs if inputs != outputs else 0
        time = outputs**2 + 2 * outputs + 2 * 5 * quarter**2 + 2 * 3 * quarter
        total += graph + down + mix + edge + (attention if k else 0) + 2 * outputs + project * (1 + (k > 0)) + time
    assert total == 170_112


def relabelled(layout: Skeleton, order: Sequence[int]) -> Skeleton:
    """The same layout whose n-th joint is the `order[n]`-th of `layout`."""
    at = {old: new for new, old in enumerate(order)}
    return replace(
        layout,
        joints=tuple(layout.joints[old] for old in order),
        bones=tuple((at[a], at[b]) for a, b in layout.bones),
        mirror=tuple(at[layout.mirror[old]] for old in order),
    )


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_names_of_joints_do_not_matter(kind: Callable[..., JointsEncoder]):
    order = np.random.default_rng(0).permutation(16)
    nets = []
    for layout in (MPII, relabelled(MPII, order.tolist())):
        torch.manual_seed(5)
        nets.append(kind(layout, 2, 8).double())
        for name, value in nets[-1].named_parameters():
            if name.endswith("graph.norm.weight"):
                nn.init.ones_(value)
    with torch.no_grad():
        bias = nets[0].input_norm.bias
        nets[1].input_norm.bias.copy_(bias.view(16, 2)[order].flatten())
    x, mask = padded(sequences(2))
    one, other = nets[0](x, mask), nets[1](x[:, :, order], mask)
    assert torch.allclose(one[mask], other[mask], atol=1e-9)
    assert not torch.allclose(one[mask], nets[0](x[:, :, order], mask)[mask], atol=1e-3)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(kind: Callable[..., JointsEncoder], training: bool):
    results = []
    for extra in (0, 6):
        torch.manual_seed(1)
        net = shaken(kind(MPII, 3, 8)).train(training)
        x, mask = padded(sequences(3), extra, value=9.0 * extra)
        x.requires_grad_()
        net(x, mask)[mask].square().sum().backward()
        assert x.grad is not None
        assert (x.grad[~mask] == 0).all()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        state = torch.cat([value.flatten() for value in net.buffers()])
        results.append((net(x, mask)[mask].detach(), x.grad[mask], gradient, state))
    for short, long in zip(*results, strict=True):
        assert torch.allclose(short, long, atol=1e-8)


@pytest.mark.parametrize("kind", ENCODERS)
def test_without_a_mask_all_frames_are_there(kind: Callable[..., JointsEncoder]):
    x, mask = padded(sequences(2, lengths=(5, 5, 5)))
    results = []
    for given in (mask, None):
        torch.manual_seed(1)
        net = shaken(kind(MPII, 2, 8))
        out = net(x, given)
        out.square().sum().backward()
        gradients = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
        results.append((out.detach(), torch.cat(gradients), torch.cat([b.flatten() for b in net.buffers()])))
    for masked, plain in zip(*results, strict=True):
        assert torch.allclose(masked, plain, atol=1e-8)


@pytest.mark.parametrize("kind", ENCODERS)
def test_companions_do_not_matter_when_judging(kind: Callable[..., JointsEncoder]):
    net = shaken(kind(MPII, 2, 8)).eval()
    parts = sequences(2)
    x, mask = padded(parts)
    whole = net(x, mask)
    for i, part in enumerate(parts):
        alone = net(torch.from_numpy(part)[None])
        assert alone.shape == (1, len(part), 16)
        assert torch.allclose(alone[0], whole[i, : len(part)], atol=1e-10)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("layout", SKELETONS.values(), ids=lambda one: one.name)
def test_every_layout_and_inputs_of_nothing(kind: Callable[..., JointsEncoder], layout: Skeleton):
    net = kind(layout, 3, 4)
    for x in (torch.zeros(2, 3, len(layout.joints), 3), torch.randn(1, 1, len(layout.joints), 3)):
        out = net(x)
        assert out.shape == (*x.shape[:2], 8)
        assert torch.isfinite(out).all()
        out.sum().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
