"""Two candidates on the same pictures: mean differences with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acutance.evaluation.metrics import METRICS
from acutance.evaluation.results import GROUND_TRUTH, Evaluation

RESAMPLES = 10_000
LEVEL = 0.95
FEWEST = 2
"""One picture says nothing about how much pictures vary."""


@dataclass(frozen=True)
class Difference:
    """How much the first candidate's mean is above the second's, with the bounds of its interval.

    Of a metric whose aim is the truth's own value, distances to it are compared.
    """

    metric: str
    mean: float
    low: float
    high: float
    pictures: int

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def differences(evaluation: Evaluation, first: str, second: str, dataset: str) -> list[Difference]:
    """Return the difference of each metric that both candidates have on two pictures or more of a data set."""
    found = []
    for metric in evaluation.metrics:
        compared = difference(metric, _pairs(evaluation, metric, first, second, dataset))
        if compared is not None:
            found.append(compared)
    return found


def difference(metric: str, pairs: Sequence[tuple[float, float]]) -> Difference | None:
    """Return how much the first values of pairs are above the second ones; None for fewer than two pairs.

    Efron's percentile bootstrap over pictures, 10,000 resamples of the pairs, 95 %; the same numbers every time.
    """
    if len(pairs) < FEWEST:
        return None
    apart = np.array([mine - other for mine, other in pairs])
    drawn = np.random.default_rng(0).integers(0, len(apart), (RESAMPLES, len(apart)))
    low, high = np.quantile(apart[drawn].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(metric, float(apart.mean()), float(low), float(high), len(apart))


def _pairs(evaluation: Evaluation, metric: str, first: str, second: str, dataset: str) -> list[tuple[float, float]]:
    mine, other = (evaluation.values(name, metric, dataset) for name in (first, second))
    truth = evaluation.values(GROUND_TRUTH, metric, dataset)
    aims = METRICS[metric].goal == "closest to the truth"
    pairs = []
    for picture in mine:
        a, b, aim = mine[picture], other.get(picture), truth.get(picture)
        if a is None or b is None or (aims and aim is None):
            continue
        pairs.append((abs(a - aim), abs(b - aim)) if aims and aim is not None else (a, b))
    return pairs
