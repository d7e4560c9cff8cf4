"""The separable detail extraction of `detail.py` for CPUs: the same equations, compiled.

A tridiagonal solve is a recurrence along a line, so it cannot run in SIMD along it, but neighbouring lines
can run side by side. `_solve` therefore always walks down columns, a strip of them at a time, and writes its
result transposed: the next solve, which runs the other way, again finds its lines as columns, and no pass
walks memory against the grain. The recurrences are written with the positive quantities p = lambda_t a[k-1]
and q = lambda_t a[k]: nothing cancels, and float32 is enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from acutance.imaging.compiled import cached, compiled

Plane = npt.NDArray[np.float32]

STRIP = 256  # columns solved side by side: enough to hide the cost of a row, few enough to stay in cache
TILE = 16  # rows turned at once: 64 bytes, one cache line of the transposed picture


def extract(luma: Plane, *, gain: float, lam: float, gamma: float, eps: float, schedule: Sequence[float]) -> Plane:
    """Return x of every picture.

    Args:
        luma: (N, H, W) float32, C-contiguous, 0..255.
        gain: 1 + alpha of eqs. 1 and 2.
        schedule: lambda_t of eq. 8, in the order of the passes.
    """
    count, height, width = luma.shape
    x = np.empty_like(luma)
    a_h, turned = np.zeros((width, height), np.float32), np.empty((width, height), np.float32)
    a_v = np.zeros((height, width), np.float32)
    scratch = np.empty((2, max(height, width), min(STRIP, max(height, width))), np.float32)
    settings = [np.float32(value) for value in (gain, lam, gamma, eps)]
    for n in range(count):
        _field(luma[n], *settings, a_h, a_v, turned)
        for t, lam_t in enumerate(schedule, 1):
            _solve(turned, a_h, np.float32(lam_t), *scratch, x[n], True)
            last = t == len(schedule)
            _solve(x[n], a_v, np.float32(lam_t), *scratch, x[n] if last else turned, not last)
    return x


@cached
def _field(luma: Plane, gain: Any, lam: Any, gamma: Any, eps: Any, a_h: Plane, a_v: Plane, right: Plane) -> None:
    """Fill the weights of eq. 6 and the right side of eq. 5; a_h and the right side transposed."""
    height, width = luma.shape
    tiles = np.zeros((2, TILE, width), np.float32)
    logs = np.empty((2, width), np.float32)
    across, down = np.zeros(width + 1, np.float32), np.zeros((2, width), np.float32)
    _logarithms(luma[0], logs[0])
    for i in range(height):
        here, below, row = i & 1, (i + 1) & 1, i & (TILE - 1)
        _edges(logs[here, :-1], logs[here, 1:], gain, gamma, eps, tiles[0, row, :-1], across[1:-1])
        if i + 1 < height:
            _logarithms(luma[i + 1], logs[below])
            _edges(logs[here], logs[below], gain, gamma, eps, a_v[i], down[below])
        else:
            down[below] = np.float32(0)
        _divergence(across[:-1], across[1:], down[here], down[below], lam, tiles[1, row])
        if row == TILE - 1 or i == height - 1:
            _turn(tiles[0], row + 1, a_h, 0, i - row, width)
            _turn(tiles[1], row + 1, right, 0, i - row, width)


@compiled
def _logarithms(luma: Plane, logs: Plane) -> None:
    for j in range(luma.size):
        logs[j] = _log2(luma[j] + np.float32(1))


@compiled
def _edges(logs: Plane, logs_next: Plane, gain: Any, gamma: Any, eps: Any, weight: Plane, flux: Plane) -> None:
    """Eq. 1 or 2, then eqs. 4 and 6; flux is A(V) V."""
    flat = np.float32(gamma == np.float32(0))  # 0^gamma
    for j in range(weight.size):
        v = gain * (logs_next[j] - logs[j])
        size = abs(v)
        power = _exp2(gamma * _log2(size)) if size > np.float32(0) else flat
        weight[j] = np.float32(1) / (power + eps)
        flux[j] = weight[j] * v


@compiled
def _divergence(left: Plane, right: Plane, above: Plane, below: Plane, lam: Any, result: Plane) -> None:
    """The right side of eq. 5: lam (Dh'AhVh + Dv'AvVv), from the fluxes over a pixel's four edges."""
    for j in range(result.size):
        result[j] = lam * (left[j] - right[j] + above[j] - below[j])


@cached
def _solve(right: Plane, weight: Plane, lam: Any, c: Plane, d: Plane, target: Plane, turn: bool) -> None:
    """Solve (E + lam D'AD) x = right down every column; write x, or its transpose, to target."""
    length, lines = right.shape
    strip = c.shape[1]
    zero, tile = np.zeros(strip, np.float32), np.empty((TILE, strip), np.float32)
    for first in range(0, lines, strip):
        last = min(first + strip, lines)
        n = last - first
        weight_above, c_above, d_above = zero[:n], zero[:n], zero[:n]
        for k in range(length):
            _eliminate(
                right[k, first:last],
                weight_above,
                weight[k, first:last],
                lam,
                c_above,
                d_above,
                c[k, :n],
                d[k, :n],
            )
            weight_above, c_above, d_above = weight[k, first:last], c[k, :n], d[k, :n]
        x_below = zero[:n]
        for k in range(length - 1, -1, -1):
            row = k & (TILE - 1)
            x = tile[row, :n] if turn else target[k, first:last]
            _substitute(c[k, :n], d[k, :n], x_below, x)
            x_below = x
            if turn and row == 0:
                _turn(tile, min(TILE, length - k), target, first, k, n)


@compiled
def _eliminate(
    right: Plane,
    weight_above: Plane,
    weight: Plane,
    lam: Any,
    c_above: Plane,
    d_above: Plane,
    c: Plane,
    d: Plane,
) -> None:
    """Thomas, forward; c has the opposite sign of the usual one, so that every term is positive."""
    for j in range(c.size):
        p, q = lam * weight_above[j], lam * weight[j]
        scale = np.float32(1) / (np.float32(1) + q + p * (np.float32(1) - c_above[j]))
        c[j] = q * scale
        d[j] = (right[j] + p * d_above[j]) * scale


@compiled
def _substitute(c: Plane, d: Plane, x_below: Plane, x: Plane) -> None:
    """Thomas, backward."""
    for j in range(x.size):
        x[j] = d[j] + c[j] * x_below[j]


@compiled
def _turn(tile: Plane, rows: int, target: Plane, first_row: int, first_column: int, columns: int) -> None:
    """Write target[first_row + j, first_column + i] = tile[i, j]."""
    if rows == TILE:  # a constant trip count, which the compiler unrolls
        for j in range(columns):
            for i in range(TILE):
                target[first_row + j, first_column + i] = tile[i, j]
    else:
        for j in range(columns):
            for i in range(rows):
                target[first_row + j, first_column + i] = tile[i, j]


@compiled
def _log2(value: Any) -> Any:
    """log2 of a normal positive float32: exponent bits, then atanh's series on a mantissa in 0.71..1.41."""
    # numba widens integer arithmetic to 64 bits, half as many to a vector; hence the casts.
    bits = np.int32(np.float32(value).view(np.int32) - np.int32(0x3F3504F3))  # the bits of sqrt(1/2)
    exponent = np.float32(np.int32(bits >> np.int32(23)))
    mantissa = np.int32(np.int32(bits & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)).view(np.float32)
    s = (mantissa - np.float32(1)) / (mantissa + np.float32(1))
    s2 = s * s
    series = np.float32(1 / 9)
    for odd in (7, 5, 3, 1):
        series = series * s2 + np.float32(1 / odd)
    return exponent + np.float32(2 / math.log(2)) * s * series


@compiled
def _exp2(value: Any) -> Any:
    """2^value, value cut to the range of normal float32: exponent bits times exp's series within +-0.35."""
    value = min(max(value, np.float32(-126)), np.float32(126))
    whole = np.floor(value + np.float32(0.5))
    t = (value - whole) * np.float32(math.log(2))
    series = np.float32(1)
    for n in (7, 6, 5, 4, 3, 2, 1):
        series = series * t * np.float32(1 / n) + np.float32(1)
    power = np.int32(np.int32(np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
    return series * power
