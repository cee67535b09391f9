"""A training step as a flat list of tensor operations, recorded once and run thousands of times.

Of a step of a small network most of the time goes into what surrounds its operations: modules, `vmap`, autograd.
Recorded by `make_fx` the same operations run in the same order on the same numbers, without all that (measured: half of
the time of forward and backward of `dae`). Recording takes some 100 to 900 ms; nothing is compiled. A step of thousands
of operations is quicker unrecorded: autograd's own loop is in C++.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

SAME = ("aten::alias", "aten::detach")
VIEWS = (
    *SAME,
    *("aten::expand", "aten::permute", "aten::select", "aten::slice", "aten::squeeze", "aten::t", "aten::transpose"),
    *("aten::unsqueeze", "aten::view"),
)

Function = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


class Traced:
    """`function(fixed, varying)`, recorded on example tensors.

    `fixed` keep their memory from call to call (weights, buffers, all of train): views of them are made once, in
    `bind`. `function` may not look at values; what it does to `fixed` in place happens to those that are bound.
    """

    def __init__(self, function: Function, fixed: Sequence[Tensor], varying: Sequence[Tensor]) -> None:
        recorded = make_fx(function)(list(fixed), list(varying))
        nodes = list(recorded.graph.nodes)
        inputs = [node for node in nodes if node.op == "placeholder"]
        self.fixed = inputs[: len(fixed)]
        self.constants = {n: getattr(recorded, str(n.target)) for n in nodes if n.op == "get_attr"}
        self.views: list[fx.Node] = []  # of what is fixed, in order
        self.bound: list[fx.Node] = []  # what is fixed and an operation uses
        self.run = self._flat(nodes, inputs[len(fixed) :])

    def bind(self, fixed: Sequence[Tensor]) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        """The step on these tensors: a function of `varying`."""
        values: dict[fx.Node, Any] = dict(self.constants)
        values |= {node: tensor.detach() for node, tensor in zip(self.fixed, fixed, strict=True)}
        for node in self.views:
            target: Any = node.target
            values[node] = target(*fx.map_arg(node.args, values.__getitem__), **node.kwargs)
        held = [values[node] for node in self.bound]

        def step(varying: Sequence[Tensor]) -> list[Tensor]:
            with torch.no_grad():
                return self.run(*held, *varying)

        return step

    def _flat(self, nodes: Sequence[fx.Node], varying: Sequence[fx.Node]) -> Callable[..., list[Tensor]]:
        """The operations that are needed, as a Python function of what is bound and of what varies."""
        needed, fixed, graph = _needed(nodes), {*self.fixed, *self.constants}, fx.Graph()
        made = {node: graph.placeholder(f"x{k}") for k, node in enumerate(varying)}
        first = next(iter(graph.nodes))

        def of(node: fx.Node) -> fx.Node:
            if node not in made:
                with graph.inserting_before(first):
                    made[node] = graph.placeholder(f"w{len(self.bound)}")
                self.bound.append(node)
            return made[node]

        for node in nodes:
            if node not in needed or node.op in ("placeholder", "get_attr"):
                continue
            if node.op == "output":
                graph.output(fx.map_arg(node.args[0], of))
            elif _name(node) in VIEWS and fixed.issuperset(node.all_input_nodes):
                fixed.add(node)
                self.views.append(node)
            elif _name(node) in SAME:
                made[node] = of(node.all_input_nodes[0])
            else:
                args, more = fx.map_arg(node.args, of), fx.map_arg(node.kwargs, of)
                made[node] = graph.create_node(node.op, node.target, args, more)  # pyright: ignore[reportArgumentType]
        return fx.GraphModule(torch.nn.Module(), graph).forward


def _needed(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    """Operations whose result is used, and those that change something in place."""
    needed: set[fx.Node] = set()
    for node in reversed(nodes):
        schema = getattr(node.target, "_schema", None)
        if node.op == "output" or node in needed or (schema is not None and schema.is_mutable):
            needed.update((node, *node.all_input_nodes))
    return needed


def _name(node: fx.Node) -> str:
    """ "aten::mm"; "" of what is no tensor operation."""
    schema = getattr(node.target, "_schema", None)
    return "" if schema is None else schema.name
