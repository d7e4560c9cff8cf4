"""How a degraded or low-resolution picture comes from a good one.

`DEGRADATIONS` by the name that a pipeline gives make the LR pictures of shards, each from a whole picture whose sides
are multiples of the scale, or from the data set's own LR. `Steps` are those of `imaging.degradations`, one or several
in a row: training draws them for each sample, and data sets are evaluated with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from pydantic import AfterValidator

from acutance.config.schema import Choice, choice_of
from acutance.errors import ConfigError
from acutance.imaging import degradations
from acutance.imaging.resize import imresize_uint8


def bicubic(hr: torch.Tensor, *, scale: int) -> torch.Tensor:
    """Downscale as MATLAB's `imresize` does: the stored LR of Set5, Set14 and BSD100 at x2 and x4, bit for bit.

    DIV2K's LR is said to be made likewise, which nobody has compared here. `paired` takes DIV2K's own files.

    Args:
        hr: uint8 (..., 3, H, W), H and W multiples of `scale`.
        scale: how many times smaller the result is.

    Returns:
        uint8 (..., 3, H / scale, W / scale).
    """
    return imresize_uint8(hr, 1 / scale)


def paired(lr: torch.Tensor, *, scale: int) -> torch.Tensor:
    """Take the data set's own degraded picture as it is: pairs as those of SIDD and REDS, or DIV2K's LR of x2 and x4.

    Args:
        lr: that picture, uint8 (..., 3, H / scale, W / scale), which stands in for HR here.
        scale: how many times smaller it is; 1 for pairs of one size.
    """
    return lr


DEGRADATIONS: dict[str, Callable[..., torch.Tensor]] = {"bicubic": bicubic, "paired": paired}


def plain(steps: Sequence[Choice]) -> list[dict[str, Any]]:
    """Return steps as `imaging.degradations.degrade` takes them."""
    return [{"type": step.type, **step.arguments()} for step in steps]


def reduction(steps: Sequence[Choice]) -> int:
    """Return how many times smaller the steps make a picture."""
    return math.prod(step.scale for step in steps if step.type == "bicubic")  # type: ignore[attr-defined]


def degraded(picture: torch.Tensor, steps: Sequence[dict[str, Any]], seed: int) -> torch.Tensor:
    """Return a picture after some steps, as networks see it.

    Args:
        picture: uint8 (3, H, W).
        steps: as `plain` returns them.
        seed: 0 to 2^64 - 1.

    Returns:
        float32 (3, h, w): whole 255ths in 0..1 where the steps give bytes; noise and blur are neither clipped nor
        rounded.
    """
    made = degradations.degrade(picture, steps, seed)
    return made.float() / 255 if made.dtype == torch.uint8 else made


def _tried(steps: list[Choice]) -> list[Choice]:
    """Find a value that is out of its range before anything starts."""
    try:
        degradations.degrade(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), plain(steps), seed=0)
    except ConfigError as error:
        raise ValueError(f"{error.where}: {error.what}; {error.fix}") from None
    return steps


Steps: Any = Annotated[
    list[choice_of(degradations.DEGRADATIONS, given=("seed",))],  # type: ignore[misc]
    AfterValidator(_tried),
]
"""`[{type: awgn, sigma: 30}, {type: jpeg, quality: 25}]`: what is done to a picture, in this order."""
