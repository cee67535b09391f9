"""The released checkpoints of C3D-AVG (`model_my_fc6_94.pth`, `model_score_regressor_94.pth`, ...) as a fitted `mtl`.

One file holds one module; `model_CNN` is the backbone and is read by `aqa extract`. The files are in torch's old format
with tensors of a GPU, and are opened without running what is in them.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..errors import WeightsError
from .batches import Scaling
from .fitted_torch import FittedTorch
from .mlp import Mlp
from .mtl import Mtl
from .needs import FittedOn
from .torch_head import Spec, TorchHead, built

WIDTH = 8192  # of pool5
POINTS = 17.0  # the released code divides scores by this
RANGE = (0.0, 123.0)  # of MTL-AQA by the rules, as `aqa.catalog.mtl_aqa` has it
CLASSES = {"position": 3, "armstand": 2, "rotation": 4, "somersaults": 10, "twists": 8}
FIELDS = ("position", "armstand", "rot_type", "ss_no", "tw_no")  # the same in the released names
PARTS = {
    "fc": "fc6",
    "fc_final_score": "score",
    **{f"fc_{field}": f"classifiers.{k}" for k, field in enumerate(FIELDS)},
    **{name: f"captioner.{name}" for name in ("rnn1", "rnn2", "embedding", "out")},
}


def read_released(files: Iterable[str | Path]) -> dict[str, Tensor]:
    """The tensors of released files under the names that they have in `MtlNet`, float32, on the CPU.

    Raises:
        WeightsError: a file is missing or damaged, asks for more than tensors, or is no part of a released `mtl`.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors = torch.load(file, map_location="cpu", weights_only=True)
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                found[f"{PARTS[part]}.{rest}"] = tensor.float()
        except FileNotFoundError as error:
            raise WeightsError("there is no such weight file", file=file) from error
        except KeyError as error:
            hint = "give model_my_fc6, model_score_regressor, model_dive_classifier, model_caption (not model_CNN)"
            raise WeightsError(f"no part of a released C3D-AVG head is called {error}", file=file, hint=hint) from error
        except (OSError, EOFError, ValueError, RuntimeError, AttributeError, pickle.UnpicklingError) as error:
            raise WeightsError("the weight file is damaged, or holds more than tensors", file=file) from error
    return found


def released(
    files: Sequence[str | Path], *, stream: str = "c3d:pool5", words: Sequence[str] = (), device: str = "cpu"
) -> FittedTorch:
    """A fitted `mtl` made of released files: fc6 and the score at least, the classifiers and the captioner where given.

    `stream`: name of the pool5 features that it will judge, [T, 8192] as `aqa extract` makes them (channels, time,
    height, width), of the fine-tuned C3D that came with the files; they are not standardised. `words`: the vocabulary
    of the captioner by index, as in `vocab.json`.

    Raises:
        WeightsError: see `read_released`; tensors are missing or have other shapes.
    """
    tensors = read_released(files)
    absent = [name for name in ("fc6", "score") if f"{name}.weight" not in tensors]
    if absent:
        raise WeightsError(f"no file has {' or '.join(absent)}", hint="give model_my_fc6 and model_score_regressor too")
    classes = CLASSES if "classifiers.0.weight" in tensors else {}
    embedding = tensors.get("captioner.embedding.weight", torch.zeros(0, 1))
    if len(embedding) > len(words):
        what = f"the captioner has {len(embedding)} words, and {len(words)} are given"
        raise WeightsError(what, field="words", hint="give `ix_to_word` of vocab.json, in order")
    constants = {"classes": classes, "words": list(words[: len(embedding)]), "tokens": 100, "off": {}}
    hidden = len(tensors["fc6.weight"])
    head: TorchHead = Mlp(scale="none", hidden=hidden)
    if classes or len(embedding):
        captions = {"caption": len(embedding) > 0, "caption_hidden": embedding.shape[1]}
        head = Mtl(scale="none", hidden=hidden, classify=bool(classes), **captions)
    spec = Spec(
        streams={stream: (WIDTH,)},
        clips=6,
        samples=1059,
        target_kind="score",
        times_difficulty=False,
        low=RANGE[0],
        high=RANGE[1],
        mean=0.0,
        sd=POINTS,
        judges=0,
        constants=constants,
    )
    net = built(head, spec, 0)
    try:
        missing, foreign = net.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"the shapes are not those of C3D-AVG: {error}", hint="give the released files") from error
    lacking = [name for name in missing if not name.startswith("units.")] + foreign
    if lacking:
        raise WeightsError(f"missing, or too many: {', '.join(lacking)}", hint="give whole released files")
    info = {"seed": 0, "selected_on": "released", "parameters": sum(p.numel() for p in net.parameters())}
    fitted_on = FittedOn(spec.streams, "score", RANGE)
    return FittedTorch(head, spec, net.to(device).eval(), Scaling({}, {}), fitted_on, {**info, **head.describe(spec)})
