"""DSRGAN's detail extraction E: the picture divided by its smooth structure, as a factor per pixel.

Two stages: a vector field of amplified gradients of log2 luminance, then the sparsest picture x whose
gradients follow that field where it is not noise. The factor is I_D = 2^x, about 1 in flat regions; all of
this file is in terms of x.

`extract_detail` is the separable approximation, eqs. 5 and 7. On a CPU it runs compiled (`detail_compiled`), on a GPU
as kernels of its own (`detail_gpu`); the equations below are the same in plain PyTorch, for other devices and as the
text to read. `exact_detail` solves eq. 5 as one sparse system: what the approximation is measured against.

Equation numbers are those of DSRGAN, section III-A. Two readings where the paper is silent: Y is full-range
BT.601 (the "+1" only makes sense if Y can be 0), and the right side of eq. 5 is formed once, before eq. 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from acutance.cluster.compilers import missing_compiler
from acutance.console import say
from acutance.errors import ConfigError

Schedule = Literal["fgs", "unit_sum"]


def extract_detail(
    luma: Tensor,
    *,
    alpha: float = 4.0,
    lam: float = 1.0,
    gamma: float = 0.75,
    eps: float = 2.0,
    iterations: int = 4,
    schedule: Schedule = "fgs",
) -> Tensor:
    """Return x of luminance by the separable approximation, eqs. 5 and 7.

    Args:
        luma: (..., 1, H, W) uint8 or float in 0..255 (not 0..1).
        alpha: how much gradients are amplified, at least 0.
        lam: weight of the gradients against sparsity, above 0.
        gamma, eps: psi of eq. 4; a larger eps excludes more noise.
        iterations: passes T, each horizontal then vertical.
        schedule: `fgs` is eq. 8, whose lambda_t sum to lam / 2; `unit_sum` doubles them to sum to lam.

    Returns:
        (..., 1, H, W) float32, on the device of luma, without gradient. A GPU without Triton, or without the C
        compiler that it needs, leaves the work to the CPU and says so.

    Raises:
        ConfigError: a setting outside its range.
        ValueError: luma has not one channel.
    """
    _check(luma, alpha=alpha, lam=lam, gamma=gamma, eps=eps, iterations=iterations)
    lambdas = lambda_schedule(lam, iterations, schedule)
    luma = luma.detach().to(torch.float32)
    if luma.device.type not in ("cpu", "cuda") or torch.compiler.is_exporting():
        return separable_detail(luma, alpha=alpha, lam=lam, gamma=gamma, eps=eps, lambdas=lambdas)
    extract = _extract_on_gpu if luma.is_cuda else _extract_on_cpu
    planes = luma.reshape(-1, *luma.shape[-2:]).contiguous()
    x = extract(planes, gain=1 + alpha, lam=lam, gamma=gamma, eps=eps, schedule=lambdas)
    return x.reshape(luma.shape)


def _extract_on_cpu(planes: Tensor, **settings: Any) -> Tensor:
    from acutance.imaging import detail_compiled  # numba takes half a second to import

    return torch.from_numpy(detail_compiled.extract(planes.cpu().numpy(), **settings)).to(planes.device)


def _extract_on_gpu(planes: Tensor, **settings: Any) -> Tensor:
    if _lacking():
        return _extract_on_cpu(planes, **settings)
    from acutance.imaging import detail_gpu

    return detail_gpu.extract(planes, **settings)


@cache
def _lacking() -> str:
    """Return why kernels for a GPU cannot be built here, and say so once; '' where they can."""
    lacking = "Triton is not installed" if find_spec("triton") is None else missing_compiler("cuda")
    if lacking:
        say(f"{lacking}, so details of pictures on a GPU are extracted on the CPU, some times slower")
    return lacking


def separable_detail(
    luma: Tensor, *, alpha: float, lam: float, gamma: float, eps: float, lambdas: Sequence[float]
) -> Tensor:
    """The same as `extract_detail` in plain PyTorch: any device, any float dtype, (..., H, W)."""
    v_h, v_v = vector_field(luma, alpha)
    a_h, a_v = edge_weights(v_h, gamma, eps), edge_weights(v_v, gamma, eps)
    x = right_side(a_h * v_h, a_v * v_v, lam)
    for lam_t in lambdas:  # eq. 7, in the order of the fast global smoother: horizontal, then vertical
        x = solve_lines(x, a_h, lam_t, dim=-1)
        x = solve_lines(x, a_v, lam_t, dim=-2)
    return x


def vector_field(luma: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Eqs. 1 and 2 of float luma: (..., H, W-1) between horizontal neighbours, (..., H-1, W) between vertical ones."""
    logs = torch.log2(luma + 1)
    return (1 + alpha) * logs.diff(dim=-1), (1 + alpha) * logs.diff(dim=-2)


def edge_weights(v: Tensor, gamma: float, eps: float) -> Tensor:
    """Eqs. 4 and 6: the diagonal of A(V), 1 / psi(V)^2."""
    return 1 / (v.abs().pow(gamma) + eps)


def right_side(flux_h: Tensor, flux_v: Tensor, lam: float) -> Tensor:
    """The right side of eq. 5, lam (Dh'A(Vh)Vh + Dv'A(Vv)Vv), from the fluxes A(V)V over the edges.

    D is the forward difference without its last row, so D' f = f[k-1] - f[k], with nothing beyond the border.
    """
    pad = torch.nn.functional.pad
    return lam * -(pad(flux_h, (1, 1)).diff(dim=-1) + pad(flux_v, (0, 0, 1, 1)).diff(dim=-2))


def lambda_schedule(lam: float, iterations: int, schedule: Schedule = "fgs") -> list[float]:
    """Eq. 8, t = 1..T: largest first. It sums to lam / 2 for every T; `unit_sum` scales it to sum to lam."""
    scale = {"fgs": 1.5, "unit_sum": 3.0}[schedule]
    return [scale * 4 ** (iterations - t) / (4**iterations - 1) * lam for t in range(1, iterations + 1)]


def solve_lines(right: Tensor, weight: Tensor, lam_t: float, dim: int) -> Tensor:
    """Solve (E + lam_t D'AD) x = right along dim, the minimiser of eqs. 9 and 10, by Gaussian elimination.

    Args:
        right: (..., N, ...) with N along dim.
        weight: the diagonal of A, N - 1 edges along dim.
    """
    if torch.compiler.is_exporting():
        return _solve_lines_traced(right, weight, lam_t, dim)
    f = right.movedim(dim, 0).contiguous()
    q = torch.zeros_like(f)
    q[:-1] = lam_t * weight.movedim(dim, 0)
    c, d = torch.empty_like(f), torch.empty_like(f)
    for k in range(len(f)):
        pivot = 1 + q[k] if k == 0 else torch.addcmul(1 + q[k], q[k - 1], 1 - c[k - 1])
        torch.div(q[k], pivot, out=c[k])
        torch.div(f[k] if k == 0 else torch.addcmul(f[k], q[k - 1], d[k - 1]), pivot, out=d[k])
    for k in range(len(f) - 2, -1, -1):
        d[k].addcmul_(c[k], d[k + 1])
    return d.movedim(0, dim)


def _solve_lines_traced(right: Tensor, weight: Tensor, lam_t: float, dim: int) -> Tensor:
    """The same as `solve_lines` for exported graphs: a loop over lines whose number the graph does not know."""
    from torch._higher_order_ops.scan import scan

    # Nothing that goes into a scan or out of it may share memory: hence the copies.
    f, edges = (t.movedim(dim, 0).clone(memory_format=torch.contiguous_format) for t in (right, lam_t * weight))
    nothing = torch.zeros_like(f[:1])
    after, before = torch.cat([edges, nothing]), torch.cat([nothing, edges])

    def eliminate(carried: list[Tensor], line: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        (c, d), (right_side, q, q_before) = carried, line
        pivot = 1 + q + q_before * (1 - c)
        c, d = q / pivot, (right_side + q_before * d) / pivot
        return [c, d], [c + 0, d + 0]

    def substitute(x: Tensor, line: list[Tensor]) -> tuple[Tensor, Tensor]:
        c, d = line
        x = d + c * x
        return x, x + 0

    _, (c, d) = scan(eliminate, [nothing[0] * 1, nothing[0] * 1], [f, after, before], dim=0)
    _, x = scan(substitute, nothing[0] * 1, [c, d], dim=0, reverse=True)
    return x.movedim(0, dim)


def exact_detail(
    luma: Tensor, *, alpha: float = 4.0, lam: float = 1.0, gamma: float = 0.75, eps: float = 2.0
) -> Tensor:
    """Return x as the solution of eq. 5 itself, by a sparse factorisation in float64.

    Args:
        luma: (..., 1, H, W) uint8 or float in 0..255. Seconds and hundreds of megabytes for a megapixel, on the CPU.
        alpha, lam, gamma, eps: as in `extract_detail`.

    Returns:
        (..., 1, H, W) float64, on the device of luma, without gradient.

    Raises:
        ConfigError, ValueError: as `extract_detail`.
    """
    _check(luma, alpha=alpha, lam=lam, gamma=gamma, eps=eps, iterations=1)
    v_h, v_v = vector_field(luma.detach().to("cpu", torch.float64), alpha)
    a_h, a_v = edge_weights(v_h, gamma, eps), edge_weights(v_v, gamma, eps)
    return solve_exactly(right_side(a_h * v_h, a_v * v_v, lam), lam * a_h, lam * a_v).to(luma.device)


def solve_exactly(right: Tensor, weight_h: Tensor, weight_v: Tensor) -> Tensor:
    """Solve (E + Dh'AhDh + Dv'AvDv) x = right by a sparse factorisation.

    Args:
        right: (..., H, W) float64, on the CPU.
        weight_h, weight_v: (..., H, W-1) and (..., H-1, W), the diagonals of Ah and Av.

    Returns:
        (..., H, W) float64.
    """
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    height, width = right.shape[-2:]
    d_h = sparse.kron(sparse.identity(height), _difference(width))
    d_v = sparse.kron(_difference(height), sparse.identity(width))
    planes = (plane.flatten(0, -3) if plane.ndim > 2 else plane[None] for plane in (right, weight_h, weight_v))
    x = torch.empty_like(right).reshape(-1, height * width)
    for solution, f, a_h, a_v in zip(x, *planes, strict=True):
        smoothness = sum(d.T @ sparse.diags(a.numpy().ravel()) @ d for d, a in ((d_h, a_h), (d_v, a_v)))
        system = sparse.identity(height * width) + smoothness
        solution[:] = torch.from_numpy(spsolve(system.tocsc(), f.numpy().ravel(), permc_spec="MMD_AT_PLUS_A"))
    return x.reshape(right.shape)


def _difference(n: int) -> Any:
    """The forward difference of n samples, (n - 1, n) sparse."""
    from scipy import sparse

    return sparse.diags([-1.0, 1.0], [0, 1], shape=(n - 1, n))


def _check(luma: Tensor, *, alpha: float, lam: float, gamma: float, eps: float, iterations: int) -> None:
    if luma.ndim < 3 or luma.shape[-3] != 1:
        raise ValueError(f"luma must be (..., 1, H, W), not {tuple(luma.shape)}")
    rules = {
        "alpha": (alpha, alpha >= 0, "at least 0"),
        "lam": (lam, lam > 0, "above 0"),
        "gamma": (gamma, gamma >= 0, "at least 0"),
        "eps": (eps, eps > 0, "above 0"),
        "iterations": (iterations, iterations >= 1, "at least 1"),
    }
    for name, (value, kept, rule) in rules.items():
        if not kept:
            raise ConfigError(f"{name} is {value}", where=f"detail.{name}", fix=f"it must be {rule}")
