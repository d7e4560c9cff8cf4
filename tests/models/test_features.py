"""Feature networks against torchvision's own way of looking into a classifier."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor
from torchvision.models.feature_extraction import create_feature_extractor

from acutance import parts
from acutance.errors import ConfigError, WeightsError
from acutance.models.features import DEVIATION, MEAN, VGG19, FeatureNetwork, ResNet50, SqueezeNet
from acutance.weights import KNOWN

NODES = {
    "vgg19": {"conv1_1": "features.0", "relu1_1": "features.1", "conv3_4": "features.16", "conv5_4": "features.34"},
    "resnet50": {"b11": "layer1.0", "b13": "layer1.2", "b24": "layer2.3", "b36": "layer3.5", "b43": "layer4.2"},
    "squeezenet": {"conv1": "features.0", "relu1": "features.1", "fire3": "features.4", "fire9": "features.12"},
}
CLASSIFIERS: dict[str, Any] = {
    "vgg19": torchvision.models.vgg19,
    "resnet50": torchvision.models.resnet50,
    "squeezenet": torchvision.models.squeezenet1_1,
}


def made_file(name: str, folder: Path) -> tuple[torch.nn.Module, Path]:
    """Write random weights in torchvision's layout; return the classifier that has them, without its head's size."""
    torch.manual_seed(1)
    more = {"vgg19": {"init_weights": False}}.get(name, {})
    classifier = CLASSIFIERS[name](weights=None, num_classes=2, **more).eval()
    path = folder / parts.find("feature_network", name).file
    torch.save(classifier.state_dict(), path)
    return classifier, path


def picture(side: int = 64) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["squeezenet", "resnet50"])
def test_features_are_those_that_torchvision_finds(name: str, tmp_path: Path) -> None:
    classifier, path = made_file(name, tmp_path)
    network = parts.find("feature_network", name)().eval()
    network.fill(path)
    for layer in classifier.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.inplace = False
    theirs = create_feature_extractor(classifier, {node: layer for layer, node in NODES[name].items()})
    normalised = (picture() - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    found = network.features(picture(), tuple(NODES[name]))
    assert found.keys() == NODES[name].keys()
    for layer, expected in theirs(normalised).items():
        torch.testing.assert_close(found[layer], expected, msg=lambda text, layer=layer: f"{layer}: {text}")


def test_vgg19_looks_where_torchvision_has_its_layers() -> None:
    network = VGG19()
    assert NODES["vgg19"].items() <= VGG19.nodes.items()
    assert len(network.layers) == 32
    for layer, node in VGG19.nodes.items():
        kind = torch.nn.Conv2d if layer.startswith("conv") else torch.nn.ReLU
        assert isinstance(network.classifier.get_submodule(node), kind)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("vgg19", {"conv5_4": (512, 8, 8)}),
        ("resnet50", {"b13": (256, 32, 32), "b24": (512, 16, 16), "b36": (1024, 8, 8), "b43": (2048, 4, 4)}),
    ],
)
def test_maps_of_128_pixels(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    network = parts.find("feature_network", name)().to("meta")
    found = network.features(torch.empty(1, 3, 128, 128, device="meta"), tuple(shapes))
    assert {layer: tuple(maps.shape[1:]) for layer, maps in found.items()} == shapes


def test_what_lies_behind_the_last_layer_is_not_computed() -> None:
    network = SqueezeNet(weights="none")
    assert set(network.features(picture(), ("fire3", "conv1"))) == {"conv1", "fire3"}
    fire4 = network.classifier.get_submodule(f"{SqueezeNet.nodes['fire4']}.squeeze")
    fire4.register_forward_hook(lambda *_: pytest.fail("fire4 was computed"))
    assert set(network.features(picture(), ("fire3", "conv1"))) == {"conv1", "fire3"}


def test_a_copy_has_the_same_features() -> None:
    network = ResNet50(weights="none").eval()
    before = network.features(picture(), ("b11",))["b11"]
    assert torch.equal(copy.deepcopy(network).features(picture(), ("b11",))["b11"], before)
    assert not any(module.training for module in network.modules()), "looking into it leaves its mode as it was"


def test_an_activation_does_not_overwrite_the_layer_before_it() -> None:
    found = SqueezeNet(weights="none").features(picture(), ("conv1", "relu1"))
    assert (found["conv1"] < 0).any()
    torch.testing.assert_close(found["relu1"], found["conv1"].relu())


def test_batch_normalisation_by_the_batch_or_by_what_was_published(tmp_path: Path) -> None:
    _, path = made_file("resnet50", tmp_path)

    def seen(statistics: str) -> tuple[Tensor, ResNet50]:
        network = ResNet50(statistics=statistics)  # type: ignore[arg-type]
        network.fill(path)
        network.eval().requires_grad_(False)
        return network.features(picture(), ("b11",))["b11"], network

    running, _ = seen("running")
    batch, network = seen("batch")
    assert not torch.allclose(running, batch)
    alone = network.features(picture()[:1], ("b11",))["b11"]
    assert not torch.allclose(alone, batch[:1])
    stored = torch.load(path, weights_only=True)["bn1.running_mean"]
    assert torch.equal(network.classifier.get_buffer("bn1.running_mean"), stored)


def test_the_released_code_feeds_resnet_pictures_as_they_are(tmp_path: Path) -> None:
    _, path = made_file("resnet50", tmp_path)
    raw, normal = ResNet50(normalise=False).eval(), ResNet50().eval()
    for network in (raw, normal):
        network.fill(path)
    shifted = picture() * torch.tensor(DEVIATION).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    torch.testing.assert_close(
        raw.features(picture(), ("b11",))["b11"], normal.features(shifted, ("b11",))["b11"], rtol=1e-4, atol=1e-5
    )


def test_the_trained_squeezenet_names_pictures(data_root: Path) -> None:
    """Its features are worth comparing: with its classifier behind them it knows a butterfly when it sees one."""
    from acutance.data.pictures import read_picture

    path = data_root / "weights" / SqueezeNet.file
    network = SqueezeNet().eval()
    network.fill(path)
    pixels = torch.tensor(read_picture(data_root / "benchmarks" / "Set5" / "HR" / "img_003.png"))
    features = network.features(pixels.permute(2, 0, 1)[None].float() / 255, ("fire9",))["fire9"]
    stored = torch.load(path, map_location="cpu", weights_only=True)
    maps = torch.conv2d(features, stored["classifier.1.weight"].float(), stored["classifier.1.bias"].float())
    monarch = 323
    assert maps.relu().mean((2, 3)).argmax().item() == monarch


def test_errors_name_the_layer_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no layer 'fire1'"):
        SqueezeNet(weights="none").features(picture(), ("fire1",))
    path = tmp_path / VGG19.file
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match=r"VGG19 .*lacks features\.0\.bias"):
        VGG19().fill(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="VGG19"):
        VGG19().fill(path)


def test_every_file_says_where_it_is_published() -> None:
    networks = [parts.find("feature_network", name) for name in parts.names("feature_network")]
    assert {network.file for network in networks} <= KNOWN.keys()
    assert all(issubclass(network, FeatureNetwork) for network in networks)
