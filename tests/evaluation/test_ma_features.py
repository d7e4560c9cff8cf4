"""Ma's features against the authors' MATLAB code.

The golden numbers are what `feature_all.m` of github.com/chaoma99/sr-metric returns in GNU Octave 7.3 with its own
matlabPyrTools. `blkproc`, `dct2` and `imresize` were written after their documentation, as Octave has none or others.
IQA-PyTorch's NRQM agrees on sides that are multiples of 60, except where it departs from that code: it takes one value
more into the least tenth and one less into the greatest, gives the sixth orientation a parent, and has no negative
structure.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acutance.config.metrics import PROTOCOLS
from acutance.data.pictures import read_picture
from acutance.evaluation.ma.features import features
from acutance.evaluation.ma.generalised_gaussian import shape
from acutance.evaluation.ma.steerable_pyramid import steerable_pyramid
from acutance.evaluation.unmeasurable import Unmeasurable

# fmt: off
GOLDEN: dict[str, dict[str, list[float]]] = {
    "waves": {
        "local": [0.245491, 0.342871, 3.854857, 2.95584, 1.076962, 0.4358, 0.284795, 0.402867, 2.873185, 2.164831,
                  0.73945, 0.269535, 0.381273, 0.561209, 2.023831, 1.532547, 0.315548, 0.096285],
        "shapes": [1.222, 1.152, 1.301, 1.885, 1.55, 1.582, 2.671, 7.292, 10.0, 1.516, 1.267, 4.701, 0.288, 0.297,
                   0.321, 0.459, 0.46, 0.327],
        "structure": [0.995422, 0.995534, 0.99512, 0.995242, 0.996544, 0.997118, 0.298975, 0.220175, 0.387005,
                      0.857863, 0.946478, 0.711106, 0.998352, 0.995633, 0.98487, 0.992789, 0.992074, 0.998349,
                      0.987635, 0.995069, 0.995545, 0.991804, 0.995858, 0.996227, 0.992395, 0.987526, 0.997283],
        "singular": [65.27951, 12.86428, 0.14038, 0.02543, 31.18502, 0.00814, 14.81509, 0.00619],
    },
    "img_002": {
        "local": [0.265347, 1.088579, 3.301497, 1.997418, 0.771635, 0.226425, 0.287507, 0.91002, 2.894727, 1.747629,
                  0.604823, 0.175271, 0.318569, 0.727153, 2.546815, 1.54456, 0.407729, 0.126481],
        "shapes": [1.459, 1.948, 1.951, 1.487, 1.613, 1.864, 1.42, 2.012, 1.875, 1.509, 1.658, 1.806, 0.446, 0.469,
                   0.456, 0.462, 0.46, 0.476],
        "structure": [0.914237, 0.922406, 0.936595, 0.938191, 0.932086, 0.92697, 0.558349, 0.573192, 0.653367,
                      0.692041, 0.668478, 0.606719, 0.978469, 0.94703, 0.933623, 0.919848, 0.870347, 0.978437,
                      0.950608, 0.938679, 0.909636, 0.983338, 0.962071, 0.942973, 0.985305, 0.955615, 0.97808],
        "singular": [103.74085, 8.87657, 0.8493, 0.13496, 51.21465, 0.27092, 25.13876, 0.24351],
    },
    "img_003": {
        "local": [0.295067, 0.722039, 2.777992, 1.578532, 0.573305, 0.152134, 0.296435, 0.666423, 2.824089, 1.59376,
                  0.563386, 0.155091, 0.337311, 0.729431, 2.396736, 1.376633, 0.366417, 0.097606],
        "shapes": [1.561, 1.582, 1.564, 1.413, 1.974, 1.548, 1.415, 1.26, 1.321, 1.163, 2.114, 1.577, 0.489, 0.522,
                   0.498, 0.446, 0.511, 0.487],
        "structure": [0.645722, 0.67109, 0.662031, 0.633001, 0.607565, 0.602761, 0.369294, 0.472486, 0.434605,
                      0.340597, 0.245812, 0.27856, 0.893073, 0.786643, 0.704693, 0.558546, 0.438998, 0.922882, 0.79,
                      0.695385, 0.640253, 0.903569, 0.760315, 0.688412, 0.891317, 0.727418, 0.887717],
        "singular": [128.77685, 19.0235, 2.59305, 0.56488, 62.89766, 0.84568, 30.56728, 0.48591],
    },
    "img_005": {
        "local": [0.271358, 0.624521, 3.30895, 1.902849, 0.829036, 0.222381, 0.274904, 0.597907, 3.110198, 1.766266,
                  0.672499, 0.186759, 0.279778, 0.634137, 3.065569, 1.675171, 0.503019, 0.154635],
        "shapes": [1.678, 1.725, 1.631, 1.473, 1.902, 2.036, 1.47, 1.419, 1.328, 1.231, 1.735, 1.667, 0.487, 0.515,
                   0.502, 0.477, 0.524, 0.509],
        "structure": [0.834894, 0.845367, 0.849864, 0.852884, 0.852273, 0.837355, 0.541792, 0.613251, 0.633678,
                      0.63094, 0.60661, 0.546719, 0.948945, 0.874745, 0.853612, 0.827188, 0.730852, 0.947433,
                      0.887914, 0.865674, 0.809322, 0.959102, 0.903065, 0.855256, 0.959083, 0.885406, 0.952249],
        "singular": [145.92518, 11.91474, 1.58156, 0.30608, 72.15401, 0.52477, 35.4917, 0.32151],
    },
}
# fmt: on
SINGULAR = [0, 1, 12, 24, 25, 49, 50, 74]
"""Which singular values are among the golden numbers: greatest and least of each scale, and two more."""


def waves() -> np.ndarray:
    row, column = np.mgrid[:113, :134]
    return np.floor(128 + 60 * np.sin(row / 5 + (column / 9) ** 1.5) + 40 * np.cos(row * column / 300) + 0.5)


def agrees(plane: np.ndarray, golden: dict[str, list[float]]) -> None:
    local, frequency, singular = features(plane)
    np.testing.assert_allclose(local, golden["local"], rtol=0, atol=1e-6)
    # shapes come from a table of step 0.001
    np.testing.assert_allclose(frequency[:18], golden["shapes"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(frequency[18:], golden["structure"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(singular[SINGULAR], golden["singular"], rtol=0, atol=1e-5)
    assert (len(local), len(frequency), len(singular)) == (18, 45, 75)


def test_features_of_odd_sides_are_those_of_the_authors_code() -> None:
    agrees(waves(), GOLDEN["waves"])


@pytest.mark.parametrize("name", ["img_002", "img_003", "img_005"])
def test_features_of_photographs_are_those_of_the_authors_code(name: str, data_root: Path) -> None:
    picture = read_picture(data_root / "benchmarks" / "Set5" / "HR" / f"{name}.png")
    agrees(PROTOCOLS["y_crop4"].plane(picture, 4), GOLDEN[name])


@pytest.mark.parametrize("size", [(44, 200), (83, 83), (45, 160)])
def test_a_picture_for_which_the_authors_code_fails_has_no_value(size: tuple[int, int]) -> None:
    with pytest.raises(Unmeasurable, match=rf"45 pixels on a side.*{size[1]}x{size[0]} are left"):
        features(np.random.default_rng(0).integers(16, 236, size).astype(float))


@pytest.mark.parametrize("size", [(84, 84), (45, 164)])
def test_the_smallest_picture_for_which_it_does_not(size: tuple[int, int]) -> None:
    families = features(np.random.default_rng(0).integers(16, 236, size).astype(float))
    assert all(np.isfinite(family).all() for family in families)


@pytest.mark.parametrize("level", [0.0, 117.3, 255.0])
def test_a_constant_picture_has_no_value(level: float) -> None:
    with pytest.raises(Unmeasurable, match="without structure"):
        features(np.full((90, 121), level))


def test_half_a_constant_picture_has() -> None:
    plane = waves()
    plane[:, 60:] = 117
    assert all(np.isfinite(family).all() for family in features(plane))


def test_the_plane_is_left_alone() -> None:
    plane = waves()
    features(plane)
    np.testing.assert_array_equal(plane, waves())


def test_shapes_are_those_the_samples_were_drawn_from() -> None:
    random = np.random.default_rng(0)
    samples = [
        random.laplace(3, 2, 200_000),
        random.normal(-1, 5, 200_000),
        random.uniform(0, 1, 200_000),
        np.zeros(200_000),
    ]
    np.testing.assert_allclose(shape(np.array(samples)), [1, 2, 10, 10], atol=0.03)


def test_a_wave_is_in_its_level_and_orientation_and_loses_no_energy() -> None:
    """Half of Nyquist passes the first level whole; the rows' direction is the first of six."""
    column = np.arange(128) * np.pi / 2
    highpass, levels = steerable_pyramid(np.tile(50 * np.cos(column), (96, 1)))
    energy = np.square(levels[0]).mean(axis=(1, 2))
    assert np.abs(highpass).max() < 1e-9
    assert energy.sum() == pytest.approx(50**2 / 2, rel=1e-4)
    assert energy.argmax() == 0
    assert energy[1] == pytest.approx(energy[5])
    assert energy[3] < 1e-9
    assert [band.shape for band in levels] == [(6, 96, 128), (6, 48, 64)]
