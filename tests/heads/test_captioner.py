"""S2VT against `torch.nn.GRU` run sample by sample and word by word, and captions as numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from aqa.catalog import mtl_aqa
from aqa.heads.captioner import S2VT, Gru, caption_loss
from aqa.heads.noise import Live
from aqa.heads.words import EOS, SOS, UNK, decode, encode, tokens, vocabulary

WORDS, HIDDEN = 9, 5


def theirs(ours: Gru) -> nn.GRU:
    """`torch.nn.GRU` with the same numbers under the same names."""
    net = nn.GRU(ours.get_parameter("weight_ih_l0").shape[1], ours.hidden, 2, batch_first=True).double()
    net.load_state_dict(ours.state_dict())
    return net


@pytest.fixture
def s2vt() -> S2VT:
    torch.manual_seed(1)
    return S2VT(6, WORDS, HIDDEN, 0.5).double()


@pytest.fixture
def said() -> Tensor:
    """Five captions of up to five words; the third sample has none, the last was cut."""
    rows = [[1, 3, 4, 5, 0, 0, 0], [1, 3, 0, 0, 0, 0, 0], [0] * 7, [1, 8, 2, 7, 3, 0, 0], [1, 6, 5, 4, 3, 8, 0]]
    return torch.tensor(rows)


def slowly(net: S2VT, clips: Tensor, words: list[int]) -> Tensor:
    """Logits [steps, words] of one sample [T, D], whose word `i` is given at step i; step after step."""
    rnn1, rnn2 = theirs(net.rnn1), theirs(net.rnn2)
    heard, one = rnn1(clips[None])
    _, two = rnn2(torch.cat([heard, torch.zeros_like(heard)], dim=2))
    logits = []
    for word in words:
        out, one = rnn1(torch.zeros(1, 1, clips.shape[1], dtype=clips.dtype), one)
        out, two = rnn2(torch.cat([out, net.embedding.weight[word][None, None]], dim=2), two)
        logits.append(net.out(out[0, 0]))
    return torch.stack(logits)


def test_it_has_the_published_number_of_parameters():
    with torch.device("meta"):
        net = S2VT(8192, 5779, 512, 0.5)
    assert sum(p.numel() for p in net.parameters()) == 24_810_131
    assert net.rnn1.get_parameter("weight_ih_l0").shape == (1536, 8192)
    assert net.rnn2.get_parameter("weight_ih_l0").shape == (1536, 1024)


def test_the_gru_is_torchs():
    torch.manual_seed(0)
    gru, x = Gru(6, HIDDEN, 0.0).double(), torch.randn(3, 4, 6, dtype=torch.float64)
    start = torch.randn(2, 3, HIDDEN, dtype=torch.float64)
    outputs, state = theirs(gru)(torch.cat([x, torch.zeros(3, 2, 6, dtype=torch.float64)], dim=1), start)
    layers = gru(x, list(start), 2)
    assert torch.allclose(layers[-1], outputs, atol=1e-14)
    assert torch.allclose(torch.stack([layer[:, -1] for layer in layers]), state, atol=1e-14)


def test_dropout_lies_between_the_layers_alone():
    torch.manual_seed(0)
    gru, x = Gru(6, HIDDEN, 0.5), torch.randn(3, 4, 6)
    start, noise = [torch.zeros(3, HIDDEN)] * 2, Live(torch.Generator().manual_seed(0))
    plain, dropped = gru(x, start), gru(x, start, noise=noise)
    assert noise.asked == [("uniform", (3, 4, HIDDEN))]
    assert torch.equal(plain[0], dropped[0])
    assert not torch.allclose(plain[1], dropped[1])


def test_a_caption_given_word_by_word_of_samples_of_unlike_length(s2vt: S2VT, said: Tensor, five):
    clips, mask = five.streams["x"], five.masks["x"]
    logs = s2vt(clips, mask, said)
    assert logs.shape == (5, 6, WORDS)
    total = 0.0
    for i in range(5):
        wanted = slowly(s2vt, clips[i][mask[i]], said[i, :-1].tolist()).log_softmax(dim=1)
        assert torch.allclose(logs[i], wanted, atol=1e-12)
        caption = said[i, 1:].tolist()
        if said[i, 0] == SOS:
            total += sum(wanted[k, word].item() for k, word in enumerate(caption[: caption.index(0) + 1]))
    assert caption_loss(logs, said).item() == pytest.approx(-total / 4, abs=1e-12)  # four samples have a caption


def test_a_batch_without_captions_costs_nothing(s2vt: S2VT, five):
    none = torch.zeros(5, 4, dtype=torch.int64)
    assert caption_loss(s2vt(five.streams["x"], five.masks["x"], none), none).item() == 0


def test_greedy_says_the_most_probable_word_each_time(s2vt: S2VT, five):
    clips, mask = five.streams["x"], five.masks["x"]
    with torch.no_grad():
        for value in s2vt.parameters():  # far from where it starts, where it always says the same
            value *= 4
        found = s2vt.greedy(clips, mask, 12, (SOS, UNK))
        for i in range(5):
            words = [SOS]
            while len(words) <= 12 and words[-1] != EOS:
                logits = slowly(s2vt, clips[i][mask[i]], words)[-1]
                logits[[SOS, UNK]] = -torch.inf
                words.append(int(logits.argmax()))
            assert found[i].tolist() == [*words[1:], *[EOS] * (13 - len(words))]
    assert len({tuple(row) for row in found.tolist()}) > 2
    assert 0 < (found[:, -1] == EOS).sum() < 5  # some end early, some do not


def test_what_padding_holds_does_not_matter(s2vt: S2VT, said: Tensor, five):
    clips, mask = five.streams["x"], five.masks["x"]
    dirty = torch.where(mask[..., None], clips, 7.0)
    assert torch.equal(s2vt(dirty, mask, said), s2vt(clips, mask, said))
    assert torch.equal(s2vt.greedy(dirty, mask, 5, (SOS,)), s2vt.greedy(clips, mask, 5, (SOS,)))


def test_words_of_a_caption():
    assert tokens("Round two, a reverse  3:58 dive. [Applause] That's it!") == (
        ["round", "two", "a", "reverse", "3:58", "dive", "[applause]", "that's", "it"]
    )
    assert tokens(" . ") == []


def test_a_vocabulary_is_ordered_by_count_then_alphabet():
    captions = ["b a b", "C, a", "", "<sos> b <eos>"]
    assert vocabulary(captions, 1) == ["<eos>", "<sos>", "<unk>", "b", "a", "c"]
    assert vocabulary(captions, 2) == ["<eos>", "<sos>", "<unk>", "b", "a"]


def test_captions_as_numbers_and_back():
    words = ["<eos>", "<sos>", "<unk>", "b", "a"]
    rows = encode(["b a", "", "b c b a b", "a b a"], words, 5)
    assert rows.tolist() == [[1, 3, 4, 0, 0], [0, 0, 0, 0, 0], [1, 3, 2, 3, 0], [1, 4, 3, 4, 0]]
    assert decode([3, 4, 0, 3], words) == "b a"
    assert decode([], words) == ""


def test_the_real_captions(shared_data: Path):
    data = mtl_aqa.read(shared_data / "mtl-aqa")
    fold = data.protocols[0].folds[0]
    train, test = ([data.by_id[i].caption or "" for i in part] for part in (fold.train, fold.test))
    assert len({word for caption in train for word in caption.split()}) + 2 == 5053  # as in the published statistics
    words = vocabulary(train, 1)
    assert len(words) == 3 + len({word for caption in train for word in caption.lower().split()}) == 4967
    for captions, cut in ((train, 187), (test, 63)):
        rows = encode(captions, words, 100)
        assert (rows[:, 0] == SOS).all()
        assert (rows[:, -1] == EOS).all()
        long = [len(tokens(caption)) + 2 > 100 for caption in captions]
        assert sum(long) == cut
        assert (rows[long, -2] != EOS).all()
    assert (encode(train, words, 100) != UNK).all()
    unseen = {word for caption in test for word in tokens(caption)} - set(words)
    assert (encode(test, words, 500) == UNK).sum() == sum(w in unseen for caption in test for w in tokens(caption))
    first = data.by_id["01_01"].caption or ""
    assert decode(encode([first], words, 100)[0, 1:], words) == first.lower()
