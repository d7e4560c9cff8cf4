"""What the three forests see of a picture."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import correlate1d

from acutance.evaluation.inputs import require_planes
from acutance.evaluation.ma.global_frequency import global_frequency
from acutance.evaluation.ma.local_frequency import local_frequency
from acutance.evaluation.ma.spatial import SIDE, spatial
from acutance.evaluation.unmeasurable import Unmeasurable

MINIMUM_SIDE = 45
"""Less leaves no 11x11 window in the finest bands, of which 17 pixels at each side do not count."""
BLOCKS = SIDE * SIDE
SCALES = 3


def features(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the three forests see: 18 local frequencies, 45 global ones, 75 singular values.

    Args:
        plane: Y in 0..255, (h, w).

    Raises:
        Unmeasurable: for a constant plane, for one with a side of fewer than 45 pixels, or of fewer than 25 blocks
            of 5x5 at a quarter of its size: the authors' code fails there, too.
    """
    require_planes("Ma's metric", plane)
    height, width = plane.shape
    blocks = math.prod(math.ceil((length >> SCALES - 1) / SIDE) for length in plane.shape)
    if min(plane.shape) < MINIMUM_SIDE or blocks < BLOCKS:
        least = f"{MINIMUM_SIDE} pixels on a side, and {BLOCKS} blocks of {SIDE}x{SIDE} at a quarter of the size"
        raise Unmeasurable(f"Ma's metric needs {least}, as 84x84 has; {width}x{height} are left")
    plane = plane.astype(np.float64)
    scales = _scales(plane / 255)
    local = np.concatenate([local_frequency(scale) for scale in scales])
    return local, global_frequency(plane), np.concatenate([spatial(scale) for scale in scales])


def _scales(plane: np.ndarray) -> list[np.ndarray]:
    """The plane and two reductions: a Gaussian 3x3 of sigma 0.5, zeros outside; then pixels 1, 3, 5 and on."""
    gaussian = np.exp(-2.0 * np.arange(-1, 2) ** 2)
    gaussian /= gaussian.sum()
    scales = [plane]
    while len(scales) < SCALES:
        smooth = scales[-1]
        for axis in (0, 1):
            smooth = correlate1d(smooth, gaussian, axis=axis, mode="constant")
        scales.append(smooth[1::2, 1::2])
    return scales
