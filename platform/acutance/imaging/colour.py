"""Colour pictures: luminance and range."""

from __future__ import annotations

import torch
from torch import Tensor

_FULL = (0.299, 0.587, 0.114)
_STUDIO = (65.481, 128.553, 24.966)


def rgb_to_y(rgb: Tensor, *, studio: bool = True) -> Tensor:
    """Return the BT.601 luminance Y, not rounded.

    Args:
        rgb: (..., 3, H, W) uint8, or float in 0..255.
        studio: MATLAB's rgb2ycbcr, Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 in 16..235; otherwise
            JPEG's full range, Y = 0.299 R + 0.587 G + 0.114 B in 0..255.

    Returns:
        (..., 1, H, W), float64 for float64 pictures, otherwise float32.

    Raises:
        ValueError: rgb has not three channels.
    """
    if rgb.ndim < 3 or rgb.shape[-3] != 3:
        raise ValueError(f"rgb must be (..., 3, H, W), not {tuple(rgb.shape)}")
    rgb = rgb if rgb.dtype == torch.float64 else rgb.to(torch.float32)
    weights = [weight / 255 for weight in _STUDIO] if studio else _FULL
    red, green, blue = rgb.split(1, dim=-3)
    y = weights[0] * red + weights[1] * green + weights[2] * blue
    return 16 + y if studio else y


def unit_range(rgb: Tensor) -> Tensor:
    """Return uint8 pictures as float32 in 0..1, and float ones as they are.

    Args:
        rgb: (..., 3, H, W) float, or uint8, taken as 0..255 / 255.

    Raises:
        ValueError: rgb has not three channels, or is of another integer type.
    """
    if rgb.ndim < 3 or rgb.shape[-3] != 3:
        raise ValueError(f"picture must be (..., 3, H, W), not {tuple(rgb.shape)}")
    if rgb.dtype == torch.uint8:
        return rgb.to(torch.float32) / 255
    if not rgb.is_floating_point():
        raise ValueError(f"picture must be float or uint8, not {rgb.dtype}")
    return rgb
