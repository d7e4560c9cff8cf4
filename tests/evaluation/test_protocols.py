"""Each protocol's rules, and the published bicubic rows, to which every restored picture is compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_for_evaluation import benchmark, made_sources, model_file, picture

from acutance.config.metrics import PROTOCOLS
from acutance.data.datasets import Source
from acutance.data.pictures import read_picture, write_picture
from acutance.errors import DataError
from acutance.evaluation.evaluate import evaluate_one
from acutance.evaluation.metrics import measure
from acutance.evaluation.pictures import bicubic, bicubic_for, pair_for, read_pair, reduced
from acutance.models.model_file import load_model
from free_pictures import PICTURES, VALUES


def bicubic_row(data_root: Path, dataset: str, protocol: str, *metrics: str) -> list[float]:
    """The means of the bicubic candidate over a benchmark at x4."""
    rules, rows = PROTOCOLS[protocol], []
    for source in benchmark(data_root, dataset):
        lr, truth = pair_for(rules, dataset, source, 4)
        found = measure(bicubic_for(rules, lr, truth, 4), truth, metrics=metrics, protocol=protocol, scale=4)
        rows.append([found.values[name] for name in metrics])
    return list(np.mean(np.array(rows, float), axis=0))


def test_rgb_crop4_comes_as_near_to_the_bicubic_row_of_esrgan_dp_as_its_lr_allows(data_root: Path) -> None:
    psnr, ssim = bicubic_row(data_root, "Set5", "rgb_crop4", "psnr_rgb", "ssim_rgb")
    assert psnr == pytest.approx(26.69, abs=0.03)
    assert ssim == pytest.approx(0.7736, abs=0.0005)


@pytest.mark.usefixtures("niqe_parameters")
@pytest.mark.parametrize("name", PICTURES)
def test_the_bicubic_row_of_a_photograph_is_that_of_basicsr_and_scikit_image(name: str, tmp_path: Path) -> None:
    """Reduced and enlarged by MATLAB's rules, measured on RGB and on Y; see oracles/make.py."""
    write_picture(tmp_path / "a.png", PICTURES[name])
    expected, rules = VALUES[name]["bicubic"], PROTOCOLS["rgb_crop4"]
    lr, truth = pair_for(rules, "any", Source("a", str(tmp_path / "a.png")), 4)
    found = measure(bicubic_for(rules, lr, truth, 4), truth, metrics=list(expected), protocol="rgb_crop4", scale=4)
    niqe, theirs = found.values.pop("niqe"), expected["niqe"]
    # BasicSR resizes in float32: of thousands of values one or two fall to the other side of a half.
    assert found.values == pytest.approx({name: value for name, value in expected.items() if name != "niqe"}, rel=1e-4)
    assert niqe == pytest.approx(theirs, abs=5e-3)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_described_in_two_lines(name: str) -> None:
    lines = PROTOCOLS[name].description.splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize(
    ("protocol", "scale", "border"), [("y_crop4", 4, 4), ("dsrgan", 4, 4), ("rgb_crop4", 4, 4), ("wdsr", 2, 8)]
)
def test_plane_and_colours_lose_the_same_border(protocol: str, scale: int, border: int) -> None:
    shown = picture(40, 32)
    colours = PROTOCOLS[protocol].cropped(shown, scale)
    assert np.array_equal(colours, shown[border:-border, border:-border])
    assert PROTOCOLS[protocol].plane(shown, scale).shape == colours.shape[:2]
    assert PROTOCOLS[protocol].cropped(shown[:border], scale).size == 0


def test_the_truth_is_cut_as_the_protocol_asks_and_the_lr_fits_it(tmp_path: Path) -> None:
    (source,) = made_sources(tmp_path, [(58, 67)])
    sizes = {("y_crop4", "Set5"): (56, 64), ("dsrgan", "Set5"): (48, 60), ("dsrgan", "BSD100"): (56, 64)}
    sizes |= {("rgb_crop4", "BSD100"): (48, 60), ("wdsr", "Set5"): (56, 64)}
    for (name, dataset), (height, width) in sizes.items():
        lr, truth = pair_for(PROTOCOLS[name], dataset, source, 4)
        assert np.array_equal(truth, read_picture(source.path)[:height, :width]), name
        assert lr.shape == (height // 4, width // 4, 3)
        assert lr.dtype == np.uint8


def test_a_multiple_is_one_of_the_scale_too() -> None:
    assert [PROTOCOLS["rgb_crop4"].modulus("any", scale) for scale in (2, 3, 4, 8)] == [12, 12, 12, 24]
    assert PROTOCOLS["y_crop4"].modulus("Set5", 3) == 3


def test_dsrgans_bicubic_starts_from_the_unrounded_lr_and_models_from_the_rounded_one(tmp_path: Path) -> None:
    (source,), rules = made_sources(tmp_path, [(60, 72)]), PROTOCOLS["dsrgan"]
    lr, truth = pair_for(rules, "Set5", source, 4)
    unrounded = reduced(truth, 4)
    assert np.abs(unrounded.clip(0, 255) - lr).max() <= 0.5
    assert not np.array_equal(lr, read_pair(source, 4)[0][: lr.shape[0], : lr.shape[1]])
    shown = bicubic_for(rules, lr, truth, 4)
    assert np.array_equal(shown, bicubic(unrounded, 4))
    assert not np.array_equal(shown, bicubic(lr, 4))
    assert np.array_equal(bicubic_for(PROTOCOLS["rgb_crop4"], lr, truth, 4), bicubic(lr, 4))


def test_reducing_keeps_a_flat_picture_and_does_not_round() -> None:
    assert reduced(np.full((16, 24, 3), 77, np.uint8), 4) == pytest.approx(np.full((4, 6, 3), 77.0))
    values = reduced(picture(16, 24), 4)
    assert values.dtype == np.float64
    assert not np.array_equal(values, np.round(values))


def test_a_network_is_measured_by_the_rules_of_its_protocol_and_data_set(tmp_path: Path) -> None:
    network, description = load_model(model_file(tmp_path / "model.safetensors"))
    pictures = made_sources(tmp_path, [(70, 67)])
    sources = {"Set5": pictures, "other": pictures}
    found = evaluate_one(network, description, sources, scale=4, protocol="dsrgan", metrics=["psnr_y", "psnr_rgb"])
    in_set5, elsewhere = (found.mean("candidate", "psnr_rgb", dataset) for dataset in sources)
    assert in_set5 is not None
    assert in_set5 != elsewhere


def test_a_picture_smaller_than_the_multiple_is_refused(tmp_path: Path) -> None:
    (source,) = made_sources(tmp_path, [(11, 40)])
    with pytest.raises(DataError, match="12 pixels"):
        pair_for(PROTOCOLS["rgb_crop4"], "any", source, 4)
