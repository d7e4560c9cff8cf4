import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acutance.errors import ConfigError
from acutance.imaging.frequency import high_frequency_energy, high_frequency_share, highpass, spectrogram


def wave(cycles: int, size: int = 64) -> torch.Tensor:
    """A horizontal cosine; cycles = size / 2 is Nyquist."""
    x = torch.arange(size, dtype=torch.float64)
    return (2 * math.pi * cycles * x / size).cos().expand(1, size, size)


@pytest.mark.parametrize("cycles", [1, 4, 9, 31, 32])
def test_a_wave_is_damped_by_the_filter_at_its_frequency(cycles: int) -> None:
    radius = cycles / 32
    passed = 1 - math.exp(-((radius / 0.125) ** 2) / 2)
    torch.testing.assert_close(highpass(0.3 + wave(cycles)), passed * wave(cycles))


def test_energy_is_the_mean_square_of_what_passes() -> None:
    passed = 1 - math.exp(-((16 / 32 / 0.25) ** 2) / 2)
    energy = high_frequency_energy(0.5 + 0.1 * wave(16), cutoff=0.25)
    assert energy.item() == pytest.approx(0.01 * passed**2 / 2)


def test_share_counts_energy_beyond_the_radius_without_dc() -> None:
    picture = 7 + 3 * wave(4) + wave(20)
    assert high_frequency_share(picture).item() == pytest.approx(1 / 10)
    assert high_frequency_share(picture, radius=0.7).item() == pytest.approx(0, abs=1e-12)
    assert high_frequency_share(5 * picture - 2).item() == pytest.approx(1 / 10)


def test_constant_pictures_have_none() -> None:
    flat = torch.full((2, 3, 9, 14), 0.7)
    torch.testing.assert_close(highpass(flat), torch.zeros_like(flat), atol=1e-6, rtol=0)
    assert high_frequency_energy(flat).tolist() == pytest.approx([0, 0], abs=1e-12)
    assert high_frequency_share(torch.zeros(2, 1, 4, 4)).tolist() == [0, 0]


def test_differentiable() -> None:
    picture = torch.rand(2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(highpass, picture)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 23), st.integers(1, 23), st.integers(0, 2**31))
def test_no_mean_passes_and_mirrors_commute(height: int, width: int, seed: int) -> None:
    batch = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    high = highpass(batch)
    torch.testing.assert_close(high.mean((-2, -1)), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(high.flip(-1), highpass(batch.flip(-1)), atol=1e-5, rtol=0)


def test_spectrogram_of_a_wave() -> None:
    """Gray levels 100 + 50 cos: the sum of all in the corner, and half the wave's in either of its two places."""
    spectrum = spectrogram((100 + 50 * wave(9)).expand(3, 64, 64))
    expected = torch.zeros(1, 64, 64, dtype=torch.float64)
    expected[0, 0, 0] = math.log(1 + 100 * 64 * 64)
    expected[0, 0, 9] = expected[0, 0, 55] = math.log(1 + 25 * 64 * 64)
    torch.testing.assert_close(spectrum, expected)


def test_spectrogram_is_numpys() -> None:
    rgb = torch.randint(256, (3, 15, 22), dtype=torch.uint8)
    gray = np.tensordot([0.299, 0.587, 0.114], rgb.numpy().astype(float), 1)
    expected = np.log(1 + np.abs(np.fft.fft2(gray)))
    assert spectrogram(rgb)[0].numpy() == pytest.approx(expected, abs=1e-4)
    assert spectrogram(torch.full((3, 8, 8), 10.0))[0, 4, 4] == pytest.approx(0, abs=1e-3)  # the highest, in the centre


def test_unusable_input_is_refused() -> None:
    for cutoff in (0, -1, math.nan):
        with pytest.raises(ConfigError, match="cutoff is"):
            highpass(torch.rand(1, 4, 4), cutoff=cutoff)
    for function in (highpass, high_frequency_energy, high_frequency_share):
        with pytest.raises(ValueError, match="C, H, W"):
            function(torch.rand(4, 4))
    with pytest.raises(ValueError, match="3, H, W"):
        spectrogram(torch.rand(1, 4, 4))
