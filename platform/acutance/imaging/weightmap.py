"""The weight map: which values of a picture differ so much from their neighbours that a loss should count them.

Zhou et al., "Improving low-resolution image classification by super-resolution with enhancing high-frequency
content", section III. Where it is silent about its statistics, they are taken as the authors' code does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acutance.errors import ConfigError


def weight_map(picture: Tensor, *, alpha: float) -> Tensor:
    """Return 1 where the neighbour difference is at least alpha standard deviations from its mean, eq. 7.

    Mean and (population) standard deviation are those of one whole picture, its three channels together, so
    compute the map before cutting patches. The paper first scales the differences to 0..1, which selects the
    same values, and leaves out the bounds themselves; with them, alpha 0 is the plain loss. A constant picture
    has no deviation, and all of it is selected.

    Args:
        picture: (..., 3, H, W) uint8, or float of any range; the result does not depend on brightness or contrast.
        alpha: at least 0, the paper's 1/7 to 1/3; at 0 every value is selected.

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
    difference = neighbour_difference(picture.detach())
    exact = difference.to(torch.float64)
    mean = exact.mean(dim=(-3, -2, -1), keepdim=True)
    deviation = exact.std(dim=(-3, -2, -1), keepdim=True, correction=0)
    return ((exact - mean).abs() >= alpha * deviation).to(difference.dtype)


def neighbour_difference(picture: Tensor) -> Tensor:
    """Return value minus neighbour, signed, for the neighbour that differs most, eqs. 4 to 6.

    Neighbours are those that exist above, below, left and right; of equal magnitudes the first in this order
    counts.

    Args:
        picture: (..., H, W) uint8, or float of any range.

    Returns:
        The same shape, float32 for integers, otherwise in the dtype of picture.
    """
    picture = picture if picture.is_floating_point() else picture.to(torch.float32)
    # A missing neighbour is the pixel itself: its difference 0 is never the largest, unless all are 0.
    above = torch.cat([picture[..., :1, :], picture[..., :-1, :]], dim=-2)
    below = torch.cat([picture[..., 1:, :], picture[..., -1:, :]], dim=-2)
    left = torch.cat([picture[..., :1], picture[..., :-1]], dim=-1)
    right = torch.cat([picture[..., 1:], picture[..., -1:]], dim=-1)
    largest = picture - above
    for neighbour in (below, left, right):
        difference = picture - neighbour
        largest = torch.where(difference.abs() > largest.abs(), difference, largest)
    return largest
