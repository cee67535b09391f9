"""Released files of C3D-AVG: the two real ones, and made-up ones of all parts."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aqa.cache.fingerprint import Fingerprint
from aqa.cache.stores import create_store
from aqa.catalog.base import Dataset, Fold, Protocol, Sample, Target
from aqa.errors import WeightsError
from aqa.heads import FeatureSet, Ragged, load_head
from aqa.heads.mtl_released import CLASSES, read_released, released

PAGE = Path(__file__).resolve().parents[2] / "docs" / "heads" / "mtl.md"
WIDTH, HIDDEN, CAPTION = 8192, 6, 4
WORDS = ("<eos>", "<sos>", "and", "a", "dive", "unused")
THEIRS = {"position": "position", "armstand": "armstand", "rotation": "rot_type", "somersaults": "ss_no"}


def test_the_real_files_give_the_expected_outputs(shared_data: Path):
    folder = shared_data / "weights"
    expected = json.loads((folder / "mtl_heads_94_expected.json").read_text())
    found = read_released(sorted(folder.glob("model_*_94.pth")))
    x = torch.arange(4096).remainder(97).double() / 97
    names = {"fc_final_score": "score"} | {
        f"fc_{THEIRS.get(name, 'tw_no')}": f"classifiers.{k}" for k, name in enumerate(CLASSES)
    }
    seen = set()
    for facts in expected.values():
        for key, fact in facts.items():
            part, _, rest = key.partition("::") if "::" in key else key.partition(".")
            if rest in ("weight", "bias"):
                tensor = found[f"{names[part]}.{rest}"]
                seen.add(f"{names[part]}.{rest}")
                assert list(tensor.shape) == fact["shape"]
                assert hashlib.sha256(tensor.numpy().astype("<f4").tobytes()).hexdigest() == fact["sha256_le_f32"]
            else:
                weight, bias = (found[f"{names[part]}.{end}"].double() for end in ("weight", "bias"))
                assert (weight @ x + bias).tolist() == pytest.approx(fact, abs=1e-5)
    assert seen == found.keys()
    assert len(seen) == 12


def test_the_real_heads_judge_through_the_network(shared_data: Path, tmp_path: Path):
    """With an fc6 that makes x, (i mod 97) / 97, of whatever it is given."""
    folder = shared_data / "weights"
    fc6 = {"fc.weight": torch.zeros(4096, WIDTH), "fc.bias": torch.arange(4096).remainder(97) / 97}
    torch.save(fc6, tmp_path / "model_my_fc6_94.pth")
    files = [*sorted(folder.glob("model_*_94.pth")), tmp_path / "model_my_fc6_94.pth"]
    judged = released(files).predict(dives(2))
    assert judged.score == pytest.approx([17 * -1.1956108810729864] * 2, rel=1e-5)
    expected = json.loads((folder / "mtl_heads_94_expected.json").read_text())["model_dive_classifier_94.pth"]
    for name, table in judged.attributes.items():
        logits = np.array(expected[f"fc_{THEIRS.get(name, 'tw_no')}::y_for_x_i=(i mod 97)/97"])
        assert table[1] == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=1e-5)
    assert list(judged.attributes) == list(CLASSES)


def dives(count: int) -> FeatureSet:
    values = np.random.default_rng(0).normal(size=(count * 6, WIDTH)).astype(np.float32)
    stream = Ragged(values, np.arange(count + 1) * 6)
    return FeatureSet(tuple(f"d{i}" for i in range(count)), {"c3d:pool5": stream}, np.full(count, np.nan), (0, 123))


@pytest.fixture
def parts() -> dict[str, dict[str, torch.Tensor]]:
    """Made-up files of a small network under the released names."""
    torch.manual_seed(0)
    modules: dict[str, dict[str, nn.Module]] = {
        "my_fc6": {"fc": nn.Linear(WIDTH, HIDDEN)},
        "score_regressor": {"fc_final_score": nn.Linear(HIDDEN, 1)},
        "dive_classifier": {f"fc_{THEIRS.get(n, 'tw_no')}": nn.Linear(HIDDEN, count) for n, count in CLASSES.items()},
        "caption": {
            "rnn1": nn.GRU(WIDTH, CAPTION, 2, batch_first=True),
            "rnn2": nn.GRU(2 * CAPTION, CAPTION, 2, batch_first=True),
            "embedding": nn.Embedding(5, CAPTION),
            "out": nn.Linear(CAPTION, 5),
        },
    }
    return {name: dict(nn.ModuleDict(inside).state_dict()) for name, inside in modules.items()}


def write(folder: Path, parts: dict[str, Any], *names: str) -> list[Path]:
    files = []
    for name in names or parts:
        files.append(folder / f"model_{name}_94.pth")
        torch.save(parts[name], files[-1], _use_new_zipfile_serialization=False)
    return files


def test_all_parts_make_a_head_that_judges_names_and_speaks(parts: dict[str, Any], tmp_path: Path):
    parts["caption"]["out.bias"][2] += 9  # "and", which has the number of our <unk>, may be said
    fitted, data = released(write(tmp_path, parts), words=WORDS), dives(3)
    judged = fitted.predict(data)
    mean = data.streams["c3d:pool5"].values.reshape(3, 6, WIDTH).mean(axis=1)
    hidden = np.maximum(mean @ parts["my_fc6"]["fc.weight"].numpy().T + parts["my_fc6"]["fc.bias"].numpy(), 0)
    score = parts["score_regressor"]
    wanted = hidden @ score["fc_final_score.weight"].numpy().T + score["fc_final_score.bias"].numpy()
    assert judged.score == pytest.approx(17 * wanted[:, 0], rel=1e-4)
    assert [table.shape for table in judged.attributes.values()] == [(3, count) for count in CLASSES.values()]
    assert judged.captions == (" ".join(["and"] * 99),) * 3
    fitted.save(tmp_path / "head")
    assert np.array_equal(load_head(tmp_path / "head").predict(data).score, judged.score)


def test_the_lines_of_the_page(parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On made-up files, and features of six clips as `aqa extract` keeps them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    write(tmp_path / "weights", parts)
    vocabulary = {"ix_to_word": {str(k): word for k, word in enumerate(WORDS)}}
    (tmp_path / "weights" / "vocab.json").write_text(json.dumps(vocabulary))
    data = dives(3)
    samples = tuple(Sample(i, {"score": 60.0}) for i in data.ids)
    folds = (Fold("0", data.ids[:2], data.ids[2:]),)
    table = Dataset(
        name="mtl-aqa", samples=samples, targets=(Target("score"),), protocols=(Protocol("official", folds),)
    )
    made = Fingerprint("c3d.mtl_aqa", "pool5", (WIDTH,), "0" * 64, {}, "6x16@103", "edge", "fp32", 1)
    store = create_store(tmp_path / "aqa-cache", table, "c3d:pool5", made, {})
    for i, features in zip(data.ids, data.streams["c3d:pool5"].values.reshape(3, 6, WIDTH), strict=True):
        store.write(i, features, np.arange(6) * 16, np.arange(6) * 0.64)
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(lines, str(PAGE), "exec"), names)
    wanted = released(write(tmp_path, parts), words=WORDS).predict(data)
    for judged in (names["judged"], load_head("mtl-94").predict(data)):
        assert np.array_equal(judged.score, wanted.score)
        assert judged.attributes.keys() == CLASSES.keys()
        assert judged.captions == wanted.captions


def test_without_classifiers_and_captioner_it_is_mlp(parts: dict[str, Any], tmp_path: Path):
    fitted = released(write(tmp_path, parts, "my_fc6", "score_regressor"))
    assert fitted.head.name == "mlp"
    assert fitted.predict(dives(2)).attributes == {}


def test_what_is_not_whole_is_refused(parts: dict[str, Any], tmp_path: Path):
    with pytest.raises(WeightsError, match="no file has fc6"):
        released(write(tmp_path, parts, "score_regressor"))
    with pytest.raises(WeightsError, match="5 words, and 0 are given"):
        released(write(tmp_path, parts))
    with pytest.raises(WeightsError, match="no such weight file"):
        read_released([tmp_path / "gone.pth"])
    (tmp_path / "cut.pth").write_bytes((tmp_path / "model_my_fc6_94.pth").read_bytes()[:500])
    with pytest.raises(WeightsError, match="damaged"):
        read_released([tmp_path / "cut.pth"])
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "model_CNN_94.pth")
    with pytest.raises(WeightsError, match=r"is called 'conv1'.*not model_CNN"):
        read_released([tmp_path / "model_CNN_94.pth"])
    torch.save({"fc.weight": Path("code")}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match="more than tensors"):
        read_released([tmp_path / "odd.pth"])
    del parts["dive_classifier"]["fc_tw_no.bias"]
    with pytest.raises(WeightsError, match=r"missing, or too many: classifiers\.4\.bias"):
        released(write(tmp_path, parts), words=WORDS)
    parts["dive_classifier"]["fc_tw_no.bias"] = torch.zeros(9)
    with pytest.raises(WeightsError, match="shapes are not those"):
        released(write(tmp_path, parts), words=WORDS)
