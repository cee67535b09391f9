"""ST-GCN (Yan et al., Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition, AAAI 2018):
the plain skeleton encoder, [B, T, J, C] -> [B, T, D]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..catalog.skeletons import Skeleton
from .layers import LinearCopies, MaskedBatchNorm
from .skeleton_graph import partitions
from .skeleton_layers import JointsEncoder, Residual, TimeConv, present

TAPS = 9


class GraphConv(nn.Module):
    """``sum over s of (A_s * M_s) x W_s``: A the graph in three parts, M learned, 1 at first (3.3, "learnable edge
    importance weighting")."""

    adjacency: Tensor

    def __init__(self, adjacency: Tensor, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency.clone())  # [3, J, J]
        self.importance = nn.Parameter(torch.ones_like(adjacency))
        self.weight = LinearCopies(len(adjacency), inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[J, B, T, C] -> [J, B, T, D]."""
        parts = self.weight(x.flatten(0, 2)[None])  # [3, J B T, D]
        graph = (self.adjacency * self.importance).transpose(0, 1).flatten(1)  # [J, 3 J]
        return (graph @ parts.view(graph.shape[1], -1)).view(*x.shape[:3], -1)


class StUnit(nn.Module):
    """Graph convolution, then a convolution over nine frames, each with batch normalisation."""

    def __init__(self, adjacency: Tensor, inputs: int, outputs: int, *, residual: bool) -> None:
        super().__init__()
        self.graph = GraphConv(adjacency, inputs, outputs)
        self.graph_norm = MaskedBatchNorm(outputs)
        self.time = TimeConv(outputs, outputs, TAPS)
        self.time_norm = MaskedBatchNorm(outputs)
        self.residual = Residual(inputs, outputs) if residual else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        h = self.graph_norm(self.graph(x), mask).relu()
        h = self.time_norm(self.time(present(h, mask)), mask)
        return (h if self.residual is None else h + self.residual(x, mask)).relu()


class StGcn(JointsEncoder):
    """Five units of `hidden` channels, the last of twice as many, without strides over time: as many and as wide as
    those of `HierarchicalGcn`, so that the two differ in their units alone."""

    def __init__(self, layout: Skeleton, inputs: int = 2, hidden: int = 64) -> None:
        graph = torch.tensor(partitions(layout), dtype=torch.get_default_dtype())
        widths = [inputs, *[hidden] * 4, 2 * hidden]
        units = [StUnit(graph, widths[k], widths[k + 1], residual=k > 0) for k in range(5)]
        super().__init__(len(layout.joints), inputs, units)
