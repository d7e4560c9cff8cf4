"""The fixed filters that HFA's edge branch starts from.

HFA filters the given picture by predefined edge filters without naming them. `edge_filters` are first and second
derivatives, scaled to answer a step or a bend of one with about one; `hessian_filters` the three second derivatives
alone, from which DeFiAN takes the larger eigenvalue (fxx + fyy + sqrt((fxx - fyy)^2 + 4 fxy^2)) / 2. Use them by
`torch.nn.functional.conv2d`, per channel, with dilation 1, 2 and 3 for the scales. They sum to 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SOBEL_X = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
_XX = [[0, 0, 0], [1, -2, 1], [0, 0, 0]]
_XY = [[1, 0, -1], [0, 0, 0], [-1, 0, 1]]
_LAPLACE = [[1, 1, 1], [1, -8, 1], [1, 1, 1]]


def edge_filters() -> Tensor:
    """Return the derivatives x and y (Sobel), xx, yy and xy, and the Laplacian over all eight neighbours.

    Returns:
        (6, 1, 3, 3) float32. x grows to the right and y downwards; a slope of 1 per pixel gives 1 in x or y.
    """
    sobel = _filter(_SOBEL_X) / 8
    laplace = _filter(_LAPLACE) / 8
    return torch.cat([torch.stack([sobel, sobel.T])[:, None], hessian_filters(), laplace[None, None]])


def hessian_filters() -> Tensor:
    """Return the second derivatives xx, yy and xy: x^2 / 2, y^2 / 2 and x y each give 1 in their own.

    Returns:
        (3, 1, 3, 3) float32.
    """
    xx = _filter(_XX)
    xy = _filter(_XY) / 4
    return torch.stack([xx, xx.T, xy])[:, None]


def _filter(weights: list[list[int]]) -> Tensor:
    # On the CPU whatever the default device is: a division on the meta device imports torch's compiler, for seconds.
    return torch.tensor(weights, dtype=torch.float32, device="cpu")
