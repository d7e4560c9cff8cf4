"""MATLAB's imresize, bicubic (a = -0.5), antialiased: today's, and the older one that made the benchmarks.

Both compute each output pixel x at u = x / scale + (1 - 1 / scale) / 2, counted from 1, with a kernel that is
widened by 1 / scale when shrinking. They differ at the border, mirrored today and replicated then, and in the
arithmetic: today's stays in floating point here, the older one rounds to uint8 after each of its two passes.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional


def imresize(picture: Tensor, scale: float, size: tuple[int, int] | None = None) -> Tensor:
    """Resize as today's MATLAB does; differentiable, on any device, not clipped.

    PyTorch's antialiased bicubic is the same formula but for the border, so the picture is first mirrored
    beyond it, by a width that the scale maps to whole pixels, and the result is cut.

    Args:
        picture: (..., C, H, W), any range; integers become float32.
        scale: output size over input size, a ratio of small whole numbers.
        size: rows and columns of the output at that scale, where they are not MATLAB's ceil(scale * H),
            ceil(scale * W); for example to return to a size that the scale did not divide.

    Returns:
        (..., C, *size) in the dtype of picture.

    Raises:
        ValueError: the scale is not positive or no ratio of small whole numbers, or the size differs from
            scale times the picture's by more than one input and one output pixel.
    """
    picture = picture if picture.is_floating_point() else picture.to(torch.float32)
    height, width = picture.shape[-2:]
    pad, cut = _border(scale, max(height, width))
    size = size or (output_length(height, scale), output_length(width, scale))
    if any(abs(out - scale * n) > max(1, scale) for out, n in zip(size, (height, width), strict=True)):
        raise ValueError(f"{height} x {width} at scale {scale} cannot become {size[0]} x {size[1]}")
    rows, columns = _mirror(height, pad, picture.device), _mirror(width, pad, picture.device)
    padded = picture.index_select(-2, rows).index_select(-1, columns)
    resized = functional.interpolate(
        padded.reshape(1, -1, *padded.shape[-2:]), scale_factor=scale, mode="bicubic", antialias=True
    )
    resized = resized[..., cut : cut + size[0], cut : cut + size[1]]
    return resized.reshape(*picture.shape[:-2], *size)


def imresize_uint8(picture: Tensor, scale: float) -> Tensor:
    """Resize as the MATLAB that made the LR pictures of Set5, Set14 and BSD100 did.

    Rows first, then columns; border pixels replicated; each pass rounded half up and saturated to uint8.

    Args:
        picture: (..., C, H, W) uint8.

    Returns:
        (..., C, ceil(scale * H), ceil(scale * W)) uint8.

    Raises:
        ValueError: picture is not uint8, or scale is not positive.
    """
    if picture.dtype != torch.uint8:
        raise ValueError(f"picture must be uint8, not {picture.dtype}")
    rows_done = _rows_uint8(picture, scale)
    return _rows_uint8(rows_done.mT.contiguous(), scale).mT.contiguous()


def output_length(length: int, scale: float) -> int:
    """MATLAB's ceil(scale * length), forgiving rounding: 0.07 * 100 = 7.000000000000001 is 7."""
    if not scale > 0:
        raise ValueError(f"scale must be positive, not {scale}")
    return math.ceil(scale * length - 1e-9)


def contributions(length: int, scale: float) -> tuple[Tensor, Tensor]:
    """MATLAB's `contributions`: which input pixels make an output pixel, and with which weights.

    Returns:
        indices: (taps, out) int64, possibly beyond the border.
        weights: (taps, out) float64; over the taps they sum to 1.
    """
    stretch = min(scale, 1.0)
    support = 4 / stretch
    centre = torch.arange(1, output_length(length, scale) + 1, dtype=torch.float64) / scale + (1 - 1 / scale) / 2
    left = torch.floor(centre - support / 2)
    indices = left + torch.arange(math.ceil(support) + 2, dtype=torch.float64)[:, None]
    weights = stretch * cubic(stretch * (centre - indices))
    return indices.long() - 1, weights / weights.sum(0)


def cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -0.5 (IEEE ASSP 29, 1981, eq. 15)."""
    x = x.abs()
    inner = (1.5 * x - 2.5) * x**2 + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, inner, torch.where(x <= 2, outer, 0.0))


def _rows_uint8(picture: Tensor, scale: float) -> Tensor:
    indices, weights = contributions(picture.shape[-2], scale)
    used = (weights != 0).any(1)
    indices = indices[used].clamp(0, picture.shape[-2] - 1).to(picture.device)
    weights = weights[used, :, None].to(picture.device)
    # float64, a tap at a time, as MATLAB: where the scale is 1/2^n every sum is exact, and ties round up.
    exact = picture.to(torch.float64)
    total = exact.new_zeros(*picture.shape[:-2], indices.shape[1], picture.shape[-1])
    for index, weight in zip(indices, weights, strict=True):
        total.addcmul_(exact.index_select(-2, index), weight)
    return total.add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)


def _border(scale: float, length: int) -> tuple[int, int]:
    """The width to mirror, at least four kernel units, and what it becomes at this scale, both whole."""
    ratio = Fraction(scale).limit_denominator(1000)
    if not ratio > 0 or abs(float(ratio) - scale) * length > 1e-6:
        raise ValueError(f"scale must be a positive ratio of small whole numbers, not {scale}")
    times = math.ceil(4 * max(Fraction(1), 1 / ratio) / ratio.denominator)
    return times * ratio.denominator, times * ratio.numerator


def _mirror(length: int, pad: int, device: torch.device) -> Tensor:
    """Indices 1 0 | 0 1 ... n-1 | n-1 n-2: the border pixel repeats, unlike in PyTorch's reflection."""
    index = torch.arange(-pad, length + pad, device=device) % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)
