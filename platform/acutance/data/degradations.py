"""How a degraded or low-resolution picture comes from a good one.

`bicubic` and `paired` make the LR pictures of shards, each from a whole picture whose sides are multiples of the scale,
or from the data set's own LR. `degraded` applies the steps of `imaging.degradations`, one or several in a row: training
draws them for each sample, and data sets are evaluated with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

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
