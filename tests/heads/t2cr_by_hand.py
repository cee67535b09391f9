"""`t2cr` written a second time, in numpy: the reference of its tests."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import erf, expit, softmax

from aqa.heads.batches import Batch, Exemplars

Weights = dict[str, np.ndarray]


class ByHand:
    """The network in numpy, from the equations of the page, with the weights of `net`."""

    def __init__(self, net: torch.nn.Module, *, training: bool = False) -> None:
        self.w: Weights = {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}
        self.training = training

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        bias: ArrayLike = self.w.get(f"{name}.bias", np.zeros(()))
        return x @ self.w[f"{name}.weight"].T + bias

    def along(self, kernel: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """A convolution of [R, C, D] over D with [C', C, 3], zeros around."""
        wide = np.pad(rows, ((0, 0), (0, 0), (1, 1)))
        places = rows.shape[2]
        parts = [np.einsum("oc,rcd->rod", kernel[..., k], wide[..., k : k + places]) for k in range(3)]
        return np.sum(parts, axis=0)

    def squeeze_excite(self, name: str, x: np.ndarray) -> np.ndarray:
        hidden = np.maximum(self.linear(f"{name}.squeeze", x.mean(axis=1)), 0)
        return x * expit(self.linear(f"{name}.excite", hidden))[:, None]

    def cbam(self, name: str, x: np.ndarray) -> np.ndarray:
        down, up = self.w[f"{name}.squeeze.weight"], self.w[f"{name}.excite.weight"]
        out = np.empty_like(x)
        for r, sample in enumerate(x):
            logit = sum(up @ np.maximum(down @ pooled, 0) for pooled in (sample.mean(axis=1), sample.max(axis=1)))
            chosen = expit(logit)[:, None] * sample
            rows = np.stack([chosen.max(axis=0), chosen.mean(axis=0)])[None]
            out[r] = sample + chosen * expit(self.along(self.w[f"{name}.along.weight"], rows)[0])
        return out

    def separable(self, name: str, x: np.ndarray) -> np.ndarray:
        width = x.shape[2]
        said = self.linear(f"{name}.inputs", x)
        share, key, value = softmax(said[..., 0], axis=1), said[..., 1 : 1 + width], said[..., 1 + width :]
        context = np.einsum("rn,rnd->rd", share, key)
        return self.linear(f"{name}.output", context[:, None] * np.maximum(value, 0))

    def layer_norm(self, name: str, x: np.ndarray) -> np.ndarray:
        x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        return x * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def widen(self, x: np.ndarray) -> np.ndarray:
        for k in range(2):
            x = self.along(self.w[f"widen.convolutions.{k}.weight"], x)
            norm = {n: self.w[f"widen.norms.{k}.{n}"] for n in ("weight", "bias", "running_mean", "running_var")}
            mean, var = norm["running_mean"], norm["running_var"]
            if self.training:
                mean, var = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
            scaled = (x - mean[:, None]) / np.sqrt(var + 1e-5)[:, None]
            x = np.maximum(scaled * norm["weight"][:, None] + norm["bias"][:, None], 0)
        return x

    def tokens(self, full: np.ndarray, thin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for x in (full, self.widen(thin)):
            h = self.cbam("clips", self.squeeze_excite("features", x))
            h = np.maximum(self.linear("inner", h), 0)
            found.append(np.maximum(self.linear("outer", h), 0))
        return found[0], found[1]

    def mix(self, k: int, tokens: np.ndarray) -> np.ndarray:
        weight, bias = self.w[f"mix.{k}.weight"], self.w[f"mix.{k}.bias"]
        return np.einsum("st,rtd->rsd", weight, tokens) + bias[:, None]

    def decode(self, q: np.ndarray, v: np.ndarray) -> np.ndarray:
        q, v = (x + self.separable("decoder.attention", x) for x in (q, v))
        for k in range(3):
            name = f"decoder.blocks.{k}"
            query = self.linear(f"{name}.query", self.layer_norm(f"{name}.norms.0", q))
            inputs = self.linear(f"{name}.inputs", self.layer_norm(f"{name}.norms.1", v))
            mixed = np.empty_like(q)
            for h in range(8):
                part = slice(8 * h, 8 * h + 8)
                key, value = inputs[..., :64][..., part], inputs[..., 64:][..., part]
                logits = np.einsum("rnd,rmd->rnm", query[..., part], key) / np.sqrt(8)
                mixed[..., part] = np.einsum("rnm,rmd->rnd", softmax(logits, axis=2), value)
            q = q + self.linear(f"{name}.output", mixed)
            inner = self.linear(f"{name}.inner", self.layer_norm(f"{name}.norms.2", q))
            q = q + self.linear(f"{name}.outer", inner * 0.5 * (1 + erf(inner / np.sqrt(2))))
        return q

    def regress(self, tokens: np.ndarray) -> np.ndarray:
        h = np.maximum(self.linear("regressor.inner", tokens), 0)
        h = np.maximum(self.linear("regressor.outer", h), 0)
        return self.linear("regressor.mark", self.squeeze_excite("regressor.weigh", h))[..., 0].mean(axis=1)

    def better(self, one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        q, v = (np.concatenate([self.mix(k, x) for k, x in enumerate(of)], axis=1) for of in (one, other))
        return self.regress(self.decode(q, v))

    def itself(self, one: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return self.regress(self.decode(self.mix(0, one[0]), self.mix(1, one[1])))

    def side(self, tokens: np.ndarray) -> np.ndarray:
        return self.linear("side", tokens)[..., 0].mean(axis=1)


def clips_of(of: Batch | Exemplars) -> tuple[np.ndarray, np.ndarray]:
    """Four full and three thin clips of each sample, at even distances; two thin ones where there is one stream."""
    found = []
    for name, count in zip(of.streams, (4, 3), strict=False):
        rows = []
        for clips, mask in zip(of.streams[name].numpy(), of.masks[name].numpy(), strict=True):
            there = clips[mask]
            rows.append(there[np.floor(np.linspace(0, len(there) - 1, count) + 0.5).astype(int)])
        found.append(np.stack(rows))
    return found[0], found[1] if len(found) == 2 else found[0][:, ::2]


def nt_xent(one: np.ndarray, other: np.ndarray, tau: float) -> float:
    vectors = [v / np.linalg.norm(v) for v in (*one, *other)]
    n, losses = len(one), []
    for i, anchor in enumerate(vectors):
        others = {j: anchor @ v / tau for j, v in enumerate(vectors) if j != i}
        losses.append(np.log(sum(np.exp(s) for s in others.values())) - others[(i + n) % (2 * n)])
    return float(np.mean(losses))


def square(x: ArrayLike) -> float:
    return float(np.mean(np.square(x)))
