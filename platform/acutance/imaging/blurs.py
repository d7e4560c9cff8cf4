"""Gaussian blur: kernels, fixed or drawn, and the convolution with them.

The ranges of the random kernels are those of KAIR (github.com/cszn/KAIR, utils/utils_blindsr.py).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from acutance.errors import ConfigError
from acutance.imaging.colour import unit_range
from acutance.imaging.draws import KERNEL, generator


def gaussian_kernel(side: int, *, sigma_x: float, sigma_y: float, angle: float = 0.0) -> Tensor:
    """Return a Gaussian sampled at the pixels' centres; isotropic where the two sigmas are equal.

    Args:
        side: of the kernel in pixels, odd.
        sigma_x, sigma_y: standard deviations in pixels along the kernel's own axes, above 0.
        angle: in radians, from the picture's x axis (right) to the kernel's, towards the picture's y axis (down).

    Returns:
        (side, side) float32 on the CPU, computed in float64, of sum 1.

    Raises:
        ConfigError: a parameter is out of its range.
    """
    if side < 1 or side % 2 == 0:
        raise ConfigError(f"side is {side}", where="gaussian_kernel.side", fix="it must be odd and above 0")
    _above_zero("gaussian_kernel.sigma_x", sigma_x)
    _above_zero("gaussian_kernel.sigma_y", sigma_y)
    if not math.isfinite(angle):
        raise ConfigError(f"angle is {angle}", where="gaussian_kernel.angle", fix="it must be a finite number")
    offsets = torch.arange(side, dtype=torch.float64) - side // 2
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    along = (math.cos(angle) * x + math.sin(angle) * y) / sigma_x
    across = (math.cos(angle) * y - math.sin(angle) * x) / sigma_y
    kernel = torch.exp(-(along.square() + across.square()) / 2)
    return (kernel / kernel.sum()).to(torch.float32)


def random_kernel(seed: int, *, scale: int = 4) -> Tensor:
    """Draw a blur kernel as KAIR does: isotropic or anisotropic with equal chance.

    The side is one of 7, 9 .. 25. An isotropic sigma is uniform in 0..2 + 0.2 scale; anisotropic variances are
    uniform in 0..4 + scale and their angle in 0..pi. Sigmas below 0.2 become 0.2.

    Args:
        seed: 0 to 2^64 - 1.
        scale: how many times smaller the low-resolution picture will be, at least 1; HFA deblurs with 4.

    Returns:
        (side, side) float32 on the CPU, of sum 1.

    Raises:
        ConfigError: a parameter is out of its range.
    """
    return _drawn_kernel(generator("random_kernel.seed", seed, 0, KERNEL), scale)


def blur(picture: Tensor, kernel: Tensor) -> Tensor:
    """Convolve every channel with a kernel, the picture mirrored at its border without repeating the outermost pixel.

    Args:
        picture: (..., 3, H, W) float of any range, or uint8, taken as 0..255 / 255.
        kernel: (k, k) for all pictures, or (..., k, k) with the picture's leading dimensions; k odd.

    Returns:
        The same shape and device; the picture's dtype, float32 for uint8. Half precision is computed in float32,
        also under autocast. Differentiable.

    Raises:
        ValueError: picture is not (..., 3, H, W), or of another integer type; or kernel fits neither form.
    """
    picture = unit_range(picture)
    side, leading = kernel.shape[-1], picture.shape[:-3]
    if kernel.ndim < 2 or kernel.shape[-2] != side or side % 2 == 0 or kernel.shape[:-2] not in ((), leading):
        raise ValueError(f"kernel must be (k, k) or {(*leading, 'k', 'k')}, k odd, not {tuple(kernel.shape)}")
    height, width = picture.shape[-2:]
    precise = torch.promote_types(picture.dtype, torch.float32)
    rows, columns = (_reflected(length, side // 2, picture.device) for length in (height, width))
    padded = picture.to(precise).index_select(-2, rows).index_select(-1, columns)
    # By Fourier transforms: at 25 pixels a tenth of the time of a convolution on a CPU, at 7 the same. What wraps
    # around falls on the padding, which is cut off.
    size = [_fast_length(length) for length in padded.shape[-2:]]
    with torch.autocast(picture.device.type, enabled=False):
        spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernel.to(padded), s=size)[..., None, :, :]
        blurred = torch.fft.irfft2(spectrum, s=size)
    return blurred[..., side - 1 :, side - 1 :][..., :height, :width].to(picture.dtype, copy=True)


def _fast_length(length: int) -> int:
    """Return the next length whose prime factors are 2, 3 and 5 alone: its Fourier transform is fast."""
    while pow(30, length.bit_length(), length) != 0:  # a power of 30 that has enough of each factor
        length += 1
    return length


def gaussian_blur(picture: Tensor, *, seed: int = 0, sigma: float) -> Tensor:
    """Blur by an isotropic Gaussian that is cut at 3 sigma.

    Args:
        picture: as in `blur`.
        seed: of no effect.
        sigma: standard deviation in pixels, above 0.

    Returns:
        As `blur`.

    Raises:
        ConfigError: sigma is out of its range.
        ValueError: as `blur`.
    """
    _above_zero("gaussian_blur.sigma", sigma)
    return blur(picture, gaussian_kernel(2 * math.ceil(3 * sigma) + 1, sigma_x=sigma, sigma_y=sigma))


def random_blur(picture: Tensor, *, seed: int, scale: int = 4) -> Tensor:
    """Blur every picture by its own kernel, drawn as `random_kernel` does: HFA's deblurring.

    Args:
        picture: as in `blur`.
        seed: 0 to 2^64 - 1. Picture i of a batch has the kernel of (seed, i), in whatever batch it is.
        scale: as in `random_kernel`.

    Returns:
        As `blur`.

    Raises:
        ConfigError: a parameter is out of its range.
        ValueError: as `blur`.
    """
    picture = unit_range(picture)
    flat = picture.reshape(-1, *picture.shape[-3:])
    kernels = [_drawn_kernel(generator("random_blur.seed", seed, index, KERNEL), scale) for index in range(len(flat))]
    return torch.stack([blur(one, kernel) for one, kernel in zip(flat, kernels, strict=True)]).reshape(picture.shape)


def _drawn_kernel(draw: np.random.Generator, scale: int) -> Tensor:
    if not scale >= 1:
        raise ConfigError(f"scale is {scale}", where="random_kernel.scale", fix="it must be at least 1")
    side = 2 * int(draw.integers(2, 12)) + 3
    if draw.random() < 0.5:
        sigma = max(0.2, draw.uniform(0, 2 + 0.2 * scale))
        return gaussian_kernel(side, sigma_x=sigma, sigma_y=sigma)
    sigma_x, sigma_y = (max(0.2, math.sqrt(draw.uniform(0, 4 + scale))) for _ in range(2))
    return gaussian_kernel(side, sigma_x=sigma_x, sigma_y=sigma_y, angle=draw.uniform(0, math.pi))


def _reflected(length: int, pad: int, device: torch.device) -> Tensor:
    """Indices 2 1 | 0 1 ... n-1 | n-2 n-3, back and forth as often as needed: PyTorch's padding stops at one turn."""
    period = max(1, 2 * length - 2)
    index = torch.arange(-pad, length + pad, device=device) % period
    return torch.minimum(index, period - index) if length > 1 else index


def _above_zero(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ConfigError(f"{name.rpartition('.')[2]} is {value}", where=name, fix="it must be above 0 and finite")
