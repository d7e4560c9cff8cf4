"""The inner loops of NIQE and SSIM, compiled: each goes through the rows once, so that its data stay in the cache.

All in float64. Sums may be taken in another order than NumPy's, which moves values by rounding alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acutance.imaging.compiled import cached, compiled

Plane = npt.NDArray[np.float64]


@cached
def contrast_normalised(plane: Plane, window: Plane, rounding: float) -> Plane:
    """Return (x - mu) / (sigma + 1) of a plane (H, W), the border replicated; 0 where it is below `rounding`.

    Args:
        window: (7,), symmetric; mu and sigma are means under it along rows and columns.
    """
    height, width = plane.shape
    normalised = np.empty_like(plane)
    means, squares = np.empty(width + 6), np.empty(width + 6)
    for i in range(height):
        above3, above2, above1 = plane[max(i - 3, 0)], plane[max(i - 2, 0)], plane[max(i - 1, 0)]
        last = height - 1
        below1, below2, below3 = plane[min(i + 1, last)], plane[min(i + 2, last)], plane[min(i + 3, last)]
        _down(above3, above2, above1, plane[i], below1, below2, below3, window, means[3:-3], squares[3:-3])
        for k in range(3):
            means[k], squares[k] = means[3], squares[3]
            means[width + 3 + k], squares[width + 3 + k] = means[width + 2], squares[width + 2]
        _across(plane[i], means, squares, window, rounding, normalised[i])
    return normalised


@compiled
def _down(
    a: Plane, b: Plane, c: Plane, d: Plane, e: Plane, f: Plane, g: Plane, window: Plane, means: Plane, squares: Plane
) -> None:
    """The weighted sums of seven rows, and of their squares."""
    w3, w2, w1, w0 = window[0], window[1], window[2], window[3]
    for j in range(d.size):
        means[j] = w3 * (a[j] + g[j]) + w2 * (b[j] + f[j]) + w1 * (c[j] + e[j]) + w0 * d[j]
        outer = w3 * (a[j] * a[j] + g[j] * g[j]) + w2 * (b[j] * b[j] + f[j] * f[j])
        squares[j] = outer + w1 * (c[j] * c[j] + e[j] * e[j]) + w0 * d[j] * d[j]


@compiled
def _across(row: Plane, means: Plane, squares: Plane, window: Plane, rounding: float, normalised: Plane) -> None:
    w3, w2, w1, w0 = window[0], window[1], window[2], window[3]
    for j in range(row.size):
        mu = w3 * (means[j] + means[j + 6]) + w2 * (means[j + 1] + means[j + 5])
        mu += w1 * (means[j + 2] + means[j + 4]) + w0 * means[j + 3]
        square = w3 * (squares[j] + squares[j + 6]) + w2 * (squares[j + 1] + squares[j + 5])
        square += w1 * (squares[j + 2] + squares[j + 4]) + w0 * squares[j + 3]
        value = (row[j] - mu) / (np.sqrt(abs(square - mu * mu)) + 1.0)
        normalised[j] = value if abs(value) >= rounding else 0.0


@cached
def signed_moments(plane: Plane, side: int) -> Plane:
    """Return the sums from which NIQE fits its distributions, of each block of a plane.

    Args:
        plane: (H, W), both multiples of side.

    Returns:
        (blocks, 5, 5). First a block's values, then their products with the neighbour to the left, above, above
        left and above right, the block taken as periodic. Of each, how many are negative and how many positive,
        the sums of their squares, and the sum of all sizes.
    """
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    sums = np.zeros((rows * columns, 5, 5))
    ones, above, here = np.ones(side), np.empty(side + 2), np.empty(side + 2)
    for block in range(rows * columns):
        top, left = block // columns * side, block % columns * side
        _periodic(plane[top + side - 1, left : left + side], above)
        for i in range(top, top + side):
            _periodic(plane[i, left : left + side], here)
            neighbours = (ones, here[:-2], above[1:-1], above[:-2], above[2:])
            for k, neighbour in enumerate(neighbours):
                _add_products(here[1:-1], neighbour, sums[block, k])
            above, here = here, above
    return sums


@compiled
def _periodic(row: Plane, longer: Plane) -> None:
    longer[1:-1] = row
    longer[0], longer[-1] = row[-1], row[0]


@compiled
def _add_products(a: Plane, b: Plane, sums: Plane) -> None:
    negative = positive = below = above = size = 0.0
    for j in range(a.size):
        value = a[j] * b[j]
        low, high = min(value, 0.0), max(value, 0.0)
        negative += 1.0 if value < 0.0 else 0.0
        positive += 1.0 if value > 0.0 else 0.0
        below += low * low
        above += high * high
        size += high - low
    sums[0] += negative
    sums[1] += positive
    sums[2] += below
    sums[3] += above
    sums[4] += size


@cached
def mean_similarity(a: Plane, b: Plane, window: Plane, c1: float, c2: float) -> float:
    """Return the mean of SSIM's map over all places where its window lies within the planes, (H, W) both.

    Args:
        window: (n,), no longer than a side; means, variances and the covariance are taken under it along rows and
            columns.
        c1, c2: the constants of luminance, and of contrast and structure.
    """
    height, width = a.shape[0] - window.size + 1, a.shape[1] - window.size + 1
    down, means = np.empty((4, a.shape[1])), np.empty((4, width))
    total = 0.0
    for i in range(height):
        down[:] = 0.0
        for k in range(window.size):
            _add_rows(a[i + k], b[i + k], window[k], down)
        means[:] = 0.0
        for k in range(window.size):
            for moment in range(4):
                _add_scaled(down[moment, k : k + width], window[k], means[moment])
        total += _similarity(means, c1, c2)
    return total / (height * width)


@compiled
def _add_rows(a: Plane, b: Plane, weight: float, moments: Plane) -> None:
    """Add a row's share to the two means, the sum of the two mean squares, and the mean product."""
    mean_a, mean_b, square, product = moments[0], moments[1], moments[2], moments[3]
    for j in range(a.size):
        mean_a[j] += weight * a[j]
        mean_b[j] += weight * b[j]
        square[j] += weight * (a[j] * a[j] + b[j] * b[j])
        product[j] += weight * (a[j] * b[j])


@compiled
def _add_scaled(row: Plane, weight: float, total: Plane) -> None:
    for j in range(row.size):
        total[j] += weight * row[j]


@compiled
def _similarity(moments: Plane, c1: float, c2: float) -> float:
    """The sum of a row of the map, in which the two variances occur as a sum only."""
    mean_a, mean_b, square, product = moments[0], moments[1], moments[2], moments[3]
    total = 0.0
    for j in range(mean_a.size):
        means, means_squared = mean_a[j] * mean_b[j], mean_a[j] * mean_a[j] + mean_b[j] * mean_b[j]
        alike = (2 * means + c1) * (2 * (product[j] - means) + c2)
        total += alike / ((means_squared + c1) * (square[j] - means_squared + c2))
    return total
