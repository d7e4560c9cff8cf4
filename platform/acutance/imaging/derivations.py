"""Derived columns: the functions that a pipeline names in `derive`, and how they are applied.

A derivation takes columns as networks read them: pictures (B, C, H, W) float in 0..1, labels (B, n). It returns a
picture of the same size, or smaller by a whole number, or a few values (B, n) of the whole picture. Attributes of the
function say the rest:

- `coding`: "log2" where it returns logarithms. Shards store them in 16 bits, and networks read 2^x. The default is
  "value": networks read what it returns.
- `channels`: how many channels it returns. Where it is missing, the derivation is run on a small picture to find out.
- `values`: the number of values that it returns for a whole picture. Such a column must be stored.
- `on_gpus`: True where `prepare` should run it on a GPU if the cluster has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from acutance.config.data import DerivedColumn
from acutance.errors import ConfigError
from acutance.imaging.colour import rgb_to_y
from acutance.imaging.detail import Schedule, extract_detail
from acutance.imaging.resize import imresize
from acutance.imaging.smoothers import guided_filter_detail, least_squares_detail
from acutance.imaging.weightmap import difference_statistics, weight_map

Function = TypeVar("Function", bound=Callable[..., Tensor])

TEST_SIDE = 64
"""The side, in pixels, of the picture on which a derivation is run to find the shape of its result."""


def derivation(**traits: Any) -> Callable[[Function], Function]:
    """Return a decorator that sets attributes of a derivation; the module's docstring lists them."""

    def set_traits(function: Function) -> Function:
        for name, value in traits.items():
            setattr(function, name, value)
        return function

    return set_traits


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
    """Return DSRGAN's detail layer of colour pictures as x = log2 I_D.

    Compute it on whole pictures and cut afterwards: near a border x depends on the pixels beyond it.

    Args:
        picture: (..., 3, H, W) float in 0..1, or uint8.
        luma: the range of Y, 0..255 or MATLAB's 16..235, which makes details weaker.
        alpha, lam, gamma, eps, iterations, schedule: as in `extract_detail`.

    Returns:
        (..., 1, H, W) float32, on the device of picture, without gradient.
    """
    levels = picture if picture.dtype == torch.uint8 else 255 * picture
    y = rgb_to_y(levels, studio=luma == "studio")
    return extract_detail(y, alpha=alpha, lam=lam, gamma=gamma, eps=eps, iterations=iterations, schedule=schedule)


@derivation(channels=3)
def gif(picture: Tensor, *, radius: PositiveInt = 2, eps: PositiveFloat = 0.3) -> Tensor:
    """Return the picture minus its smoothing by a guided filter (DSRGAN, Table III); see `guided_filter_detail`."""
    return guided_filter_detail(255 * picture, radius=radius, eps=eps)


@derivation(channels=3)
def wls(picture: Tensor, *, lam: PositiveFloat = 1.0, alpha: NonNegativeFloat = 1.2) -> Tensor:
    """Return the picture minus its weighted least squares smoothing (DSRGAN, Table III); see `least_squares_detail`."""
    return least_squares_detail(255 * picture, lam=lam, alpha=alpha)


@derivation(channels=3)
def bicubic(picture: Tensor, *, scale: PositiveInt) -> Tensor:
    """Return a picture (..., C, H, W) `scale` times smaller, by the `imresize` of today's MATLAB, not rounded."""
    return imresize(picture, 1 / scale)


@derivation(values=2)
def picture_statistics(picture: Tensor) -> Tensor:
    """Return `difference_statistics` (B, 2) of whole pictures in 0..1, in grey levels of 0..255."""
    return difference_statistics((255 * picture).round())


@derivation(channels=3)
def patch_weight_map(picture: Tensor, statistics: Tensor, *, alpha: NonNegativeFloat = 0.2) -> Tensor:
    """Return the weight map of patches, 0 or 1.

    Pixels at the border of a patch are compared with their neighbours inside it alone: give the column a margin of 1
    pixel. Where two neighbours differ equally, the first one counts, and which is first depends on how the patch was
    flipped.

    Args:
        picture: patches (B, 3, H, W) in 0..1.
        statistics: `picture_statistics` (B, 2) of the pictures that they were cut from.
        alpha: as in `weight_map`.

    Returns:
        (B, 3, H, W).
    """
    return weight_map((255 * picture).round(), alpha=alpha, statistics=statistics)


def coding_of(column: DerivedColumn) -> Literal["log2", "value"]:
    """Return how the stored values of a derived column are to be read."""
    return getattr(column.part, "coding", "value")


def stored_values(column: DerivedColumn, sources: Sequence[Tensor]) -> Tensor:
    """Compute a derived column as shards store it.

    Args:
        sources: the columns that it is made of, as networks read them.

    Raises:
        ConfigError: when the derivation returns no tensor.
    """
    result = column.part(*sources, **column.arguments())
    if not isinstance(result, Tensor):
        raise ConfigError(f"the derivation {column.type} returned no tensor, but {type(result).__name__}")
    return result


def derived_values(column: DerivedColumn, sources: Sequence[Tensor]) -> Tensor:
    """Compute a derived column as networks read it, float32; arguments and errors as of `stored_values`."""
    return decoded_values(column, stored_values(column, sources))


def decoded_values(column: DerivedColumn, values: Tensor) -> Tensor:
    """Return stored values of a derived column as networks read them."""
    if coding_of(column) == "log2":
        return torch.exp2(values.float())
    return values.float() if values.ndim == 4 else values


def derive_columns(columns: Mapping[str, Tensor], derived: Mapping[str, DerivedColumn]) -> dict[str, Tensor]:
    """Return the given columns and the derived ones, which may be made of one another.

    Raises:
        ConfigError: when a derived column has a source that does not exist, or is made of itself.
    """
    complete, waiting = dict(columns), dict(derived)
    while waiting:
        ready = [name for name, column in waiting.items() if all(source in complete for source in column.sources)]
        if not ready:
            name, column = next(iter(waiting.items()))
            missing = next(source for source in column.sources if source not in complete)
            raise ConfigError(f"{name} is made of {missing!r}, which there is not", where=f"derive.{name}.of")
        for name in ready:
            column = waiting.pop(name)
            complete[name] = derived_values(column, [complete[source] for source in column.sources])
    return complete


def stored_shape(column: DerivedColumn, channels: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a derived column as shards store it.

    Args:
        channels: for each of its sources the number of channels; for a label minus the number of its values.

    Returns:
        (channels, how many times smaller than its first source) of a picture, (n,) of values of a whole picture.

    Raises:
        ConfigError: when the derivation fails on a small picture, or returns something else.
    """
    part = column.part
    if values := getattr(part, "values", None):
        return (int(values),)
    if (known := getattr(part, "channels", None)) and "scale" not in column.parameters:
        return (int(known), 1)
    sources = [torch.zeros(1, n, TEST_SIDE, TEST_SIDE) if n > 0 else torch.zeros(1, -n) for n in channels]
    try:
        shape = tuple(stored_values(column, sources).shape)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(f"the derivation {column.type} fails on pictures of {TEST_SIDE} pixels: {error}") from None
    if len(shape) == 2 and shape[0] == 1:
        return shape[1:]
    if len(shape) == 4 and shape[0] == 1 and shape[2] == shape[3] and TEST_SIDE % shape[2] == 0:
        return (shape[1], TEST_SIDE // shape[2])
    raise ConfigError(
        f"the derivation {column.type} makes {shape} of (1, 3, {TEST_SIDE}, {TEST_SIDE})",
        fix="let it return (B, C, H, W) of the same size, or smaller by a whole number, or (B, n)",
    )
