import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acutance.imaging.resize import imresize, imresize_uint8
from free_pictures import ARRAYS, PICTURES, crop, tensor

SCALES = [1 / 4, 1 / 3, 1 / 2, 2 / 3, 0.3, 1.0, 1.5, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("name", PICTURES)
def test_a_reduction_is_that_of_the_older_matlab(name: str, scale: int) -> None:
    """By BasicSR's weights; see oracles/make.py."""
    made = imresize_uint8(tensor(crop(name)), 1 / scale)
    assert torch.equal(made, tensor(ARRAYS[f"{name}_older_{scale}"]))


def test_floats_are_resized_as_basicsr_does() -> None:
    whole, small = tensor(crop("coffee")).double(), tensor(crop("coffee")[:12, :14]).double()
    for scale in (2, 4):
        expected = tensor(ARRAYS[f"coffee_reduced_{scale}"]).double()
        torch.testing.assert_close(imresize(whole, 1 / scale), expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(imresize(small, 4), tensor(ARRAYS["coffee_enlarged_4"]).double(), rtol=0, atol=1e-3)


def test_old_and_new_agree_away_from_the_border() -> None:
    picture = tensor(PICTURES["chelsea"])
    difference = imresize(picture, 1 / 4).round() - imresize_uint8(picture, 1 / 4)
    assert difference[:, 3:-3, 3:-3].abs().max() <= 1
    assert difference.abs().max() > 1  # mirrored against replicated


def matlab(line: list[float], scale: float) -> list[float]:
    """imresize of one line, written from MATLAB's documentation pixel by pixel."""

    def kernel(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    shrink, n, result = min(1.0, scale), len(line), []
    for x in range(1, math.ceil(scale * n) + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)
        total = weights = 0.0
        for i in range(math.floor(u - 2 / shrink), math.ceil(u + 2 / shrink) + 1):
            mirrored = (i - 1) % (2 * n)
            weight = kernel(shrink * (u - i))
            total += weight * line[min(mirrored, 2 * n - 1 - mirrored)]
            weights += weight
        result.append(total / weights)
    return result


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (3, 40), (33, 29)])
def test_float_resize_is_matlabs_formula(scale: float, size: tuple[int, int]) -> None:
    picture = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rows = np.array([matlab(column, scale) for column in picture.T.tolist()]).T
    expected = np.array([matlab(row, scale) for row in rows.tolist()])
    result = imresize(picture[None], scale)[0]
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)
    single = imresize(picture[None].float(), scale)[0]
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-5)


def test_back_to_a_size_the_scale_does_not_divide() -> None:
    picture = torch.rand(2, 3, 19, 26)
    small = imresize(picture, 1 / 4)
    assert small.shape == (2, 3, 5, 7)
    assert torch.equal(imresize(small, 4, size=(19, 26)), imresize(small, 4)[..., :19, :26])
    with pytest.raises(ValueError, match="cannot become"):
        imresize(small, 4, size=(25, 26))


def test_differentiable() -> None:
    picture = torch.rand(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    for scale in (0.5, 2.0):
        assert torch.autograd.gradcheck(lambda x, scale=scale: imresize(x, scale), picture)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.pi / 10])
def test_impossible_scales_are_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale must be"):
        imresize(torch.rand(1, 400, 400), scale)


def test_float_is_refused_where_uint8_is_meant() -> None:
    with pytest.raises(ValueError, match="uint8"):
        imresize_uint8(torch.rand(3, 8, 8), 0.5)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 21), st.integers(1, 21), st.sampled_from(SCALES))
def test_both_have_matlabs_size(height: int, width: int, scale: float) -> None:
    picture = torch.randint(256, (1, height, width), dtype=torch.uint8)
    expected = (1, math.ceil(scale * height), math.ceil(scale * width))
    assert imresize_uint8(picture, scale).shape == imresize(picture, scale).shape == expected
    assert scale != 1 or torch.equal(imresize_uint8(picture, scale), picture)


@pytest.mark.parametrize("scale", SCALES)
def test_constant_stays_constant(scale: float) -> None:
    picture = torch.full((1, 9, 11), 200, dtype=torch.uint8)
    assert (imresize_uint8(picture, scale) == 200).all()
    torch.testing.assert_close(imresize(picture, scale), torch.tensor(200.0).expand_as(imresize(picture, scale)))
