"""A random forest (scikit-learn) and boosted trees (LightGBM) on pooled clips. Trees need no scaling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import StoreError
from .base import FeatureSet, Judgement
from .classical import Classical, classical_needs
from .config import demand
from .saving import whole_file

BOOSTER = "head.txt"


@dataclass(frozen=True)
class RandomForest(Classical):
    """The mean of `trees` trees, each grown on a bootstrap of train (Breiman, 2001).

    300 trees as in the floor of UI-PRMD (specs, ERRATA 7: pool=stats). `features`: the share of features tried at a
    split, "sqrt" the square root of their number, for scores too: with a thousand features or more it costs no accuracy
    to speak of and a tenth of the time. `min_leaf`: least samples in a leaf. `depth` none: until leaves are pure.
    """

    name: ClassVar[str] = "random-forest"
    needs = classical_needs(seeded=True)

    trees: int = 300
    features: float | Literal["sqrt"] = "sqrt"
    min_leaf: int = 1
    depth: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "trees", self.trees >= 1, "a whole number from 1 on")
        demand(self, "features", self.features == "sqrt" or 0 < float(self.features) <= 1, "a share in 0..1, or sqrt")
        demand(self, "min_leaf", self.min_leaf >= 1, "a whole number from 1 on")
        demand(self, "depth", self.depth is None or self.depth >= 1, "a whole number from 1 on, or none")

    def train(self, x: np.ndarray, train: FeatureSet, seed: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        binary = train.target_kind == "binary"
        parameters: dict[str, Any] = {
            "n_estimators": self.trees,
            "max_features": self.features
            if self.features == "sqrt"
            else float(self.features),  # 1 would be one feature
            "min_samples_leaf": self.min_leaf,
            "max_depth": self.depth,
            "random_state": seed,
            "n_jobs": 1,
        }
        forest = (RandomForestClassifier if binary else RandomForestRegressor)(**parameters)
        return forest.fit(x, train.score.astype(np.int64) if binary else train.score)

    def describe(self, model: Any) -> dict[str, Any]:
        return {"parameters": sum(int(tree.tree_.node_count) for tree in model.estimators_)}

    def read(self, folder: Path) -> Any:
        forest = super().read(folder)
        try:
            check_trees(forest)
        except (AttributeError, ValueError) as error:
            hint = "fit the head again"
            raise StoreError(f"not a forest that can be walked: {error}", file=folder, hint=hint) from error
        return forest


def check_trees(forest: Any) -> None:
    """ValueError if a tree points to a node or a feature that is not there: scikit-learn would read stray memory."""
    for one in forest.estimators_:
        tree = one.tree_
        count, left, right = tree.node_count, tree.children_left, tree.children_right
        inner = left != -1
        nodes = np.arange(count)
        children = np.stack([left[inner], right[inner]])
        ok = (
            tree.n_features == forest.n_features_in_
            and (right[~inner] == -1).all()
            and (children > nodes[inner]).all()  # a child comes after its parent, so that every walk ends
            and (children < count).all()
            and (tree.feature[inner] >= 0).all()
            and (tree.feature[inner] < tree.n_features).all()
        )
        if not ok:
            raise ValueError("a tree points outside itself")


@dataclass(frozen=True)
class LightGbm(Classical):
    """Gradient-boosted trees (Ke et al., NeurIPS 2017), kept small for some hundred to a thousand samples.

    LightGBM's own defaults (31 leaves, 20 samples in a leaf, .1) suppose ten thousands of samples; here `leaves` 7 and
    `min_leaf` 5, half the learning `rate` and twice the `rounds`. `features`: share of features that a tree may use,
    which is what the seed draws. One thread and deterministic=True: the same numbers on every machine of a kind.
    """

    name: ClassVar[str] = "lightgbm"
    needs = classical_needs(seeded=True)

    rounds: int = 200
    rate: float = 0.05
    leaves: int = 7
    min_leaf: int = 5
    features: float = 0.3
    l2: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "rounds", self.rounds >= 1, "a whole number from 1 on")
        demand(self, "rate", self.rate > 0, "a number above 0")
        demand(self, "leaves", self.leaves >= 2, "a whole number from 2 on")
        demand(self, "min_leaf", self.min_leaf >= 1, "a whole number from 1 on")
        demand(self, "features", 0 < self.features <= 1, "a share above 0, up to 1")
        demand(self, "l2", self.l2 >= 0, "a number from 0 on")

    def train(self, x: np.ndarray, train: FeatureSet, seed: int) -> Any:
        return self.boosted(x, train.score, seed, objective="binary" if train.target_kind == "binary" else "regression")

    def boosted(self, x: np.ndarray, y: np.ndarray, seed: int, group: list[int] | None = None, **more: Any) -> Any:
        """The trees of x [N, D] and labels y [N]. `group`: sizes of queries, `more`: parameters of LightGBM."""
        import lightgbm

        parameters = {
            "learning_rate": self.rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.min_leaf,
            "feature_fraction": self.features,
            "lambda_l2": self.l2,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
            **more,
        }
        data = lightgbm.Dataset(x, y, group=group, params=parameters)
        return lightgbm.train(parameters, data, num_boost_round=self.rounds)

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:  # noqa: ARG002
        return Judgement(np.asarray(model.predict(x, num_threads=1), dtype=np.float64))

    def describe(self, model: Any) -> dict[str, Any]:
        return {"parameters": sum(2 * tree["num_leaves"] - 1 for tree in model.dump_model()["tree_info"])}

    def write(self, model: Any, folder: Path) -> None:
        with whole_file(folder / BOOSTER) as path:
            path.write_text(model.model_to_string(), encoding="utf-8")

    def read(self, folder: Path) -> Any:
        import lightgbm

        path = folder / BOOSTER
        try:
            return lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, lightgbm.basic.LightGBMError) as error:
            raise StoreError(f"cannot read: {error}", file=path, hint="fit the head again") from error
