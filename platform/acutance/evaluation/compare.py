"""Two candidates on the same pictures: mean differences with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acutance.config.metrics import METRICS
from acutance.evaluation.intervals import interval
from acutance.evaluation.results import GROUND_TRUTH, Evaluation


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

    The interval is that of their differences, see `interval`.
    """
    apart = [mine - other for mine, other in pairs]
    bounds = interval(apart)
    return Difference(metric, float(np.mean(apart)), *bounds, len(apart)) if bounds else None


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
