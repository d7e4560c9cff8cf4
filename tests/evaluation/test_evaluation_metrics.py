from __future__ import annotations

import math

import numpy as np
import pytest
from made_for_evaluation import picture
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from acutance.config.metrics import METRICS, PROTOCOLS
from acutance.evaluation.metrics import (
    high_frequency,
    measure,
    psnr_rgb,
    psnr_y,
    share_of_high_frequencies,
    ssim_rgb,
    ssim_y,
    ssim_y_wang,
)
from acutance.evaluation.unmeasurable import Unmeasurable


def planes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = gaussian_filter(generator.uniform(0, 255, (61, 47)), 1.5)
    return truth + generator.normal(0, 7, truth.shape), truth


def test_psnr_of_a_known_error() -> None:
    truth = np.full((20, 30), 100.0)
    assert psnr_y(truth + 5, truth) == pytest.approx(20 * math.log10(255 / 5), abs=1e-12)


def test_psnr_equals_skimage() -> None:
    restored, truth = planes()
    assert psnr_y(restored, truth) == pytest.approx(peak_signal_noise_ratio(truth, restored, data_range=255))


def test_ssim_equals_skimage() -> None:
    restored, truth = planes()
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    expected = structural_similarity(truth, restored, win_size=11, **settings)
    assert ssim_y(restored, truth) == pytest.approx(expected, abs=1e-10)


def test_ssim_of_shifted_flat_planes_is_its_luminance_term() -> None:
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ssim_y(np.full((11, 11), 120.0), np.full((11, 11), 100.0)) == pytest.approx(expected, abs=1e-12)


def test_identical_planes_have_ssim_1_and_no_psnr() -> None:
    _, truth = planes()
    assert ssim_y(truth, truth) == pytest.approx(1, abs=1e-12)
    with pytest.raises(Unmeasurable, match="infinite"):
        psnr_y(truth, truth)


def shrunk_as_matlab(plane: np.ndarray, factor: int) -> np.ndarray:
    """`imfilter(plane, ones(f) / f^2, 'symmetric', 'same')` and (1:f:end): its centre is (f + 1) // 2 from 1."""
    before = (factor + 1) // 2 - 1
    padded = np.pad(plane, (before, factor - 1 - before), mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, (factor, factor)).mean((2, 3))[::factor, ::factor]


@pytest.mark.parametrize(("shape", "factor"), [((383, 390), 1), ((384, 391), 2), ((641, 650), 3), ((900, 897), 4)])
def test_wangs_ssim_shrinks_as_matlab_does(shape: tuple[int, int], factor: int) -> None:
    generator = np.random.default_rng(3)
    truth = gaussian_filter(generator.uniform(0, 255, shape), 1.0)
    restored = truth + generator.normal(0, 9, shape)
    expected = ssim_y(shrunk_as_matlab(restored, factor), shrunk_as_matlab(truth, factor))
    assert ssim_y_wang(restored, truth) == pytest.approx(expected, abs=1e-12)
    assert (factor == 1) == (ssim_y_wang(restored, truth) == ssim_y(restored, truth))


def test_wangs_ssim_of_identical_and_of_flat_planes() -> None:
    _, truth = planes()
    large = np.tile(truth, (8, 9))
    assert ssim_y_wang(large, large) == pytest.approx(1, abs=1e-12)
    flat = np.full((520, 530), 100.0)
    assert ssim_y_wang(flat, flat) == pytest.approx(1, abs=1e-12)
    assert ssim_y_wang(flat + 20, flat) == pytest.approx(ssim_y(flat + 20, flat), abs=1e-9)


def test_colour_metrics_equal_skimage() -> None:
    restored, truth = picture(41, 57), picture(41, 57, 1)
    assert psnr_rgb(restored, truth) == pytest.approx(peak_signal_noise_ratio(truth, restored), abs=1e-10)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    single = [
        structural_similarity(truth[..., c].astype(float), restored[..., c].astype(float), win_size=11, **settings)
        for c in range(3)
    ]
    assert ssim_rgb(restored, truth) == pytest.approx(np.mean(single), abs=1e-10)


def test_colour_metrics_see_an_error_of_hue_that_luminance_hardly_sees() -> None:
    truth = picture(40, 40).clip(40, 215)
    tinted = (truth.astype(int) + np.array([33, 0, -87])).clip(0, 255).astype(np.uint8)
    found = measure(tinted, truth, metrics=["psnr_y", "psnr_rgb"], protocol="rgb_crop4", scale=4).values
    assert found["psnr_rgb"] < found["psnr_y"] - 10  # type: ignore[operator]


def test_identical_and_flat_pictures_in_colour() -> None:
    same = picture(24, 24)
    assert ssim_rgb(same, same) == pytest.approx(1, abs=1e-12)
    with pytest.raises(Unmeasurable, match="infinite"):
        psnr_rgb(same, same)
    black, white = np.zeros((20, 20, 3), np.uint8), np.full((20, 20, 3), 255, np.uint8)
    assert psnr_rgb(black, white) == 0
    assert ssim_rgb(black, white) == pytest.approx((0.01 * 255) ** 2 / (255**2 + (0.01 * 255) ** 2), abs=1e-12)


def test_fine_detail_falls_with_blur_and_rises_with_noise() -> None:
    noisy, truth = planes()
    values = [high_frequency(gaussian_filter(truth, s)) for s in (2.0, 1.0, 0.5)] + [high_frequency(truth)]
    assert values == sorted(values)
    assert values[0] < 0.4 * values[-1]
    noise = high_frequency(noisy - truth)
    assert high_frequency(noisy) == pytest.approx(math.hypot(values[-1], noise), rel=0.05)


def test_fine_detail_is_in_grey_levels_and_ignores_brightness() -> None:
    finest = np.where(np.indices((48, 64)).sum(0) % 2, 10.0, -10.0)
    assert high_frequency(finest + 90) == pytest.approx(10, abs=1e-2)
    assert high_frequency(np.full((48, 64), 77.0)) == pytest.approx(0, abs=1e-9)


def test_share_of_high_frequencies_of_known_planes() -> None:
    rows, columns = np.indices((48, 64))
    finest = np.where((rows + columns) % 2, 10.0, -10.0)
    assert share_of_high_frequencies(finest + 90) == pytest.approx(1, abs=0.01)
    # Waves of which a mirrored row holds whole periods: their energies add, and an amplitude a has a^2.
    below, beyond = (np.cos(np.pi * share * (columns + 0.5)) for share in (31 / 64, 33 / 64))
    assert share_of_high_frequencies(10 * below + 90) == pytest.approx(0, abs=1e-12)
    assert share_of_high_frequencies(10 * below + 7 * beyond) == pytest.approx(49 / 149, abs=1e-12)


def test_the_share_of_high_frequencies_falls_with_blur_and_ignores_contrast() -> None:
    noisy, truth = planes()
    values = [share_of_high_frequencies(plane) for plane in (gaussian_filter(truth, 1.0), truth, noisy)]
    assert values == sorted(values)
    assert share_of_high_frequencies(3 * truth - 40) == pytest.approx(values[1], rel=1e-9)


def test_a_slope_is_no_fine_detail_though_its_ends_differ() -> None:
    slope = np.repeat(np.linspace(0, 255, 128)[None], 96, axis=0)
    assert high_frequency(slope) < 0.5
    assert share_of_high_frequencies(slope) < 1e-4


def test_the_protocol_rounds_and_crops() -> None:
    shown = picture(24, 20)
    plane = PROTOCOLS["y_crop4"].plane(shown, 4)
    red, green, blue = shown.astype(float).transpose(2, 0, 1)
    y = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    assert plane.shape == (16, 12)
    assert np.array_equal(plane, np.floor(y + 0.5)[4:-4, 4:-4])


@pytest.mark.parametrize(("level", "expected"), [(0, 16), (255, 235)])
def test_the_protocol_measures_in_studio_range(level: int, expected: int) -> None:
    plane = PROTOCOLS["y_crop4"].plane(np.full((12, 12, 3), level, np.uint8), 4)
    assert np.array_equal(plane, np.full((4, 4), expected))


@pytest.mark.parametrize("side", [7, 8])
def test_a_picture_that_the_crop_eats_up_has_no_value_but_a_reason(side: int) -> None:
    tiny = picture(side, side)
    metrics = ["psnr_y", "ssim_y", "ssim_y_wang", "psnr_rgb", "ssim_rgb", "high_frequency"]
    found = measure(tiny, 255 - tiny, metrics=metrics, protocol="y_crop4", scale=4)
    assert found.values == dict.fromkeys(metrics)
    assert set(found.reasons) == set(found.values)


@pytest.mark.usefixtures("made_weights")
def test_without_a_truth_only_the_metrics_that_need_none_are_measured() -> None:
    found = measure(picture(210, 210), None, metrics=METRICS, protocol="y_crop4", scale=4)
    assert set(found.values) == {"niqe", "ma", "pi", "high_frequency", "high_frequency_share", "compressed_size"}


def test_a_window_larger_than_what_is_left_has_no_value_but_a_reason() -> None:
    small = picture(18, 40)
    metrics = ["ssim_y", "ssim_y_wang", "ssim_rgb", "psnr_rgb"]
    found = measure(small, 255 - small, metrics=metrics, protocol="y_crop4", scale=4)
    assert [name for name in metrics if found.values[name] is None] == metrics[:3]
    assert all("32x10 are left" in found.reasons[name] for name in metrics[:3])


def test_pictures_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="truth"):
        measure(picture(40, 40), picture(40, 44), metrics=["psnr_y"], protocol="y_crop4", scale=4)


def test_every_protocol_measures_known_metrics() -> None:
    for protocol in PROTOCOLS.values():
        assert protocol.metrics
        assert set(protocol.metrics) <= METRICS.keys()
