from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import lpips as lpips_package
import numpy as np
import pytest
import torch
import torchvision
from made_for_evaluation import benchmark, build_backbone, picture
from PIL import Image
from safetensors.torch import save_file

from acutance.data.pictures import read_picture
from acutance.errors import WeightsError
from acutance.evaluation import perceptual
from acutance.evaluation.perceptual import BACKBONES, Network, distances, lpips
from acutance.evaluation.unmeasurable import Unmeasurable


@pytest.mark.parametrize("network", BACKBONES)
def test_equals_the_package_with_the_same_weights(
    network: Network, made_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_backbone(network)
    stored = torch.load(made_weights / BACKBONES[network].file, weights_only=True)
    model.load_state_dict({name.removeprefix("features."): tensor for name, tensor in stored.items()})
    constructor = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}[network]
    monkeypatch.setattr(torchvision.models, constructor, lambda pretrained: SimpleNamespace(features=model))
    theirs = lpips_package.LPIPS(net=network, pnet_rand=True, verbose=False)
    restored, truth = picture(67, 90), picture(67, 90, seed=1)
    tensors = [torch.from_numpy(shown).permute(2, 0, 1)[None] / 127.5 - 1 for shown in (restored, truth)]
    with torch.inference_mode():
        expected = float(theirs(*tensors))
    assert expected > 1e-3
    assert lpips(restored, truth, network=network) == pytest.approx(expected, rel=1e-5)
    assert distances(*tensors, network=network).tolist() == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize("network", BACKBONES)
@pytest.mark.usefixtures("made_weights")
def test_identical_pictures_are_at_distance_0(network: Network) -> None:
    shown = picture(60, 80)
    assert lpips(shown, shown, network=network) == 0


def test_features_that_vanish_are_at_distance_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {
        f"features.{name}": torch.zeros_like(tensor) for name, tensor in build_backbone("squeeze").state_dict().items()
    }
    torch.save(nothing, tmp_path / BACKBONES["squeeze"].file)
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))
    assert lpips(picture(40, 40), picture(40, 40, seed=1), network="squeeze") == 0


@pytest.mark.usefixtures("made_weights")
def test_a_view_of_a_picture_is_measured_like_its_copy() -> None:
    shown, other = picture(60, 80), picture(60, 80, seed=1)
    turned = lpips(shown[::-1, ::-1], other[::-1, ::-1], network="alex")
    assert turned == lpips(shown[::-1, ::-1].copy(), other[::-1, ::-1].copy(), network="alex")


@pytest.mark.usefixtures("weights")
def test_the_mean_of_set5_enlarged_by_another_bicubic(data_root: Path) -> None:
    found = []
    for source in benchmark(data_root, "Set5"):
        truth = read_picture(source.path)
        lr = Image.fromarray(read_picture(source.lr_paths[4]))
        enlarged = lr.resize(truth.shape[1::-1], Image.Resampling.BICUBIC)
        found.append(lpips(np.asarray(enlarged), truth, network="squeeze"))
    assert np.mean(found) == pytest.approx(0.286, abs=1e-3)


@pytest.mark.parametrize("network", BACKBONES)
def test_building_it_is_silent_and_leaves_the_random_state_alone(
    network: Network, made_weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        perceptual._network.__wrapped__(network, made_weights / BACKBONES[network].file)
    assert torch.equal(before, torch.random.get_rng_state())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("network", BACKBONES)
@pytest.mark.usefixtures("made_weights")
def test_smallest_picture(network: Network) -> None:
    least = BACKBONES[network].least
    smallest = picture(least, least), picture(least, least, seed=1)
    assert lpips(*smallest, network=network) > 0
    with pytest.raises(Unmeasurable, match=rf"{network}\) needs {least} pixels"):
        lpips(*(shown[1:] for shown in smallest), network=network)


@pytest.mark.parametrize("network", BACKBONES)
@pytest.mark.usefixtures("no_weights")
def test_a_missing_file_is_named_and_nothing_is_downloaded(network: Network) -> None:
    with pytest.raises(WeightsError, match=BACKBONES[network].file):
        lpips(picture(40, 40), picture(40, 40), network=network)


@pytest.mark.parametrize("kind", ["empty", "noise", "other weights", "no weights", "a list"])
def test_a_wrong_weights_file_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "squeezenet1_1-b8a52dc0.pth"
    if kind == "other weights":
        torch.save({"features.0.weight": torch.zeros(2, 2)}, file)
    elif kind == "no weights":
        save_file({"features.0.weight": torch.zeros(2)}, file)
    elif kind == "a list":
        torch.save([torch.zeros(2)], file)
    else:
        file.write_bytes(b"" if kind == "empty" else bytes(range(256)) * 4)
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="SqueezeNet") as caught:
        lpips(picture(40, 40), picture(40, 40), network="squeeze")
    assert caught.value.exit_code == 2
    assert caught.value.where == str(file)


def test_a_missing_layer_is_named(made_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = BACKBONES["alex"].file
    stored = torch.load(made_weights / file, weights_only=True)
    del stored["features.8.bias"]
    torch.save(stored, tmp_path / file)
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"AlexNet .*it lacks features\.8\.bias") as caught:
        lpips(picture(40, 40), picture(40, 40), network="alex")
    assert caught.value.where == str(tmp_path / file)
