from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from acutance.evaluation.intervals import interval


def test_interval_is_scipys() -> None:
    values = np.random.default_rng(1).gamma(2.0, 3.0, 40)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=2).confidence_interval
    assert interval(list(values)) == pytest.approx((theirs.low, theirs.high), rel=0.02)


def test_the_same_numbers_every_time_and_few_values() -> None:
    assert interval([1.0, 2.0, 4.0]) == interval([1.0, 2.0, 4.0])
    assert interval([2.0, 2.0]) == (2.0, 2.0)
    assert interval([2.0]) is None
    assert interval([]) is None
