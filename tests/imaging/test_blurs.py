import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from acutance.errors import ConfigError
from acutance.imaging.blurs import blur, gaussian_blur, gaussian_kernel, random_blur, random_kernel


def random_picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 12), st.floats(0.01, 50), st.floats(0.01, 50), st.floats(-7, 7))
def test_kernels_sum_to_one(half: int, sigma_x: float, sigma_y: float, angle: float) -> None:
    kernel = gaussian_kernel(2 * half + 1, sigma_x=sigma_x, sigma_y=sigma_y, angle=angle)
    assert kernel.shape == (2 * half + 1,) * 2
    assert kernel.dtype == torch.float32
    assert kernel.min() >= 0
    assert kernel.double().sum().item() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(kernel, kernel.flip(0, 1), atol=1e-7)


def test_a_quarter_turn_swaps_the_axes() -> None:
    lying = gaussian_kernel(15, sigma_x=3, sigma_y=1)
    assert lying[7, 10] > lying[10, 7]  # along x, the columns
    for standing in (
        gaussian_kernel(15, sigma_x=3, sigma_y=1, angle=math.pi / 2),
        gaussian_kernel(15, sigma_x=1, sigma_y=3),
    ):
        assert torch.allclose(standing, lying.T, atol=1e-8)


def test_the_angle_turns_from_right_to_down() -> None:
    kernel = gaussian_kernel(15, sigma_x=3, sigma_y=1, angle=math.pi / 4)
    assert kernel[10, 10] > 10 * kernel[10, 4]  # right and down against left and down


def test_the_moments_are_those_asked_for() -> None:
    kernel = gaussian_kernel(51, sigma_x=4, sigma_y=2, angle=0.5).double()
    offsets = torch.arange(-25, 26, dtype=torch.float64)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    turn = np.array([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]])
    measured = [[(kernel * a * b).sum().item() for b in (x, y)] for a in (x, y)]
    assert np.array(measured) == pytest.approx(turn @ np.diag([16, 4]) @ turn.T, abs=1e-3)


@pytest.mark.parametrize(("sigma", "radius"), [(0.8, 3), (1.6, 6), (2.8, 12)])
def test_isotropic_blur_is_scipys_gaussian_filter(sigma: float, radius: int) -> None:
    picture = random_picture(3, 40, 37).double()
    kernel = gaussian_kernel(2 * radius + 1, sigma_x=sigma, sigma_y=sigma, angle=0.3)
    expected = ndimage.gaussian_filter(picture.numpy(), sigma, mode="mirror", radius=radius, axes=(1, 2))
    assert blur(picture, kernel).numpy() == pytest.approx(expected, abs=1e-7)  # the kernel is rounded to float32


def test_random_kernels_are_as_kair_draws_them() -> None:
    kernels = [random_kernel(seed) for seed in range(400)]
    assert {len(kernel) for kernel in kernels} == set(range(7, 26, 2))
    assert all(kernel.double().sum().item() == pytest.approx(1, abs=1e-6) for kernel in kernels)
    round_ones = sum(torch.allclose(kernel, kernel.T, atol=1e-7) for kernel in kernels)
    assert 160 < round_ones < 240  # 200 +- 10
    sharpest = gaussian_kernel(7, sigma_x=0.2, sigma_y=0.2).max()
    assert max(kernel.max() for kernel in kernels) == sharpest < 1  # 7 % of the isotropic ones are limited to it
    assert torch.equal(random_kernel(11), kernels[11])
    assert not any(torch.equal(a, b) for a, b in pairwise(kernels) if a.shape == b.shape)


def test_a_larger_scale_draws_wider_kernels() -> None:
    centres = [[random_kernel(seed, scale=scale).max().item() for seed in range(100)] for scale in (1, 8)]
    assert all(narrow >= wide for narrow, wide in zip(*centres, strict=True))
    assert np.mean(centres[0]) > 1.2 * np.mean(centres[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 33), st.integers(1, 33), st.integers(0, 7), st.integers(0, 99))
def test_blur_is_scipys_convolution(height: int, width: int, half: int, seed: int) -> None:
    picture = random_picture(2, 3, height, width, seed=seed).double()
    kernel = random_picture(2 * half + 1, 2 * half + 1, seed=seed + 1)  # not symmetric: the order of its taps counts
    kernel /= kernel.sum()
    expected = [[ndimage.convolve(c.numpy(), kernel.double().numpy(), mode="mirror") for c in p] for p in picture]
    assert blur(picture, kernel).numpy() == pytest.approx(np.array(expected), abs=1e-12)


def test_each_picture_has_its_own_kernel() -> None:
    pictures = random_picture(2, 2, 3, 20, 21)
    kernels = torch.stack([gaussian_kernel(9, sigma_x=1 + i, sigma_y=1, angle=i) for i in range(4)]).reshape(2, 2, 9, 9)
    together = blur(pictures, kernels)
    for i in range(2):
        for j in range(2):
            assert torch.allclose(together[i, j], blur(pictures[i, j], kernels[i, j]), atol=5e-6)
    assert not torch.allclose(together, blur(pictures, kernels[0, 0]), atol=1e-3)


def test_blur_keeps_the_dtype_also_under_autocast() -> None:
    picture, kernel = random_picture(3, 16, 16), random_kernel(1)
    expected = blur(picture, kernel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(blur(picture, kernel), expected)
    for dtype, close in ((torch.float64, 5e-6), (torch.float16, 2e-3), (torch.bfloat16, 1e-2)):
        blurred = blur(picture.to(dtype), kernel)
        assert blurred.dtype == dtype
        assert torch.allclose(blurred.float(), expected, atol=close)


def test_blur_is_differentiable() -> None:
    picture = random_picture(3, 3, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: blur(p, gaussian_kernel(5, sigma_x=2, sigma_y=1)), picture, fast_mode=True
    )


def test_fixed_blur_is_scipys_gaussian_filter() -> None:
    picture = random_picture(2, 3, 21, 26).double()
    expected = ndimage.gaussian_filter(picture.numpy(), 1.6, mode="mirror", radius=5, axes=(2, 3))
    assert gaussian_blur(picture, sigma=1.6).numpy() == pytest.approx(expected, abs=1e-7)


def test_random_blur_draws_a_kernel_a_picture() -> None:
    pictures = random_picture(3, 20, 21).expand(3, 3, 20, 21)
    first, second, third = random_blur(pictures, seed=5)
    assert torch.equal(first, blur(pictures[0], random_kernel(5)))
    assert not torch.allclose(first, second, atol=1e-3)
    assert not torch.allclose(second, third, atol=1e-3)
    assert torch.equal(random_blur(pictures[0], seed=5, scale=1), blur(pictures[0], random_kernel(5, scale=1)))


@pytest.mark.parametrize(
    ("call", "parameter"),
    [
        (lambda p: gaussian_kernel(8, sigma_x=1, sigma_y=1), "gaussian_kernel.side"),
        (lambda p: gaussian_kernel(-1, sigma_x=1, sigma_y=1), "gaussian_kernel.side"),
        (lambda p: gaussian_kernel(7, sigma_x=0, sigma_y=1), "gaussian_kernel.sigma_x"),
        (lambda p: gaussian_kernel(7, sigma_x=1, sigma_y=-2), "gaussian_kernel.sigma_y"),
        (lambda p: gaussian_kernel(7, sigma_x=1, sigma_y=1, angle=math.inf), "gaussian_kernel.angle"),
        (lambda p: random_kernel(-1), "random_kernel.seed"),
        (lambda p: random_kernel(1, scale=0), "random_kernel.scale"),
        (lambda p: gaussian_blur(p, sigma=0), "gaussian_blur.sigma"),
        (lambda p: gaussian_blur(p, sigma=math.nan), "gaussian_blur.sigma"),
        (lambda p: random_blur(p, seed=2**64), "random_blur.seed"),
        (lambda p: random_blur(p, seed=0, scale=0), "random_kernel.scale"),
    ],
)
def test_parameters_out_of_range_are_named(call, parameter: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call(random_picture(3, 8, 8))
    assert caught.value.where == parameter


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5,), (3, 5, 5), (1, 2, 5, 5)])
def test_kernels_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="kernel must be"):
        blur(torch.zeros(2, 3, 9, 9), torch.ones(shape))
