"""The steerable pyramid of Simoncelli and Freeman, built from the Fourier transform: one high-pass band, then
levels of oriented bands, each level half the size of the one before.

Portilla, Simoncelli: IJCV 2000, as in Simoncelli's matlabPyrTools (`buildSFpyr`), whose filters are tables that are
interpolated linearly: so are these, because their values and not the exact cosines went into the published features.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

ORIENTATIONS = 6
LEVELS = 2
RADIAL_STEPS = 256
ANGULAR_STEPS = 1024


def steerable_pyramid(plane: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Decompose a plane, taken as periodic at its borders.

    Args:
        plane: float64 (h, w), both sides greater than 16.

    Returns:
        The high-pass band (h, w), and for each of two levels the six oriented bands, (6, h, w) and
        (6, ceil(h / 2), ceil(w / 2)). The low-pass rest is left out.
    """
    size = plane.shape
    octave, angle = _polar(size)
    spectrum = fft.rfft2(plane)
    highpass = fft.irfft2(spectrum * _rises(octave, -1), s=size)
    lowpass = spectrum * _falls(octave, -1)
    levels = []
    for level in range(1, LEVELS + 1):
        passed = -1j * lowpass * _rises(octave, -1 - level)
        bands = passed * np.stack([_points(angle, number) for number in range(ORIENTATIONS)])
        levels.append(fft.irfft2(bands, s=size))
        size, kept = _halved(size)
        octave, angle, lowpass = octave[kept], angle[kept], lowpass[kept]
        lowpass = lowpass * _falls(octave, -1 - level)
    return highpass, levels


def _polar(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Octave (0 at Nyquist) and angle of each sample of a half spectrum; DC lies below all octaves."""
    down, right = 2 * fft.fftfreq(size[0])[:, None], 2 * fft.rfftfreq(size[1])[None]
    radius = np.hypot(down, right)
    radius[0, 0] = np.finfo(float).tiny
    return np.log2(radius), np.arctan2(down, right)


def _rises(octave: np.ndarray, start: float) -> np.ndarray:
    """A raised cosine from 0 at octave `start` to 1 at the next: amplitudes, so its square root."""
    where, cosine = _raised_cosine()
    return np.interp(octave, where + start, cosine)


def _falls(octave: np.ndarray, start: float) -> np.ndarray:
    """The complement of `_rises`: the squares of both sum to 1."""
    where, cosine = _raised_cosine()
    return np.interp(octave, where + start, np.sqrt(1 - cosine**2))


def _raised_cosine() -> tuple[np.ndarray, np.ndarray]:
    turn = np.arange(-RADIAL_STEPS, 1) / RADIAL_STEPS
    return turn + 1, np.sqrt(np.cos(turn * np.pi / 2) ** 2)


def _points(angle: np.ndarray, number: int) -> np.ndarray:
    """The angular part of an oriented band: cos(angle - pi number / 6)^5, such that the bands' squares sum to 1."""
    order = ORIENTATIONS - 1
    norm = 2 ** (2 * order) * math.factorial(order) ** 2 / (ORIENTATIONS * math.factorial(2 * order))
    where = np.pi * np.arange(-2 * ANGULAR_STEPS - 1, ANGULAR_STEPS + 2) / ANGULAR_STEPS
    return np.interp(angle, where + np.pi * number / ORIENTATIONS, math.sqrt(norm) * np.cos(where) ** order)


def _halved(size: tuple[int, int]) -> tuple[tuple[int, int], tuple[np.ndarray, ...]]:
    """The size of the next level, and the indices of its frequencies in the half spectrum of this one."""
    rows, columns = -(-size[0] // 2), -(-size[1] // 2)
    low = np.r_[0 : (rows + 1) // 2, size[0] - rows // 2 : size[0]]
    return (rows, columns), np.ix_(low, np.arange(columns // 2 + 1))
