"""NIQE, the natural image quality evaluator: how far a picture's statistics lie from those of photographs.

Mittal, Soundararajan, Bovik: Making a "completely blind" image quality analyzer, IEEE SPL 2013. Its
parameters, a Gaussian fitted to 125 pristine photographs, are those of the authors' release.
"""

from __future__ import annotations

from functools import cache
from zipfile import BadZipFile

import numpy as np
import torch
from scipy.ndimage import correlate1d
from scipy.special import gamma

from acutance.errors import WeightsError
from acutance.evaluation.unmeasurable import Unmeasurable
from acutance.evaluation.weights import find_weights
from acutance.imaging.resize import imresize

PARAMETERS = "niqe_pris_params.npz"
BLOCK = 96
ROUNDING = 1e-9
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
SHAPES = np.arange(0.2, 10.001, 0.001)
"""The shapes alpha that a generalised Gaussian may have: the table of the authors' estimator."""


def niqe(luma: np.ndarray) -> float:
    """Return the NIQE of a picture: 3 to 4 for photographs, 8 to 9 for bicubic x4, 15 and more for noise.

    Args:
        luma: Y in 0..255, (H, W), as the protocol rounded and cropped it.

    Raises:
        Unmeasurable: for a picture of fewer than two blocks of 96x96, or one whose blocks are flat.
        WeightsError: when the parameter file is not found.
    """
    rows, columns = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
    if rows * columns < 2:
        size = f"{luma.shape[1]}x{luma.shape[0]}"
        raise Unmeasurable(f"NIQE needs two blocks of {BLOCK}x{BLOCK} pixels; {size} are left after the crop")
    mean, covariance, window = _pristine()
    plane = luma[: rows * BLOCK, : columns * BLOCK].astype(np.float64)
    full = _features(_blocks(_normalised(plane, window), BLOCK))
    half = _features(_blocks(_normalised(_halved(plane), window), BLOCK // 2))
    features = np.concatenate([full, half], axis=1)
    measured = features[~np.isnan(features).any(axis=1)]
    if len(measured) < 2:
        raise Unmeasurable("NIQE needs two blocks that are not flat")
    distance = mean - np.nanmean(features, axis=0)
    pooled = (covariance + np.cov(measured, rowvar=False)) / 2
    return float(np.sqrt(distance @ np.linalg.pinv(pooled) @ distance))


@cache
def _pristine() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (36,) and covariance (36, 36) of photographs; the 7x7 Gaussian is separable: its (7,) margin."""
    path = find_weights(PARAMETERS)
    try:
        with np.load(path, allow_pickle=False) as stored:
            mean = stored["mu_pris_param"].reshape(36)
            covariance = stored["cov_pris_param"].reshape(36, 36)
            return mean, covariance, stored["gaussian_window"].reshape(7, 7).sum(axis=0)
    except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
        raise WeightsError(
            "the file does not hold NIQE's parameters", where=str(path), fix="put the published file there"
        ) from error


def _normalised(plane: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Mean subtracted, contrast normalised: (x - mu) / (sigma + 1).

    In a flat area the mean differs from the value by rounding alone: it must be 0, or its sign would count.
    """
    mu = _smooth(plane, window)
    sigma = np.sqrt(np.abs(_smooth(plane**2, window) - mu**2))
    normalised = (plane - mu) / (sigma + 1)
    return np.where(np.abs(normalised) < ROUNDING, 0.0, normalised)


def _smooth(plane: np.ndarray, window: np.ndarray) -> np.ndarray:
    return correlate1d(correlate1d(plane, window, axis=0, mode="nearest"), window, axis=1, mode="nearest")


def _halved(plane: np.ndarray) -> np.ndarray:
    return imresize(torch.from_numpy(plane)[None], 0.5)[0].numpy()


def _blocks(plane: np.ndarray, side: int) -> np.ndarray:
    """(H, W) -> (blocks, side, side)."""
    height, width = plane.shape
    cut = plane.reshape(height // side, side, width // side, side)
    return cut.transpose(0, 2, 1, 3).reshape(-1, side, side)


def _features(blocks: np.ndarray) -> np.ndarray:
    """The 18 features of each block: two of its values, four each of its products with four neighbours."""
    alpha, left, right = _fit(blocks)
    features = [alpha, (left + right) / 2]
    for shift in SHIFTS:
        alpha, left, right = _fit(blocks * np.roll(blocks, shift, axis=(1, 2)))
        features += [alpha, (right - left) * gamma(2 / alpha) / gamma(1 / alpha), left, right]
    return np.stack(features, axis=1)


def _fit(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit an asymmetric generalised Gaussian to each block by its moments: shape, left and right scale.

    A block without values on one side has no scale there: NaN, as the authors' code has it.
    """
    flat = blocks.reshape(len(blocks), -1)
    squares = flat**2
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt(np.where(flat < 0, squares, 0).sum(axis=1) / (flat < 0).sum(axis=1))
        right = np.sqrt(np.where(flat > 0, squares, 0).sum(axis=1) / (flat > 0).sum(axis=1))
        skew = left / right
        ratio = np.abs(flat).mean(axis=1) ** 2 / squares.mean(axis=1)
        ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    alpha = SHAPES[_nearest(ratio)]
    spread = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    return alpha, left * spread, right * spread


@cache
def _ratios() -> np.ndarray:
    """E|x|^2 / E x^2 of a generalised Gaussian, for each of SHAPES; it rises with the shape."""
    return gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))


def _nearest(ratio: np.ndarray) -> np.ndarray:
    """Index of the nearest entry of `_ratios()`; 0 for NaN, as an arg-min over NaN gives."""
    table = _ratios()
    above = np.searchsorted(table, ratio).clip(1, len(table) - 1)
    nearest = np.where(ratio - table[above - 1] <= table[above] - ratio, above - 1, above)
    return np.where(np.isnan(ratio), 0, nearest)
