import inspect
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numba.core import caching
from torch import Tensor

from acutance.errors import ConfigError
from acutance.imaging import derivations, detail, detail_compiled
from acutance.imaging.colour import rgb_to_y
from acutance.imaging.derivations import lgs
from acutance.imaging.detail import (
    edge_weights,
    exact_detail,
    extract_detail,
    lambda_schedule,
    separable_detail,
    solve_lines,
    vector_field,
)
from free_pictures import PICTURES, tensor

DEFAULTS = {"alpha": 4.0, "lam": 1.0, "gamma": 0.75, "eps": 2.0}
GOLDEN = {  # picture: (separable, exact), both computed independently of this package
    "steps": (
        [[10, 20, 40, 40]] * 4,
        [[-0.8227, -0.0236, 0.6937, 0.1525]] * 4,
        [[-0.7614, -0.0362, 0.5981, 0.1994]] * 4,
    ),
    "corners": (
        [[0, 255, 0], [10, 10, 10], [255, 0, 255]],
        [[-3.4598, 5.5335, -3.4598], [-0.1838, -0.1951, -0.1838], [3.6431, -5.3373, 3.6431]],
        [[-3.1478, 4.9747, -3.1478], [-0.1842, -0.1927, -0.1842], [3.3288, -4.7757, 3.3288]],
    ),
}


def plain(luma: Tensor, dtype: torch.dtype = torch.float64, **settings_: float) -> Tensor:
    """The equations in PyTorch, as they run on a GPU."""
    chosen = DEFAULTS | settings_
    return separable_detail(luma.to(dtype), **chosen, lambdas=lambda_schedule(chosen["lam"], 4))


@pytest.fixture(scope="module")
def cat() -> Tensor:
    return tensor(PICTURES["chelsea"][20:270, 100:360])


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name: str) -> None:
    picture, separable, exact = (torch.tensor(v, dtype=torch.float64)[None] for v in GOLDEN[name])
    for x, expected in (
        (extract_detail(picture), separable),
        (plain(picture), separable),
        (exact_detail(picture), exact),
    ):
        torch.testing.assert_close(x.double(), expected, atol=6e-5, rtol=0)


def test_a_constant_picture_has_no_detail() -> None:
    assert (extract_detail(torch.full((1, 9, 12), 77.0)) == 0).all()
    assert (exact_detail(torch.full((1, 9, 12), 77.0)) == 0).all()


def test_schedule_is_eq_8() -> None:
    assert lambda_schedule(1.0, 4) == pytest.approx([0.3764706, 0.0941176, 0.0235294, 0.0058824], abs=1e-7)
    for iterations in (1, 2, 8):
        assert sum(lambda_schedule(3.0, iterations)) == pytest.approx(1.5)
        assert sum(lambda_schedule(3.0, iterations, "unit_sum")) == pytest.approx(3.0)


def test_lines_are_solved_exactly() -> None:
    generator = torch.Generator().manual_seed(0)
    right = torch.randn(3, 9, dtype=torch.float64, generator=generator)
    weight = torch.rand(3, 8, dtype=torch.float64, generator=generator)
    d = torch.diff(torch.eye(9, dtype=torch.float64), dim=0)
    x = solve_lines(right, weight, 0.7, dim=-1)
    for line, a, f in zip(x, weight, right, strict=True):
        torch.testing.assert_close((torch.eye(9) + 0.7 * d.T @ torch.diag(a) @ d) @ line, f)


def test_field_and_weights_are_eqs_1_to_6() -> None:
    v_h, v_v = vector_field(torch.tensor([[1.0, 3.0], [7.0, 0.0]]), alpha=1.0)
    assert v_h.tolist() == [[2.0], [-6.0]]
    assert v_v.tolist() == [[4.0, -4.0]]
    assert edge_weights(torch.tensor([0.0, -16.0]), 0.75, 2.0).tolist() == pytest.approx([0.5, 0.1])


def test_exact_is_scipys_solution_of_eq_5() -> None:
    luma = rgb_to_y(tensor(PICTURES["chelsea"][100:124, 150:180]), studio=False)
    v = np.log2(luma[0].double().numpy() + 1)
    matrix, right = scipy.sparse.identity(v.size, format="csc"), np.zeros(v.size)
    for axis in (0, 1):
        steps = [scipy.sparse.eye(n - 1, n, 1) - scipy.sparse.eye(n - 1, n) for n in v.shape]
        sides = [scipy.sparse.identity(n) for n in v.shape]
        d = scipy.sparse.kron(*(steps[k] if k == axis else sides[k] for k in (0, 1)))
        field = (1 + 4.0) * (d @ v.ravel())
        weights = scipy.sparse.diags(1 / (np.abs(field) ** 0.75 + 2.0))
        matrix, right = matrix + d.T @ weights @ d, right + d.T @ weights @ field
    expected = scipy.sparse.linalg.spsolve(matrix.tocsc(), right).reshape(v.shape)
    assert expected.std() > 0.05
    np.testing.assert_allclose(exact_detail(luma)[0].numpy(), expected, rtol=0, atol=1e-10)


def test_separable_follows_exact_on_a_photograph(pictures_of: Callable[[str], dict]) -> None:
    luma = rgb_to_y(pictures_of("Set5")["img_002.png"], studio=False)
    exact = exact_detail(luma).ravel()
    for schedule, error in (("fgs", 0.181), ("unit_sum", 0.111)):
        x = extract_detail(luma, schedule=schedule).ravel().double()
        assert torch.corrcoef(torch.stack([x, exact]))[0, 1] > (0.997 if schedule == "fgs" else 0.995)
        assert (x - exact).norm() / exact.norm() == pytest.approx(error, abs=0.001)


@pytest.mark.parametrize(
    "changed", [{}, {"gamma": 0.0}, {"gamma": 0.3}, {"gamma": 2.0}, {"alpha": 8.0, "lam": 0.5, "eps": 0.5}]
)
def test_compiled_equals_plain(cat: Tensor, changed: dict[str, float]) -> None:
    luma = rgb_to_y(cat, studio=False)[:, :, :205]  # neither side a multiple of a strip or a tile
    x, reference = extract_detail(luma, **changed), plain(luma, **changed)
    assert (x - reference).abs().max() < 2e-5
    assert (plain(luma, torch.float32, **changed) - reference).abs().max() < 2e-5


def test_wide_and_tall_pictures() -> None:
    for size in ((3, 300), (300, 3), (1, 270), (270, 1), (1, 1)):
        luma = torch.rand(1, *size, generator=torch.Generator().manual_seed(3)) * 255
        torch.testing.assert_close(extract_detail(luma), plain(luma).float(), atol=1e-5, rtol=0)


def test_a_crop_differs_only_near_its_border(cat: Tensor) -> None:
    luma = rgb_to_y(cat, studio=False)
    crop, whole = extract_detail(luma[:, 60:188, 60:188]), extract_detail(luma)[:, 60:188, 60:188]
    difference = (crop - whole).abs()
    assert difference[:, 4:-4, 4:-4].max() < 4e-4
    assert difference.max() > 0.05


def test_flips_commute(cat: Tensor) -> None:
    luma = rgb_to_y(cat, studio=False)
    for dims in ((-1,), (-2,), (-1, -2)):
        flipped = extract_detail(luma.flip(dims)).flip(dims)
        torch.testing.assert_close(flipped, extract_detail(luma), atol=1e-5, rtol=0)


def test_lgs_takes_uint8_and_either_luma(cat: Tensor) -> None:
    assert torch.equal(lgs(cat), extract_detail(rgb_to_y(cat, studio=False)))
    assert torch.equal(lgs(cat, luma="studio"), extract_detail(rgb_to_y(cat)))
    torch.testing.assert_close(lgs(cat.double() / 255), lgs(cat), atol=1e-5, rtol=0)
    assert lgs(cat, luma="studio").std() < lgs(cat).std()


def test_settings_are_keywords_with_defaults() -> None:
    for extractor in (lgs, derivations.gif, derivations.wls):
        _, *choices = inspect.signature(extractor).parameters.values()
        assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in choices)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 35), st.integers(1, 35), st.integers(0, 2**31))
def test_compiled_equals_plain_at_any_size(height: int, width: int, seed: int) -> None:
    luma = torch.randint(256, (1, height, width), generator=torch.Generator().manual_seed(seed))
    assert (extract_detail(luma) - plain(luma)).abs().max() < 5e-5


@pytest.mark.parametrize(("name", "value"), [("alpha", -1), ("lam", 0), ("gamma", -0.1), ("eps", 0), ("iterations", 0)])
def test_settings_out_of_range_are_the_users_mistake(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"detail.{name}"):
        extract_detail(torch.zeros(1, 4, 4), **{name: value})


def test_three_channels_are_not_luma() -> None:
    with pytest.raises(ValueError, match="1, H, W"):
        extract_detail(torch.zeros(3, 4, 4))


def test_no_gradient() -> None:
    luma = (torch.rand(1, 20, 20) * 255).requires_grad_()
    assert not extract_detail(luma).requires_grad
    assert not exact_detail(luma).requires_grad


@pytest.mark.parametrize("lacks", ["Triton is not installed", "there is no C compiler here"])
def test_a_gpu_whose_kernels_cannot_be_built_leaves_the_work_to_the_cpu_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lacks: str
) -> None:
    planes = 255 * torch.rand(2, 9, 11)
    chosen = {"gain": 5.0, "lam": 1.0, "gamma": 0.75, "eps": 2.0, "schedule": lambda_schedule(1.0, 4)}
    told: list[str] = []
    monkeypatch.setattr(detail, "say", told.append)
    monkeypatch.setattr(detail, "find_spec", lambda name: None if "Triton" in lacks else object())
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    detail._lacking.cache_clear()
    for _ in range(2):
        assert torch.equal(detail._extract_on_gpu(planes, **chosen), detail._extract_on_cpu(planes, **chosen))
    detail._lacking.cache_clear()
    assert len(told) == 1
    assert lacks in told[0]
    assert "extracted on the CPU" in told[0]


def test_works_where_no_machine_code_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container whose package and home are both read-only: there numba raises instead of not caching."""
    for locator in caching.CacheImpl._locator_classes:
        monkeypatch.setattr(locator, "from_function", classmethod(lambda *_: None))
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(cache=True)(plain)
    module = runpy.run_path(detail_compiled.__file__)
    assert module["_log2"](np.float32(8)) == pytest.approx(3)
