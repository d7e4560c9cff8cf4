"""Checks of the planes and pictures that metrics are given."""

from __future__ import annotations

import numpy as np

from acutance.evaluation.unmeasurable import Unmeasurable


def is_picture(array: np.ndarray) -> bool:
    """Return whether it is uint8 (H, W, 3), as every picture of the house is."""
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3


def is_colours(array: np.ndarray) -> bool:
    """Return whether it is a picture, or float64 (H, W, 3) of 0..255 in which nothing was clipped or rounded."""
    return is_picture(array) or (array.dtype == np.float64 and array.ndim == 3 and array.shape[2] == 3)


def require_planes(metric: str, *planes: np.ndarray, side: int = 1) -> None:
    """Refuse what are not planes (h, w) of one size.

    Raises:
        ValueError: for another number of axes, or different sizes.
        Unmeasurable: for a side of fewer than `side` pixels.
    """
    if any(plane.ndim != 2 for plane in planes):
        raise ValueError(f"{metric} is measured on planes (h, w), not on {_named(planes)}")
    _require_sides(metric, planes, side)


def require_pictures(metric: str, *pictures: np.ndarray, side: int = 1) -> None:
    """Refuse what are not pictures, uint8 (H, W, 3) RGB, of one size.

    Raises:
        ValueError: for another type, another number of axes or colours, or different sizes.
        Unmeasurable: for a side of fewer than `side` pixels.
    """
    if not all(map(is_picture, pictures)):
        raise ValueError(f"{metric} is measured on pictures uint8 (H, W, 3), not on {_named(pictures)}")
    _require_sides(metric, pictures, side)


def require_colours(metric: str, *pictures: np.ndarray, side: int = 1) -> None:
    """Refuse what are neither pictures nor float64 (H, W, 3) of 0..255, of one size; raises as `require_pictures`."""
    if not all(map(is_colours, pictures)):
        raise ValueError(f"{metric} is measured on pictures (H, W, 3) of 0..255, not on {_named(pictures)}")
    _require_sides(metric, pictures, side)


def _require_sides(metric: str, arrays: tuple[np.ndarray, ...], side: int) -> None:
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"{metric} compares arrays of one size, not {_named(arrays)}")
    height, width = arrays[0].shape[:2]
    if min(height, width) < side:
        pixels = "1 pixel" if side == 1 else f"{side} pixels"
        raise Unmeasurable(f"{metric} needs {pixels} on a side; {width}x{height} are left")


def _named(arrays: tuple[np.ndarray, ...]) -> str:
    return " and ".join(f"{array.dtype} {array.shape}" for array in arrays)
