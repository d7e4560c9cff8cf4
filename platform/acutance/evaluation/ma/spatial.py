"""Spatial discontinuity: the singular values of a picture's small blocks, its principal components."""

from __future__ import annotations

import numpy as np
from scipy.linalg import svdvals

SIDE = 5


def spatial(plane: np.ndarray) -> np.ndarray:
    """Return the 25 features of one scale: the singular values of the matrix whose columns are the 5x5 blocks.

    Args:
        plane: float64 (h, w), 0..1, of at least 25 blocks; filled up to whole ones with zeros.

    Returns:
        (25,), the greatest first.
    """
    padded = np.pad(plane, [(0, -length % SIDE) for length in plane.shape])
    height, width = padded.shape
    blocks = padded.reshape(height // SIDE, SIDE, width // SIDE, SIDE).transpose(0, 2, 1, 3)
    return svdvals(blocks.reshape(-1, SIDE * SIDE))
