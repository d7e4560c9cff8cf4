"""Derived columns: functions of other columns, by the names that a pipeline gives them, and how they are applied.

A derivation takes columns as networks see them: pictures (B, C, H, W) in 0..1, labels (B, n). It returns a picture of
the same size, or of an integer times less, or a few values (B, n) of the whole picture. It may say how its values are
kept in shards and what networks see of them:

- `coding = "log2"`: it returns logarithms, kept in 16 bits as they are; networks see 2^x. Otherwise they see `value`s.
- `channels`: how many it returns, where one does not want it to be tried on a small picture.
- `values`: it returns so many values of the whole picture; the column must then be stored.
- `on_gpus = True`: `prepare` gives it a GPU where the cluster has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from acutance.config.data import DerivedColumn
from acutance.errors import ConfigError
from acutance.imaging.detail import Schedule, detail_of
from acutance.imaging.resize import imresize
from acutance.imaging.smoothers import guided_filter_detail, least_squares_detail
from acutance.imaging.weightmap import difference_statistics, weight_map

Function = TypeVar("Function", bound=Callable[..., Tensor])

TRIED = 64
"""The side of the picture that a derivation is tried on."""


def derivation(**traits: Any) -> Callable[[Function], Function]:
    """Return a decorator that notes what a derivation says about itself: see the module."""

    def note(function: Function) -> Function:
        for name, value in traits.items():
            setattr(function, name, value)
        return function

    return note


@derivation(coding="log2", channels=1, on_gpus=True)
def lgs(
    picture: Tensor,
    *,
    alpha: NonNegativeFloat = 4.0,
    lam: PositiveFloat = 1.0,
    gamma: NonNegativeFloat = 0.75,
    eps: PositiveFloat = 2.0,
    iterations: PositiveInt = 4,
    schedule: Schedule = "fgs",
    luma: Literal["full", "studio"] = "full",
) -> Tensor:
    """DSRGAN's detail layer as a factor per pixel; the arguments are those of `detail_of`."""
    return detail_of(
        255 * picture, alpha=alpha, lam=lam, gamma=gamma, eps=eps, iterations=iterations, schedule=schedule, luma=luma
    )


@derivation(channels=3)
def gif(picture: Tensor, *, radius: PositiveInt = 2, eps: PositiveFloat = 0.3) -> Tensor:
    """The picture minus a guided filter's smoothing of it (DSRGAN, Table III); see `guided_filter_detail`."""
    return guided_filter_detail(255 * picture, radius=radius, eps=eps)


@derivation(channels=3)
def wls(picture: Tensor, *, lam: PositiveFloat = 1.0, alpha: NonNegativeFloat = 1.2) -> Tensor:
    """The picture minus its weighted least squares smoothing (DSRGAN, Table III); see `least_squares_detail`."""
    return least_squares_detail(255 * picture, lam=lam, alpha=alpha)


@derivation(channels=3)
def bicubic(picture: Tensor, *, scale: PositiveInt) -> Tensor:
    """Return a picture (..., C, H, W) `scale` times smaller, as today's MATLAB makes it, not rounded."""
    return imresize(picture, 1 / scale)


@derivation(values=2)
def differences(picture: Tensor) -> Tensor:
    """Return `difference_statistics` (B, 2) of whole pictures, in grey levels of 0..255."""
    return difference_statistics((255 * picture).round())


@derivation(channels=3)
def counted(picture: Tensor, statistics: Tensor, *, alpha: NonNegativeFloat = 0.2) -> Tensor:
    """Return the weight map (B, 3, H, W) of patches, 0 or 1, of pictures that have these `difference_statistics`.

    The values at the patch's border are compared with those inside it alone: give it a margin of a pixel. Which of two
    neighbours that differ as much comes first is decided as the patch is turned.
    """
    return weight_map((255 * picture).round(), alpha=alpha, statistics=statistics)


def coding_of(column: DerivedColumn) -> Literal["log2", "value"]:
    """Return how a derived column's values are to be read."""
    return getattr(column.part, "coding", "value")


def kept(column: DerivedColumn, sources: Sequence[Tensor]) -> Tensor:
    """Return a derived column as shards keep it.

    Args:
        sources: as networks see them.
    """
    result = column.part(*sources, **column.arguments())
    if not isinstance(result, Tensor):
        raise ConfigError(f"the derivation {column.type} returned no tensor, but {type(result).__name__}")
    return result


def seen(column: DerivedColumn, sources: Sequence[Tensor]) -> Tensor:
    """Return a derived column as networks see it, float32."""
    return as_seen(column, kept(column, sources))


def as_seen(column: DerivedColumn, values: Tensor) -> Tensor:
    """Return what networks see of a column as shards keep it."""
    if coding_of(column) == "log2":
        return torch.exp2(values.float())
    return values.float() if values.ndim == 4 else values


def derive_columns(columns: Mapping[str, Tensor], derived: Mapping[str, DerivedColumn]) -> dict[str, Tensor]:
    """Return all columns that can be had: those that are there, and those made of them and of one another.

    Raises:
        ConfigError: for one whose source there is not, or that needs itself.
    """
    found, left = dict(columns), dict(derived)
    while left:
        ready = [name for name, column in left.items() if all(source in found for source in column.sources)]
        if not ready:
            name, column = next(iter(left.items()))
            lacking = next(source for source in column.sources if source not in found)
            raise ConfigError(f"{name} is made of {lacking!r}, which there is not", where=f"derive.{name}.of")
        for name in ready:
            found[name] = seen(left[name], [found[source] for source in left.pop(name).sources])
    return found


def kept_shape(column: DerivedColumn, sources: Sequence[int]) -> tuple[int, ...]:
    """Return (channels, how many times smaller than its first source) of pixels, or (n,) of values of a whole picture.

    Args:
        sources: channels of its sources; of labels minus the number of their values.

    Raises:
        ConfigError: when the derivation fails on a small picture, or returns neither.
    """
    part = column.part
    if values := getattr(part, "values", None):
        return (int(values),)
    if (channels := getattr(part, "channels", None)) and "scale" not in column.parameters:
        return (int(channels), 1)
    tried = [torch.zeros(1, n, TRIED, TRIED) if n > 0 else torch.zeros(1, -n) for n in sources]
    try:
        shape = tuple(kept(column, tried).shape)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(f"the derivation {column.type} fails on pictures of {TRIED} pixels: {error}") from None
    if len(shape) == 2 and shape[0] == 1:
        return shape[1:]
    if len(shape) == 4 and shape[0] == 1 and shape[2] == shape[3] and TRIED % shape[2] == 0:
        return (shape[1], TRIED // shape[2])
    raise ConfigError(
        f"the derivation {column.type} makes {shape} of (1, 3, {TRIED}, {TRIED})",
        fix="let it return (B, C, H, W) of the same size or an integer times less, or (B, n)",
    )
