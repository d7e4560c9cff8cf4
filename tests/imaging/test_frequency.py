import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acutance.imaging import high_frequency_energy, high_frequency_share, highpass


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


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 23), st.integers(1, 23), st.integers(0, 2**31))
def test_any_size(height: int, width: int, seed: int) -> None:
    batch = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    high = highpass(batch)
    assert high.shape == batch.shape
    assert high.dtype == torch.float32
    torch.testing.assert_close(high.mean((-2, -1)), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(high[1], highpass(batch[1]))
    torch.testing.assert_close(high.flip(-1), highpass(batch.flip(-1)), atol=1e-5, rtol=0)
    share = high_frequency_share(batch)
    assert share.shape == (2,)
    assert ((share >= 0) & (share <= 1)).all()
