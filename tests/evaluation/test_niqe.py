from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_for_evaluation import picture
from scipy.ndimage import convolve
from scipy.special import gamma

from acutance.config.metrics import PROTOCOLS
from acutance.data.pictures import read_picture
from acutance.errors import WeightsError
from acutance.evaluation.compiled import contrast_normalised
from acutance.evaluation.niqe import ROUNDING, niqe
from acutance.evaluation.unmeasurable import Unmeasurable
from acutance.imaging.resize import imresize
from free_pictures import PICTURES, VALUES

SHAPES = np.arange(0.2, 10.001, 0.001)


def plane(height: int, width: int) -> np.ndarray:
    return PROTOCOLS["y_crop4"].plane(picture(height + 8, width + 8), 4)


def moments_fit(block: np.ndarray) -> tuple[float, float, float]:
    """The estimator as published, one block at a time, the shape by exhaustive search."""
    left = np.sqrt(np.mean(block[block < 0] ** 2))
    right = np.sqrt(np.mean(block[block > 0] ** 2))
    skew = left / right
    ratio = np.mean(np.abs(block)) ** 2 / np.mean(block**2) * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    table = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))
    alpha = SHAPES[np.argmin((table - ratio) ** 2)]
    spread = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    return alpha, left * spread, right * spread


def block_features(block: np.ndarray) -> list[float]:
    alpha, left, right = moments_fit(block)
    features = [alpha, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        alpha, left, right = moments_fit(block * np.roll(block, shift, axis=(0, 1)))
        features += [alpha, (right - left) * gamma(2 / alpha) / gamma(1 / alpha), left, right]
    return features


def plain_niqe(image: np.ndarray, parameters: dict[str, np.ndarray]) -> float:
    """The definition, block by block and with a two-dimensional window."""
    rows, columns = image.shape[0] // 96, image.shape[1] // 96
    image = image[: rows * 96, : columns * 96]
    scales = []
    for side in (96, 48):
        mu = convolve(image, parameters["gaussian_window"], mode="nearest")
        variance = convolve(image**2, parameters["gaussian_window"], mode="nearest") - mu**2
        normalised = (image - mu) / (np.sqrt(np.abs(variance)) + 1)
        blocks = [
            normalised[r * side : (r + 1) * side, c * side : (c + 1) * side]
            for r in range(rows)
            for c in range(columns)
        ]
        scales.append([block_features(block) for block in blocks])
        image = imresize(torch.from_numpy(image)[None], 0.5)[0].numpy()
    features = np.concatenate(scales, axis=1)
    distance = parameters["mu_pris_param"].ravel() - features.mean(axis=0)
    pooled = (parameters["cov_pris_param"] + np.cov(features, rowvar=False)) / 2
    return float(np.sqrt(distance @ np.linalg.pinv(pooled) @ distance))


def test_equals_the_definition_taken_block_by_block(niqe_parameters: Path) -> None:
    parameters = dict(np.load(niqe_parameters))
    image = plane(210, 300)
    assert niqe(image) == pytest.approx(plain_niqe(image, parameters), abs=1e-6)


@pytest.mark.usefixtures("niqe_parameters")
@pytest.mark.parametrize("name", PICTURES)
def test_photographs_have_the_values_that_basicsr_gives_them(name: str) -> None:
    """Which computes in float32."""
    assert niqe(PROTOCOLS["y_crop4"].plane(PICTURES[name], 0)) == pytest.approx(VALUES[name]["niqe"], abs=1e-3)


@pytest.mark.usefixtures("niqe_parameters")
def test_the_baboon_has_the_value_that_matlab_gives_it(data_root: Path) -> None:
    baboon = read_picture(data_root / "benchmarks" / "Set14" / "HR" / "img_001.png")
    assert niqe(PROTOCOLS["y_crop4"].plane(baboon, 0)) == pytest.approx(5.7296, abs=5e-4)


@pytest.mark.parametrize("size", [(95, 400), (96, 191), (0, 0)])
@pytest.mark.usefixtures("niqe_parameters")
def test_fewer_than_two_blocks_have_no_value(size: tuple[int, int]) -> None:
    with pytest.raises(Unmeasurable, match="two blocks"):
        niqe(np.zeros(size))


@pytest.mark.usefixtures("niqe_parameters")
def test_the_layout_in_memory_does_not_matter() -> None:
    image = plane(200, 300)
    assert niqe(np.asfortranarray(image)) == niqe(np.tile(image, (1, 2))[:, :300]) == niqe(image)
    assert niqe(image.astype(np.uint8)) == niqe(image)


@pytest.mark.usefixtures("niqe_parameters")
def test_two_blocks_are_enough() -> None:
    assert 2 < niqe(plane(96, 192)) < 60


@pytest.mark.usefixtures("niqe_parameters")
def test_a_flat_picture_has_no_value() -> None:
    with pytest.raises(Unmeasurable, match="flat"):
        niqe(np.full((200, 300), 111.0))


@pytest.mark.usefixtures("niqe_parameters")
def test_a_flat_part_does_not_spoil_the_rest_nor_do_its_rounding_errors_count() -> None:
    image = plane(192, 288)
    image[:96, :96] = 111
    first = niqe(image)
    image[:96, :96] = 97
    assert np.isfinite(first)
    assert niqe(image) == pytest.approx(first, abs=0.2)


@pytest.mark.parametrize("level", [16, 97, 111, 111.37, 235])
def test_a_flat_area_has_no_contrast_not_even_by_rounding(level: float) -> None:
    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    normalised = contrast_normalised(np.full((60, 70), level), window / window.sum(), ROUNDING)
    assert np.array_equal(normalised, np.zeros((60, 70)))


def test_a_damaged_parameter_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "niqe_pris_params.npz").write_bytes(b"PK\x03\x04 not what it says")
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"niqe_pris_params\.npz"):
        niqe(plane(96, 192))
