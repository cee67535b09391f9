"""The parts of `t2cr`. They know no padding: all samples have the number of clips that the network is built for.

Where the specification gives no bias and no norm there is none, but for those that the cited papers have.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import MaskedBatchNorm

REDUCTION = 16  # of squeeze-excite
HEADS = 8  # of the cross-attention


class SqueezeExcite(nn.Module):
    """Every feature times a weight in 0..1, from the mean over rows (Hu et al., CVPR 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(width // REDUCTION, 1)
        self.squeeze = nn.Linear(width, hidden, bias=False)
        self.excite = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [R, N, width] -> the same shape."""
        return x * self.excite(self.squeeze(x.mean(dim=1)).relu()).sigmoid()[:, None]


class ClipAttention(nn.Module):
    """CBAM (Woo et al., ECCV 2018) with clips as channels and features as places, and a residual around it: first every
    clip gets a weight, from the mean and the maximum of its features, then every feature, from the mean and the maximum
    over clips of itself and its two neighbours."""

    def __init__(self, clips: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(clips, 1, bias=False)
        self.excite = nn.Linear(1, clips, bias=False)
        self.along = nn.Conv1d(2, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [R, clips, D] -> the same shape."""
        pooled = torch.stack([x.mean(dim=2), x.amax(dim=2)])
        chosen = x * self.excite(self.squeeze(pooled).relu()).sum(dim=0).sigmoid()[..., None]
        rows = torch.stack([chosen.amax(dim=1), chosen.mean(dim=1)], dim=1)
        return x + chosen * self.along(rows).sigmoid()


class Widen(nn.Module):
    """From the clips of the thin stream to as many as the full one has: two convolutions with clips as channels, three
    features wide, each with batch normalisation and ReLU."""

    def __init__(self, thin: int, full: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(n, full, 3, padding=1, bias=False) for n in (thin, full))
        self.norms = nn.ModuleList(MaskedBatchNorm(full) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """x [R, thin, D] -> [R, full, D]."""
        everything = torch.ones(len(x), x.shape[2], dtype=torch.bool, device=x.device)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(convolution(x).mT, everything).mT.relu()
        return x


class SeparableAttention(nn.Module):
    """One sum over tokens, weighted by a softmax of one number per token, that every token's value is multiplied with
    (Mehta and Rastegari, Separable Self-attention for Mobile Vision Transformers, TMLR 2023)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(width, 1 + 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x [R, N, width] -> the same shape."""
        width = x.shape[2]
        logit, key, value = self.inputs(x).split((1, width, width), dim=2)
        context = (logit.softmax(dim=1) * key).sum(dim=1, keepdim=True)
        return self.output(context * value.relu())


class CrossBlock(nn.Module):
    """A pre-norm layer: attention of tokens over those of another sample, then feed-forward, residuals around each."""

    def __init__(self, width: int, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.query = nn.Linear(width, width, bias=False)
        self.inputs = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """x [R, N, width], memory [R, M, width] -> as x."""
        queries, keys = self.query(self.norms[0](x)), self.inputs(self.norms[1](memory))
        q, k, v = (self._split(part) for part in (queries, *keys.chunk(2, dim=2)))
        mixed = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v
        x = x + self.output(mixed.transpose(1, 2).flatten(2))
        return x + self.outer(F.gelu(self.inner(self.norms[2](x))))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # [R, heads, N, width / heads]


class Decoder(nn.Module):
    """What the tokens of one sample say beside those of another."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.attention = SeparableAttention(width)
        self.blocks = nn.ModuleList(CrossBlock(width) for _ in range(blocks))

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Both [R, N, width] -> the same shape."""
        query, memory = query + self.attention(query), memory + self.attention(memory)
        for block in self.blocks:
            query = block(query, memory)
        return query


class Regressor(nn.Module):
    """A mark from tokens: the mean of what each of them says."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.weigh = SqueezeExcite(width)
        self.mark = nn.Linear(width, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """[R, N, width] -> [R]."""
        h = self.outer(self.inner(tokens).relu()).relu()
        return self.mark(self.weigh(h))[..., 0].mean(dim=1)


def contrast(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """NT-Xent (Chen et al., ICML 2020): how badly each of 2 B vectors [B, d] is told to belong to its partner, out of
    all others of the batch; mean over them. A single pair has no others: 0."""
    pairs = len(one)
    unit = F.normalize(torch.cat([one, other]), dim=1)
    likeness = unit @ unit.mT / temperature
    itself = torch.eye(2 * pairs, dtype=torch.bool, device=one.device)
    partner = torch.cat([likeness.diagonal(pairs), likeness.diagonal(-pairs)])
    return (likeness.masked_fill(itself, -math.inf).logsumexp(dim=1) - partner).mean()
