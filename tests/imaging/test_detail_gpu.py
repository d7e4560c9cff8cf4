"""The kernels for GPUs where there is none: run by Triton's interpreter, and compiled for two generations of GPUs.

On a GPU itself, `test_every_function` compares them with the CPU.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import acutance.imaging
from acutance.imaging.detail import extract_detail, lambda_schedule, solve_lines

pytest.importorskip("triton")

POINTERS = {"luma", "weight_h", "weight_v", "right", "weight", "x"}
WHOLE_NUMBERS = {"height", "width", "padded", "run_up"}
ALIGNED = POINTERS | {"width", "padded"}  # multiples of 16


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The module anew, with kernels that take CPU tensors, and small pieces so that a small picture has several."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    module = SimpleNamespace(**runpy.run_path(str(Path(acutance.imaging.__path__[0]) / "detail_gpu.py")))
    module.extract.__globals__.update(PIECE=16, LINES=16, COLUMNS=32)
    return module


@pytest.mark.parametrize(
    ("size", "iterations", "changed"),
    [((1, 19, 17), 1, {"lam": 4.0}), ((2, 2, 3), 2, {"lam": 60.0, "eps": 0.5, "gamma": 0.0})],
)
def test_interpreted_kernels_equal_the_cpu(
    interpreted: SimpleNamespace, size: tuple[int, ...], iterations: int, changed: dict[str, float]
) -> None:
    """Several pieces and blocks of lines, none full, and run-ups longer than a line; pictures, iterations."""
    luma = torch.randint(256, size, generator=torch.Generator().manual_seed(5)).float()
    chosen = {"lam": 1.0, "gamma": 0.75, "eps": 2.0} | changed
    x = interpreted.extract(luma, gain=5.0, schedule=lambda_schedule(chosen["lam"], iterations), **chosen)
    expected = extract_detail(luma[:, None], iterations=iterations, **chosen)[:, 0]
    torch.testing.assert_close(x, expected, atol=3e-5, rtol=0)


@pytest.mark.parametrize("lam_t", [0.005, 0.4, 30.0])
def test_reach_is_how_far_a_pixel_matters(lam_t: float) -> None:
    from acutance.imaging.detail_gpu import reach

    far = reach(lam_t, 2.0)
    one = torch.zeros(1, 4 * far, dtype=torch.float64)
    one[0, 0] = 1
    felt = solve_lines(one, torch.full((1, 4 * far - 1), 0.5, dtype=torch.float64), lam_t, dim=-1)[0]
    assert felt[far] < 2**-24 < felt[far // 2 - 1]
    assert far % 4 == 0


@pytest.mark.parametrize(
    ("kernel", "constants", "capability"),
    [
        ("_field", {"COLUMNS": 512}, 80),
        ("_solve", {"AXIS": 0, "PIECE": 4, "LINES": 128}, 80),  # as with pieces of 32, but in a tenth of the time
        ("_solve", {"AXIS": 1, "PIECE": 4, "LINES": 128}, 90),
    ],
)
def test_kernels_compile_without_a_gpu(
    kernel: str, constants: dict[str, int], capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from acutance.imaging import detail_gpu

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(detail_gpu, kernel)
    types = dict.fromkeys(function.arg_names, "fp32") | dict.fromkeys(constants, "constexpr")
    types |= dict.fromkeys(POINTERS & types.keys(), "*fp32") | dict.fromkeys(WHOLE_NUMBERS & types.keys(), "i32")
    aligned = {(function.arg_names.index(name),): [["tt.divisibility", 16]] for name in ALIGNED & types.keys()}
    source = ASTSource(function, types, constexprs=constants, attrs=aligned)
    made = compile_kernel(source, GPUTarget("cuda", capability, 32), {"enable_fp_fusion": True})
    assert made.asm["cubin"]
    assert made.metadata.shared == 0  # all in registers
