"""`BiGru` against `torch.nn.GRU` with the same numbers."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from aqa.heads.recurrent import BiGru


def theirs(ours: BiGru, inputs: int) -> nn.GRU:
    net = nn.GRU(inputs, ours.hidden, batch_first=True, bidirectional=True).double()
    numbers = {}
    for k, end in enumerate(("", "_reverse")):
        for name, layer in (("ih", ours.inputs), ("hh", ours.recur)):
            assert layer.bias is not None
            numbers |= {f"weight_{name}_l0{end}": layer.weight[k].T, f"bias_{name}_l0{end}": layer.bias[k, 0]}
    net.load_state_dict(numbers)
    return net


def test_it_is_torchs_bidirectional_gru():
    torch.manual_seed(3)
    ours = BiGru(6, 5).double()
    net = theirs(ours, 6)
    x = torch.randn(4, 9, 6, dtype=torch.float64)
    found, wanted = ours(x), net(x)[0]
    assert found.shape == (4, 9, 10)
    assert torch.allclose(found, wanted, atol=1e-12)
    for out in (found, wanted):
        out.square().sum().backward()
    gradients = [p.grad for p in net.parameters()]
    assert ours.recur.weight.grad is not None
    assert torch.allclose(ours.recur.weight.grad[1].T, net.weight_hh_l0_reverse.grad, atol=1e-10)  # pyright: ignore
    assert sum(p.numel() for p in ours.parameters()) == sum(g.numel() for g in gradients if g is not None)


def test_resampling_before_and_after_the_inputs_is_the_same():
    torch.manual_seed(3)
    net, x = BiGru(6, 5).double(), torch.randn(4, 9, 6, dtype=torch.float64)
    weights = torch.rand(20, 9, dtype=torch.float64).softmax(dim=1)
    assert torch.allclose(net(x, lambda clips: weights @ clips), net(weights @ x), atol=1e-12)


def test_it_is_initialised_as_torchs():
    torch.manual_seed(3)
    bound = 1 / math.sqrt(400)
    for numbers in BiGru(30, 400).state_dict().values():
        assert float(numbers.abs().max()) <= bound + 1e-8
        assert float(numbers.std()) > 0.9 * bound / math.sqrt(3)


def test_seeds_run_together():
    torch.manual_seed(3)
    nets = [BiGru(6, 5).double() for _ in range(3)]
    params, buffers = stack_module_state(nets)  # pyright: ignore[reportArgumentType]
    x = torch.randn(3, 4, 9, 6, dtype=torch.float64)
    found = vmap(lambda p, b, one: functional_call(nets[0], (p, b), one))(params, buffers, x)
    assert torch.allclose(found, torch.stack([net(one) for net, one in zip(nets, x, strict=True)]), atol=1e-12)
