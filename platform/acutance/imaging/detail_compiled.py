"""The detail extraction of `detail.py` for CPUs: the same equations, compiled, one pass over memory a solve.

A tridiagonal solve is a recurrence along a line and cannot run in SIMD along it, but many lines can run side by
side. So `_solve_and_turn` always walks down columns, a strip of neighbouring columns at a time, and writes its
result transposed: the next solve, which runs the other way, again finds its lines as columns. A strip's factors
stay in the level 2 cache. The recurrences are written with the positive quantities p = lambda_t a[k-1] and
q = lambda_t a[k], so nothing cancels and float32 is enough.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

STRIP = 64  # columns solved side by side: 1000 rows of factors are 512 KB, half a level 2 cache
TILE = 16  # rows turned at once: 64 bytes, one cache line of the transposed picture

_FAST = {"nsz", "arcp", "contract", "reassoc"}  # everything but "no NaN, no infinity": a NaN must stay visible


@njit(nogil=True, error_model="numpy", fastmath=_FAST)
def _log2(value: np.float32) -> np.float32:
    """log2 of a normal positive float32, within 3e-7 + 1 ulp: exponent bits, then the series of atanh."""
    bits = np.int32(np.float32(value).view(np.int32) - np.int32(0x3F3504F3))  # the bits of sqrt(1/2): mantissa in 0.71..1.41
    exponent = np.float32(np.int32(bits >> np.int32(23)))
    mantissa = np.int32(np.int32(bits & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)).view(np.float32)
    s = (mantissa - np.float32(1)) / (mantissa + np.float32(1))
    s2 = s * s
    series = np.float32(1 / 9)
    series = series * s2 + np.float32(1 / 7)
    series = series * s2 + np.float32(1 / 5)
    series = series * s2 + np.float32(1 / 3)
    series = series * s2 + np.float32(1)
    return exponent + np.float32(2 / math.log(2)) * s * series


@njit(nogil=True, error_model="numpy", fastmath=_FAST)
def _exp2(value: np.float32) -> np.float32:
    whole = np.floor(value + np.float32(0.5))
    t = (value - whole) * np.float32(math.log(2))
    series = np.float32(1 / 5040)
    series = series * t + np.float32(1 / 720)
    series = series * t + np.float32(1 / 120)
    series = series * t + np.float32(1 / 24)
    series = series * t + np.float32(1 / 6)
    series = series * t + np.float32(1 / 2)
    series = series * t + np.float32(1)
    series = series * t + np.float32(1)
    power = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
    return series * power


@njit(nogil=True, error_model="numpy", fastmath=_FAST)
def _weight(v, gamma, eps):
    """Eqs. 4 and 6."""
    size = max(abs(v), np.float32(1e-20))
    return np.float32(1) / (_exp2(gamma * _log2(size)) + eps)


@njit(nogil=True, error_model="numpy", fastmath=_FAST)
def _turn(tile, rows, target, first_row, first_column, columns):
    """target[first_row + j, first_column + i] = tile[i, j]."""
    if rows == TILE:
        for j in range(columns):
            for i in range(TILE):
                target[first_row + j, first_column + i] = tile[i, j]
    else:
        for j in range(columns):
            for i in range(rows):
                target[first_row + j, first_column + i] = tile[i, j]


@njit(nogil=True, error_model="numpy", fastmath=_FAST)
def _logs(luma, log):
    for j in range(luma.size):
        log[j] = _log2(luma[j] + np.float32(1))


@njit(nogil=True, error_model="numpy", fastmath=_FAST)
def _edges(log, log_next, gain, gamma, eps, weight, flux):
    """Eqs. 1 or 2, 4, 6"""
    for j in range(weight.size):
        v = gain * (log_next[j] - log[j])
        weight[j] = _weight(v, gamma, eps)
        flux[j] = weight[j] * v


@njit(nogil=True, error_model="numpy", fastmath=_FAST)
def _right(flux_left, flux_right, flux_above, flux_below, lam, right):
    for j in range(right.size):
        right[j] = lam * (flux_left[j] - flux_right[j] + flux_above[j] - flux_below[j])


@njit(nogil=True, error_model="numpy", fastmath=_FAST)
def _field(luma, gain, lam, gamma, eps, a_h, a_v, right):
    """Eqs. 1, 2, 4, 6 and the right side of eq. 5; a_h and right come out transposed."""
    height, width = luma.shape
    tile_a = np.zeros((TILE, width), np.float32)
    tile_r = np.empty((TILE, width), np.float32)
    log, log_below = np.empty(width, np.float32), np.empty(width, np.float32)
    across = np.zeros(width + 1, np.float32)
    above, below = np.zeros(width, np.float32),  np.zeros(width, np.float32)
    _logs(luma[0], log_below)
    for i in range(height):
        r = i % TILE
        log, log_below, above, below = log_below, log, below, above
        _edges(log[:-1], log[1:], gain, gamma, eps, tile_a[r, :-1], across[1:-1])
        if i + 1 < height:
            _logs(luma[i + 1], log_below)
            _edges(log, log_below, gain, gamma, eps, a_v[i], below)
        else:
            a_v[i, :] = 0
            below[:] = 0
        _right(across[:-1], across[1:], above, below, lam, tile_r[r])
        if r == TILE - 1 or i == height - 1:
            _turn(tile_a, r + 1, a_h, 0, i - r, width)
            _turn(tile_r, r + 1, right, 0, i - r, width)


@njit(nogil=True, error_model="numpy", fastmath=_FAST)
def _solve_and_turn(right, weight, lam, c, d, tile, target):
    """Solve (E + lam D'AD) x = right down every column (Thomas), and write x transposed."""
    length, lines = right.shape
    for first in range(0, lines, STRIP):
        n = min(STRIP, lines - first)
        for j in range(n):
            q = lam * weight[0, first + j]
            m = np.float32(1) / (np.float32(1) + q)
            c[0, j] = q * m
            d[0, j] = right[0, first + j] * m
        for k in range(1, length):
            for j in range(n):
                p = lam * weight[k - 1, first + j]
                q = lam * weight[k, first + j]
                m = np.float32(1) / (np.float32(1) + q + p * (np.float32(1) - c[k - 1, j]))
                c[k, j] = q * m
                d[k, j] = (right[k, first + j] + p * d[k - 1, j]) * m
        above = (length - 1) // TILE * TILE
        for base in range(above, -1, -TILE):
            rows = min(TILE, length - base)
            for i in range(rows - 1, -1, -1):
                k = base + i
                if k == length - 1:
                    for j in range(n):
                        tile[i, j] = d[k, j]
                else:
                    below = i + 1 if i + 1 < TILE else 0
                    for j in range(n):
                        tile[i, j] = d[k, j] + c[k, j] * tile[below, j]
            _turn(tile, rows, target, first, base, n)


@njit(nogil=True, error_model="numpy", fastmath=_FAST)
def extract(luma, gain, lam, gamma, eps, schedule, x):
    count, height, width = luma.shape
    a_h = np.zeros((width, height), np.float32)
    a_v = np.empty((height, width), np.float32)
    turned = np.empty((width, height), np.float32)
    longest = max(height, width)
    c = np.empty((longest, STRIP), np.float32)
    d = np.empty((longest, STRIP), np.float32)
    tile = np.empty((TILE, STRIP), np.float32)
    for n in range(count):
        _field(luma[n], gain, lam, gamma, eps, a_h, a_v, turned)
        for t in range(schedule.size):
            _solve_and_turn(turned, a_h, schedule[t], c, d, tile, x[n])
            _solve_and_turn(x[n], a_v, schedule[t], c, d, tile, turned)
        x[n] = turned.T
