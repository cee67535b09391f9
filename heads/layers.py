"""Layers over padded clips. All of them work under `torch.func.vmap`: no boolean indexing, no shape from a value."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .noise import Noise, dropout


def mean_clips(x: Tensor, mask: Tensor) -> Tensor:
    """[B, *shape] of [B, T, *shape]: the mean of the clips that `mask` [B, T] has; every sample has one."""
    if x.shape[1] == 1:
        return x[:, 0]
    there = mask.to(x.dtype)
    return torch.einsum("bt,bt...->b...", there / there.sum(dim=1, keepdim=True), x)


def crop_clips(x: Tensor, mask: Tensor, clips: int, noise: Noise | None) -> tuple[Tensor, Tensor]:
    """`clips` clips in a row from a random start, without noise from the middle, x [B, clips, D] and its mask; shorter
    samples stay whole."""
    if x.shape[1] <= clips:
        return x, mask
    spare = (mask.sum(dim=1) - clips).clamp(min=0)
    start = spare // 2 if noise is None else (noise.uniform(len(x)) * (spare + 1)).long().minimum(spare)
    index = start[:, None] + torch.arange(clips, device=x.device)
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2])), mask.gather(1, index)


def resample_clips(x: Tensor, mask: Tensor, clips: int) -> Tensor:
    """`clips` clips of each sample at even distances from its first to its last, the nearest there are, [B, clips, D]:
    the sample itself where it has so many; shorter ones repeat clips, longer ones leave some out."""
    last, gaps = mask.sum(dim=1, keepdim=True) - 1, max(clips - 1, 1)
    index = (2 * torch.arange(clips, device=x.device) * last + gaps) // (2 * gaps)
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def interpolate_clips(x: Tensor, first: Tensor, last: Tensor, steps: int) -> Tensor:
    """`steps` places at even distances from clip `first` [B] to clip `last` [B], both among them, of x [B, T, D]: [B,
    steps, D]. Between two clips is their mean, the nearer one weighing more (linear interpolation, `align_corners`)."""
    gaps = max(steps - 1, 1)
    way = torch.arange(steps, device=x.device) * (last - first)[:, None]
    low = first[:, None] + way.div(gaps, rounding_mode="floor")
    part = way.remainder(gaps).to(x.dtype)[..., None] / gaps
    low, high = (index[..., None].expand(-1, -1, x.shape[2]) for index in (low, torch.minimum(low + 1, last[:, None])))
    return x.gather(1, low) * (1 - part) + x.gather(1, high) * part


class LinearCopies(nn.Module):
    """`copies` linear layers as one batched product, each initialised as `nn.Linear`."""

    def __init__(self, copies: int, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(copies, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(copies, 1, outputs).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[copies, B, inputs], or [1, B, inputs] for the same input to all -> [copies, B, outputs]."""
        x = x.expand(len(self.weight), -1, -1)
        return x @ self.weight if self.bias is None else torch.baddbmm(self.bias, x, self.weight)


class GroupedLinear(nn.Module):
    """A convolution of one clip in groups, [B, T, inputs] -> [B, T, outputs]: each group of outputs sees its group of
    inputs alone. Initialised as `nn.Conv1d`."""

    def __init__(self, inputs: int, outputs: int, groups: int, *, bias: bool = True) -> None:
        super().__init__()
        self.groups = groups
        self.copies = LinearCopies(groups, inputs // groups, outputs // groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1).unflatten(1, (self.groups, -1)).transpose(0, 1)
        return self.copies(rows).transpose(0, 1).flatten(1).unflatten(0, x.shape[:2])


class MaskedBatchNorm(nn.Module):
    """Batch normalisation of [..., B, T, D] over the clips that are there: as `BatchNorm1d` on these rows alone. Without
    a mask over all rows of [..., D]; that is several times faster."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if not self.training:
            return (x - self.running_mean) * (self.weight * (self.running_var + self.eps).rsqrt()) + self.bias
        if mask is None:
            rows = x.flatten(0, -2)
            out, mean, inverse = torch.native_batch_norm(
                rows, self.weight, self.bias, None, None, True, self.momentum, self.eps
            )
            self._remember(mean, (inverse**-2 - self.eps).clamp(min=0), len(rows) / max(len(rows) - 1, 1))
            return out.view_as(x)
        there, dims = mask[..., None].to(x.dtype), tuple(range(x.ndim - 1))
        count = there.sum() * math.prod(x.shape[:-3])
        mean = (x * there).sum(dim=dims) / count
        centred = x - mean
        var = (centred.square() * there).sum(dim=dims) / count
        self._remember(mean, var, count / (count - 1).clamp(min=1))
        return centred * (self.weight * (var + self.eps).rsqrt()) + self.bias

    def _remember(self, mean: Tensor, var: Tensor, unbiased: Tensor | float) -> None:
        with torch.no_grad():  # in place: under vmap these are the seeds' own buffers
            self.running_mean.mul_(1 - self.momentum).add_(self.momentum * mean)
            self.running_var.mul_(1 - self.momentum).add_(self.momentum * (var * unbiased))


class Attention(nn.Module):
    """Multi-head attention of queries [B, Q, d] over keys [B, T, d]; `mask` [B, T] hides padding.

    Initialised as `nn.MultiheadAttention`: Xavier over the three input matrices as one, biases zero.
    """

    def __init__(self, width: int, heads: int, p: float = 0.0) -> None:
        super().__init__()
        self.heads, self.p = heads, p
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        for layer in (self.inputs, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        return self.look(query, keys, mask, noise)[0]

    def look(
        self, query: Tensor, keys: Tensor, mask: Tensor | None = None, noise: Noise | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the queries found, [B, Q, d], and how much each looked at every key, [B, heads, Q, T]."""
        if query is keys:
            q, k, v = self.inputs(query).chunk(3, dim=-1)
        else:
            width = query.shape[2]
            weight, bias = self.inputs.weight.split((width, 2 * width)), self.inputs.bias.split((width, 2 * width))
            q = F.linear(query, weight[0], bias[0])
            k, v = F.linear(keys, weight[1], bias[1]).chunk(2, dim=-1)
        q, k, v = self._split(q), self._split(k), self._split(v)
        logits = q @ k.mT / self.scale(q.shape[-1])
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None, None, :], -math.inf)
        weights = logits.softmax(dim=-1)
        mixed = dropout(weights, self.p, noise) @ v
        return self.output(mixed.transpose(1, 2).flatten(2)), weights

    def scale(self, width: int) -> Tensor | float:
        """What the products of queries and keys are divided by; `width`: of one head."""
        return math.sqrt(width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class TransformerLayer(nn.Module):
    """A post-norm layer: self-attention, with `cross` attention over a memory, feed-forward; residuals around each."""

    def __init__(self, width: int, heads: int, hidden: int, p: float, *, cross: bool = False) -> None:
        super().__init__()
        self.p = p
        self.attention = Attention(width, heads, p)
        self.cross = Attention(width, heads, p) if cross else None
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if cross else 2))
        for layer in (self.inner, self.outer):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        noise: Noise | None = None,
    ) -> Tensor:
        """x [B, Q, width] -> the same shape; `mask` [B, Q] and `memory_mask` [B, T] hide padding."""
        first, *middle, last = self.norms
        x = first(x + dropout(self.attention(x, x, mask, noise), self.p, noise))
        if self.cross is not None and memory is not None:
            x = middle[0](x + dropout(self.cross(x, memory, memory_mask, noise), self.p, noise))
        forward = self.outer(dropout(self.inner(x).relu(), self.p, noise))
        return last(x + dropout(forward, self.p, noise))
