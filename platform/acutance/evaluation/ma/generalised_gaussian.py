"""The shape of the generalised Gaussian that fits a sample best by its moments."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import gamma

SHAPES = 0.03 + 0.001 * np.arange(9971)
"""The shapes that a sample may have, 0.03 to 10: 1 is a Laplacian's, 2 a Gaussian's."""
NOTHING = 1e-7
"""Added to a squared mean deviation, or to a mean: so flat samples have a shape, the last one."""


def shape(samples: np.ndarray) -> np.ndarray:
    """Return the shape of each sample: that of SHAPES whose E x^2 / (E|x|)^2 is nearest to the sample's.

    Args:
        samples: (..., n), n at least 2, of any mean. The scale counts only where it is so small that NOTHING does.

    Returns:
        (...), values of SHAPES.
    """
    centred = samples - samples.mean(axis=-1, keepdims=True)
    variance = np.einsum("...n,...n->...", centred, centred) / (samples.shape[-1] - 1)
    deviation = np.abs(centred, out=centred).mean(axis=-1)
    return SHAPES[_nearest(variance / (deviation**2 + NOTHING))]


@cache
def _ratios() -> np.ndarray:
    """E x^2 / (E|x|)^2 of a generalised Gaussian of each of SHAPES, turned round so that it rises."""
    return (gamma(1 / SHAPES) * gamma(3 / SHAPES) / gamma(2 / SHAPES) ** 2)[::-1]


def _nearest(ratio: np.ndarray) -> np.ndarray:
    """Index into SHAPES of the nearest ratio; of two equally near ones the first, as an arg-min over SHAPES."""
    table = _ratios()
    above = np.searchsorted(table, ratio).clip(1, len(table) - 1)
    nearest = np.where(ratio - table[above - 1] < table[above] - ratio, above - 1, above)
    return len(table) - 1 - nearest
