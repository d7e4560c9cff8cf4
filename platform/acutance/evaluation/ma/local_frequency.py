"""Local frequencies: how the cosine coefficients of small blocks are spread, over size and over direction."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import dct

from acutance.evaluation.ma.generalised_gaussian import NOTHING, shape

STEP = 3
BORDER = 2
SIDE = STEP + 2 * BORDER
DIRECTIONS = np.array(
    [
        [0, 1, 1, 1, 1, 1, 1],
        [3, 2, 1, 1, 1, 1, 1],
        [3, 3, 2, 2, 1, 1, 1],
        [3, 3, 2, 2, 2, 1, 1],
        [3, 3, 3, 2, 2, 2, 2],
        [3, 3, 3, 3, 2, 2, 2],
        [3, 3, 3, 3, 2, 2, 2],
    ]
)
"""Which of three groups of direction a coefficient (vertical, horizontal frequency) belongs to: 16 each, DC to none."""
SHARE = 0.1
NOTHING_DIRECTED = 1e-8


def local_frequency(plane: np.ndarray) -> np.ndarray:
    """Return the six features of one scale: three quantities of each 7x7 block, each pooled twice.

    Shape of the generalised Gaussian: mean of the least tenth, of all; coefficient of variation: mean of the
    greatest tenth, of all; variance of that coefficient among three groups of direction: likewise.

    Args:
        plane: float64 (h, w), 0..1. The blocks are 3x3 each with two pixels of the neighbourhood, zeros outside.

    Returns:
        (6,)
    """
    # (blocks, 48): the groups of direction one after the other, 16 coefficients each
    coefficients = _blocks(plane) @ _basis().T
    shapes = np.sort(shape(coefficients))
    sizes = np.abs(coefficients, out=coefficients)
    variations = np.sort(_variation(sizes, NOTHING))
    directed = _variation(sizes.reshape(len(sizes), 3, 16), NOTHING_DIRECTED)
    directions = np.sort(directed.var(axis=1, ddof=1))
    least = shapes[: math.ceil(len(shapes) * SHARE)]
    pooled = [least.mean(), shapes.mean()]
    for values in (variations, directions):
        # counted from 1, the greatest tenth begins with value fix(0.9 n): one more value than a tenth
        greatest = values[int(len(values) * (1 - SHARE)) - 1 :]
        pooled += [greatest.mean(), values.mean()]
    return np.array(pooled)


def _blocks(plane: np.ndarray) -> np.ndarray:
    """(h, w) -> (blocks, 49): the plane is filled up to whole 3x3 blocks, and bordered, with zeros."""
    padded = np.pad(plane, [(BORDER, BORDER + -length % STEP) for length in plane.shape])
    return sliding_window_view(padded, (SIDE, SIDE))[::STEP, ::STEP].reshape(-1, SIDE * SIDE)


def _basis() -> np.ndarray:
    """(48, 49): the orthonormal two-dimensional cosine transform but for DC, sorted by group of direction."""
    cosines = dct(np.eye(SIDE), axis=0, norm="ortho")
    order = np.argsort(DIRECTIONS.ravel(), kind="stable")[1:]
    return np.kron(cosines, cosines)[order]


def _variation(sizes: np.ndarray, nothing: float) -> np.ndarray:
    """(..., n) -> (...): standard deviation over mean."""
    return sizes.std(axis=-1, ddof=1) / (sizes.mean(axis=-1) + nothing)
