"""Feature networks: torchvision's classifiers, frozen, whose hidden layers perceptual losses compare.

Weights are torchvision's files, which are never downloaded here. `weights: none` gives a network that was never
trained; runs and models that use it say so.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from acutance.errors import ConfigError, WeightsError, nearest

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's pictures in 0..1, by channel."""

UNTRAINED = "feature network: untrained"
"""The note of runs and models that use `weights: none`."""

Weights = Literal["published", "none"]


class FeatureNetwork(nn.Module):
    """A classifier without its head.

    Attributes:
        title: its name in messages.
        file: torchvision's name of its weights file.
        nodes: layer -> its node in the classifier's graph, from the first layer to the last.
        layers: the names in `nodes`.
    """

    title: ClassVar[str]
    file: ClassVar[str]
    nodes: ClassVar[Mapping[str, str]]
    layers: ClassVar[tuple[str, ...]]
    extractors: dict[tuple[str, ...], nn.Module]
    mean: Tensor
    deviation: Tensor

    def __init__(self, classifier: nn.Module, normalise: bool = True) -> None:
        super().__init__()
        self.classifier, self.normalise = classifier, normalise
        self.__dict__["extractors"] = {}  # no submodules of their own: they share those of the classifier
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def features(self, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Return features (B,C,h,w) of pictures (B,3,H,W) in 0..1, by layer; later layers are not computed.

        Raises:
            ConfigError: for a layer it does not have.
        """
        if unknown := sorted(set(layers) - set(self.layers)):
            raise ConfigError(f"{self.title} has no layer {unknown[0]!r}{nearest(unknown[0], self.layers)}")
        normalised = (picture - self.mean) / self.deviation if self.normalise else picture
        features: dict[str, Tensor] = self._extractor(tuple(name for name in self.layers if name in layers))(normalised)
        return features

    def _extractor(self, layers: tuple[str, ...]) -> nn.Module:
        from torchvision.models.feature_extraction import create_feature_extractor

        if layers not in self.extractors:
            nodes = {self.nodes[layer]: layer for layer in layers}
            self.extractors[layers] = create_feature_extractor(self.classifier, nodes)
            self.train(self.training)  # tracing sets the mode of all modules
        return self.extractors[layers]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "extractors": {}}  # copies of them would not share the classifier's modes

    def fill(self, path: Path) -> None:
        """Load the weights of torchvision's file, except those of the classifier's head.

        Raises:
            WeightsError: when the file is not that.
        """
        fill_from_torchvision(self.classifier, path, self.title)


class VGG19(FeatureNetwork):
    """VGG19: `conv1_1` to `conv5_4` before activation, `relu1_1` to `relu5_4` after it."""

    title, file = "VGG19", "vgg19-dcbb9e9d.pth"
    layers = tuple(
        f"{kind}{stage}_{number}"
        for stage, count in enumerate((2, 2, 4, 4, 4), start=1)
        for number in range(1, count + 1)
        for kind in ("conv", "relu")
    )
    # A pooling layer stands before each stage but the first.
    nodes: ClassVar[Mapping[str, str]] = {
        layer: f"features.{index + int(layer[4]) - 1}" for index, layer in enumerate(layers)
    }

    def __init__(self, *, weights: Weights = "published") -> None:
        from torchvision.models import vgg19

        with _device(weights):
            classifier = vgg19(weights=None, init_weights=weights == "none")
        classifier.classifier = nn.Identity()
        super().__init__(_not_in_place(classifier))


class SqueezeNet(FeatureNetwork):
    """SqueezeNet 1.1, 5 MB: `conv1` before activation, `relu1`, and the fire modules `fire2` to `fire9`."""

    title, file = "SqueezeNet 1.1", "squeezenet1_1-b8a52dc0.pth"
    nodes: ClassVar[Mapping[str, str]] = {
        "conv1": "features.0",
        "relu1": "features.1",
        **{f"fire{number}": f"features.{at}" for number, at in enumerate((3, 4, 6, 7, 9, 10, 11, 12), start=2)},
    }
    layers = tuple(nodes)

    def __init__(self, *, weights: Weights = "published") -> None:
        from torchvision.models import squeezenet1_1

        with _device(weights):
            classifier = squeezenet1_1(weights=None)
        classifier.classifier = nn.Identity()
        super().__init__(_not_in_place(classifier))


class ResNet50(FeatureNetwork):
    """ResNet-50: `b11` to `b43`, stage and block, after the block's final ReLU.

    Args:
        normalise: pictures by ImageNet's mean and deviation. The released code of the dual perceptual loss does not.
        statistics: of batch normalisation: those of its training ("running"), or each batch's own, as in that code.
    """

    title, file = "ResNet-50", "resnet50-0676ba61.pth"
    nodes: ClassVar[Mapping[str, str]] = {
        f"b{stage}{block}": f"layer{stage}.{block - 1}"
        for stage, blocks in enumerate((3, 4, 6, 3), start=1)
        for block in range(1, blocks + 1)
    }
    layers = tuple(nodes)

    def __init__(
        self,
        *,
        weights: Weights = "published",
        normalise: bool = True,
        statistics: Literal["running", "batch"] = "running",
    ) -> None:
        from torchvision.models import resnet50

        with _device(weights):
            classifier = resnet50(weights=None)
        classifier.fc = nn.Identity()
        super().__init__(classifier, normalise)
        self.statistics = statistics
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0  # its running statistics stay as they were published

    def train(self, mode: bool = True) -> ResNet50:
        """Set the mode of all layers but batch normalisation, whose mode `statistics` decides."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.training = self.statistics == "batch"
        return self


def fill_from_torchvision(network: nn.Module, path: Path, title: str, rename: tuple[str, str] = ("", "")) -> None:
    """Load the weights of torchvision's file into a network, by name; the file may hold more.

    Args:
        network: on any device, also "meta".
        title: of the network, for the error.
        rename: regular expression and replacement from the network's names to the file's.

    Raises:
        WeightsError: when the file cannot be read, or lacks something.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        weights = {}
        for name, tensor in network.state_dict().items():
            if name.endswith("num_batches_tracked"):  # files from before 2018 have none, and it is not used here
                weights[name] = torch.zeros((), dtype=tensor.dtype)
            else:
                weights[name] = stored[re.sub(*rename, name) if rename[0] else name].float()
        network.load_state_dict(weights, assign=True)
    except (AttributeError, KeyError, TypeError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        reason = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else lines[0][:200]
        raise WeightsError(
            f"the file does not hold {title} as torchvision publishes it ({reason})",
            where=str(path),
            fix="put torchvision's own file there",
        ) from error


def _device(weights: Weights) -> torch.device:
    """Return `meta` where weights are loaded afterwards: such a network needs no memory and no random numbers."""
    return torch.device("meta" if weights == "published" else "cpu")


def _not_in_place(classifier: nn.Module) -> nn.Module:
    """Make the activations of `features` keep their inputs, which may be tapped."""
    for layer in classifier.get_submodule("features").children():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return classifier
