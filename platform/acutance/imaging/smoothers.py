"""The detail extractions that DSRGAN compares with, Table III: the picture minus an edge-preserving smoothing of it.

Unlike E these details are additive and signed, and have three channels, each smoothed by itself. DSRGAN names the
smoothers and their strength but not the range of the picture: only 0..1 makes its guided filter smooth at all.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from acutance.errors import ConfigError


def guided_filter_detail(rgb: Tensor, *, radius: int = 2, eps: float = 0.3) -> Tensor:
    """Return I - q(I), q the guided filter with the picture as its own guide (He et al., IEEE TPAMI 35, 2013).

    In each window q is the line a I + b that fits I best, a = var / (var + eps); at a pixel the lines of all
    windows over it are averaged. Windows are cut at the border.

    Args:
        rgb: (..., 3, H, W) uint8, or float in 0..255.
        radius: of the square window, in pixels, at least 1.
        eps: what counts as a large variance, in squared units of a picture in 0..1; above 0.

    Returns:
        (..., 3, H, W) in -1..1: float64 for float64 pictures, otherwise float32, on the device of rgb.

    Raises:
        ConfigError: a setting outside its range.
        ValueError: rgb has not three channels.
    """
    _check({"radius": (radius, radius >= 1, "at least 1"), "eps": (eps, eps > 0, "above 0")})
    picture = _unit_range(rgb)
    mean = _box(picture, radius)
    variance = (_box(picture.square(), radius) - mean.square()).clamp_min(0)
    a = variance / (variance + eps)
    b = mean * (1 - a)
    return picture - (_box(a, radius) * picture + _box(b, radius))


def least_squares_detail(rgb: Tensor, *, lam: float = 1.0, alpha: float = 1.2) -> Tensor:
    """Return I - u(I), u the weighted least squares smoother (Farbman et al., ACM TOG 27, 2008).

    u solves (E + D'WD) u = I with the weights W = lam / (|gradient of ln(I + 1e-4)|^alpha + 1e-4).
    Solved per channel in float64 by multigrid, to 1e-4 of u: seconds for a picture of 2040x1356.

    Args:
        rgb: (..., 3, H, W) uint8, or float in 0..255.
        lam: how much is smoothed, above 0.
        alpha: how strongly gradients of the logarithm are kept, at least 0.

    Returns:
        (..., 3, H, W) in -1..1: float64 for float64 pictures, otherwise float32, on the device of rgb,
        without gradient.

    Raises:
        ConfigError: a setting outside its range.
        ValueError: rgb has not three channels.
    """
    from acutance.imaging.multigrid import smooth  # numba takes half a second to import

    _check({"lam": (lam, lam > 0, "above 0"), "alpha": (alpha, alpha >= 0, "at least 0")})
    picture = _unit_range(rgb.detach())
    exact = picture.to("cpu", torch.float64)
    logs = (exact + 1e-4).log()
    weight_h, weight_v = (lam / (logs.diff(dim=dim).abs().pow(alpha) + 1e-4) for dim in (-1, -2))
    planes = (plane.flatten(0, -3).numpy() for plane in (exact, weight_h, weight_v))
    smoothed = [torch.from_numpy(smooth(*channel)) for channel in zip(*planes, strict=True)]
    return (exact - torch.stack(smoothed).reshape(exact.shape)).to(picture)


def _box(picture: Tensor, radius: int) -> Tensor:
    """The mean over the pixels of a square window that exist."""
    flat = picture.reshape(-1, *picture.shape[-3:])
    mean = functional.avg_pool2d(flat, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)
    return mean.reshape(picture.shape)


def _unit_range(rgb: Tensor) -> Tensor:
    if rgb.ndim < 3 or rgb.shape[-3] != 3:
        raise ValueError(f"rgb must be (..., 3, H, W), not {tuple(rgb.shape)}")
    return rgb / 255 if rgb.dtype == torch.float64 else rgb.to(torch.float32) / 255


def _check(rules: dict[str, tuple[float, bool, str]]) -> None:
    for name, (value, kept, rule) in rules.items():
        if not kept:
            raise ConfigError(f"{name} is {value}", where=f"detail.{name}", fix=f"it must be {rule}")
