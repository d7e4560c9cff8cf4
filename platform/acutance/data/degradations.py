"""How a low-resolution picture comes from a good one: `DEGRADATIONS` by the name that a pipeline gives.

Each takes the whole high-resolution picture, its sides multiples of the scale, and returns the LR picture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from acutance.imaging.resize import imresize_uint8


def bicubic(hr: torch.Tensor, *, scale: int) -> torch.Tensor:
    """Downscale as MATLAB's `imresize` does, bit for bit: the LR pictures of the benchmarks and of DIV2K.

    Args:
        hr: uint8 (..., 3, H, W), H and W multiples of `scale`.
        scale: how many times smaller the result is.

    Returns:
        uint8 (..., 3, H / scale, W / scale).
    """
    return imresize_uint8(hr, 1 / scale)


DEGRADATIONS: dict[str, Callable[..., torch.Tensor]] = {"bicubic": bicubic}
