"""What every public function of `imaging` promises: shapes, dtypes, ranges, batches, devices, any size.

`CASES` calls those that work on pictures, `MAKERS` the others. A new function fails until it has an entry.
"""

import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import acutance.imaging
from acutance.config.data import DerivedColumn
from acutance.imaging import (
    blurs,
    colour,
    degradations,
    derivations,
    detail,
    detail_compiled,
    draws,
    edges,
    frequency,
    gms,
    multigrid,
    resize,
    smoothers,
    weightmap,
)

ON_METAL = ("cpu", "cuda")
BYTES, FLOATS = (torch.uint8,), (torch.float32,)
SETTINGS = {"gain": 5.0, "lam": 1.0, "gamma": 0.75, "eps": 2.0, "schedule": (0.4, 0.1)}
STEPS = [
    {"type": "blur_random"},
    {"type": "bicubic", "scale": 2},
    {"type": "awgn", "sigma": [10, 30]},
    {"type": "jpeg", "quality": 60},
]

KERNEL = blurs.random_kernel(1)
LGS = DerivedColumn.chosen({"type": "lgs", "of": "hr"})
Size = Callable[[int, int, int], tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """How to call a function on pictures (..., C, H, W), and what must come out."""

    call: Callable[[Tensor], Tensor]
    low: float
    high: float
    channels: int = 3
    top: float = 255  # float pictures are in 0..top
    takes: tuple[torch.dtype, ...] = BYTES + FLOATS
    gives: torch.dtype | None = torch.float32  # None: what it was given
    size: Size = lambda c, h, w: (c, h, w)
    same: bool = True  # bytes mean the same as floats
    exact: bool = True  # alone as in a batch to the last bit; not where powers or convolutions are vectorised
    seeded: bool = False  # a picture's place in its batch counts
    devices: tuple[str, ...] = ("cpu", "meta", "cuda")


def one(c: int, h: int, w: int) -> tuple[int, ...]:
    return 1, h, w


def alone(c: int, h: int, w: int) -> tuple[int, ...]:
    return ()


def scaled(scale: float) -> Size:
    return lambda c, h, w: (c, math.ceil(h * scale), math.ceil(w * scale))


def mirrored(function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    """For functions of two pictures."""
    return lambda p: function(p, p.flip(-1))


def compiled(luma: Tensor) -> Tensor:
    planes = luma.reshape(-1, *luma.shape[-2:]).contiguous().numpy()
    return torch.from_numpy(detail_compiled.extract(planes, **SETTINGS)).reshape(luma.shape)


def on_gpu(luma: Tensor) -> Tensor:
    from acutance.imaging import detail_gpu

    return detail_gpu.extract(luma.reshape(-1, *luma.shape[-2:]).contiguous(), **SETTINGS).reshape(luma.shape)


def separable(luma: Tensor) -> Tensor:
    return detail.separable_detail(luma, alpha=4.0, lam=1.0, gamma=0.75, eps=2.0, lambdas=[0.4, 0.1])


def exactly(luma: Tensor) -> Tensor:
    return detail.solve_exactly(luma, luma[..., 1:] / 255, luma[..., 1:, :] / 255)


def by_multigrid(luma: Tensor) -> Tensor:
    planes = (plane.flatten(0, -3).numpy() for plane in (luma, luma[..., 1:] / 255, luma[..., 1:, :] / 255))
    smoothed = [torch.from_numpy(multigrid.smooth(*plane)) for plane in zip(*planes, strict=True)]
    return torch.stack(smoothed).reshape(luma.shape)


CASES = {
    "blurs.blur": Case(lambda p: blurs.blur(p, KERNEL), 0, 1, top=1, exact=False, devices=ON_METAL),
    "blurs.gaussian_blur": Case(
        lambda p: blurs.gaussian_blur(p, sigma=1.3), 0, 1, top=1, exact=False, devices=ON_METAL
    ),
    "blurs.random_blur": Case(lambda p: blurs.random_blur(p, seed=7), 0, 1, top=1, seeded=True, devices=ON_METAL),
    "colour.rgb_to_y": Case(colour.rgb_to_y, 16, 235, size=one),
    "colour.unit_range": Case(colour.unit_range, 0, 1, top=1),
    "degradations.awgn": Case(lambda p: degradations.awgn(p, sigma=[5, 50], seed=7), -1, 2, top=1, seeded=True),
    "degradations.bicubic_reduction": Case(
        lambda p: degradations.bicubic_reduction(p, scale=3), -80, 335, gives=None, size=scaled(1 / 3), same=False
    ),
    "degradations.degrade": Case(
        lambda p: degradations.degrade(p, STEPS, 7),
        0,
        1,
        top=1,
        size=scaled(1 / 2),
        seeded=True,
        devices=ON_METAL,
    ),
    "degradations.degraded": Case(
        lambda p: degradations.degraded(p, STEPS, 7),
        0,
        1,
        top=1,
        size=scaled(1 / 2),
        seeded=True,
        devices=ON_METAL,
    ),
    "degradations.paired": Case(lambda p: degradations.paired(p, scale=1), 0, 255, top=1, gives=None, same=False),
    "degradations.jpeg": Case(
        lambda p: degradations.jpeg(p, quality=50), 0, 255, top=1, gives=None, same=False, devices=ON_METAL
    ),
    "derivations.decoded_values": Case(
        lambda p: derivations.decoded_values(LGS, p / 255), 1, 2, takes=FLOATS, exact=False
    ),
    "derivations.bicubic": Case(
        lambda p: derivations.bicubic(p, scale=3), -80 / 255, 335 / 255, top=1, takes=FLOATS, size=scaled(1 / 3)
    ),
    "derivations.patch_weight_map": Case(
        lambda p: derivations.patch_weight_map(p, weightmap.difference_statistics(255 * p), alpha=0.25),
        0,
        1,
        top=1,
        takes=FLOATS,
    ),
    "derivations.picture_statistics": Case(
        derivations.picture_statistics,
        -255,
        255,
        top=1,
        takes=FLOATS,
        gives=torch.float64,
        size=lambda c, h, w: (2,),
        exact=False,
    ),
    "derivations.gif": Case(derivations.gif, -1, 1, top=1, takes=FLOATS),
    "derivations.stored_values": Case(
        lambda p: derivations.stored_values(LGS, [p]), -20, 20, top=1, takes=FLOATS, size=one
    ),
    "derivations.lgs": Case(derivations.lgs, -20, 20, top=1, takes=FLOATS, size=one),
    "derivations.derived_values": Case(
        lambda p: derivations.derived_values(LGS, [p]), 0, 1e4, top=1, takes=FLOATS, size=one, exact=False
    ),
    "derivations.wls": Case(derivations.wls, -1, 1, top=1, takes=FLOATS, exact=False, devices=ON_METAL),
    "detail.edge_weights": Case(lambda v: detail.edge_weights(v, 0.75, 2.0), 0, 0.5, takes=FLOATS, exact=False),
    "detail.exact_detail": Case(detail.exact_detail, -20, 20, 1, gives=torch.float64, exact=False, devices=ON_METAL),
    "detail.extract_detail": Case(detail.extract_detail, -20, 20, 1),
    "detail.right_side": Case(lambda f: detail.right_side(f[..., 1:], f[..., 1:, :], 1.0), -510, 510, takes=FLOATS),
    "detail.separable_detail": Case(separable, -20, 20, 1, takes=FLOATS, exact=False),
    "detail.solve_exactly": Case(exactly, 0, 255, 1, takes=(torch.float64,), gives=torch.float64, devices=("cpu",)),
    "multigrid.smooth": Case(by_multigrid, -1, 256, 1, takes=(torch.float64,), gives=torch.float64, devices=("cpu",)),
    "detail.solve_lines": Case(lambda f: detail.solve_lines(f, f[..., 1:] / 255, 0.4, dim=-1), 0, 255, takes=FLOATS),
    "detail.vector_field": Case(
        lambda p: detail.vector_field(p, 4.0)[0], -40, 40, takes=FLOATS, size=lambda c, h, w: (c, h, w - 1)
    ),
    "detail_compiled.extract": Case(compiled, -20, 20, 1, takes=FLOATS, devices=("cpu",)),
    "detail_gpu.extract": Case(on_gpu, -20, 20, 1, takes=FLOATS, devices=("cuda",)),
    "frequency.high_frequency_energy": Case(frequency.high_frequency_energy, 0, 255**2, size=alone),
    "frequency.high_frequency_share": Case(frequency.high_frequency_share, 0, 1, size=alone),
    "frequency.highpass": Case(frequency.highpass, -255, 255),
    "frequency.spectrogram": Case(frequency.spectrogram, 0, math.log(1 + 255 * 17 * 17), size=one),
    "gms.gms_map": Case(mirrored(gms.gms_map), 0, 1, size=one),
    "gms.hard_mask": Case(mirrored(gms.hard_mask), 0, 1, size=one),
    "gms.opening": Case(gms.opening, 0, 255),
    "gms.soft_mask": Case(mirrored(gms.soft_mask), 0, 1, size=one),
    "resize.cubic": Case(resize.cubic, -0.08, 1, takes=FLOATS, top=3),
    "resize.imresize": Case(lambda p: resize.imresize(p, 1.5), -80, 335, size=scaled(1.5)),
    "resize.imresize_uint8": Case(
        lambda p: resize.imresize_uint8(p, 0.3), 0, 255, takes=BYTES, gives=None, size=scaled(0.3)
    ),
    "smoothers.guided_filter_detail": Case(smoothers.guided_filter_detail, -1, 1),
    "smoothers.least_squares_detail": Case(smoothers.least_squares_detail, -1, 1, exact=False, devices=ON_METAL),
    "weightmap.difference_statistics": Case(
        weightmap.difference_statistics, -255, 255, gives=torch.float64, size=lambda c, h, w: (2,), exact=False
    ),
    "weightmap.neighbour_difference": Case(weightmap.neighbour_difference, -255, 255),
    "weightmap.weight_map": Case(lambda p: weightmap.weight_map(p, alpha=0.25), 0, 1),
}
MAKERS: dict[str, Callable[[], Any]] = {
    "blurs.gaussian_kernel": lambda: blurs.gaussian_kernel(7, sigma_x=2, sigma_y=1),
    "blurs.random_kernel": lambda: blurs.random_kernel(7),
    "derivations.coding_of": lambda: torch.tensor(derivations.coding_of(LGS) == "log2"),
    "derivations.derivation": lambda: derivations.derivation(channels=1)(lambda picture: picture).channels,
    "derivations.derive_columns": lambda: list(
        derivations.derive_columns({"hr": torch.full((1, 3, 8, 8), 0.5)}, {"d": LGS}).values()
    ),
    "draws.bits": lambda: torch.from_numpy(draws.bits(1, 2, 0).random_raw(3).astype("int64")),
    "derivations.stored_shape": lambda: derivations.stored_shape(LGS, [3]),
    "detail.lambda_schedule": lambda: detail.lambda_schedule(1.0, 4),
    "detail_gpu.reach": lambda: importlib.import_module("acutance.imaging.detail_gpu").reach(0.4, 2.0),
    "detail_gpu.traffic": lambda: importlib.import_module("acutance.imaging.detail_gpu").traffic(4),
    "draws.generator": lambda: draws.generator("seed", 7, 3, draws.NOISE).random(5).tolist(),
    "draws.step_seed": lambda: draws.step_seed(7, 3),
    "edges.edge_filters": edges.edge_filters,
    "edges.hessian_filters": edges.hessian_filters,
    "resize.contributions": lambda: list(resize.contributions(9, 0.5)),
    "resize.output_length": lambda: resize.output_length(9, 0.3),
}

WITHOUT_TRITON = {name for name in [*CASES, *MAKERS] if name.startswith("detail_gpu.") and not find_spec("triton")}


def public_functions() -> set[str]:
    names = set()
    for module in pkgutil.iter_modules(acutance.imaging.__path__):
        if module.name == "compiled" or (module.name == "detail_gpu" and not find_spec("triton")):
            continue
        content = importlib.import_module(f"acutance.imaging.{module.name}")
        functions = inspect.getmembers(content, inspect.isfunction)
        names |= {f"{module.name}.{n}" for n, f in functions if f.__module__ == content.__name__ and n[0] != "_"}
    return names


def pictures(case: Case, dtype: torch.dtype, *size: int, seed: int = 0) -> Tensor:
    """(*leading, C, H, W) of what the case takes."""
    generator = torch.Generator().manual_seed(seed)
    shape = (*size[:-2], case.channels, *size[-2:])
    if dtype == torch.uint8:
        return torch.randint(256, shape, dtype=dtype, generator=generator)
    return torch.rand(shape, dtype=dtype, generator=generator) * case.top


def dtype_of(case: Case, given_dtype: torch.dtype) -> torch.dtype:
    return case.gives or given_dtype


# Where bytes mean the same as floats, `test_bytes_are_as_good_as_floats` says so of the former.
ON_CPU = [
    (name, dtype)
    for name, case in CASES.items()
    for dtype in (case.takes[-1:] if case.same else case.takes)
    if "cpu" in case.devices
]
ON_DEVICES = [(name, device) for name, case in CASES.items() for device in case.devices if device != "cpu"]


def test_every_public_function_has_an_entry() -> None:
    assert public_functions() == (CASES.keys() | MAKERS.keys()) - WITHOUT_TRITON


@pytest.mark.parametrize(("name", "dtype"), ON_CPU)
@settings(deadline=None, max_examples=3)
@example(1, 1, 0)
@example(1, 9, 0)
@example(9, 1, 0)
@given(st.integers(1, 17), st.integers(1, 17), st.integers(0, 2**31))
def test_any_size_alone_and_in_batches(name: str, dtype: torch.dtype, height: int, width: int, seed: int) -> None:
    case = CASES[name]
    batch = pictures(case, dtype, 2, 2, height, width, seed=seed)
    before = batch.clone()
    result = case.call(batch)
    assert result.shape == (2, 2, *case.size(case.channels, height, width))
    assert result.dtype == dtype_of(case, dtype)
    assert result.isfinite().all()
    slack = 1e-5 * (case.high - case.low)
    assert ((result >= case.low - slack) & (result <= case.high + slack)).all()
    assert torch.equal(batch, before)
    assert torch.equal(case.call(batch), result)
    agree(case, case.call(batch.flatten(0, 1)), result.flatten(0, 1))
    if case.seeded:
        batch[0, 0], batch[1, 1] = 0, 0
        agree(case, case.call(batch)[1, 0], result[1, 0])
        agree(case, case.call(before[0, 0]), result[0, 0])
    else:
        agree(case, case.call(batch[1, 0]), result[1, 0])


def agree(case: Case, found: Tensor, expected: Tensor) -> None:
    if case.exact:
        assert torch.equal(found, expected)
    else:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * case.high)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case.takes) == 2 and case.same])
def test_bytes_are_as_good_as_floats(name: str) -> None:
    case = CASES[name]
    given_bytes = pictures(case, torch.uint8, 2, 11, 14)
    given_floats = given_bytes.float() / (255 / case.top)
    torch.testing.assert_close(case.call(given_bytes), case.call(given_floats), rtol=0, atol=1e-6 * case.high)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    return request.param


@pytest.mark.parametrize(("name", "device"), ON_DEVICES, indirect=["device"])
def test_results_are_on_the_device_of_the_pictures(name: str, device: str) -> None:
    """Tensors of the meta device have no values, and hardly mix with others: much that a GPU would refuse shows."""
    case = CASES[name]
    size = (37, 70) if device == "cuda" else (7, 9)
    batch = pictures(case, case.takes[-1], 2, *size).to(device)
    result = case.call(batch)
    assert result.device.type == device
    assert result.shape == (2, *case.size(case.channels, *size))
    assert result.dtype == dtype_of(case, batch.dtype)
    if device == "cuda":
        reference = case if "cpu" in case.devices else CASES["detail_compiled.extract"]
        difference = (result.cpu().double() - reference.call(batch.cpu()).double()).abs()
        assert difference.mean() < 1e-4 * (case.high - case.low)


@pytest.mark.parametrize("name", sorted(MAKERS.keys() - WITHOUT_TRITON))
def test_what_is_made_is_the_same_each_time_and_belongs_to_the_caller(name: str) -> None:
    first, second = MAKERS[name](), MAKERS[name]()
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    for tensor in first if isinstance(first, list) else [first]:
        if isinstance(tensor, Tensor):
            tensor.zero_()
    torch.testing.assert_close(MAKERS[name](), second, rtol=0, atol=0)
