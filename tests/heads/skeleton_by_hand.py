"""The units of the skeleton encoders, written a second time in numpy: the reference of their tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from aqa.heads.skeleton_gcn import HierarchicalUnit

GROUPS = ([7], [6, 8, 12, 13], [9, 14, 2, 3, 11], [10, 15, 1, 4], [5, 0])
Sequences = list[np.ndarray]  # per sample [T, J, C]


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


def padded(parts: Sequences, extra: int = 0, value: float = 0.0) -> tuple[Tensor, Tensor]:
    """[B, T, ...] and its mask."""
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


def hierarchical(parts: Sequences, unit: HierarchicalUnit, *, first: bool) -> Sequences:
    """A whole unit; the first has neither attention nor a residual."""
    out = time_by_hand(graph_by_hand(parts, unit, attend=not first), unit)
    if not first:
        change = parts[0].shape[-1] != out[0].shape[-1]
        out = plus(out, projected(parts, weights(unit), "residual.project") if change else parts)
    return relu(out)
