"""High frequencies, by the Fourier transform of the whole picture: it is taken as periodic at its borders."""

from __future__ import annotations

import torch
from torch import Tensor


def highpass(picture: Tensor, *, cutoff: float = 0.125) -> Tensor:
    """Return the signed high-pass part of each channel: the target of HFA's high-pass network.

    The spectrum is multiplied by 1 - exp(-(r / cutoff)^2 / 2), r the radius in units of Nyquist. It
    is Gaussian because three small convolutions can learn it; an ideal disk rings too far.

    Args:
        picture: (..., C, H, W) float, any range; HFA uses 0..1.
        cutoff: radius at which 39 % of the amplitude passes.

    Returns:
        The same shape, dtype and device, with mean 0 in every channel; differentiable.
    """
    size = picture.shape[-2:]
    passed = 1 - torch.exp(-((_radius(picture) / cutoff) ** 2) / 2)
    return torch.fft.irfft2(torch.fft.rfft2(picture) * passed, s=size)


def high_frequency_energy(picture: Tensor, *, cutoff: float = 0.125) -> Tensor:
    """Return the mean square of the high-pass part: how much fine structure there is, in absolute terms.

    Args:
        picture: (..., C, H, W) float, any range; the result scales with its square.

    Returns:
        (...), 0 for a constant picture.
    """
    return highpass(picture, cutoff=cutoff).square().mean(dim=(-3, -2, -1))


def high_frequency_share(picture: Tensor, *, radius: float = 0.5) -> Tensor:
    """Return which share of the spectral energy lies beyond a radius; the constant part (DC) counts nowhere.

    Args:
        picture: (..., C, H, W) float, any range; the result does not depend on brightness or contrast.
        radius: in units of the Nyquist frequency.

    Returns:
        (...) in 0..1, 0 for a constant picture.
    """
    centred = picture - picture.mean(dim=(-2, -1), keepdim=True)
    energy = torch.fft.fft2(centred).abs().square()
    total = energy.sum(dim=(-3, -2, -1))
    beyond = (energy * (_radius(picture, half=False) > radius)).sum(dim=(-3, -2, -1))
    return torch.where(total > 0, beyond / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0)


def _radius(picture: Tensor, *, half: bool = True) -> Tensor:
    """(H, W // 2 + 1), or (H, W): distance of each spectral sample from DC, 1 being Nyquist along an axis."""
    height, width = picture.shape[-2:]
    like = {"dtype": picture.dtype, "device": picture.device}
    rows = torch.fft.fftfreq(height, d=0.5, **like)
    columns = (torch.fft.rfftfreq if half else torch.fft.fftfreq)(width, d=0.5, **like)
    return torch.hypot(rows[:, None], columns)
