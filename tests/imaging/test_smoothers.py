from collections.abc import Callable

import cv2
import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acutance.errors import ConfigError
from acutance.imaging.smoothers import guided_filter_detail, least_squares_detail
from free_pictures import PICTURES, tensor

Smoother = Callable[..., Tensor]
SMOOTHERS: list[Smoother] = [guided_filter_detail, least_squares_detail]


def random_picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "guided", "guided_weaker", "least_squares"),
    [("Set5 img_002.png", 0.042, 0.037, 0.056), ("Set14 img_005.png", 0.091, 0.075, 0.095)],
)
def test_deviations_of_details(
    name: str, guided: float, guided_weaker: float, least_squares: float, pictures_of: Callable[[str], dict]
) -> None:
    """Standard deviations over all pixels and channels, computed independently of this package."""
    dataset, file = name.split()
    picture = pictures_of(dataset)[file]
    assert guided_filter_detail(picture).std().item() == pytest.approx(guided, abs=6e-4)
    assert guided_filter_detail(picture, eps=0.09).std().item() == pytest.approx(guided_weaker, abs=6e-4)
    assert least_squares_detail(picture).std().item() == pytest.approx(least_squares, abs=6e-4)


def test_guided_filter_is_opencvs() -> None:
    """But for the border, where OpenCV mirrors the picture and windows are cut here."""
    picture = PICTURES["coffee"][:120, :160]
    unit = picture.astype(np.float32) / 255
    smooth = np.dstack([cv2.ximgproc.guidedFilter(unit[..., c], unit[..., c], 2, 0.3) for c in range(3)])
    found = guided_filter_detail(tensor(picture)).numpy().transpose(1, 2, 0)
    inner = slice(4, -4)
    assert found.std() > 0.02
    np.testing.assert_allclose(found[inner, inner], (unit - smooth)[inner, inner], rtol=0, atol=2e-5)


def test_least_squares_are_scipys_solution_on_a_photograph() -> None:
    """Farbman et al.'s equation, solved directly; multigrid is asked for 1e-4 of the picture."""
    unit = PICTURES["coffee"][100:148, 200:256, 1] / 255
    matrix = scipy.sparse.identity(unit.size)
    for axis in (0, 1):
        sides = [scipy.sparse.eye(n - 1, n, 1) - scipy.sparse.eye(n - 1, n) if k == axis else scipy.sparse.identity(n)
                 for k, n in enumerate(unit.shape)]  # fmt: skip
        d = scipy.sparse.kron(*sides)
        weights = 1 / (np.abs(d @ np.log(unit.ravel() + 1e-4)) ** 1.2 + 1e-4)
        matrix = matrix + d.T @ scipy.sparse.diags(weights) @ d
    smooth = scipy.sparse.linalg.spsolve(matrix.tocsc(), unit.ravel()).reshape(unit.shape)
    assert (unit - smooth).std() > 0.01
    found = least_squares_detail(torch.from_numpy(255 * unit).expand(3, *unit.shape))
    np.testing.assert_allclose(found[1].numpy(), unit - smooth, rtol=0, atol=3e-4)


def test_guided_filter_is_its_definition() -> None:
    picture = random_picture(3, 7, 9).double()
    unit, size, eps = picture / 255, (7, 9), 0.05
    a, b = torch.zeros(3, *size, dtype=torch.float64), torch.zeros(3, *size, dtype=torch.float64)

    def window(y: int, x: int) -> tuple[slice, slice, slice]:
        return slice(None), slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2)

    for y, x in np.ndindex(size):
        inside = unit[window(y, x)]
        mean, variance = inside.mean((1, 2)), inside.var((1, 2), correction=0)
        a[:, y, x] = variance / (variance + eps)
        b[:, y, x] = mean - a[:, y, x] * mean
    expected = torch.zeros(3, *size, dtype=torch.float64)
    for y, x in np.ndindex(size):
        line = a[window(y, x)].mean((1, 2)) * unit[:, y, x] + b[window(y, x)].mean((1, 2))
        expected[:, y, x] = unit[:, y, x] - line
    torch.testing.assert_close(guided_filter_detail(picture, radius=1, eps=eps), expected)


def test_guided_filter_between_nothing_and_two_box_means() -> None:
    picture = random_picture(3, 20, 30).double()
    assert guided_filter_detail(picture, eps=1e-9).abs().max() < 1e-6
    pool = torch.nn.AvgPool2d(5, stride=1, padding=2, count_include_pad=False)
    expected = (picture - pool(pool(picture))) / 255
    torch.testing.assert_close(guided_filter_detail(picture, eps=1e9), expected, atol=1e-8, rtol=0)


def test_least_squares_of_two_pixels() -> None:
    picture = torch.tensor([51.0, 204.0], dtype=torch.float64).expand(3, 1, 2)
    w = 2 / (abs(np.log(0.8001) - np.log(0.2001)) ** 0.5 + 1e-4)
    # (1 + w) u - w v = 0.2 and (1 + w) v - w u = 0.8: the difference 0.6 shrinks by 1 + 2 w, the mean stays.
    half = 0.3 - 0.3 / (1 + 2 * w)
    expected = torch.tensor([-half, half], dtype=torch.float64).expand(3, 1, 2)
    torch.testing.assert_close(least_squares_detail(picture, lam=2.0, alpha=0.5), expected)


def test_least_squares_satisfies_its_normal_equations() -> None:
    unit = random_picture(3, 6, 5).double() / 255
    smooth = unit - least_squares_detail(255 * unit)
    gradient = smooth - unit
    logs = (unit + 1e-4).log()
    for dim in (-1, -2):
        flux = smooth.diff(dim=dim) / (logs.diff(dim=dim).abs() ** 1.2 + 1e-4)
        zero = torch.zeros_like(flux.narrow(dim, 0, 1))
        gradient -= torch.cat([zero, flux, zero], dim=dim).diff(dim=dim)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-9, rtol=0)


@pytest.mark.parametrize("detail", SMOOTHERS)
def test_channels_do_not_mix_and_constant_ones_have_no_detail(detail: Smoother) -> None:
    picture = random_picture(3, 8, 9)
    changed = picture.clone()
    changed[1] = 130
    before, after = detail(picture), detail(changed)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    torch.testing.assert_close(after[1], torch.zeros(8, 9), atol=1e-6, rtol=0)


def test_guided_filter_is_differentiable() -> None:
    picture = 255 * torch.rand(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(guided_filter_detail, picture.requires_grad_())
    assert not least_squares_detail(picture).requires_grad


def test_unusable_input_is_refused() -> None:
    picture = random_picture(3, 4, 4)
    for detail in SMOOTHERS:
        with pytest.raises(ValueError, match="3, H, W"):
            detail(picture[:1])
    with pytest.raises(ConfigError, match="radius is 0"):
        guided_filter_detail(picture, radius=0)
    with pytest.raises(ConfigError, match="eps is 0"):
        guided_filter_detail(picture, eps=0)
    with pytest.raises(ConfigError, match="lam is -1"):
        least_squares_detail(picture, lam=-1)
    with pytest.raises(ConfigError, match="alpha is -1"):
        least_squares_detail(picture, alpha=-1)


@pytest.mark.parametrize("detail", SMOOTHERS)
@settings(deadline=None, max_examples=6)
@given(height=st.integers(1, 13), width=st.integers(1, 13), seed=st.integers(0, 2**31))
def test_directions_and_precisions_agree(detail: Smoother, height: int, width: int, seed: int) -> None:
    picture = random_picture(3, height, width, seed=seed)
    details = detail(picture)
    torch.testing.assert_close(detail(picture.double()).float(), details, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(detail(picture.mT), details.mT, atol=1e-5, rtol=1e-4)
