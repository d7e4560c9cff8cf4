import io
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from torch import Tensor

from acutance.errors import ConfigError
from acutance.imaging import awgn, blur, gaussian_kernel, jpeg, random_kernel, rgb_to_y


def random_picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def random_bytes(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def smooth_bytes(*shape: int) -> Tensor:
    """Something like a photograph: noise that JPEG can keep."""
    return (blur(random_picture(*shape), gaussian_kernel(9, sigma_x=2, sigma_y=2)) * 255).to(torch.uint8)


def psnr(a: Tensor, b: Tensor) -> float:
    return 10 * math.log10(255**2 / (a.double() - b.double()).square().mean().item())


# Noise


@pytest.mark.parametrize("sigma", [10, 30])
def test_noise_has_the_published_psnr_on_y(sigma: int) -> None:
    picture = random_picture(4, 3, 256, 256)
    noisy = awgn(picture, sigma=sigma, seed=1)
    expected = 20 * math.log10(255 / sigma) + 4.82
    assert psnr(rgb_to_y(noisy * 255), rgb_to_y(picture * 255)) == pytest.approx(expected, abs=0.05)


def test_noise_of_white_and_black_is_not_clipped_unless_asked() -> None:
    for value in (0.0, 1.0):
        picture = torch.full((3, 128, 128), value)
        noisy, clipped = (awgn(picture, sigma=30, seed=2, clip=clip) for clip in (False, True))
        assert (noisy - value).mean().item() == pytest.approx(0, abs=0.003)
        assert noisy.std().item() == pytest.approx(30 / 255, rel=0.02)
        assert noisy.min() < 0 or noisy.max() > 1
        assert torch.equal(clipped, noisy.clamp(0, 1))


def test_noise_depends_on_seed_and_place_alone() -> None:
    pictures = random_picture(5, 3, 17, 23)
    noise = awgn(pictures, sigma=10, seed=3) - pictures
    torch.manual_seed(99)
    assert torch.equal(awgn(pictures, sigma=10, seed=3) - pictures, noise)
    assert torch.equal(awgn(pictures[:2], sigma=10, seed=3) - pictures[:2], noise[:2])
    assert torch.equal(awgn(pictures[0], sigma=10, seed=3) - pictures[0], noise[0])
    nested = pictures[:4].reshape(2, 2, 3, 17, 23)
    assert torch.equal(awgn(nested, sigma=10, seed=3).flatten(0, 1) - pictures[:4], noise[:4])


def test_noises_of_two_seeds_or_two_places_are_unrelated() -> None:
    nothing = torch.zeros(2, 3, 64, 64)
    (a, b), (c, _) = awgn(nothing, sigma=255, seed=4), awgn(nothing, sigma=255, seed=5)
    for one, other in ((a, b), (a, c), (b, c), (a[0], a[1])):
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].abs() < 0.06
    assert awgn(nothing, sigma=255, seed=2**64 - 1).shape == nothing.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_noise_keeps_the_dtype(dtype: torch.dtype) -> None:
    picture = torch.zeros(3, 9, 9, dtype=dtype)
    noisy = awgn(picture, sigma=20, seed=6)
    assert noisy.dtype == dtype
    assert torch.allclose(noisy.float(), awgn(picture.float(), sigma=20, seed=6), atol=2e-3)


def test_noise_on_bytes_is_that_on_the_unit_range() -> None:
    picture = random_bytes(2, 3, 8, 9)
    assert torch.equal(awgn(picture, sigma=5, seed=7), awgn(picture.float() / 255, sigma=5, seed=7))


# Kernels


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


# Blur


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
    assert torch.equal(blur((picture * 255).byte(), kernel), blur((picture * 255).byte() / 255, kernel))


def test_blur_is_differentiable() -> None:
    picture = random_picture(3, 5, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: blur(p, gaussian_kernel(7, sigma_x=2, sigma_y=1)), picture)


# JPEG


@pytest.mark.parametrize(("height", "width"), [(64, 48), (17, 31), (1, 1)])
def test_jpeg_is_pillows(height: int, width: int) -> None:
    picture = random_bytes(2, 3, height, width)
    compressed = jpeg(picture, quality=25)
    for before, after in zip(picture, compressed, strict=True):
        file = io.BytesIO()
        Image.fromarray(before.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=25)
        assert np.array_equal(after.permute(1, 2, 0).numpy(), np.asarray(Image.open(file)))
    assert torch.equal(jpeg(picture[1], quality=25), compressed[1])
    assert compressed.dtype == torch.uint8


def test_better_quality_has_better_psnr() -> None:
    picture = smooth_bytes(3, 96, 96)
    levels = [psnr(jpeg(picture, quality=quality), picture) for quality in (5, 10, 25, 50, 75, 95)]
    assert levels == sorted(set(levels))


def test_better_quality_has_better_psnr_on_photographs(data_root: Path) -> None:
    path = data_root / "benchmarks" / "Set5" / "HR"
    picture = torch.from_numpy(np.array(Image.open(min(path.glob("*.png"))).convert("RGB"))).permute(2, 0, 1)
    levels = [psnr(jpeg(picture, quality=quality), picture) for quality in (5, 10, 25, 50, 75, 95)]
    assert levels == sorted(set(levels))


# Errors


@pytest.mark.parametrize(
    ("call", "parameter"),
    [
        (lambda p: awgn(p, sigma=0, seed=0), "awgn.sigma"),
        (lambda p: awgn(p, sigma=math.nan, seed=0), "awgn.sigma"),
        (lambda p: awgn(p, sigma=1, seed=-1), "awgn.seed"),
        (lambda p: awgn(p, sigma=1, seed=2**64), "awgn.seed"),
        (lambda p: gaussian_kernel(8, sigma_x=1, sigma_y=1), "gaussian_kernel.side"),
        (lambda p: gaussian_kernel(-1, sigma_x=1, sigma_y=1), "gaussian_kernel.side"),
        (lambda p: gaussian_kernel(7, sigma_x=0, sigma_y=1), "gaussian_kernel.sigma_x"),
        (lambda p: gaussian_kernel(7, sigma_x=1, sigma_y=-2), "gaussian_kernel.sigma_y"),
        (lambda p: gaussian_kernel(7, sigma_x=1, sigma_y=1, angle=math.inf), "gaussian_kernel.angle"),
        (lambda p: random_kernel(-1), "random_kernel.seed"),
        (lambda p: random_kernel(1, scale=0), "random_kernel.scale"),
        (lambda p: jpeg(p, quality=0), "jpeg.quality"),
        (lambda p: jpeg(p, quality=101), "jpeg.quality"),
    ],
)
def test_parameters_out_of_range_are_named(call, parameter: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call(random_bytes(3, 8, 8))
    assert caught.value.where == parameter


@pytest.mark.parametrize("picture", [torch.zeros(8, 8), torch.zeros(1, 8, 8), torch.zeros(3, 8, 8, dtype=torch.int64)])
def test_other_tensors_are_refused(picture: Tensor) -> None:
    for call in (
        lambda: awgn(picture, sigma=1, seed=0),
        lambda: blur(picture, random_kernel(0)),
        lambda: jpeg(picture, quality=50),
    ):
        with pytest.raises(ValueError, match="picture must be"):
            call()


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5,), (3, 5, 5), (1, 2, 5, 5)])
def test_kernels_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="kernel must be"):
        blur(torch.zeros(2, 3, 9, 9), torch.ones(shape))
