"""How large a rectangle of pixels is, as files say it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import PositiveInt, ValidationError, ValidatorFunctionWrapHandler, WrapValidator


def _one_message(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A union would complain once for each of its kinds."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError("give a number of pixels above 0, or two, [height, width]") from None


Size = Annotated[PositiveInt | tuple[PositiveInt, PositiveInt], WrapValidator(_one_message)]
"""The side of a square, or [height, width], in pixels."""


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def grown(size: int | tuple[int, int], margin: int) -> tuple[int, int]:
    """Return height and width with a margin on all four sides."""
    height, width = sides(size)
    return height + 2 * margin, width + 2 * margin


def fits(size: int | tuple[int, int], within: int | tuple[int, int]) -> bool:
    """Return whether one lies within the other, not turned."""
    return all(one <= other for one, other in zip(sides(size), sides(within), strict=True))


def uneven(size: int | tuple[int, int], divisors: Iterable[int]) -> list[int]:
    """Return by which of some numbers a side cannot be divided."""
    return [divisor for divisor in divisors if any(side % divisor for side in sides(size))]


def is_lr_of(lr: Iterable[int], hr: Iterable[int], scale: int) -> bool:
    """Return whether a picture of the sides `lr` is one of the sides `hr`, made `scale` times smaller.

    Sides that are no multiple of the scale may have been rounded down or up. Training and evaluation cut both pictures,
    at the right and below, to what they share.
    """
    return all(abs(small * scale - large) < scale for small, large in zip(lr, hr, strict=True))


def shown(size: int | tuple[int, int]) -> str:
    """Return it as messages say it: the side of a square, else both."""
    height, width = sides(size)
    return str(height) if height == width else f"[{height}, {width}]"
