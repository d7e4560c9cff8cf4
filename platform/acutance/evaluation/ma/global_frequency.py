"""Global frequencies: how the bands of a steerable pyramid are distributed, and how they resemble each other."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from scipy.ndimage import correlate1d

from acutance.evaluation.ma.generalised_gaussian import shape
from acutance.evaluation.ma.steerable_pyramid import LEVELS, ORIENTATIONS, steerable_pyramid
from acutance.evaluation.unmeasurable import Unmeasurable
from acutance.imaging.resize import contributions, imresize

GUARD = 16
"""Pixels at the border of the finest bands that do not count, half as many at the next level."""
CHUNK = 1 << 14
"""Neighbourhoods at a time, so that the intermediate results stay in the processor's cache."""
ROUNDING = 1e-9
"""Bands of less than this, in grey levels, hold the rounding errors of the Fourier transform alone."""
C2 = (0.03 * 255) ** 2
WINDOW = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
WINDOW /= WINDOW.sum()

Moments = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A plane (h, w), its mean and its variance under WINDOW, (h - 10, w - 10)."""


def global_frequency(plane: np.ndarray) -> np.ndarray:
    """Return the 45 features of the picture's own scale.

    Twelve bands (two levels of six orientations) are divided by what their neighbourhood lets expect. The shape of
    the generalised Gaussian of each, then of each pair of one orientation; then the structure term of SSIM of each
    band, enlarged and not divided, with the high-pass band; then of the 15 pairs of divided bands of the first level.

    Args:
        plane: float64 (h, w), 0..255, both sides at least 45.

    Returns:
        (45,)

    Raises:
        Unmeasurable: where a neighbourhood is zero in every band, as all are in a constant picture.
    """
    highpass, levels = steerable_pyramid(plane)
    fine, coarse = (_divided_bands(levels, level) for level in range(LEVELS))
    shapes = [*shape(fine.reshape(ORIENTATIONS, -1)), *shape(coarse.reshape(ORIENTATIONS, -1))]
    shapes += [shape(np.concatenate([one.ravel(), other.ravel()])) for one, other in zip(fine, coarse, strict=True)]
    finest = _with_moments(highpass)
    enlarged = np.concatenate([levels[0], _enlarged(levels[1], highpass.shape)])
    scales = [_structure(_with_moments(band), finest) for band in enlarged]
    orientations = [_structure(*pair) for pair in combinations([_with_moments(band) for band in fine], 2)]
    return np.array([*shapes, *scales, *orientations])


def _divided_bands(levels: list[np.ndarray], level: int) -> np.ndarray:
    """The six bands of a level, each divided, without its guard, and of mean 0: (6, h', w')."""
    bands = levels[level]
    parents = [None] * ORIENTATIONS if level + 1 == LEVELS else _parents(levels[level + 1], bands.shape[1:])
    guard = GUARD >> level
    kept = np.stack([_divided(bands, own, parents[own])[guard:-guard, guard:-guard] for own in range(ORIENTATIONS)])
    return kept - kept.mean(axis=(1, 2), keepdims=True)


def _parents(coarser: np.ndarray, size: tuple[int, ...]) -> list[np.ndarray | None]:
    """The bands of the next level at twice their size, cut to this level's.

    The authors' count of bands ends one too early: the last orientation has no parent in their code, so none here.
    """
    doubled = imresize(torch.from_numpy(coarser), 2)[:, : size[0], : size[1]].numpy()
    return [*doubled[:-1], None]


def _divided(bands: np.ndarray, own: int, parent: np.ndarray | None) -> np.ndarray:
    """One band divided by z, the square root of y' C^-1 y / N; without its outermost pixels, (h - 2, w - 2).

    y is a neighbourhood: 3x3 of the band itself, its parent, the five bands beside it; C the mean of y y' over the
    picture; N counts the first ten alone, as the authors do. C cannot have negative eigenvalues but by rounding.
    """
    inner = bands[:, 1:-1, 1:-1]
    height, width = inner.shape[1:]
    neighbours = [bands[own, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    neighbours += [] if parent is None else [parent[1:-1, 1:-1]]
    beside = [band for number, band in enumerate(inner) if number != own]
    y = np.stack([*neighbours, *beside]).reshape(-1, height * width)
    values, vectors = np.linalg.eigh(y @ y.T / y.shape[1])
    # MATLAB's `pinv` takes smaller ones for zero
    counts = values > len(y) * np.spacing(values[-1])
    whitening = (vectors[:, counts] / np.sqrt(values[counts])).T
    squares = [np.square(whitening @ y[:, start : start + CHUNK]).sum(axis=0) for start in range(0, y.shape[1], CHUNK)]
    z = np.sqrt(np.concatenate(squares) / len(neighbours)).reshape(height, width)
    if values[-1] < ROUNDING**2 or not z.all():
        raise Unmeasurable("Ma's metric is not defined for a picture without structure, such as a constant one")
    return (inner[own] - inner[own].mean()) / z


def _enlarged(bands: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(6, h, w) -> (6, *size) by MATLAB's bicubic `imresize`, with a scale for each axis where they differ."""
    for axis, length in ((1, size[0]), (2, size[1])):
        indices, weights = (part.numpy() for part in contributions(bands.shape[axis], length / bands.shape[axis]))
        period = 2 * bands.shape[axis]
        mirrored = np.minimum(indices % period, period - 1 - indices % period)
        across = weights.reshape(len(weights), *(-1 if other == axis else 1 for other in range(3)))
        bands = sum(np.take(bands, index, axis) * weight for index, weight in zip(mirrored, across, strict=True))
    return bands


def _with_moments(plane: np.ndarray) -> Moments:
    mean = _window(plane)
    return plane, mean, _window(plane**2) - mean**2


def _structure(one: Moments, other: Moments) -> float:
    """The mean of SSIM's product of contrast and structure; negative where one plane inverts the other."""
    (plane, mean, variance), (other_plane, other_mean, other_variance) = one, other
    covariance = _window(plane * other_plane) - mean * other_mean
    return float(((2 * covariance + C2) / (variance + other_variance + C2)).mean())


def _window(plane: np.ndarray) -> np.ndarray:
    """Gaussian 11x11 of sigma 1.5, its valid region alone."""
    return correlate1d(correlate1d(plane, WINDOW, axis=0)[5:-5], WINDOW, axis=1)[:, 5:-5]
