"""The separable detail extraction of `detail.py` for GPUs: the same equations, as Triton kernels.

A thread solves a short piece of one line, in registers: elimination forth, substitution back. It can do so alone,
because what one pixel knows of another fades by a known factor a pixel: it runs up to its piece from `reach` pixels
before and after, and keeps no more of them than two numbers each. So a single picture fills a GPU, and nothing but
results is ever written. Neither direction needs the picture turned: down, the threads of a warp have neighbouring
columns; across, each reads and writes 16 bytes of its row at once.

What must move, in bytes a pixel (`traffic`): 4 in and 12 out for the edges' weights and the right side, then in every
pass 8 in, right side and weights, and 4 out. The run-ups are read again, but from a cache, at the time when the
neighbouring threads read them. Weights made from the luminance again in every pass would move 8 bytes less in all,
and cost two logarithms and a power a pixel each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

PIECE = 32  # pixels of a line that a thread solves, two registers each
LINES = 128  # lines of a program, a thread each
COLUMNS = 512  # stretch of a row whose weights a program makes
ALIGNED = 16  # columns that rows are padded to a multiple of, so that 16 bytes can be read at once
FORGOTTEN = 2.0**-26  # what fades to this is left out: float32 resolves 2^-24


def extract(luma: Tensor, *, gain: float, lam: float, gamma: float, eps: float, schedule: Sequence[float]) -> Tensor:
    """Return x of every picture. A process's first call compiles for some seconds, and keeps the result on disk.

    Args:
        luma: (N, H, W) float32, C-contiguous, 0..255, on a GPU.
        gain: 1 + alpha of eqs. 1 and 2.
        schedule: lambda_t of eq. 8, in the order of the passes.
    """
    count, height, width = luma.shape
    padded = ALIGNED * math.ceil(width / ALIGNED)
    weight_h, weight_v, x, half = (luma.new_empty(count, height, padded) for _ in range(4))
    rows = (count * height * math.ceil(padded / COLUMNS),)
    across = (count * math.ceil(padded / PIECE) * math.ceil(height / LINES),)
    down = (count * math.ceil(height / PIECE) * math.ceil(padded / LINES),)
    edges = [float(value) for value in (gain, lam, gamma, eps)]
    constants = {"PIECE": PIECE, "LINES": LINES, "num_warps": LINES // 32, "enable_fp_fusion": True}
    with torch.cuda.device_of(luma):
        _field[rows](luma, weight_h, weight_v, x, height, width, padded, *edges, COLUMNS, enable_fp_fusion=True)
        for lam_t in schedule:
            run_up = min(reach(lam_t, eps) // 4, math.ceil(max(height, padded) / 4))
            settings = (height, padded, lam_t, run_up)
            _solve[across](x, weight_h, half, *settings, AXIS=1, **constants)
            _solve[down](half, weight_v, x, *settings, AXIS=0, **constants)
    return x[..., :width]


def reach(lam_t: float, eps: float) -> int:
    """Return how many pixels along a line one pixel still matters to another in float32, as a multiple of 4.

    Where all weights have their upper bound 1 / eps, x[k] = d[k] + c x[k+1] with q c^2 - (1 + 2 q) c + q = 0,
    q = lam_t / eps. Smaller weights let less through.
    """
    q = lam_t / eps
    c = 2 * q / (1 + 2 * q + math.sqrt(1 + 4 * q))
    return 4 * math.ceil(math.log(FORGOTTEN) / math.log(c) / 4)


def traffic(iterations: int) -> int:
    """Return the bytes a pixel that must be read or written, each once a pass."""
    return 16 + 12 * 2 * iterations


@triton.jit
def _field(
    luma: tl.tensor, weight_h: tl.tensor, weight_v: tl.tensor, right: tl.tensor, height: tl.tensor, width: tl.tensor,
    padded: tl.tensor, gain: tl.tensor, lam: tl.tensor, gamma: tl.tensor, eps: tl.tensor, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """The weights of eq. 6 and the right side of eq. 5, of a stretch of a row; 0 in the padding."""
    stretches = (padded + COLUMNS - 1) // COLUMNS
    row = tl.program_id(0).to(tl.int64) // stretches
    column = tl.program_id(0) % stretches * COLUMNS + tl.arange(0, COLUMNS)
    inside, line = column < width, row % height + 0 * column
    here = luma + row * width + column
    log = _log(here, inside)
    weight_right, flux_right = _edge(log, here + 1, column + 1 < width, gain, gamma, eps)
    weight_below, flux_below = _edge(log, here + width, inside & (line + 1 < height), gain, gamma, eps)
    _, flux_left = _edge(log, here - 1, inside & (column > 0), gain, gamma, eps)
    _, flux_above = _edge(log, here - width, inside & (line > 0), gain, gamma, eps)
    # D' f = f[k-1] - f[k], and all four fluxes here point away from the pixel.
    divergence = -lam * (flux_left + flux_right + flux_above + flux_below)
    at = row * padded + column
    tl.store(weight_h + at, weight_right, mask=column < padded)
    tl.store(weight_v + at, weight_below, mask=column < padded)
    tl.store(right + at, divergence, mask=column < padded)


@triton.jit
def _log(luma: tl.tensor, inside: tl.tensor) -> tl.tensor:
    return tl.log2(tl.load(luma, mask=inside, other=0.0) + 1)


@triton.jit
def _edge(
    log: tl.tensor, neighbour: tl.tensor, exists: tl.tensor, gain: tl.tensor, gamma: tl.tensor, eps: tl.tensor
) -> tl.tuple:
    """Eq. 1 or 2, then eqs. 4 and 6: weight and flux A(V) V of the edges to neighbours, 0 where there are none."""
    v = gain * (_log(neighbour, exists) - log)
    size = tl.abs(v)
    power = tl.exp2(gamma * tl.log2(tl.where(size > 0, size, 1.0)))
    power = tl.where((size > 0) | (gamma == 0), power, 0.0)  # 0^gamma
    weight = tl.where(exists, 1 / (power + eps), 0.0)
    return weight, weight * v


@triton.jit(do_not_specialize=["height", "run_up"])
def _solve(
    right: tl.tensor, weight: tl.tensor, x: tl.tensor, height: tl.tensor, width: tl.tensor, lam_t: tl.tensor,
    run_up: tl.tensor, AXIS: tl.constexpr, PIECE: tl.constexpr, LINES: tl.constexpr,
) -> None:  # fmt: skip
    """Solve (E + lam_t D'AD) x = right along lines, eq. 9 or 10, in pieces; AXIS 1 is across, 0 down.

    A piece's run-ups are 4 `run_up` pixels long, so that all reading is by fours.
    """
    lines, length = (height, width) if AXIS == 1 else (width, height)
    blocks, pieces = (lines + LINES - 1) // LINES, (length + PIECE - 1) // PIECE
    program = tl.program_id(0)
    picture = (program // (blocks * pieces)).to(tl.int64) * height * width
    right, weight, x = right + picture, weight + picture, x + picture
    # Programs that run at the same time should have neighbouring columns.
    start = (program % pieces if AXIS == 1 else program // blocks % pieces) * PIECE
    line = (program // pieces % blocks if AXIS == 1 else program % blocks) * LINES + tl.arange(0, LINES)

    nothing = tl.full((LINES,), 0.0, tl.float32)
    q, e, d, c = nothing, nothing, nothing, nothing
    for step in range(run_up):
        k = start - 4 * (run_up - step)
        fs = _read(right, line, k, lines, length, width, AXIS)
        weights = _read(weight, line, k, lines, length, width, AXIS)
        for i in tl.static_range(4):
            q, e, c, d = _eliminate(fs[i], q, lam_t * weights[i], e, d)
    cs, ds = (), ()
    for step in tl.static_range(0, PIECE, 4):
        fs = _read(right, line, start + step, lines, length, width, AXIS)
        weights = _read(weight, line, start + step, lines, length, width, AXIS)
        for i in tl.static_range(4):
            q, e, c, d = _eliminate(fs[i], q, lam_t * weights[i], e, d)
            cs, ds = cs + (c,), ds + (d,)  # type: ignore[assignment]  # noqa: RUF005 - no stars in Triton
    # From the far end: there x[k] = d + c x[k-1]. A pixel follows when the weight of its other edge is known.
    f, p, far_e, far_d = nothing, nothing, nothing, nothing
    for step in range(run_up):
        k = start + PIECE + 4 * (run_up - step - 1)
        fs = _read(right, line, k, lines, length, width, AXIS)
        weights = _read(weight, line, k, lines, length, width, AXIS)
        for i in tl.static_range(4):
            p, far_e, _, far_d = _eliminate(f, p, lam_t * weights[3 - i], far_e, far_d)
            f = fs[3 - i]
    _, _, far_c, far_d = _eliminate(f, p, q, far_e, far_d)
    after = (far_d + far_c * d) / (1 - far_c * c)  # of x[k+1] = far_d + far_c x[k] and x[k] = d + c x[k+1]
    for step in tl.static_range(PIECE - 4, -4, -4):
        fourth = ds[step + 3] + cs[step + 3] * after
        third = ds[step + 2] + cs[step + 2] * fourth
        second = ds[step + 1] + cs[step + 1] * third
        after = ds[step] + cs[step] * second
        _write(x, (after, second, third, fourth), line, start + step, lines, length, width, AXIS)


@triton.jit
def _eliminate(f: tl.tensor, p: tl.tensor, q: tl.tensor, e: tl.tensor, d: tl.tensor) -> tl.tuple:
    """One step of Thomas, -p x[k-1] + (1 + p + q) x[k] - q x[k+1] = f; e is 1 - c, so that no term is negative."""
    kept = 1 + p * e
    scale = 1 / (kept + q)
    return q, kept * scale, q * scale, (f + p * d) * scale


@triton.jit
def _read(
    plane: tl.tensor, line: tl.tensor, k: tl.tensor, lines: tl.tensor, length: tl.tensor, width: tl.tensor,
    AXIS: tl.constexpr,
) -> tl.tuple:  # fmt: skip
    """Pixels k to k + 3 of every line, 0 beyond the picture."""
    inside = line < lines
    if AXIS == 1:
        along = k + tl.arange(0, 4)[None, :]
        mask = inside[:, None] & (along >= 0) & (along < length)
        four = tl.load(plane + line[:, None] * width + along, mask=mask, other=0.0)
        even, odd = tl.split(tl.reshape(four, (line.shape[0], 2, 2)))
        first, third = tl.split(even)
        second, fourth = tl.split(odd)
    else:
        at, along = plane + k * width + line, k + 0 * line
        first = tl.load(at, mask=inside & (along >= 0) & (along < length), other=0.0)
        second = tl.load(at + width, mask=inside & (along >= -1) & (along < length - 1), other=0.0)
        third = tl.load(at + 2 * width, mask=inside & (along >= -2) & (along < length - 2), other=0.0)
        fourth = tl.load(at + 3 * width, mask=inside & (along >= -3) & (along < length - 3), other=0.0)
    return first, second, third, fourth


@triton.jit
def _write(
    plane: tl.tensor, four: tl.tuple, line: tl.tensor, k: tl.tensor, lines: tl.tensor, length: tl.tensor,
    width: tl.tensor, AXIS: tl.constexpr,
) -> None:  # fmt: skip
    """The reverse of `_read`."""
    inside = line < lines
    if AXIS == 1:
        along = k + tl.arange(0, 4)[None, :]
        pairs = tl.join(tl.join(four[0], four[2]), tl.join(four[1], four[3]))
        tile = tl.reshape(pairs, (line.shape[0], 4))
        tl.store(plane + line[:, None] * width + along, tile, mask=inside[:, None] & (along < length))
    else:
        for i in tl.static_range(4):
            along = k + i + 0 * line
            tl.store(plane + along * width + line, four[i], mask=inside & (along < length))
