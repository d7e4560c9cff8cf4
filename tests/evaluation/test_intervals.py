from __future__ import annotations

import numpy as np
import pytest

from acutance.evaluation.intervals import interval


def test_interval_is_of_the_means_of_resamples() -> None:
    values = np.random.default_rng(1).gamma(2.0, 3.0, 40)
    drawn = np.random.default_rng(2).integers(0, 40, (20_000, 40))
    assert interval(list(values)) == pytest.approx(np.quantile(values[drawn].mean(axis=1), [0.025, 0.975]), rel=0.02)


def test_the_same_numbers_every_time_and_few_values() -> None:
    assert interval([1.0, 2.0, 4.0]) == interval([1.0, 2.0, 4.0])
    assert interval([2.0, 2.0]) == (2.0, 2.0)
    assert interval([2.0]) is None
    assert interval([]) is None
