"""The inner loops of `multigrid`, compiled.

Vectors on the picture's grid have a row of zeros before and after the picture's own pixels, so that every pixel has
four neighbours; weights of 0 cut those that are not there. The other loops walk over the rows of sparse matrices.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acutance.imaging.compiled import cached, compiled

Values = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]
Indices = npt.NDArray[np.uint32]
"""Never negative, so that numba does not look whether they count from the end."""
Flags = npt.NDArray[np.bool_]
Matrix = tuple[Indices, Indices, Values]
"""By rows: where each starts, columns, values."""


@cached
def descend(
    u: Values,
    residual: Values,
    direction: Values,
    product: Values,
    length: float,
    x: Weights,
    coarse: Values,
    aggregate: Indices,
    h: Weights,
    v: Weights,
    inverse: Weights,
    width: int,
) -> float:
    """Take a step along the direction, sweep forwards, and hand what is left to the coarser level.

    What a sweep leaves at a pixel is what the pixels ahead of it, right and below, have changed since. Returns the
    square of u's norm.
    """
    square = 0.0
    here, before, ahead = x[width:], x[width - 1 :], direction[width:]
    beside = aggregate[width - 1 :]
    for p in range(len(u)):
        u[p] += length * ahead[p]
        residual[p] -= length * product[p]
        square += u[p] * u[p]
        # The neighbour before comes last: each pixel waits for it.
        here[p] = (np.float32(residual[p]) + v[p] * x[p]) * inverse[p] + (h[p] * inverse[p]) * before[p]
        coarse[beside[p]] += h[p] * here[p]
        coarse[aggregate[p]] += v[p] * here[p]
    return square


@cached
def ascend(
    x: Weights,
    residual: Values,
    coarse: Values,
    aggregate: Indices,
    h: Weights,
    v: Weights,
    inverse: Weights,
    width: int,
) -> float:
    """Add the coarser level's correction and sweep backwards; return the product of x and the residual."""
    product = 0.0
    here, before, after, below = x[width:], x[width - 1 :], x[width + 1 :], x[2 * width :]
    right, down, beside = h[1:], v[width:], aggregate[width - 1 :]
    for p in range(len(residual) - 1, -1, -1):
        left = before[p] + np.float32(coarse[beside[p]])
        above = x[p] + np.float32(coarse[aggregate[p]])
        other = np.float32(residual[p]) + h[p] * left + v[p] * above + down[p] * below[p]
        here[p] = other * inverse[p] + (right[p] * inverse[p]) * after[p]
        product += here[p] * residual[p]
    return product


@cached
def turn(direction: Values, x: Weights, factor: float, product: Values, h: Values, v: Values, width: int) -> float:
    """Set direction = x + factor * direction and product = A direction; return the product of both."""
    energy = 0.0
    for q in range(width, 2 * width):
        direction[q] = x[q] + factor * direction[q]
    for row in range(0, len(product), width):
        if row + width < len(product):
            for q in range(row + 2 * width, row + 3 * width):
                direction[q] = x[q] + factor * direction[q]
        energy += _multiplied(direction, product, h, v, width, row, row + width)
    return energy


@cached
def multiply(x: Values, product: Values, h: Values, v: Values, width: int) -> None:
    _multiplied(x, product, h, v, width, 0, len(product))


@compiled
def _multiplied(x: Values, product: Values, h: Values, v: Values, width: int, first: int, end: int) -> float:
    energy = 0.0
    here, before, after, below = x[width:], x[width - 1 :], x[width + 1 :], x[2 * width :]
    right, down = h[1:], v[width:]
    for p in range(first, end):
        across = h[p] * (here[p] - before[p]) + right[p] * (here[p] - after[p])
        product[p] = here[p] + across + v[p] * (here[p] - x[p]) + down[p] * (here[p] - below[p])
        energy += product[p] * here[p]
    return energy


# On the rows of a sparse matrix


@cached
def rows_of_grid(h: Values, v: Values, inverse: Values, width: int) -> Matrix:
    size = len(inverse)
    start, column, value = np.empty(size + 1, np.uint32), np.empty(5 * size, np.uint32), np.empty(5 * size)
    start[0] = k = 0
    for p in range(size):
        column[k], value[k] = p, 1 / inverse[p]
        k += 1
        for neighbour, weight in ((p - width, v[p]), (p - 1, h[p]), (p + 1, h[p + 1]), (p + width, v[p + width])):
            if weight > 0:
                column[k], value[k] = neighbour, -weight
                k += 1
        start[p + 1] = k
    return start, column[:k], value[:k]


@cached
def diagonal(start: Indices, column: Indices, value: Values) -> Values:
    found = np.empty(len(start) - 1)
    for p in range(len(found)):
        for k in range(start[p], start[p + 1]):
            if column[k] == p:
                found[p] = value[k]
    return found


@cached
def strong(start: Indices, column: Indices, value: Values, diagonal: Values, theta: float) -> Flags:
    found = np.empty(len(column), np.bool_)
    for p in range(len(diagonal)):
        for k in range(start[p], start[p + 1]):
            least = theta * theta * diagonal[p] * diagonal[column[k]]
            found[k] = column[k] != p and value[k] * value[k] >= least
    return found


@cached
def aggregates(start: Indices, column: Indices, strong: Flags) -> tuple[Indices, int]:
    """Gather nodes along strong connections; return each one's aggregate, and how many there are."""
    aggregate, count = _neighbourhoods(start, column, strong)
    first = aggregate.copy()
    for p in range(len(first)):  # who is left joins a neighbourhood
        for k in range(start[p], start[p + 1]):
            if first[p] < 0 and strong[k] and first[column[k]] >= 0:
                aggregate[p] = first[column[k]]
                break
    for p in range(len(first)):  # who is left still gathers those about it
        if aggregate[p] < 0:
            aggregate[p] = count
            for k in range(start[p], start[p + 1]):
                if strong[k] and aggregate[column[k]] < 0:
                    aggregate[column[k]] = count
            count += 1
    return aggregate.view(np.uint32), count


@compiled
def _neighbourhoods(start: Indices, column: Indices, strong: Flags) -> tuple[npt.NDArray[np.int32], int]:
    """Gather whole neighbourhoods that do not touch one another; -1 is who is left."""
    size, count = len(start) - 1, 0
    aggregate = np.full(size, -1, np.int32)
    for p in range(size):
        free = aggregate[p] < 0
        alone = True
        for k in range(start[p], start[p + 1]):
            if strong[k]:
                alone = False
                free = free and aggregate[column[k]] < 0
        if free and not alone:
            aggregate[p] = count
            for k in range(start[p], start[p + 1]):
                if strong[k]:
                    aggregate[column[k]] = count
            count += 1
    return aggregate, count


@cached
def collapsed(start: Indices, column: Indices, value: Values, aggregate: Indices, count: int) -> Matrix:
    """Return the matrix between aggregates whose nodes all take one value: sums of the finer one's entries."""
    size = len(aggregate)
    first = np.zeros(count + 1, np.uint32)
    for p in range(size):
        first[aggregate[p] + 1] += 1
    first = np.cumsum(first).astype(np.uint32)
    place, member = first[:-1].copy(), np.empty(size, np.uint32)
    for p in range(size):
        member[place[aggregate[p]]] = p
        place[aggregate[p]] += 1
    rows, columns, values = np.empty(count + 1, np.uint32), np.empty(len(column), np.uint32), np.empty(len(column))
    seen = np.full(count, -1, np.int32)
    rows[0] = k = 0
    for a in range(count):
        for m in range(first[a], first[a + 1]):
            p = member[m]
            for e in range(start[p], start[p + 1]):
                b = aggregate[column[e]]
                if seen[b] >= rows[a]:
                    values[seen[b]] += value[e]
                else:
                    seen[b], columns[k], values[k] = k, b, value[e]
                    k += 1
        rows[a + 1] = k
    return rows, columns[:k].copy(), values[:k].copy()


@cached
def smoothed(
    start: Indices, column: Indices, value: Values, diagonal: Values, aggregate: Indices, damping: float
) -> Matrix:
    """Return the interpolation (E - damping D^-1 A) T, where T gives each node the value of its aggregate."""
    size = len(diagonal)
    rows, columns, values = np.empty(size + 1, np.uint32), np.empty(len(column), np.uint32), np.empty(len(column))
    rows[0] = k = 0
    for p in range(size):
        for e in range(start[p], start[p + 1]):
            share = -damping * value[e] / diagonal[p] + (1.0 if column[e] == p else 0.0)
            at = -1
            for one in range(rows[p], k):
                if columns[one] == aggregate[column[e]]:
                    at = one
            if at >= 0:
                values[at] += share
            else:
                columns[k], values[k] = aggregate[column[e]], share
                k += 1
        rows[p + 1] = k
    return rows, columns[:k].copy(), values[:k].copy()


@cached
def split(start: Indices, column: Indices, value: Values) -> Indices:
    """Order each row: who is behind, the diagonal, who is ahead. Return where the diagonals are."""
    middle = np.empty(len(start) - 1, np.uint32)
    for p in range(len(middle)):
        low, k, high = start[p], start[p], start[p + 1] - 1
        while k <= high:
            if column[k] < p:
                column[low], column[k] = column[k], column[low]
                value[low], value[k] = value[k], value[low]
                low += 1
                k += 1
            elif column[k] > p:
                column[high], column[k] = column[k], column[high]
                value[high], value[k] = value[k], value[high]
                high -= 1
            else:
                k += 1
        middle[p] = low
    return middle


@cached
def descend_rows(
    x: Values,
    right: Values,
    coarse: Values,
    start: Indices,
    middle: Indices,
    column: Indices,
    value: Weights,
    p_start: Indices,
    p_column: Indices,
    p_value: Weights,
) -> None:
    """Sweep forwards, and hand what is left to the coarser level."""
    left = np.zeros_like(x)
    for p in range(len(x)):
        sum = right[p]
        for k in range(start[p], middle[p]):
            sum -= value[k] * x[column[k]]
        x[p] = sum * value[middle[p]]
        for k in range(start[p], middle[p]):
            left[column[k]] -= value[k] * x[p]
    for p in range(len(x)):
        for k in range(p_start[p], p_start[p + 1]):
            coarse[p_column[k]] += p_value[k] * left[p]


@cached
def spread_rows(x: Values, coarse: Values, p_start: Indices, p_column: Indices, p_value: Weights) -> None:
    for p in range(len(x)):
        for k in range(p_start[p], p_start[p + 1]):
            x[p] += p_value[k] * coarse[p_column[k]]


@cached
def ascend_rows(x: Values, right: Values, start: Indices, middle: Indices, column: Indices, value: Weights) -> None:
    """Sweep backwards."""
    for p in range(len(right) - 1, -1, -1):
        left = right[p]
        for k in range(start[p], middle[p]):
            left -= value[k] * x[column[k]]
        for k in range(middle[p] + 1, start[p + 1]):
            left -= value[k] * x[column[k]]
        x[p] = left * value[middle[p]]
