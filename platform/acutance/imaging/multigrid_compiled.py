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
Indices = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Matrix = tuple[Indices, Indices, Values]
"""By rows: where each starts, columns, values."""


@cached
def forwards(x: Values, right: Values, h: Values, v: Values, inverse: Values, width: int) -> None:
    for p in range(len(right)):
        # The neighbour before comes last: each pixel waits for it.
        x[p + width] = (right[p] + v[p] * x[p]) * inverse[p] + (h[p] * inverse[p]) * x[p + width - 1]


@cached
def backwards(x: Values, right: Values, h: Values, v: Values, inverse: Values, width: int) -> None:
    for p in range(len(right) - 1, -1, -1):
        q = p + width
        other = right[p] + h[p] * x[q - 1] + v[p] * x[p] + v[q] * x[q + width]
        x[q] = other * inverse[p] + (h[p + 1] * inverse[p]) * x[q + 1]


@cached
def gather(x: Values, coarse: Values, aggregate: Indices, h: Values, v: Values, width: int) -> None:
    """Add up the residual after `forwards`, which is what the pixels ahead of each have changed since."""
    for p in range(len(aggregate)):
        q = p + width
        coarse[aggregate[p]] += h[p + 1] * x[q + 1] + v[q] * x[q + width]


@cached
def spread(x: Values, coarse: Values, aggregate: Indices, width: int) -> None:
    for p in range(len(aggregate)):
        x[p + width] += coarse[aggregate[p]]


@cached
def multiply(x: Values, product: Values, h: Values, v: Values, width: int) -> float:
    energy = 0.0
    for p in range(len(product)):
        q = p + width
        across = h[p] * (x[q] - x[q - 1]) + h[p + 1] * (x[q] - x[q + 1])
        product[p] = x[q] + across + v[p] * (x[q] - x[p]) + v[q] * (x[q] - x[q + width])
        energy += product[p] * x[q]
    return energy


# On vectors


@cached
def dot(a: Values, b: Values) -> float:
    total = 0.0
    for p in range(len(a)):
        total += a[p] * b[p]
    return total


@cached
def extend(direction: Values, correction: Values, factor: float) -> None:
    for p in range(len(direction)):
        direction[p] = correction[p] + factor * direction[p]


@cached
def step(u: Values, residual: Values, direction: Values, product: Values, length: float) -> None:
    for p in range(len(u)):
        u[p] += length * direction[p]
        residual[p] -= length * product[p]


# On the rows of a sparse matrix


@cached
def rows_of_grid(h: Values, v: Values, inverse: Values, width: int) -> Matrix:
    size = len(inverse)
    start, column, value = np.empty(size + 1, np.int32), np.empty(5 * size, np.int32), np.empty(5 * size)
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
    return aggregate, count


@compiled
def _neighbourhoods(start: Indices, column: Indices, strong: Flags) -> tuple[Indices, int]:
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
    first = np.zeros(count + 1, np.int32)
    for p in range(size):
        first[aggregate[p] + 1] += 1
    first = np.cumsum(first)
    place, member = first[:-1].copy(), np.empty(size, np.int32)
    for p in range(size):
        member[place[aggregate[p]]] = p
        place[aggregate[p]] += 1
    rows, columns, values = np.empty(count + 1, np.int32), np.empty(len(column), np.int32), np.empty(len(column))
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
    rows, columns, values = np.empty(size + 1, np.int32), np.empty(len(column), np.int32), np.empty(len(column))
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
    middle = np.empty(len(start) - 1, np.int32)
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
def forwards_rows(x: Values, right: Values, start: Indices, middle: Indices, column: Indices, value: Weights) -> None:
    for p in range(len(right)):
        left = right[p]
        for k in range(start[p], middle[p]):
            left -= value[k] * x[column[k]]
        x[p] = left / value[middle[p]]


@cached
def backwards_rows(x: Values, right: Values, start: Indices, middle: Indices, column: Indices, value: Weights) -> None:
    for p in range(len(right) - 1, -1, -1):
        left = right[p]
        for k in range(start[p], middle[p]):
            left -= value[k] * x[column[k]]
        for k in range(middle[p] + 1, start[p + 1]):
            left -= value[k] * x[column[k]]
        x[p] = left / value[middle[p]]


@cached
def gather_rows(
    x: Values,
    coarse: Values,
    start: Indices,
    middle: Indices,
    column: Indices,
    value: Weights,
    p_start: Indices,
    p_column: Indices,
    p_value: Weights,
) -> None:
    """Add up the residual after `forwards_rows`."""
    for p in range(len(x)):
        left = 0.0
        for k in range(middle[p] + 1, start[p + 1]):
            left -= value[k] * x[column[k]]
        for k in range(p_start[p], p_start[p + 1]):
            coarse[p_column[k]] += p_value[k] * left


@cached
def spread_rows(x: Values, coarse: Values, p_start: Indices, p_column: Indices, p_value: Weights) -> None:
    for p in range(len(x)):
        for k in range(p_start[p], p_start[p + 1]):
            x[p] += p_value[k] * coarse[p_column[k]]
