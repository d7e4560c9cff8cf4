from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from made_for_evaluation import benchmark, picture
from PIL import Image
from safetensors.torch import save_file

from acutance.data.pictures import read_picture
from acutance.errors import WeightsError
from acutance.evaluation import perceptual
from acutance.evaluation.perceptual import lpips_squeeze
from acutance.evaluation.unmeasurable import Unmeasurable


@pytest.mark.usefixtures("weights")
def test_the_value_that_torchmetrics_documents() -> None:
    generator = torch.manual_seed(42)
    first = torch.rand(2, 3, 100, 100, generator=generator) * 2 - 1
    second = torch.rand(2, 3, 100, 100, generator=generator) * 2 - 1
    distances = perceptual._network()(first, second).flatten()
    assert distances.tolist() == pytest.approx([0.1024, 0.0938], abs=5e-5)


@pytest.mark.usefixtures("weights")
def test_identical_pictures_are_at_distance_0() -> None:
    shown = picture(60, 80)
    assert lpips_squeeze(shown, shown) == 0


@pytest.mark.usefixtures("weights")
def test_the_mean_of_set5_enlarged_by_another_bicubic(data_root: Path) -> None:
    distances = []
    for source in benchmark(data_root, "Set5"):
        truth = read_picture(source.path)
        lr = Image.fromarray(read_picture(source.lr_paths[4]))
        enlarged = lr.resize(truth.shape[1::-1], Image.Resampling.BICUBIC)
        distances.append(lpips_squeeze(np.asarray(enlarged), truth))
    assert np.mean(distances) == pytest.approx(0.286, abs=1e-3)


@pytest.mark.usefixtures("weights")
def test_building_it_is_silent_and_leaves_the_random_state_alone(capfd: pytest.CaptureFixture[str]) -> None:
    perceptual._network.cache_clear()
    before = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        perceptual._network()
    assert torch.equal(before, torch.random.get_rng_state())
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("weights")
def test_smallest_picture() -> None:
    assert lpips_squeeze(picture(17, 17), picture(17, 17, seed=1)) > 0
    with pytest.raises(Unmeasurable, match="17"):
        lpips_squeeze(picture(16, 40), picture(16, 40, seed=1))


@pytest.mark.parametrize("kind", ["empty", "noise", "other weights", "no weights"])
def test_a_wrong_weights_file_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "squeezenet1_1-b8a52dc0.pth"
    if kind == "other weights":
        torch.save({"features.0.weight": torch.zeros(2, 2)}, file)
    elif kind == "no weights":
        save_file({"features.0.weight": torch.zeros(2)}, file)
    else:
        file.write_bytes(b"" if kind == "empty" else bytes(range(256)) * 4)
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))
    perceptual._network.cache_clear()
    with pytest.raises(WeightsError, match="squeezenet1_1") as caught:
        lpips_squeeze(picture(40, 40), picture(40, 40))
    assert caught.value.exit_code == 2
    perceptual._network.cache_clear()
