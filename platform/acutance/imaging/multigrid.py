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
    u, product, direction = f.copy(), np.empty_like(f), _padded(f, grid.width)
    loops.multiply(direction, product, grid.h, grid.v, grid.width)
    residual, before = f - product, np.inf
    inner = direction[grid.width : -grid.width]
    for _ in range(MOST):
        correction = _preconditioned(residual, grid, levels)
        now = loops.dot(correction, residual)
        if np.sqrt(now) <= accuracy * np.sqrt(loops.dot(u, u)):
            return u.reshape(picture.shape)
        loops.extend(inner, correction, now / before)
        energy = loops.multiply(direction, product, grid.h, grid.v, grid.width)
        loops.step(u, residual, inner, product, now / energy)
        before = now
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
        if len(levels) < PLAIN:
            p = np.arange(aggregate.size + 1, dtype=np.int32), aggregate, np.ones(aggregate.size)
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
    middle, inverse = loops.split(start, column, value), _inverted(matrix) if solved else None
    return _Level(start, middle, column, value.astype(np.float32), p[0], p[1], p[2].astype(np.float32), inverse)


def _galerkin(matrix: Matrix, p: Matrix, count: int) -> Matrix:
    size = len(p[0]) - 1
    interpolation = sparse.csr_matrix((p[2], p[1], p[0]), (size, count))
    product = (interpolation.T.tocsr() @ (_sparse(matrix) @ interpolation)).tocsr()
    return product.indptr, product.indices, product.data


def _inverted(matrix: Matrix) -> Values:
    return np.linalg.inv(_sparse(matrix).toarray())


def _sparse(matrix: Matrix) -> sparse.csr_matrix:
    size = len(matrix[0]) - 1
    return sparse.csr_matrix((matrix[2], matrix[1], matrix[0]), (size, size))


def _preconditioned(residual: Values, grid: _Grid, levels: list[_Level]) -> Values:
    x, coarse = np.zeros(residual.size + 2 * grid.width), np.zeros(levels[0].middle.size)
    loops.forwards(x, residual, *grid)
    loops.gather(x, coarse, levels[0].p_column, grid.h, grid.v, grid.width)
    loops.spread(x, _cycle(coarse, levels), levels[0].p_column, grid.width)
    loops.backwards(x, residual, *grid)
    return x[grid.width : -grid.width]


def _cycle(right: Values, levels: list[_Level]) -> Values:
    level, *coarser = levels
    if level.inverse is not None:
        return level.inverse @ right
    x = np.zeros_like(right)
    loops.forwards_rows(x, right, *level[:4])
    if coarser:
        below = np.zeros(coarser[0].middle.size)
        p = coarser[0].p_start, coarser[0].p_column, coarser[0].p_value
        loops.gather_rows(x, below, *level[:4], *p)
        loops.spread_rows(x, _cycle(below, coarser), *p)
    loops.backwards_rows(x, right, *level[:4])
    return x
