"""NIQE, the natural image quality evaluator: how far a picture's statistics lie from those of photographs.

Mittal, Soundararajan, Bovik: Making a "completely blind" image quality analyzer, IEEE SPL 2013. Its
parameters, a Gaussian fitted to 125 pristine photographs, are those of the authors' release.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from acutance.errors import WeightsError
from acutance.evaluation.inputs import require_planes
from acutance.evaluation.unmeasurable import Unmeasurable
from acutance.imaging.resize import imresize
from acutance.weights import find_weights

PARAMETERS = "niqe_pris_params.npz"
BLOCK = 96
ROUNDING = 1e-9
"""In a flat area the mean differs from the value by rounding alone: below this it is 0, or its sign would count."""
SHAPES = np.arange(0.2, 10.001, 0.001)
"""The shapes alpha that a generalised Gaussian may have: the table of the authors' estimator."""


def niqe(luma: np.ndarray) -> float:
    """Return the NIQE of a picture: 3 to 4 for photographs, 8 to 9 for bicubic x4, 15 and more for noise.

    Args:
        luma: Y in 0..255, (H, W), as the protocol rounded and cropped it.

    Raises:
        Unmeasurable: for a picture of fewer than two blocks of 96x96, or one whose blocks are flat.
        ValueError: for what is not a plane.
        WeightsError: when the parameter file is not found.
    """
    require_planes("NIQE", luma, side=0)
    rows, columns = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
    if rows * columns < 2:
        size = f"{luma.shape[1]}x{luma.shape[0]}"
        raise Unmeasurable(f"NIQE needs two blocks of {BLOCK}x{BLOCK} pixels; {size} are left after the crop")
    mean, covariance, window = _pristine(find_weights(PARAMETERS))
    plane = np.ascontiguousarray(luma[: rows * BLOCK, : columns * BLOCK], dtype=np.float64)
    full = _features(plane, window, BLOCK)
    half = _features(_halved(plane), window, BLOCK // 2)
    features = np.concatenate([full, half], axis=1)
    measured = features[~np.isnan(features).any(axis=1)]
    if len(measured) < 2:
        raise Unmeasurable("NIQE needs two blocks that are not flat")
    distance = mean - np.nanmean(features, axis=0)
    pooled = (covariance + np.cov(measured, rowvar=False)) / 2
    return float(np.sqrt(distance @ np.linalg.pinv(pooled) @ distance))


@cache
def _pristine(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (36,) and covariance (36, 36) of photographs; the 7x7 Gaussian is separable: its (7,) margin."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            mean = stored["mu_pris_param"].reshape(36)
            covariance = stored["cov_pris_param"].reshape(36, 36)
            return mean, covariance, stored["gaussian_window"].reshape(7, 7).sum(axis=0)
    except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
        raise WeightsError(
            "the file does not hold NIQE's parameters", where=str(path), fix="put the published file there"
        ) from error


def _halved(plane: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(imresize(torch.from_numpy(plane)[None], 0.5)[0].numpy())


def _features(plane: np.ndarray, window: np.ndarray, side: int) -> np.ndarray:
    """The 18 features of each block, (blocks, 18): two of its values, four each of its products with four neighbours.

    They come from the picture whose mean is subtracted and whose contrast is normalised.
    """
    from scipy.special import gamma  # takes half a second to import, as numba does

    from acutance.evaluation import compiled

    normalised = compiled.contrast_normalised(plane, window, ROUNDING)
    alpha, left, right = _fit(compiled.signed_moments(normalised, side), side**2)
    offset = (right - left) * gamma(2 / alpha) / gamma(1 / alpha)
    values = np.stack([alpha[:, 0], (left[:, 0] + right[:, 0]) / 2], axis=1)
    products = np.stack([alpha, offset, left, right], axis=2)[:, 1:]
    return np.concatenate([values, products.reshape(-1, 16)], axis=1)


def _fit(sums: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit an asymmetric generalised Gaussian to each of `signed_moments`: shape, left and right scale.

    A block without values on one side has no scale there: NaN, as the authors' code has it.
    """
    negative, positive, below, above, size = np.moveaxis(sums, 2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = np.sqrt(below / negative), np.sqrt(above / positive)
        skew = left / right
        ratio = (size / pixels) ** 2 / ((below + above) / pixels)
        ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    from scipy.special import gamma

    alpha = SHAPES[_nearest(ratio)]
    spread = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    return alpha, left * spread, right * spread


@cache
def _ratios() -> np.ndarray:
    """E|x|^2 / E x^2 of a generalised Gaussian, for each of SHAPES; it rises with the shape."""
    from scipy.special import gamma

    return gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))


def _nearest(ratio: np.ndarray) -> np.ndarray:
    """Index of the nearest entry of `_ratios()`; 0 for NaN, as an arg-min over NaN gives."""
    table = _ratios()
    above = np.searchsorted(table, ratio).clip(1, len(table) - 1)
    nearest = np.where(ratio - table[above - 1] <= table[above] - ratio, above - 1, above)
    return np.where(np.isnan(ratio), 0, nearest)
