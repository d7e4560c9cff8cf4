"""SSIM, the structural similarity (Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 2004)."""

from __future__ import annotations

import math

import numpy as np

from acutance.evaluation.inputs import require_colours, require_planes

SIDE = 11
WINDOW = np.exp(-((np.arange(SIDE) - SIDE // 2) ** 2) / (2 * 1.5**2))
WINDOW /= WINDOW.sum()
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim_y(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the structural similarity of two planes, 1 for identical ones.

    Gaussian window 11x11 of sigma 1.5, its valid region only, K = (0.01, 0.03), L = 255; without the automatic
    downsampling of the authors' later script.

    Args:
        restored: Y, float64 (h, w).
        truth: the same.

    Raises:
        Unmeasurable: for a plane with a side of fewer than 11 pixels.
        ValueError: for what are not two planes of one size.
    """
    from acutance.evaluation import compiled  # numba takes half a second to import

    require_planes("SSIM", restored, truth, side=SIDE)
    planes = (np.ascontiguousarray(plane, dtype=np.float64) for plane in (restored, truth))
    return float(compiled.mean_similarity(*planes, WINDOW, C1, C2))


def ssim_y_wang(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the structural similarity as the authors' later script: of planes shrunk to about 256 pixels.

    Wang's `ssim.m`: f = max(1, round(shorter side / 256)); the mean over f x f pixels, mirrored at the border,
    of every f-th pixel; then `ssim_y`, which it equals where f is 1. Compare it with tables of this kind only.

    Raises:
        Unmeasurable: for a plane with a side of fewer than 11 pixels.
        ValueError: for what are not two planes of one size.
    """
    require_planes("SSIM", restored, truth, side=SIDE)
    factor = max(1, math.floor(min(truth.shape) / 256 + 0.5))
    return ssim_y(_shrunk(restored, factor), _shrunk(truth, factor))


def ssim_rgb(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean of the three colours' structural similarities, each as `ssim_y` (BasicSR's SSIM of RGB).

    Args:
        restored: uint8, or float64 of 0..255, (h, w, 3) RGB, without the protocol's border.
        truth: the same.

    Raises:
        Unmeasurable: for a picture with a side of fewer than 11 pixels.
        ValueError: for what are not two pictures of one size.
    """
    require_colours("SSIM", restored, truth, side=SIDE)
    pairs = zip(*(np.moveaxis(picture, -1, 0) for picture in (restored, truth)), strict=True)
    return float(np.mean([ssim_y(*pair) for pair in pairs]))


def _shrunk(plane: np.ndarray, factor: int) -> np.ndarray:
    from scipy.ndimage import uniform_filter  # takes long to import

    # MATLAB's `imfilter` puts the centre of an even box left of its middle, scipy right of it.
    box = uniform_filter(plane, factor, mode="reflect", origin=0 if factor % 2 else -1)
    return box[::factor, ::factor]
