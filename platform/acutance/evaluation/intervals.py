"""How sure a mean over pictures is: Efron's percentile bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the bounds of the mean's 95 % interval: 10,000 resamples of the values, the same ones every time.

    None for fewer than two values: one picture says nothing of the next.
    """
    if len(values) < 2:
        return None
    from scipy.stats import bootstrap  # takes long to import

    sample, rng = (np.asarray(values, np.float64),), np.random.default_rng(0)
    found = bootstrap(sample, np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile", rng=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
