"""A random forest for regression, as tables of nodes: all trees are gone down at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Forest:
    """Trees side by side; node 0 is each one's root, and a leaf leads to itself.

    Attributes:
        left: (nodes, trees), the next node where the feature is at most the threshold.
        right: (nodes, trees), the next node where it is greater.
        feature: (nodes, trees), which feature a node asks for.
        threshold: (nodes, trees) float64.
        value: (nodes, trees) float64, what a leaf predicts.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    value: np.ndarray


def predict(forest: Forest, features: np.ndarray) -> float:
    """Return the mean of what the trees predict for one picture's features, (n,)."""
    trees = np.arange(forest.left.shape[1])
    node = np.zeros_like(trees)
    while True:
        goes_left = features[forest.feature[node, trees]] <= forest.threshold[node, trees]
        below = np.where(goes_left, forest.left[node, trees], forest.right[node, trees])
        if np.array_equal(below, node):
            return float(forest.value[node, trees].mean())
        node = below
