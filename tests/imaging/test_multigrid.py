"""Weighted least squares smoothing by multigrid agrees with the direct solution of the same system."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acutance.errors import AcutanceError
from acutance.imaging.detail import solve_exactly
from acutance.imaging.multigrid import DENSE, smooth
from free_pictures import PICTURES


def exactly(picture: np.ndarray, weight_h: np.ndarray, weight_v: np.ndarray) -> np.ndarray:
    return solve_exactly(*map(torch.from_numpy, (picture, weight_h, weight_v))).numpy()


def farbman(picture: np.ndarray, lam: float = 1.0) -> list[np.ndarray]:
    """Return the weights of DSRGAN's comparison, from equal neighbours' 1e4 to a hundredth across edges."""
    logs = np.log(picture + 1e-4)
    return [lam / (np.abs(np.diff(logs, axis=axis)) ** 1.2 + 1e-4) for axis in (1, 0)]


@pytest.mark.parametrize("lam", [0.01, 1.0, 100.0])
def test_a_photograph(lam: float) -> None:
    picture = PICTURES["coffee"][100:240, 150:350, 1] / 255
    u = exactly(picture, *farbman(picture, lam))
    found = smooth(picture, *farbman(picture, lam))
    assert np.linalg.norm(found - u) <= 2e-4 * np.linalg.norm(u)
    closer = smooth(picture, *farbman(picture, lam), accuracy=1e-8)
    assert np.linalg.norm(closer - u) <= 2e-8 * np.linalg.norm(u)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(-6, 4), st.integers(0, 2**32 - 1))
def test_any_size_and_any_weights(height: int, width: int, most: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    picture = draw.random((height, width))
    weights = [10 ** draw.uniform(-6, most, (height - down, width - 1 + down)) for down in (0, 1)]
    weights[0][draw.random(weights[0].shape) < 0.1] = 0
    u = exactly(picture, *weights)
    assert np.linalg.norm(smooth(picture, *weights, accuracy=1e-7) - u) <= 1e-6 * np.linalg.norm(u)


def test_a_flat_picture_stays_as_it_is() -> None:
    flat = np.full((40, 50), 0.25)
    np.testing.assert_allclose(smooth(flat, *farbman(flat)), flat, rtol=1e-12)


def test_pixels_that_are_no_numbers_are_an_error() -> None:
    picture = np.full((40, 50), 0.5)
    weights = farbman(picture)
    picture[3, 4] = np.nan
    assert picture.size > DENSE
    with pytest.raises(AcutanceError, match="did not converge"):
        smooth(picture, *weights)
