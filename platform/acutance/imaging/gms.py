"""Where two pictures differ in their edges: the gradient magnitude similarity and HFA's masks made from it.

The map is that of GMSD (Xue et al., "Gradient magnitude similarity deviation", IEEE TIP 23, 2014), as a
dissimilarity and without its halving of the picture, so that it stays aligned with the pixels. HFA retrains
where it is large: by a hard mask, or by a soft one that fades out around these areas. All is without gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from acutance.errors import ConfigError
from acutance.imaging.colour import rgb_to_y


def gms_map(picture: Tensor, reference: Tensor, *, c: float = 170.0) -> Tensor:
    """Return D = 1 - (2 a b + c) / (a^2 + b^2 + c), a and b the gradient magnitudes of the two pictures.

    Args:
        picture, reference: (..., 3, H, W) of one shape, uint8, or float in 0..255 (not 0..1).
        c: above 0; keeps small gradients from counting.

    Returns:
        (..., 1, H, W) in 0..1, 0 where the gradients are equal; float64 for float64 pictures, otherwise float32.

    Raises:
        ConfigError: c is not positive.
        ValueError: the shapes differ, or have not three channels.
    """
    _above_zero("c", c)
    if picture.shape != reference.shape:
        raise ValueError(f"the pictures' shapes differ: {tuple(picture.shape)} and {tuple(reference.shape)}")
    a, b = _gradient_magnitude(picture.detach()), _gradient_magnitude(reference.detach())
    # The same as above, in a form that rounding keeps in 0..1.
    return (a - b).square() / (a.square() + b.square() + c)


def hard_mask(picture: Tensor, reference: Tensor, *, threshold: float = 0.05, c: float = 170.0) -> Tensor:
    """Return 1 where `gms_map` exceeds the threshold in an area of at least 3 x 3 pixels, else 0.

    Args:
        picture, reference, c: as in `gms_map`.

    Returns:
        (..., 1, H, W) of 0 and 1, in the dtype of `gms_map`.

    Raises:
        ConfigError, ValueError: as `gms_map`.
    """
    different = gms_map(picture, reference, c=c)
    return opening((different > threshold).to(different.dtype))


def soft_mask(
    picture: Tensor,
    reference: Tensor,
    *,
    threshold: float = 0.05,
    repeats: int = 2,
    sigma: float = 1.0,
    c: float = 170.0,
) -> Tensor:
    """Return `hard_mask`, `repeats` times blurred by a Gaussian and opened again.

    Args:
        picture, reference, threshold, c: as in `hard_mask`.
        repeats: at 0 the mask stays hard.
        sigma: of the Gaussian, in pixels, above 0; it is cut at 3 sigma.

    Returns:
        (..., 1, H, W) in 0..1, in the dtype of `gms_map`.

    Raises:
        ConfigError: sigma is not positive; as `gms_map`.
        ValueError: as `gms_map`.
    """
    _above_zero("sigma", sigma)
    mask = hard_mask(picture, reference, threshold=threshold, c=c)
    for _ in range(repeats):
        mask = opening(_blur(mask, sigma))
    return mask


def opening(mask: Tensor) -> Tensor:
    """Return the grayscale opening by a 3 x 3 square: what is bright in less than the square becomes dark.

    Args:
        mask: (..., C, H, W); integers become float32.
    """
    mask = mask if mask.is_floating_point() else mask.to(torch.float32)
    # Repeating the border is the same here as ignoring what is beyond it: every window that reaches over a border
    # contains the pixels that would be repeated.
    for extreme in (torch.minimum, torch.maximum):
        padded = functional.pad(mask.reshape(-1, 1, *mask.shape[-2:]), (1, 1, 1, 1), mode="replicate")
        lines = extreme(extreme(padded[..., :-2, :], padded[..., 1:-1, :]), padded[..., 2:, :])
        mask = extreme(extreme(lines[..., :-2], lines[..., 1:-1]), lines[..., 2:]).reshape(mask.shape)
    return mask


# Sums of shifted pictures and no convolutions below: those would run in half precision under autocast, and
# in TF32 on a GPU, too coarse for differences of values up to 255.


def _gradient_magnitude(rgb: Tensor) -> Tensor:
    """(..., 1, H, W): Prewitt's gradient of the gray picture, [1, 0, -1] over the mean of three lines."""
    gray = rgb_to_y(rgb, studio=False)
    padded = functional.pad(gray.reshape(-1, 1, *gray.shape[-2:]), (1, 1, 1, 1), mode="replicate")
    lines = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    columns = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    horizontal = (lines[..., :-2] - lines[..., 2:]) / 3
    vertical = (columns[..., :-2, :] - columns[..., 2:, :]) / 3
    return torch.hypot(horizontal, vertical).reshape(gray.shape)


def _blur(mask: Tensor, sigma: float) -> Tensor:
    """Gaussian, cut at 3 sigma, borders repeated."""
    radius = math.ceil(3 * sigma)
    taps = [math.exp(-((offset / sigma) ** 2) / 2) for offset in range(-radius, radius + 1)]
    blurred = functional.pad(mask.reshape(-1, 1, *mask.shape[-2:]), (radius,) * 4, mode="replicate")
    for dim in (-2, -1):
        windows = blurred.unfold(dim, len(taps), 1).unbind(-1)
        blurred = torch.zeros_like(windows[0])
        for tap, window in zip(taps, windows, strict=True):  # not torch.sum, whose order depends on the batch
            blurred = blurred + tap / sum(taps) * window
    return blurred.clamp(0, 1).reshape(mask.shape)  # rounding may exceed 1 by the last bit


def _above_zero(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{name} is {value}", where=f"gms.{name}", fix="it must be above 0")
