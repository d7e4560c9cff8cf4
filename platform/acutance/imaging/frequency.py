"""High frequencies, by the Fourier transform of the whole picture: it is taken as periodic at its borders."""

from __future__ import annotations

import torch
from torch import Tensor

from acutance.errors import ConfigError
from acutance.imaging.colour import rgb_to_y


def highpass(picture: Tensor, *, cutoff: float = 0.125) -> Tensor:
    """Return the signed high-pass part of each channel: the target of HFA's high-pass network.

    The spectrum is multiplied by 1 - exp(-(r / cutoff)^2 / 2), r the radius in units of Nyquist. It
    is Gaussian because three small convolutions can learn it; an ideal disk rings too far.

    Args:
        picture: (..., C, H, W), any range; HFA uses 0..1. Integers become float32.
        cutoff: radius at which 39 % of the amplitude passes, above 0.

    Returns:
        The same shape and device, and dtype but for integers, with mean 0 in every channel; differentiable.

    Raises:
        ConfigError: cutoff is out of its range.
        ValueError: picture has no channels.
    """
    if not cutoff > 0:
        raise ConfigError(f"cutoff is {cutoff}", where="highpass.cutoff", fix="it must be above 0")
    picture = _float(picture)
    size = picture.shape[-2:]
    passed = 1 - torch.exp(-((_radius(picture) / cutoff) ** 2) / 2)
    return torch.fft.irfft2(torch.fft.rfft2(picture) * passed, s=size)


def high_frequency_energy(picture: Tensor, *, cutoff: float = 0.125) -> Tensor:
    """Return the mean square of the high-pass part: how much fine structure there is, in absolute terms.

    Args:
        picture: (..., C, H, W), any range; the result scales with its square.
        cutoff: as in `highpass`.

    Returns:
        (...), 0 for a constant picture.

    Raises:
        ConfigError, ValueError: as `highpass`.
    """
    return highpass(picture, cutoff=cutoff).square().mean(dim=(-3, -2, -1))


def high_frequency_share(picture: Tensor, *, radius: float = 0.5) -> Tensor:
    """Return the share of the spectral energy beyond a radius; the constant part (DC) is left out.

    Args:
        picture: (..., C, H, W), any range; the result does not depend on brightness or contrast.
        radius: in units of the Nyquist frequency.

    Returns:
        (...) in 0..1, 0 for a constant picture.

    Raises:
        ValueError: picture has no channels.
    """
    picture = _float(picture)
    centred = picture - picture.mean(dim=(-2, -1), keepdim=True)
    energy = torch.fft.fft2(centred).abs().square()
    total = energy.sum(dim=(-3, -2, -1))
    beyond = (energy * (_radius(picture, half=False) > radius)).sum(dim=(-3, -2, -1))
    return torch.where(total > 0, beyond / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0)


def spectrogram(rgb: Tensor) -> Tensor:
    """Return log(1 + |F|), F the Fourier transform of the full-range luminance.

    Args:
        rgb: (..., 3, H, W) uint8, or float in 0..255.

    Returns:
        (..., 1, H, W), at least 0, float64 for float64 pictures, otherwise float32. It is not shifted: [0, 0] is the
        sum of all pixels, and the highest frequencies are in the centre.

    Raises:
        ValueError: rgb has not three channels.
    """
    return torch.fft.fft2(rgb_to_y(rgb, studio=False)).abs().log1p()


def _float(picture: Tensor) -> Tensor:
    if picture.ndim < 3:
        raise ValueError(f"picture must be (..., C, H, W), not {tuple(picture.shape)}")
    return picture if picture.is_floating_point() else picture.to(torch.float32)


def _radius(picture: Tensor, *, half: bool = True) -> Tensor:
    """(H, W // 2 + 1), or (H, W): distance of each spectral sample from DC, 1 being Nyquist along an axis."""
    height, width = picture.shape[-2:]
    like = {"dtype": picture.dtype, "device": picture.device}
    rows = torch.fft.fftfreq(height, d=0.5, **like)
    columns = (torch.fft.rfftfreq if half else torch.fft.fftfreq)(width, d=0.5, **like)
    return torch.hypot(rows[:, None], columns)
