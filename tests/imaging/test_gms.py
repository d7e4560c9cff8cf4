from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from acutance.errors import ConfigError
from acutance.imaging.gms import gms_map, hard_mask, opening, soft_mask
from acutance.imaging.resize import imresize
from free_pictures import PICTURES, tensor

THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3)
OPENED = [45.6, 30.4, 19.7, 10.5, 5.9]
"""Percent of Set14 above, computed independently of this package, after an opening whose outside is 0."""


def random_picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def set14(pictures_of: Callable[..., dict]) -> list[tuple[Tensor, Tensor]]:
    """Upscaled and true pictures: the stored x4 LR through today's bicubic in float, clipped and rounded."""
    lr, hr = (pictures_of("Set14", folder).values() for folder in ("LRx4", "HR"))
    return [(imresize(small, 4).clamp(0, 255).round(), large) for small, large in zip(lr, hr, strict=True)]


@pytest.fixture(scope="module")
def maps(set14: list[tuple[Tensor, Tensor]]) -> list[np.ndarray]:
    return [gms_map(sr, hr)[0].numpy() for sr, hr in set14]


def test_shares_after_the_opening(maps: list[np.ndarray], set14: list[tuple[Tensor, Tensor]]) -> None:
    square = np.ones((3, 3))
    measured = [[100 * ndimage.binary_opening(d > t, square).mean() for t in THRESHOLDS] for d in maps]
    assert np.mean(measured, 0) == pytest.approx(OPENED, abs=0.1)
    # The masks repeat the border instead, which keeps some of the outermost pixels: 0.2 to 0.3 points more.
    masks = [[100 * hard_mask(sr, hr, threshold=t).mean().item() for t in THRESHOLDS] for sr, hr in set14]
    assert np.mean(masks, 0) == pytest.approx(np.array(OPENED) + 0.25, abs=0.1)


def test_soft_masks_of_set14(set14: list[tuple[Tensor, Tensor]]) -> None:
    masks = [soft_mask(sr, hr) for sr, hr in set14]
    assert np.mean([m.mean() for m in masks]) == pytest.approx(0.278, abs=0.004)
    assert np.mean([(m > 0.9).float().mean() for m in masks]) == pytest.approx(0.045, abs=0.001)
    assert np.mean([((m > 0.25) & (m < 0.75)).float().mean() for m in masks]) == pytest.approx(0.29, abs=0.006)
    assert np.mean([(m < 0.05).float().mean() for m in masks]) == pytest.approx(0.43, abs=0.008)


def gradients(picture: np.ndarray) -> np.ndarray:
    """Prewitt's, by SciPy, of the grey picture."""
    grey = picture.astype(float) @ [0.299, 0.587, 0.114]
    return np.hypot(*(ndimage.prewitt(grey, axis, mode="nearest") / 3 for axis in (0, 1)))


def test_the_map_and_the_masks_are_scipys() -> None:
    """Of a photograph and its bicubic enlargement by OpenCV."""
    truth = PICTURES["coffee"][:200, :240]
    small = cv2.resize(truth, (60, 50), interpolation=cv2.INTER_AREA)
    restored = cv2.resize(small, (240, 200), interpolation=cv2.INTER_CUBIC)
    a, b = gradients(restored), gradients(truth)
    different = 1 - (2 * a * b + 170) / (a**2 + b**2 + 170)
    pair = tensor(restored), tensor(truth)
    np.testing.assert_allclose(gms_map(*pair)[0].numpy(), different, rtol=0, atol=1e-4)
    expected = ndimage.grey_opening((gms_map(*pair)[0].numpy() > 0.05).astype(float), (3, 3), mode="nearest")
    assert 0.05 < expected.mean() < 0.5
    np.testing.assert_array_equal(hard_mask(*pair)[0].numpy(), expected)
    for _ in range(2):
        blurred = ndimage.gaussian_filter(expected, 1.0, radius=3, mode="nearest")
        expected = ndimage.grey_opening(blurred, (3, 3), mode="nearest")
    np.testing.assert_allclose(soft_mask(*pair)[0].numpy(), expected, atol=1e-5)


def test_map_of_ramps_is_that_of_their_slopes() -> None:
    x = torch.arange(12, dtype=torch.float64).expand(3, 9, 12)
    # Prewitt over 3 spans two pixels: a slope of s per pixel has the magnitude 2 s.
    d = gms_map(7 * x, 3 * x)
    inside = torch.full((1, 9, 10), 1 - (2 * 14 * 6 + 170) / (14**2 + 6**2 + 170), dtype=torch.float64)
    torch.testing.assert_close(d[..., 1:-1], inside)
    border = torch.full((1, 9, 1), 1 - (2 * 7 * 3 + 170) / (7**2 + 3**2 + 170), dtype=torch.float64)
    torch.testing.assert_close(d[..., :1], border)
    torch.testing.assert_close(gms_map(7 * x.mT, 3 * x.mT), d.mT)
    assert gms_map(7 * x, 3 * x, c=1.0)[0, 4, 5].item() == pytest.approx(64 / 233)


def test_a_change_of_brightness_is_no_difference() -> None:
    picture = random_picture(3, 20, 30).float()
    torch.testing.assert_close(gms_map(picture, picture + 50), torch.zeros(1, 20, 30), atol=1e-6, rtol=0)
    assert soft_mask(picture, picture).sum() == 0


def test_opening_keeps_the_square_and_drops_less() -> None:
    square, thin = torch.zeros(1, 8, 9), torch.zeros(1, 8, 9)
    square[0, 2:5, 3:6] = 0.7
    thin[0, 2:4, 1:8] = 1
    torch.testing.assert_close(opening(square), square)
    assert opening(thin).sum() == 0
    brighter = square.clone()
    brighter[0, 3, 4] = 1.0
    torch.testing.assert_close(opening(brighter), square)


def test_a_soft_mask_fades_out_around_the_hard_one() -> None:
    picture, reference = torch.zeros(3, 40, 40), torch.zeros(3, 40, 40)
    picture[:, 12:28, 12:28] = random_picture(3, 16, 16).float()
    hard, soft = hard_mask(picture, reference), soft_mask(picture, reference)
    assert torch.equal(soft_mask(picture, reference, repeats=0), hard)
    assert soft[0, 20, 20] == pytest.approx(1, abs=1e-3)
    assert 0 < soft[0, 20, 9] < soft[0, 20, 11] < soft[0, 20, 13]
    assert soft[0, 20, 0] == 0


def test_no_gradient() -> None:
    picture = torch.rand(3, 9, 9, requires_grad=True)
    assert not soft_mask(255 * picture, 255 * picture.flip(-1)).requires_grad


def test_autocast_does_not_coarsen_the_masks() -> None:
    picture, reference = random_picture(3, 30, 30).float(), random_picture(3, 30, 30, seed=1).float()
    expected = soft_mask(picture, reference)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(soft_mask(picture, reference), expected)


def test_unusable_input_is_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        gms_map(random_picture(3, 4, 4), random_picture(3, 4, 5))
    with pytest.raises(ValueError, match="3, H, W"):
        gms_map(random_picture(1, 4, 4), random_picture(1, 4, 4))
    with pytest.raises(ConfigError, match="c is 0"):
        hard_mask(random_picture(3, 4, 4), random_picture(3, 4, 4), c=0)
    with pytest.raises(ConfigError, match="sigma is 0"):
        soft_mask(random_picture(3, 4, 4), random_picture(3, 4, 4), sigma=0)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 23), st.integers(1, 23), st.integers(0, 2**31))
def test_masks_lie_where_the_map_is_large(height: int, width: int, seed: int) -> None:
    first, second = random_picture(2, 2, 3, height, width, seed=seed)
    d, hard = gms_map(first, second), hard_mask(first, second)
    assert ((hard == 0) | (hard == 1)).all()
    assert (hard <= (d > 0.05)).all()
    torch.testing.assert_close(gms_map(second, first), d)
    torch.testing.assert_close(gms_map(first.double(), second.double()).float(), d, atol=1e-5, rtol=1e-4)
