"""The skeleton encoders against units written out in numpy; relabelled joints, padding, companions, odd inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aqa.catalog.skeletons import SKELETONS, Skeleton
from aqa.heads.skeleton_gcn import HierarchicalGcn, HierarchicalUnit
from aqa.heads.skeleton_graph import hierarchy, members, partitions
from aqa.heads.skeleton_layers import JointsEncoder
from aqa.heads.stgcn import StGcn, StUnit

MPII = SKELETONS["mpii-16"]
LENGTHS = (7, 1, 4)
GROUPS = ([7], [6, 8, 12, 13], [9, 14, 2, 3, 11], [10, 15, 1, 4], [5, 0])
Sequences = list[np.ndarray]  # per sample [T, J, C]
ENCODERS = [HierarchicalGcn, StGcn]


def shaken(net: nn.Module) -> nn.Module:
    """`net` in float64 with every number its own: norms begin as nothing, and some as almost nothing."""
    net.double()
    for k, (name, value) in enumerate(net.named_parameters()):
        draw = torch.Generator().manual_seed(k)
        if "norm" in name:
            nn.init.uniform_(value, 0.5, 1.5, generator=draw)
        else:
            value.data += 0.1 * torch.randn(value.shape, generator=draw, dtype=torch.float64)
    return net


def sequences(channels: int, joints: int = 16, lengths: Sequence[int] = LENGTHS) -> Sequences:
    draw = np.random.default_rng(3)
    return [draw.normal(size=(length, joints, channels)) for length in lengths]


def padded(parts: Sequences, extra: int = 0, value: float = 0.0) -> tuple[Tensor, Tensor]:
    """[B, T, J, C] and its mask."""
    length = max(map(len, parts)) + extra
    x = np.full((len(parts), length, *parts[0].shape[1:]), value)
    for row, part in zip(x, parts, strict=True):
        row[: len(part)] = part
    return torch.from_numpy(x), torch.arange(length) < torch.tensor([len(part) for part in parts])[:, None]


def weights(net: nn.Module) -> Callable[[str], np.ndarray]:
    return lambda name: net.get_parameter(name).detach().numpy()


def normed(parts: Sequences, weight: np.ndarray, bias: np.ndarray) -> Sequences:
    """Batch normalisation of the last axis over all that is in `parts`."""
    rows = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])
    mean, var = rows.mean(axis=0), rows.var(axis=0)
    return [(part - mean) / np.sqrt(var + 1e-5) * weight + bias for part in parts]


def projected(parts: Sequences, w: Callable[[str], np.ndarray], name: str, rows: slice = slice(None)) -> Sequences:
    moved = [part @ w(f"{name}.linear.weight")[rows].T for part in parts]
    return normed(moved, w(f"{name}.norm.weight")[rows], w(f"{name}.norm.bias")[rows])


def convolved(parts: Sequences, kernel: np.ndarray, dilation: int = 1) -> Sequences:
    """Over time, joint by joint; kernel [D, C, K]."""
    out, reach = [], kernel.shape[2] // 2
    for part in parts:
        moved = np.zeros((*part.shape[:2], len(kernel)))
        for t in range(len(part)):
            for k in range(kernel.shape[2]):
                at = t + dilation * (k - reach)
                if 0 <= at < len(part):
                    moved[t] += part[at] @ kernel[:, :, k].T
        out.append(moved)
    return out


def relu(parts: Sequences) -> Sequences:
    return [np.maximum(part, 0) for part in parts]


def leaky(parts: Sequences) -> Sequences:
    return [np.where(part > 0, part, 0.2 * part) for part in parts]


def plus(parts: Sequences, others: Sequences) -> Sequences:
    return [a + b for a, b in zip(parts, others, strict=True)]


def joined(*parts: Sequences) -> Sequences:
    return [np.concatenate(row, axis=-1) for row in zip(*parts, strict=True)]


def edges_by_hand(parts: Sequences, w: Callable[[str], np.ndarray], layer: int, width: int) -> Sequences:
    """EdgeConv of one layer on the mean over time, [J, width] per sample."""
    rows, compare, own = slice(layer * width, (layer + 1) * width), w("edges.compare.weight"), w("edges.own.weight")
    found = []
    for part in parts:
        mean = part.mean(axis=0)
        near = np.zeros((len(mean), 5, width))
        for i in range(len(mean)):
            order = sorted(range(len(mean)), key=lambda j, i=i, mean=mean: ((mean[i] - mean[j]) ** 2).sum())
            for k, j in enumerate(order[:5]):
                near[i, k] = (mean[j] - mean[i]) @ compare[layer] + mean[i] @ own[layer]
        found.append(near)
    found = leaky(normed(found, w("edges.norm.weight")[rows], w("edges.norm.bias")[rows]))
    return [near.max(axis=1) for near in found]


def graph_by_hand(parts: Sequences, unit: HierarchicalUnit, *, attend: bool) -> Sequences:
    w = weights(unit.graph)
    graph, layers = w("graph"), []
    width = w("mix.weight").shape[1]
    for h in range(4):
        down = relu(projected(parts, w, "down", slice(h * width, (h + 1) * width)))
        branches = []
        for s in range(3):
            at = 3 * h + s
            mixed = [np.einsum("vu,tui->tvi", graph[h, s], part) @ w("mix.weight")[at] for part in down]
            rows = slice(at * width, (at + 1) * width)
            branches.append(normed(mixed, w("mix_norm.weight")[rows], w("mix_norm.bias")[rows]))
        edge = edges_by_hand(down, w, h, width)
        spread = [np.repeat(one[None], len(part), axis=0) for one, part in zip(edge, down, strict=True)]
        layers.append(joined(*branches, spread))
    if attend:
        peaks = [np.stack([part.max(axis=0) for part in one]) for one in zip(*layers, strict=True)]  # [4, J, C]
        down = relu(projected(peaks, w, "attention.down"))
        pooled = [np.stack([one[h][GROUPS[h] + GROUPS[h + 1]].mean(axis=0) for h in range(4)]) for one in down]
        inner = leaky(projected(pooled, w, "attention.own"))
        raw = [one @ w("attention.up.weight").T + w("attention.up.bias") for one in inner]
        shares = [1 / (1 + np.exp(-one)) for one in raw]  # [4, C]
        layers = [[part * share[h] for part, share in zip(layers[h], shares, strict=True)] for h in range(4)]
    total = [sum(one) for one in zip(*layers, strict=True)]
    change = parts[0].shape[-1] != total[0].shape[-1]
    beside = projected(parts, w, "residual.project") if change else parts
    return relu(plus(normed(total, w("norm.weight"), w("norm.bias")), beside))


def time_by_hand(parts: Sequences, unit: HierarchicalUnit) -> Sequences:
    w = weights(unit.time)
    down = projected(parts, w, "down")
    quarter = down[0].shape[-1] // 4
    first, second, third, fourth = ([part[..., k * quarter : (k + 1) * quarter] for part in down] for k in range(4))
    near = convolved(relu(first), w("near.weight"))
    far = convolved(relu(second), w("far.weight"), dilation=2)
    top = [np.stack([part[max(t - 1, 0) : t + 2].max(axis=0) for t in range(len(part))]) for part in relu(third)]
    return joined(normed(joined(near, far, top), w("norm.weight"), w("norm.bias")), fourth)


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
    wanted = time_by_hand(graph_by_hand(parts, unit, attend=not first), unit)
    if not first:
        w = weights(unit)
        wanted = plus(wanted, parts if inputs == outputs else projected(parts, w, "residual.project"))
    for ours, by_hand in zip(said(unit, parts), relu(wanted), strict=True):
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
