"""The weight map: 1 for values that differ from their neighbours so much that a loss counts them.

Zhou et al., "Improving low-resolution image classification by super-resolution with enhancing high-frequency
content", section III. Where it is silent about its statistics, they are taken as the authors' code does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from acutance.errors import ConfigError

_EXACT = {torch.uint8: torch.int16}  # half of what float32 moves


def weight_map(picture: Tensor, *, alpha: float, statistics: Tensor | None = None) -> Tensor:
    """Return 1 where the neighbour difference is at least alpha standard deviations from its mean, eq. 7.

    The paper first scales the differences to 0..1, which selects the same values, and leaves out the bounds
    themselves; with them, alpha 0 is the plain loss. A constant picture has no deviation, and all of it is selected.

    Args:
        picture: (..., 3, H, W) uint8, or float of any range; the result does not depend on brightness or contrast.
        alpha: at least 0, the paper's 1/7 to 1/3; at 0 every value is selected.
        statistics: of a patch those of the whole picture, (..., 2), as `difference_statistics` returns them; the
            picture's own where left out.

    Returns:
        The same shape, 0 or 1 per value, float32 (float64 for float64 pictures), without gradient.

    Raises:
        ConfigError: alpha is negative.
        ValueError: picture has not three channels.
    """
    if not alpha >= 0:
        raise ConfigError(f"alpha is {alpha}", where="weight_map.alpha", fix="it must be at least 0")
    if picture.ndim < 3 or picture.shape[-3] != 3:
        raise ValueError(f"picture must be (..., 3, H, W), not {tuple(picture.shape)}")
    difference = neighbour_difference(picture)
    known = _statistics(difference) if statistics is None else statistics.to(torch.float64)
    mean, deviation = known[..., None, None, None].unbind(-4)
    return ((difference - mean).abs_() >= alpha * deviation).to(difference.dtype)


def difference_statistics(picture: Tensor) -> Tensor:
    """Return the mean and the (population) standard deviation of a whole picture's neighbour differences.

    Args:
        picture: (..., 3, H, W) uint8, or float of any range; its three channels count together.

    Returns:
        (..., 2) float64, in the units of the picture.
    """
    return _statistics(neighbour_difference(picture))


def _statistics(difference: Tensor) -> Tensor:
    deviation, mean = torch.std_mean(difference.double(), dim=(-3, -2, -1), correction=0)
    return torch.stack([mean, deviation], dim=-1)


def neighbour_difference(picture: Tensor) -> Tensor:
    """Return value minus neighbour, signed, for the neighbour that differs most, eqs. 4 to 6.

    Neighbours are those that exist above, below, left and right; of equal magnitudes the first in this order
    counts.

    Args:
        picture: (..., H, W) uint8, or float of any range.

    Returns:
        The same shape, float32 for integers, otherwise in the dtype of picture; without gradient.
    """
    exact = picture.detach() if picture.is_floating_point() else picture.to(_EXACT.get(picture.dtype, torch.float32))
    down, right = exact.diff(dim=-2), exact.diff(dim=-1)
    # A missing neighbour is the pixel itself: its difference 0 is never the largest, unless all are 0.
    largest = pad(down, (0, 0, 1, 0))
    for difference in (-pad(down, (0, 0, 0, 1)), pad(right, (1, 0)), -pad(right, (0, 1))):
        # Products with 0 and 1, since torch.where on a CPU takes a branch a value: several times slower.
        larger = difference.abs().sub_(largest.abs()).sign_().clamp_min_(0)
        largest.mul_(1 - larger).add_(difference.mul_(larger))
    return largest.to(picture.dtype if picture.is_floating_point() else torch.float32)
