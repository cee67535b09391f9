"""What the heads of stages do, written a second time in numpy: the reference of their tests."""

from __future__ import annotations

from math import erf

import numpy as np
from torch import nn


def weights(net: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in net.state_dict().items()}


def resampled(x: np.ndarray, first: float, last: float, steps: int) -> np.ndarray:
    """x [T, D] at `steps` even places from row `first` to row `last`, [steps, D]."""
    places = np.linspace(first, last, steps)
    return np.stack([np.interp(places, np.arange(len(x)), column) for column in x.T], axis=1)


def linear(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def normed(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def cross_block(w: dict[str, np.ndarray], name: str, x: np.ndarray, y: np.ndarray, heads: int) -> np.ndarray:
    """x [L, d] <- x + CA(LN(x), LN(y)), then x + MLP(LN(x)); y [M, d]."""
    width = x.shape[1] // heads
    q = linear(w, f"{name}.query", normed(w, f"{name}.norms.0", x))
    k, v = np.split(linear(w, f"{name}.inputs", normed(w, f"{name}.norms.1", y)), 2, axis=1)
    found = []
    for h in range(heads):
        of = slice(h * width, (h + 1) * width)
        found.append(softmax(q[:, of] @ k[:, of].T / np.sqrt(width)) @ v[:, of])
    x = x + linear(w, f"{name}.output", np.concatenate(found, axis=1))
    inner = gelu(linear(w, f"{name}.inner", normed(w, f"{name}.norms.2", x)))
    return x + linear(w, f"{name}.outer", inner)


def regressed(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """[L, d] -> [L]."""
    for layer in (0, 2):
        x = np.maximum(linear(w, f"{name}.{layer}", x), 0)
    return linear(w, f"{name}.4", x)[:, 0]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    return unit[0] @ unit[1].T


def segmentation(z: np.ndarray, truth: np.ndarray) -> float:
    """Cross-entropy over frames of the samples whose transitions are known; ed weighs twice."""
    rows = []
    for logits, (st, ed) in zip(z, truth, strict=True):
        if st >= 0:
            p = np.log(softmax(logits.T))
            rows.append(-(p[0, st] + 2 * p[1, ed]) / 2)
    return float(np.mean(rows)) if rows else 0.0
