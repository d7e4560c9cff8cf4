"""Feature networks: torchvision's classifiers as far as perceptual losses look into them, frozen.

Weights are torchvision's files, which are looked for and never downloaded here; `weights: none` asks for a network
that was never trained, and whatever is made with it says so.
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
"""Of ImageNet's pictures in 0..1, by channel."""

UNTRAINED = "feature network: untrained"
"""What a run and a model say where `weights: none` was asked for."""

Weights = Literal["published", "none"]


class FeatureNetwork(nn.Module):
    """A classifier's layers in a row, up to the last one of interest.

    Attributes:
        title: its name for people.
        file: torchvision's name of its weights file.
        layers: names of the features, from the first to the last.
    """

    title: ClassVar[str]
    file: ClassVar[str]
    layers: ClassVar[tuple[str, ...]]
    row: dict[str, nn.Module]
    mean: Tensor
    deviation: Tensor

    def __init__(self, classifier: nn.Module, row: Mapping[str, nn.Module], normalise: bool = True) -> None:
        super().__init__()
        self.classifier, self.normalise = classifier, normalise
        self.__dict__["row"] = dict(row)  # parts of the classifier, which holds them under torchvision's names
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def features(self, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Return features of pictures (B,3,H,W) in 0..1, by layer; nothing behind the last of them is computed.

        Raises:
            ConfigError: for a layer it does not have.
        """
        if unknown := sorted(set(layers) - set(self.layers)):
            raise ConfigError(f"{self.title} has no layer {unknown[0]!r}{nearest(unknown[0], self.layers)}")
        seen = (picture - self.mean) / self.deviation if self.normalise else picture
        found: dict[str, Tensor] = {}
        for name, layer in self.row.items():
            seen = layer(seen)
            if name in layers:
                found[name] = seen
            if len(found) == len(set(layers)):
                break
        return found

    def fill(self, path: Path) -> None:
        """Take the weights of torchvision's file; what else it holds, such as the classifier's head, is left.

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

    def __init__(self, *, weights: Weights = "published") -> None:
        from torchvision.models import vgg19

        with _device(weights):
            classifier = vgg19(weights=None, init_weights=weights == "none")
        del classifier.classifier
        names = iter(self.layers)
        row = {f"{n}" if isinstance(m, nn.MaxPool2d) else next(names): m for n, m in enumerate(classifier.features)}
        super().__init__(classifier, _each_its_own(row))


class SqueezeNet(FeatureNetwork):
    """SqueezeNet 1.1, 5 MB: `conv1` before activation, `relu1`, and the fire modules `fire2` to `fire9`."""

    title, file = "SqueezeNet 1.1", "squeezenet1_1-b8a52dc0.pth"
    layers = ("conv1", "relu1", *(f"fire{number}" for number in range(2, 10)))

    def __init__(self, *, weights: Weights = "published") -> None:
        from torchvision.models import squeezenet1_1

        with _device(weights):
            classifier = squeezenet1_1(weights=None)
        del classifier.classifier
        names = iter(self.layers)
        row = {f"{n}" if isinstance(m, nn.MaxPool2d) else next(names): m for n, m in enumerate(classifier.features)}
        super().__init__(classifier, _each_its_own(row))


class ResNet50(FeatureNetwork):
    """ResNet-50: `b11` to `b43`, stage and block, after the block's final ReLU.

    Args:
        normalise: by ImageNet's mean and deviation; the released code of the dual perceptual loss feeds it 0..1.
        statistics: of batch normalisation: those of its training ("running"), or each batch's own, as in that code.
    """

    title, file = "ResNet-50", "resnet50-0676ba61.pth"
    layers = tuple(f"b{stage}{block}" for stage, n in enumerate((3, 4, 6, 3), start=1) for block in range(1, n + 1))

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
        del classifier.fc
        stem = {name: getattr(classifier, name) for name in ("conv1", "bn1", "relu", "maxpool")}
        stages = (classifier.layer1, classifier.layer2, classifier.layer3, classifier.layer4)
        blocks = zip(self.layers, (block for stage in stages for block in stage), strict=True)
        super().__init__(classifier, stem | dict(blocks), normalise)
        self.statistics = statistics
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0  # its running statistics stay as they were published

    def train(self, mode: bool = True) -> ResNet50:
        """Set the mode of everything but batch normalisation, which `statistics` decides about."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.training = self.statistics == "batch"
        return self


def fill_from_torchvision(network: nn.Module, path: Path, title: str, rename: tuple[str, str] = ("", "")) -> None:
    """Give a network the weights of torchvision's file, by name; the file may hold more.

    Args:
        network: on any device, also "meta".
        title: of the network that the file should hold, for the error.
        rename: regular expression and replacement that make the file's names of the network's.

    Raises:
        WeightsError: when the file cannot be read, or lacks something.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        weights = {}
        for name, tensor in network.state_dict().items():
            if name.endswith("num_batches_tracked"):  # files of before 2018 have none, and nothing here counts
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
    """What is filled afterwards needs neither storage nor random numbers."""
    return torch.device("meta" if weights == "published" else "cpu")


def _each_its_own(row: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Let no activation overwrite the layer before it, whose features may be asked for."""
    for layer in row.values():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return row
