"""S2VT (Venugopalan et al., Sequence to Sequence - Video to Text, ICCV 2015) as C3D-AVG-MTL has it: clips to words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .noise import Noise, dropout
from .recurrent import gru_steps
from .words import EOS, SOS

LAYERS = 2


class Gru(nn.Module):
    """A GRU of two layers; parameters, gates (r, z, n) and initialisation are those of `torch.nn.GRU`.

    Its steps are those of `recurrent.py`; the dropout between its layers is drawn outside.
    """

    def __init__(self, inputs: int, hidden: int, p: float) -> None:
        super().__init__()
        self.hidden, self.p = hidden, p
        bound = 1 / math.sqrt(hidden)
        for k, width in enumerate((inputs, hidden)):
            shapes = {"weight_ih": (3 * hidden, width), "weight_hh": (3 * hidden, hidden)}
            for name, shape in {**shapes, "bias_ih": (3 * hidden,), "bias_hh": (3 * hidden,)}.items():
                self.register_parameter(f"{name}_l{k}", nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))

    def forward(self, x: Tensor, state: Sequence[Tensor], blanks: int = 0, noise: Noise | None = None) -> list[Tensor]:
        """x [B, T, inputs], followed by `blanks` steps of zeros; state of each layer [B, hidden] -> the outputs of each
        layer, [B, T + blanks, hidden]."""
        outputs = []
        for k in range(LAYERS):
            x = dropout(x, self.p, noise) if k else x
            bias = getattr(self, f"bias_ih_l{k}")
            gates = F.linear(x, getattr(self, f"weight_ih_l{k}"), bias)
            if blanks and k == 0:  # what a step of zeros adds is the bias alone
                gates = torch.cat([gates, bias.expand(len(x), blanks, -1)], dim=1)
            weight, bias = getattr(self, f"weight_hh_l{k}"), getattr(self, f"bias_hh_l{k}")
            x = gru_steps(gates, state[k], partial(F.linear, weight=weight, bias=bias))
            outputs.append(x)
        return outputs


class S2VT(nn.Module):
    """One GRU looks at the clips and then at zeros; a second one hears it beside zeros and then beside the words said
    so far, and its outputs say the next word. 24,810,131 parameters with D = 8192, hidden = 512 and 5,779 words."""

    def __init__(self, width: int, words: int, hidden: int, p: float) -> None:
        super().__init__()
        self.hidden = hidden
        self.rnn1 = Gru(width, hidden, p)
        self.rnn2 = Gru(2 * hidden, hidden, p)
        self.embedding = nn.Embedding(words, hidden)
        self.out = nn.Linear(hidden, words)

    def forward(self, x: Tensor, mask: Tensor, tokens: Tensor, noise: Noise | None = None) -> Tensor:
        """Log probabilities [B, L - 1, words] of the tokens after the first, each given the true ones before it.

        x [B, T, D], mask [B, T], tokens int64 [B, L]. A padded clip is zeros, as what rnn1 is fed while words are said;
        so for a shorter sample the words simply begin earlier, and its padding changes nothing.
        """
        steps, lengths = tokens.shape[1] - 1, mask.sum(dim=1, keepdim=True)
        heard = self.rnn1(x * mask[..., None], self._start(x), steps, noise)[-1]
        place = torch.arange(heard.shape[1], device=x.device) - lengths  # of the word that a step is given
        said = tokens.gather(1, place.clamp(0, steps - 1))
        there = (place >= 0) & (place < steps)
        beside = self.embedding(said) * there[..., None]
        spoken = self.rnn2(torch.cat([heard, beside], dim=2), self._start(x), noise=noise)[-1]
        rows = lengths + torch.arange(steps, device=x.device)
        return self.out(spoken.gather(1, rows[..., None].expand(-1, -1, self.hidden))).log_softmax(dim=2)

    def greedy(self, x: Tensor, mask: Tensor, steps: int, never: Sequence[int]) -> Tensor:
        """int64 [B, steps]: always the most probable word but those in `never`, zeros from `<eos>` on. It stops when
        all have ended."""
        heard = self.rnn1(x * mask[..., None], self._start(x))
        spoken = self.rnn2(torch.cat([heard[-1], torch.zeros_like(heard[-1])], dim=2), self._start(x))
        last = (mask.sum(dim=1) - 1)[:, None, None].expand(-1, 1, self.hidden)
        one, two = ([layer.gather(1, last)[:, 0] for layer in layers] for layers in (heard, spoken))
        tokens = torch.full((len(x), steps), EOS, device=x.device)
        word = torch.full((len(x),), SOS, device=x.device)
        for i in range(steps):
            one = [layer[:, 0] for layer in self.rnn1(x[:, :0], one, 1)]
            two = [layer[:, 0] for layer in self.rnn2(torch.cat([one[-1], self.embedding(word)], dim=1)[:, None], two)]
            logits = self.out(two[-1])
            logits[:, list(never)] = -math.inf
            word = torch.where(word == EOS, EOS, logits.argmax(dim=1))
            tokens[:, i] = word
            if (word == EOS).all():
                break
        return tokens

    def _start(self, x: Tensor) -> list[Tensor]:
        return [x.new_zeros(len(x), self.hidden) for _ in range(LAYERS)]


def caption_loss(logs: Tensor, tokens: Tensor) -> Tensor:
    """Minus the log probability of a caption up to and with its first `<eos>`, summed over its tokens, and the mean of
    that over the samples that have a caption. logs [B, L - 1, words], tokens [B, L]."""
    target, captioned = tokens[:, 1:], tokens[:, :1] == SOS
    ended = (target == EOS).long()
    counts = captioned & (ended.cumsum(dim=1) - ended == 0)
    picked = logs.gather(2, target[..., None])[..., 0]
    return -(picked * counts).sum() / captioned.sum().clamp(min=1)
