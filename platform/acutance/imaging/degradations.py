"""Degradations, which networks undo: noise, blur, reduction and JPEG.

Each is a function of (picture, seed, settings); its randomness depends on the seed and the picture's index in the batch
alone. `degrade` applies a list of them by the names that a pipeline gives: training draws them for each sample, data
sets are evaluated with them. A reduction also makes the LR pictures that shards store.
"""

from __future__ import annotations

import inspect
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from acutance import parts
from acutance.errors import ConfigError, nearest
from acutance.imaging.colour import unit_range
from acutance.imaging.draws import CHOICE, NOISE, generator, step_seed
from acutance.imaging.resize import imresize, imresize_uint8


def awgn(picture: Tensor, *, seed: int, sigma: float | list[float], clip: bool = False) -> Tensor:
    """Add white Gaussian noise; neither clipped nor quantised by default, as HFA's Table 1 measures it.

    Args:
        picture: (..., 3, H, W) float in 0..1, or uint8, taken as 0..255 / 255.
        seed: 0 to 2^64 - 1. Picture i of a batch (of several batch dimensions, in row-major order) has the noise
            of (seed, i) and of its shape, in whatever batch it is.
        sigma: standard deviation on the scale 0..255, above 0; of several, every picture gets one by equal chance.
        clip: limit the result to 0..1.

    Returns:
        The same shape and device; the picture's dtype, float32 for uint8.

    Raises:
        ConfigError: sigma or seed is out of its range.
        ValueError: picture is not (..., 3, H, W), or of another integer type.
    """
    picture = unit_range(picture)
    count = math.prod(picture.shape[:-3])
    noise = np.empty((count, *picture.shape[-3:]), dtype=np.float32)
    for index, one in enumerate(_sigmas(sigma, seed, count)):
        generator("awgn.seed", seed, index, NOISE).standard_normal(out=noise[index], dtype=np.float32)
        noise[index] *= one / 255
    noisy = picture + torch.from_numpy(noise).reshape(picture.shape).to(picture)
    return noisy.clamp(0, 1) if clip else noisy


def _sigmas(sigma: float | list[float], seed: int, count: int) -> list[float]:
    choices = sigma if isinstance(sigma, Sequence) else [sigma]
    if not choices or not all(0 < one < math.inf for one in choices):
        raise ConfigError(f"sigma is {sigma}", where="awgn.sigma", fix="it must be above 0 and finite")
    draws = (generator("awgn.seed", seed, index, CHOICE) for index in range(count))
    return [choices[draw.integers(len(choices))] for draw in draws]


def jpeg(picture: Tensor, *, seed: int = 0, quality: int) -> Tensor:
    """Return the picture after libjpeg's compression, by Pillow with its chroma subsampling 4:2:0; on the CPU.

    Args:
        picture: (..., 3, H, W) uint8 RGB, or float in 0..1, which is clipped and rounded to 255ths.
        seed: of no effect.
        quality: 1 to 100, libjpeg's.

    Returns:
        The same shape, dtype and device.

    Raises:
        ConfigError: quality is out of its range.
        ValueError: picture is not (..., 3, H, W), or of another integer type.
    """
    if not 1 <= quality <= 100:
        raise ConfigError(f"quality is {quality}", where="jpeg.quality", fix="it must be from 1 to 100")
    levels = (unit_range(picture).clamp(0, 1) * 255).round()
    pictures = levels.to("cpu", torch.uint8).reshape(-1, *picture.shape[-3:]).movedim(1, -1).contiguous().numpy()
    compressed = np.empty_like(pictures)
    for before, after in zip(pictures, compressed, strict=True):
        file = io.BytesIO()
        Image.fromarray(before).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        after[...] = np.asarray(Image.open(file))
    result = torch.from_numpy(compressed).movedim(-1, 1).reshape(picture.shape).to(picture)
    return result if picture.dtype == torch.uint8 else result / 255


def bicubic_reduction(picture: Tensor, *, seed: int = 0, scale: int = 4) -> Tensor:
    """Shrink a picture as MATLAB's `imresize` does.

    Args:
        picture: (..., C, H, W) uint8: reduced bit for bit as the LR of Set5, Set14 and BSD100 at x2 and x4 (DIV2K's LR
            is said to be made so; nobody has compared it here). Or float of any range: as today's MATLAB does, neither
            clipped nor rounded.
        seed: of no effect.
        scale: how many times smaller the result is, at least 1.

    Returns:
        (..., C, ceil(H / scale), ceil(W / scale)) in the picture's dtype, on its device.

    Raises:
        ConfigError: scale is out of its range.
    """
    if not scale >= 1:
        raise ConfigError(f"scale is {scale}", where="bicubic_reduction.scale", fix="it must be at least 1")
    return imresize_uint8(picture, 1 / scale) if picture.dtype == torch.uint8 else imresize(picture, 1 / scale)


bicubic_reduction.reduces_by = "scale"  # type: ignore[attr-defined]  # the setting that says how many times


def paired(picture: Tensor, *, seed: int = 0, scale: int) -> Tensor:
    """Return the data set's own degraded picture unchanged; only for the LR of shards.

    So pairs are read, as those of SIDD and REDS, or DIV2K's own LR of x2 and x4.

    Args:
        picture: that picture, (..., 3, H / scale, W / scale), given in place of HR.
        seed: of no effect.
        scale: how many times smaller it is than HR; 1 for pairs of one size.
    """
    return picture


paired.reduces_by = "scale"  # type: ignore[attr-defined]


def degrade(picture: Tensor, steps: Sequence[Mapping[str, Any]], seed: int) -> Tensor:
    """Apply degradations in order.

    Args:
        picture: (..., 3, H, W) float in 0..1, or uint8.
        steps: each `{"type": the name of a degradation, its settings}`.
        seed: 0 to 2^64 - 1. Step k of picture i has the randomness of (seed, k, i), in whatever batch the picture is;
            no two steps share any.

    Returns:
        (..., 3, h, w) on the picture's device. A uint8 picture becomes float32 in 0..1 by noise and blur, and stays
        uint8 by reduction and JPEG.

    Raises:
        ConfigError: a step is unknown, or its settings are not its own, missing or out of their range.
        ValueError: picture is not (..., 3, H, W), or of another integer type.
    """
    for position, step in enumerate(steps):
        settings = {name: value for name, value in step.items() if name != "type"}
        function = _function(step.get("type"), settings, where=f"steps[{position}]")
        picture = function(picture, seed=step_seed(seed, position), **settings)
    return picture


def degraded(picture: Tensor, steps: Sequence[Mapping[str, Any]], seed: int) -> Tensor:
    """Return a picture after degradations, in the form that networks take; arguments and errors as in `degrade`.

    Returns:
        float32 (..., 3, h, w): whole 255ths in 0..1 where the last step gives uint8; else neither clipped nor rounded.
    """
    result = degrade(picture, steps, seed)
    return result.float() / 255 if result.dtype == torch.uint8 else result


def _function(name: Any, settings: Mapping[str, Any], where: str) -> Callable[..., Tensor]:
    try:
        function: Callable[..., Tensor] = parts.find("degradation", str(name))
    except ConfigError as error:
        raise ConfigError(error.what, where=f"{where}.type", fix=error.fix) from None
    parameters = [one for one in inspect.signature(function).parameters.values() if one.kind is one.KEYWORD_ONLY]
    parameters = [one for one in parameters if one.name != "seed"]
    known = [parameter.name for parameter in parameters]
    missing = {parameter.name for parameter in parameters if parameter.default is parameter.empty} - settings.keys()
    for wrong in sorted(settings.keys() - known):
        raise ConfigError(f"{name} has no setting {wrong!r}{nearest(wrong, known)}", where=f"{where}.{wrong}")
    for wrong in sorted(missing):
        raise ConfigError(f"{name} needs this setting", where=f"{where}.{wrong}", fix="give it a value")
    return function
