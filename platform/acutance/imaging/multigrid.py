"""Weighted least squares smoothing of a whole picture, (E + D'WD) u = f, by conjugate gradients over coarser graphs.

The weights of neighbouring pixels differ by four orders of magnitude: flat areas are all but rigid, edges all but cut.
Coarser grids that halve the picture do not follow that, so pixels are gathered into aggregates along their strong
connections, and those again (smoothed aggregation: Vanek, Mandel and Brezina, Computing 56, 1996). On the two finest
levels nodes take the value of their aggregate as it is, which keeps the coarser graphs sparse; further ones interpolate
smoothly. A sweep of Gauss and Seidel forwards before the coarser levels, and one backwards after them, make a symmetric
preconditioner, with which some fifteen iterations do for a picture of any size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from acutance.errors import AcutanceError
from acutance.imaging import multigrid_compiled as loops
from acutance.imaging.multigrid_compiled import Indices, Matrix, Values, Weights

STRONG = 0.12
"""A connection counts from this share of the geometric mean of its ends' diagonals; on each coarser level from half."""
DAMPING = 2 / 3
"""Of the Jacobi step that smooths the interpolation: 4/3 over 2, a bound of the spectral radius."""
PLAIN = 2
"""Levels without smoothed interpolation."""
FULL = 30
"""Entries a row, on the average, from which a level is not interpolated smoothly either: products of such fill up."""
DENSE = 600
"""Unknowns that are solved for directly."""
STALLED = 0.9
"""No coarser level follows one that has more than this share of the finer one's nodes: they hardly hang together."""
MOST = 200
"""Iterations; fifteen are usual."""


def smooth(picture: Values, weight_h: Values, weight_v: Values, *, accuracy: float = 1e-4) -> Values:
    """Solve (E + Dh'AhDh + Dv'AvDv) u = picture.

    Args:
        picture: (H, W) float64; one of up to 600 pixels is solved exactly.
        weight_h, weight_v: (H, W-1) and (H-1, W), the diagonals of Ah and Av, none negative.
        accuracy: of u, relative to u, in the Euclidean norm. It is judged by the norm that the preconditioner gives
            the residual: about the error's energy, which is no smaller than the error.

    Returns:
        (H, W) float64.

    Raises:
        AcutanceError: when it is not reached, as with pixels that are no numbers.
    """
    grid, f = _grid(weight_h, weight_v), picture.ravel()
    if f.size <= DENSE:
        return (_inverted(loops.rows_of_grid(*grid)) @ f).reshape(picture.shape)
    levels = _coarser(grid)
    aggregate = np.concatenate([np.zeros(grid.width, np.uint32), levels[0].p_column])
    finest = aggregate, *(weights.astype(np.float32) for weights in grid[:3]), grid.width
    u, product, direction = f.copy(), np.empty_like(f), _padded(f, grid.width)
    loops.multiply(direction, product, grid.h, grid.v, grid.width)
    residual, length, before = f - product, 0.0, np.inf
    x = np.zeros(direction.size, np.float32)
    for _ in range(MOST):
        coarse = np.zeros(levels[0].middle.size)
        square = loops.descend(u, residual, direction, product, length, x, coarse, *finest)
        now = loops.ascend(x, residual, _cycle(coarse, levels), *finest)
        if np.sqrt(now) <= accuracy * np.sqrt(square):
            return u.reshape(picture.shape)
        energy = loops.turn(direction, x, now / before, product, grid.h, grid.v, grid.width)
        length, before = now / energy, now
    raise AcutanceError(f"smoothing did not converge in {MOST} iterations", fix="make sure that all pixels are finite")


class _Grid(NamedTuple):
    """The picture's own level; a pixel p finds its neighbours' weights at h[p], h[p+1], v[p], v[p+width]."""

    h: Values
    v: Values
    inverse: Values
    width: int


class _Level(NamedTuple):
    """A coarser graph: its matrix by rows, diagonals in the `middle`, and how the finer level takes values from it.

    What only preconditions has 32 bits: less is read.
    """

    start: Indices
    middle: Indices
    column: Indices
    value: Weights
    p_start: Indices
    p_column: Indices
    p_value: Weights
    inverse: Values | None


def _grid(weight_h: Values, weight_v: Values) -> _Grid:
    height, width = weight_h.shape[0], weight_v.shape[1]
    h, v = np.zeros(height * width + 1), np.zeros((height + 1) * width)
    h[:-1].reshape(height, width)[:, 1:] = weight_h
    v[width:-width].reshape(height - 1, width)[:] = weight_v
    return _Grid(h, v, 1 / (1 + h[:-1] + h[1:] + v[:-width] + v[width:]), width)


def _padded(values: Values, width: int) -> Values:
    return np.concatenate([np.zeros(width), values, np.zeros(width)])


def _coarser(grid: _Grid) -> list[_Level]:
    """Return the levels below the picture's own; a small one has the inverse of its matrix."""
    matrix: Matrix = loops.rows_of_grid(*grid)
    theta, levels = STRONG, list[_Level]()
    while True:
        diagonal = loops.diagonal(*matrix)
        aggregate, count = loops.aggregates(*matrix[:2], loops.strong(*matrix, diagonal, theta))
        if len(levels) < PLAIN or matrix[1].size > FULL * diagonal.size:
            p = np.arange(aggregate.size + 1, dtype=np.uint32), aggregate, np.ones(aggregate.size)
            matrix = loops.collapsed(*matrix, aggregate, count)
        else:
            p = loops.smoothed(*matrix, diagonal, aggregate, DAMPING)
            matrix = _galerkin(matrix, p, count)
        levels.append(_level(matrix, p, solved=count <= DENSE))
        if count <= DENSE or count > STALLED * aggregate.size:
            return levels
        theta /= 2


def _level(matrix: Matrix, p: Matrix, *, solved: bool) -> _Level:
    start, column, value = matrix
    inverse, middle = _inverted(matrix) if solved else None, loops.split(start, column, value)
    divided = value.astype(np.float32)
    divided[middle] = 1 / divided[middle]
    return _Level(start, middle, column, divided, p[0], p[1], p[2].astype(np.float32), inverse)


def _galerkin(matrix: Matrix, p: Matrix, count: int) -> Matrix:
    interpolation = _sparse(p, count)
    product = (interpolation.T.tocsr() @ (_sparse(matrix) @ interpolation)).tocsr()
    return product.indptr.view(np.uint32), product.indices.view(np.uint32), product.data


def _inverted(matrix: Matrix) -> Values:
    return np.linalg.inv(_sparse(matrix).toarray())


def _sparse(matrix: Matrix, columns: int | None = None) -> sparse.csr_matrix:
    start, column, value = matrix
    rows = start.size - 1
    return sparse.csr_matrix((value, column.view(np.int32), start.view(np.int32)), (rows, columns or rows))


def _cycle(right: Values, levels: list[_Level]) -> Values:
    level, *coarser = levels
    if level.inverse is not None:
        return level.inverse @ right
    x, rows = np.zeros_like(right), level[:4]
    if coarser:
        below, p = np.zeros(coarser[0].middle.size), coarser[0][4:7]
        loops.descend_rows(x, right, below, *rows, *p)
        loops.spread_rows(x, _cycle(below, coarser), *p)
    else:
        loops.descend_rows(x, right, x[:0], *rows, *_nowhere(x.size))
    loops.ascend_rows(x, right, *rows)
    return x


def _nowhere(size: int) -> tuple[Indices, Indices, Weights]:
    return np.zeros(size + 1, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float32)
