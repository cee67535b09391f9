"""Layers over padded clips against torch's own layers over the clips that are there."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from aqa.heads.layers import (
    Attention,
    GroupedLinear,
    MaskedBatchNorm,
    TransformerLayer,
    crop_clips,
    interpolate_clips,
    mean_clips,
    resample_clips,
)
from aqa.heads.noise import Live


@pytest.fixture
def padded() -> tuple[torch.Tensor, torch.Tensor]:
    """Clips [5, 4, 8] in float64 whose padding is not zero, and their mask."""
    mask = torch.arange(4) < torch.tensor([4, 2, 1, 3, 4])[:, None]
    x = torch.randn(5, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.where(mask[..., None], x, torch.tensor(77.0, dtype=torch.float64)), mask


def test_mean_is_of_the_clips_that_are_there(padded: tuple[torch.Tensor, torch.Tensor]):
    x, mask = padded
    wanted = torch.stack([one[m].mean(dim=0) for one, m in zip(x, mask, strict=True)])
    assert torch.allclose(mean_clips(x, mask), wanted)
    maps = x.unflatten(2, (2, 2, 2))
    assert torch.allclose(mean_clips(maps, mask), wanted.unflatten(1, (2, 2, 2)))
    assert torch.equal(mean_clips(x[:, :1], mask[:, :1]), x[:, 0])


@pytest.mark.parametrize("clips", [1, 2, 3, 4, 7, 40])
def test_resampled_clips_are_the_nearest_at_even_distances(padded: tuple[torch.Tensor, torch.Tensor], clips: int):
    x, mask = padded
    found = resample_clips(x, mask, clips)
    assert found.shape == (5, clips, 8)
    for sample, there, chosen in zip(x, mask, found, strict=True):
        rows = sample[there]
        at = torch.linspace(0, len(rows) - 1, clips, dtype=torch.float64) if clips > 1 else torch.zeros(1)
        picked = [int((rows == clip).all(dim=1).nonzero()[0, 0]) for clip in chosen]
        assert (torch.tensor(picked) - at).abs().max() <= 0.5 + 1e-9
        if clips >= len(rows):
            assert sorted(set(picked)) == list(range(len(rows)))  # all are there
        if clips == len(rows):
            assert torch.equal(chosen, rows)


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 96])
def test_interpolated_clips_are_torchs_between_any_two(steps: int):
    x = torch.randn(6, 12, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    first, last = torch.tensor([0, 0, 3, 5, 11, 2]), torch.tensor([11, 6, 9, 5, 11, 3])
    found = interpolate_clips(x, first, last, steps)
    assert found.shape == (6, steps, 3)
    for sample, a, b, got in zip(x, first, last, found, strict=True):
        part = sample[a : b + 1].T[None]
        wanted = nn.functional.interpolate(part, size=steps, mode="linear", align_corners=True)[0].T
        assert torch.allclose(got, wanted, atol=1e-12)
    whole = interpolate_clips(x, first * 0, first * 0 + 11, 12)
    assert torch.equal(whole, x)  # as many as there are: the sample itself


def test_clips_outside_of_the_two_do_not_count_when_interpolated():
    x = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    first, last = torch.tensor([2, 0]), torch.tensor([5, 3])
    other = x.clone()
    other[0, :2], other[0, 6:], other[1, 4:] = 1e30, -1e30, float("nan")
    assert torch.equal(interpolate_clips(x, first, last, 7), interpolate_clips(other, first, last, 7))


def test_batch_norm_is_torchs_on_the_clips_that_are_there(padded: tuple[torch.Tensor, torch.Tensor]):
    x, mask = padded
    ours, theirs = MaskedBatchNorm(8).double(), nn.BatchNorm1d(8).double()
    for net in (ours, theirs):
        nn.init.uniform_(net.weight, generator=torch.Generator().manual_seed(1))
        nn.init.uniform_(net.bias, generator=torch.Generator().manual_seed(2))
    for _ in range(3):
        assert torch.allclose(ours(x, mask)[mask], theirs(x[mask]))
    assert torch.allclose(ours.running_mean, theirs.running_mean)  # pyright: ignore[reportArgumentType]
    assert torch.allclose(ours.running_var, theirs.running_var)  # pyright: ignore[reportArgumentType]
    ours.eval()
    theirs.eval()
    assert torch.allclose(ours(x, mask)[mask], theirs(x[mask]))


def test_batch_norm_of_a_single_clip_is_its_bias():
    norm = MaskedBatchNorm(3)
    assert torch.equal(norm(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[True]])), torch.zeros(1, 1, 3))
    assert torch.isfinite(norm.running_var).all()


def test_batch_norm_keeps_the_statistics_of_each_seed_under_vmap(padded: tuple[torch.Tensor, torch.Tensor]):
    x, mask = padded
    nets = [MaskedBatchNorm(8).double() for _ in range(2)]
    params, buffers = stack_module_state(nets)
    both = torch.stack([x, 2 * x])
    vmap(lambda p, b, one: functional_call(nets[0], (p, b), (one, mask)))(params, buffers, both)
    for i, net in enumerate(nets):
        net(both[i], mask)
        assert torch.allclose(buffers["running_mean"][i], net.running_mean)
        assert torch.allclose(buffers["running_var"][i], net.running_var)


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_is_torchs(padded: tuple[torch.Tensor, torch.Tensor], heads: int):
    x, mask = padded
    query = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    ours, theirs = Attention(8, heads).double(), nn.MultiheadAttention(8, heads, batch_first=True).double()
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.inputs.weight,
            "in_proj_bias": ours.inputs.bias,
            "out_proj.weight": ours.output.weight,
            "out_proj.bias": ours.output.bias,
        }
    )
    assert torch.allclose(ours(query, x, mask), theirs(query, x, x, key_padding_mask=~mask)[0])
    assert torch.allclose(ours(x, x, mask)[mask], theirs(x, x, x, key_padding_mask=~mask)[0][mask])


def test_attention_is_initialised_as_torchs():
    torch.manual_seed(0)
    bound = (6 / (8 + 24)) ** 0.5  # Xavier over the three input matrices as one
    weight = Attention(8, 1).inputs.weight
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_layers_are_torchs_encoder_and_decoder(padded: tuple[torch.Tensor, torch.Tensor]):
    x, mask = padded
    queries = torch.randn(5, 4, 8, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    for cross in (False, True):
        ours = TransformerLayer(8, 2, 16, 0.0, cross=cross).double()
        kind = nn.TransformerDecoderLayer if cross else nn.TransformerEncoderLayer
        theirs = kind(8, 2, 16, 0.0, batch_first=True).double()
        names = {"attention": "self_attn", "cross": "multihead_attn"}
        state = {}
        for name, value in ours.state_dict().items():
            first, _, rest = name.partition(".")
            if first in names:
                part, kind_of = rest.split(".")
                state[f"{names[first]}.{'in_proj_' if part == 'inputs' else 'out_proj.'}{kind_of}"] = value
            elif first == "norms":
                state[f"norm{int(rest[0]) + 1}{rest[1:]}"] = value
            else:
                state[f"{'linear1' if first == 'inner' else 'linear2'}.{rest}"] = value
        theirs.load_state_dict(state)
        if cross:
            wanted = theirs(queries, x, memory_key_padding_mask=~mask)
            assert torch.allclose(ours(queries, None, x, mask), wanted)
        else:
            assert torch.allclose(ours(x, mask)[mask], theirs(x, src_key_padding_mask=~mask)[mask])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_layer_is_torchs_convolution_of_one_clip(
    padded: tuple[torch.Tensor, torch.Tensor], groups: int, bias: bool
):
    x, _ = padded
    ours, theirs = GroupedLinear(8, 12, groups, bias=bias).double(), nn.Conv1d(8, 12, 1, groups=groups, bias=bias)
    bound = (groups / 8) ** 0.5
    for parameter, like in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert parameter.numel() == like.numel()
        assert 0.5 * bound < parameter.abs().max() <= bound
        assert 0.5 * bound < like.abs().max() <= bound
    state = {"weight": ours.copies.weight.mT.flatten(0, 1)[..., None]}
    if ours.copies.bias is not None:
        state["bias"] = ours.copies.bias.flatten()
    theirs.double().load_state_dict(state)
    assert torch.allclose(ours(x), theirs(x.mT).mT)


def test_crops_are_in_a_row_and_inside_the_sample():
    clips = torch.arange(6.0)[None, :, None].repeat(3, 1, 2)
    mask = torch.arange(6) < torch.tensor([6, 4, 2])[:, None]
    starts = set()
    for seed in range(40):
        noise = Live(torch.Generator().manual_seed(seed))
        x, kept = crop_clips(clips, mask, 3, noise)
        assert x.shape == (3, 3, 2)
        assert (x[:, 1:, 0] - x[:, :-1, 0] == 1).all()
        assert kept.tolist() == [[True] * 3, [True] * 3, [True, True, False]]
        assert (x[:, :, 0][kept] < torch.tensor([6, 6, 6, 4, 4, 4, 2, 2])).all()
        starts.add((int(x[0, 0, 0]), int(x[1, 0, 0]), int(x[2, 0, 0])))
    assert {start[0] for start in starts} == {0, 1, 2, 3}
    assert {start[1] for start in starts} == {0, 1}
    assert {start[2] for start in starts} == {0}
    middle, kept = crop_clips(clips, mask, 3, None)
    assert middle[:, :, 0][kept].tolist() == [1, 2, 3, 0, 1, 2, 0, 1]
    noise = Live(torch.Generator())
    assert crop_clips(clips, mask, 6, noise)[0] is clips
    assert noise.asked == []
