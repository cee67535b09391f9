"""`mtl`: C3D-AVG-MTL on cached features (Parmar and Morris, What and How Well You Performed? A Multitask Learning
Approach to Action Quality Assessment, CVPR 2019): score, classes and commentary of a dive from one network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor, nn

from ..errors import BadParameter, UnmetNeeds
from .base import FeatureSet, Judgement, Needs
from .batches import Batch, only
from .captioner import S2VT, caption_loss
from .config import demand
from .mlp import MlpNet
from .noise import Noise
from .torch_head import Published, Spec, Step, TorchHead
from .words import EOS, SPECIAL, decode, encode, tokens, vocabulary


class Tasks(NamedTuple):
    """What is to be said beside the score, as `MultiTask.constants` made it of train."""

    classes: dict[str, int]  # how many an attribute has
    words: int
    tokens: int  # of the longest caption
    never: list[int]  # words that are never said

    @classmethod
    def of(cls, spec: Spec) -> Tasks:
        words = spec.constants["words"]
        never = [k for k, word in enumerate(words) if word in SPECIAL and k != EOS]
        return cls(spec.constants["classes"], len(words), spec.constants["tokens"], never)


class MtlNet(MlpNet):
    """`MlpNet`, a linear layer per attribute on its hidden layer, and a captioner on the clips themselves.

    58,483,375 parameters with D = 8192, the five attributes of MTL-AQA (110,619) and 5,779 words (24,810,131).
    """

    def __init__(self, spec: Spec, head: Mtl) -> None:
        super().__init__(spec, head.hidden, head.divisor)
        self.tasks = tasks = Tasks.of(spec)
        self.classifiers = nn.ModuleList(nn.Linear(head.hidden, count) for count in tasks.classes.values())
        self.captioner = S2VT(spec.width, tasks.words, head.caption_hidden, head.dropout) if tasks.words else None

    def logits(self, h: Tensor) -> list[Tensor]:
        """[B, classes] of each attribute."""
        return [classifier(h) for classifier in self.classifiers]

    def told(self, x: Tensor, mask: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Clips [B, T, numbers] for the captioner, and their mask."""
        return x.flatten(2), mask


@dataclass(frozen=True)
class MultiTask(TorchHead):
    """alpha (squared + absolute error of score / sd) + beta (sum of the attributes' cross-entropies) + gamma (caption
    likelihood, summed over its tokens).

    All defaults are the released code's. `classify`, `caption`: tasks that are wanted; what train has no labels for is
    off. `classes`: how many classes an attribute has (`position:3,armstand:2`), by default one more than the highest
    index in train. `divisor` of the target: released 17, the standard deviation over all of MTL-AQA; none: that of
    train. `caption_hidden`: width of the recurrent layers and of the embedding of words. `min_count`: rarer words of
    train are `<unk>`. `max_tokens`: longest caption, with `<sos>` and `<eos>`. Where `needs.labels` is False the score
    may be all that there is to learn.

    `build` gives a `ScoreNet` with `tasks`, `logits`, `captioner` and `told`, as `MtlNet` has them.
    """

    published: ClassVar[Published] = {
        "": {"scale": "none", "select": "test"},
        "mtl-aqa": {
            "divisor": 17.0,
            "classes": ("position:3", "armstand:2", "rotation:4", "somersaults:10", "twists:8"),
        },
    }

    batch: int = 3
    divisor: float | None = None
    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 0.01
    classify: bool = True
    caption: bool = True
    classes: tuple[str, ...] = ()
    caption_hidden: int = 512
    dropout: float = 0.5
    min_count: int = 1
    max_tokens: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "beta", "gamma"):
            demand(self, name, getattr(self, name) >= 0, "0 or more")
        demand(self, "divisor", self.divisor is None or self.divisor > 0, "a number above 0, or none")
        demand(self, "dropout", 0 <= self.dropout < 1, "a number from 0 to below 1")
        demand(self, "max_tokens", self.max_tokens >= 3, "3 or more")
        for name in ("caption_hidden", "min_count"):
            demand(self, name, getattr(self, name) >= 1, "1 or more")
        pairs = [item.rpartition(":") for item in self.classes]
        fine = all(name and count.isdecimal() and int(count) >= 1 for name, _, count in pairs)
        demand(self, "classes", fine, "NAME:COUNT, several with commas between")

    def constants(self, train: FeatureSet, marks: np.ndarray, width: float) -> dict[str, Any]:  # noqa: ARG002
        """Classes per attribute, words and tokens of a caption, and why what is off is off.

        Raises:
            UnmetNeeds: nothing but the score is left to learn.
            BadParameter: `classes` of an attribute that train has not, or fewer than it has.
        """
        classes, off = self._classes(train)
        captions = [caption for caption in train.caption if tokens(caption)] if self.caption else []
        if not captions:
            off["captions"] = "no train sample has a caption" if self.caption else "caption=no"
        if self.needs.labels and not classes and not captions:
            why = "; ".join(f"{task}: {reason}" for task, reason in off.items())
            raise UnmetNeeds(f"{self.name} has nothing but the score to learn ({why})", hint="use mlp")
        longest = max((len(tokens(caption)) + 2 for caption in captions), default=0)
        words = vocabulary(captions, self.min_count) if captions else []
        return {"classes": classes, "words": words, "tokens": min(longest, self.max_tokens), "off": off}

    def _classes(self, train: FeatureSet) -> tuple[dict[str, int], dict[str, str]]:
        given = {name: int(count) for name, _, count in (item.rpartition(":") for item in self.classes)}
        for name in given.keys() - train.attributes.keys():
            hint = f"there are: {', '.join(train.attributes) or 'none'}"
            raise BadParameter(f"train has no attribute '{name}'", field="classes", hint=hint)
        classes, off = {}, {}
        for name, values in train.attributes.items():
            highest = int(values.max(initial=-1))
            if name in given and given[name] <= highest:
                what = f"{name} has the class {highest} in train, so {given[name]} classes are too few"
                raise BadParameter(what, field="classes", hint=f"give {name}:{highest + 1}")
            if not self.classify:
                off[name] = "classify=no"
            elif highest < 0:
                off[name] = "unknown for every train sample"
            elif name not in given and highest + 1 > len(train):
                off[name] = f"{highest + 1} classes for {len(train)} train samples"
            else:
                classes[name] = given.get(name, highest + 1)
        if not train.attributes:
            off["attributes"] = "there are none"
        return classes, off

    def labels(self, spec: Spec, train: FeatureSet) -> dict[str, np.ndarray]:
        """`classes` [N, attributes], -1 where unknown, and `tokens` [N, L], of the tasks that are on."""
        found = {}
        if spec.constants["classes"]:
            found["classes"] = np.stack([train.attributes[name] for name in spec.constants["classes"]], axis=1)
        if spec.constants["words"]:
            found["tokens"] = encode(train.caption, spec.constants["words"], spec.constants["tokens"])
        return found

    def describe(self, spec: Spec) -> dict[str, Any]:
        made = spec.constants
        return {"classes": made["classes"], "words": len(made["words"]), "tokens": made["tokens"], "off": made["off"]}

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        x, mask = only(batch)
        h = net(x, mask)
        total = self.alpha * net.loss(h, batch.score)
        for k, logits in enumerate(net.logits(h)):
            total = total + self.beta * class_loss(logits, batch.targets["classes"][:, k])
        if net.captioner is not None:
            said = batch.targets["tokens"]
            total = total + self.gamma * caption_loss(net.captioner(*net.told(x, mask, h), said, noise), said)
        return total

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        return {"score": net.points(net(*only(batch)))}

    def further(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        x, mask = only(batch)
        h = net(x, mask)
        pairs = zip(net.tasks.classes, net.logits(h), strict=True)
        said = {f"class {name}": logits.softmax(dim=1).mT for name, logits in pairs}
        if net.captioner is not None:
            said["tokens"] = net.captioner.greedy(*net.told(x, mask, h), net.tasks.tokens - 1, net.tasks.never).mT
        return said

    def judgement(self, spec: Spec, said: Mapping[str, Any]) -> Judgement:
        captions = (decode((int(i) for i in ids), spec.constants["words"]) for ids in said.get("tokens", np.zeros(0)).T)
        attributes = {name: said[f"class {name}"].T for name in spec.constants["classes"]}
        return replace(super().judgement(spec, said), attributes=attributes, captions=tuple(captions))


@dataclass(frozen=True)
class Mtl(MultiTask):
    """C3D-AVG-MTL: one hidden layer on the mean of the clips tells score and classes.

    `hidden`: its width, the paper's.
    """

    name = "mtl"
    needs = Needs(
        shape=None,
        targets=("score", "binary"),
        labels=True,
        together=True,
        validates=True,
        gives=("attributes", "captions"),
    )

    hidden: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "hidden", self.hidden >= 1, "1 or more")
        demand(self, "caption", self.classify or self.caption, "yes, or classify=yes; with neither it is mlp")

    def build(self, spec: Spec) -> MtlNet:
        return MtlNet(spec, self)


def class_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over the samples whose class is known (not -1); 0 without any. [B, classes], [B]."""
    known = target >= 0
    picked = logits.log_softmax(dim=1).gather(1, target.clamp(min=0)[:, None])[:, 0]
    return -(picked * known).sum() / known.sum().clamp(min=1)
