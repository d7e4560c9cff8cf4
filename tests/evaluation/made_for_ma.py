"""Forests that scikit-learn has grown, in the layout of Ma et al.'s parameter file.

It is that of `regRF_train` of randomforest-matlab, which `regRF_predict` reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from acutance.evaluation.ma.model_file import FEATURES

LINEAR = np.array([[-1.5], [0.4], [0.5], [0.3]])
SPARE = 30
"""Nodes that are allocated and not used, as in the authors' file."""


def grown_forests() -> list[RandomForestRegressor]:
    """A forest for each family of features. scikit-learn compares in float32: so the features are made of it."""
    random = np.random.default_rng(0)
    forests = []
    for seed, count in enumerate(FEATURES.values()):
        seen = random.standard_normal((150, count)).astype(np.float32)
        scores = 5 + 2 * np.tanh(seen[:, 0] + seen[:, -1] * seen[:, 1]) + 0.1 * random.standard_normal(150)
        forests.append(RandomForestRegressor(9, min_samples_leaf=3, random_state=seed).fit(seen, scores))
    return forests


def made_fields(forests: list[RandomForestRegressor]) -> dict[str, Any]:
    """What the file's variable `model` holds."""
    return {"rf": cells([in_authors_layout(forest) for forest in forests]), "linear": LINEAR}


def cells(parts: list[dict[str, Any]]) -> np.ndarray:
    """A MATLAB cell array, as a column."""
    column = np.empty((len(parts), 1), dtype=object)
    column[:, 0] = parts
    return column


def in_authors_layout(forest: RandomForestRegressor) -> dict[str, Any]:
    """Nodes by trees; daughters and features counted from 1, 0 in a leaf."""
    trees = [tree.tree_ for tree in forest.estimators_]
    nodes = max(tree.node_count for tree in trees) + SPARE

    def table(column: Callable[[Any], np.ndarray], kind: type) -> np.ndarray:
        padded = [np.pad(column(tree), (0, nodes - tree.node_count)) for tree in trees]
        return np.stack(padded, axis=1).astype(kind)

    return {
        "lDau": table(lambda tree: tree.children_left + 1, np.int32),
        "rDau": table(lambda tree: tree.children_right + 1, np.int32),
        # the authors' compiled code packs two node states of a byte into each character
        "nodestatus": np.full((nodes, len(trees)), "\ufdfd"),
        "nrnodes": float(nodes),
        "upper": table(lambda tree: tree.threshold, np.float64),
        "avnode": table(lambda tree: tree.value[:, 0, 0], np.float64),
        "mbest": table(lambda tree: np.where(tree.feature < 0, 0, tree.feature + 1), np.int32),
        "ndtree": np.array([[tree.node_count] for tree in trees], dtype=np.int32),
        "ntree": float(len(trees)),
        "coef": np.zeros((2, 1)),
    }
