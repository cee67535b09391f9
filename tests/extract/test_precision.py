"""The choice of device and precision, and what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from aqa.errors import BadParameter
from aqa.extract import precision
from aqa.extract.precision import TooImprecise, choose, compare, prepare, require_close


def only(monkeypatch, *, cuda: tuple[int, int] | None = None, mps: bool = False, cpu: tuple[str, ...] = ()) -> None:
    """Makes torch see this hardware and no other."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda is not None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda is not None))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda probe=probe: probe in cpu, raising=False)


@pytest.mark.parametrize(
    ("hardware", "device", "chosen", "reason"),
    [
        ({"cuda": (9, 0)}, "cuda", "bf16", "GPU H200; bf16, since compute capability 9.0 has it"),
        ({"cuda": (7, 5)}, "cuda", "fp32", "older than compute capability 8"),
        ({"mps": True}, "mps", "fp32", "Apple GPU; fp32, since bf16 is not tested on Apple GPUs"),
        ({"cpu": ("_is_avx512_bf16_supported",)}, "cpu", "bf16", "the processor has AVX512-BF16"),
        ({"cpu": ("_is_amx_tile_supported",)}, "cpu", "bf16", "the processor has AMX"),
        ({}, "cpu", "fp32", "CPU, since torch sees no GPU; fp32, since the processor has neither"),
    ],
)
def test_what_is_chosen_and_why(monkeypatch, hardware, device: str, chosen: str, reason: str) -> None:
    only(monkeypatch, **hardware)
    choice = choose()
    assert (choice.device, choice.precision) == (device, chosen)
    assert reason in choice.reason


def test_what_is_asked_for_is_taken(monkeypatch) -> None:
    only(monkeypatch, cuda=(9, 0))
    assert choose("cpu", "fp32").device == "cpu"
    assert "fp32 as asked" in choose("cuda", "fp32").reason
    only(monkeypatch)
    assert choose("cpu", "bf16").precision == "bf16"
    assert "slowly, since the processor has neither" in choose("cpu", "bf16").reason


@pytest.mark.parametrize(
    ("device", "asked", "match"),
    [
        ("cuda", "auto", "sees no device 'cuda' here.*sees cpu"),
        ("mps", "auto", "sees no device 'mps'"),
        ("gpu", "auto", "there is no device 'gpu'"),
        ("meta", "auto", "sees no device 'meta'"),
        ("cpu", "fp16", "precision 'fp16' is not auto, fp32 or bf16"),
    ],
)
def test_what_is_not_there_is_refused(monkeypatch, device: str, asked: str, match: str) -> None:
    only(monkeypatch)
    with pytest.raises(BadParameter, match=match):
        choose(device, asked)


def test_a_gpu_that_does_not_exist(monkeypatch) -> None:
    only(monkeypatch, cuda=(9, 0))
    with pytest.raises(BadParameter, match="cuda:3"):
        choose("cuda:3")


def test_prepared_is_a_copy() -> None:
    net = nn.Sequential(nn.Conv3d(3, 4, 3), nn.Dropout())
    ready = prepare(net, "bf16", "cpu")
    assert net.training
    assert next(net.parameters()).dtype == torch.float32
    assert not ready.training
    weight = next(ready.parameters())
    assert weight.dtype == torch.bfloat16
    assert not weight.requires_grad
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_prepared_networks_compute_alike() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 8 * 16 * 16, 24))
    x = torch.randn(2, 3, 8, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(prepare(net, "fp32", "cpu")(x), net(x), atol=1e-4)


def test_deviation_is_that_of_the_worst_clip() -> None:
    exact = np.array([[3.0, 4.0], [0.0, 5.0]])
    deviation = compare(exact, np.array([[3.0, 4.0], [0.5, 5.0]]))
    assert deviation.relative == pytest.approx(0.1)
    assert deviation.cosine == pytest.approx(5 / np.hypot(0.5, 5))
    assert "10.00% in norm" in str(deviation)
    require_close(compare(exact, exact * 1.019), "c3d")
    with pytest.raises(TooImprecise, match=r"c3d.*--precision fp32"):
        require_close(compare(exact, exact * 1.021), "c3d")
    with pytest.raises(TooImprecise):
        require_close(compare(exact, exact * np.nan), "c3d")


def test_cores_are_those_that_may_be_used(monkeypatch) -> None:
    monkeypatch.setattr(precision.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(precision, "_quota", lambda: 2)
    assert precision.cores() == 2
    monkeypatch.setattr(precision, "_quota", lambda: None)
    assert precision.cores() == 3
