"""LPIPS (Zhang et al., CVPR 2018), version 0.1, with the features of SqueezeNet, AlexNet or VGG16.

Values of different backbones cannot be compared: papers report AlexNet or VGG. The linear heads are those that come
with the `lpips` package; the backbone's weights are torchvision's file, which is looked for and never downloaded.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from acutance.evaluation.inputs import require_colours
from acutance.models.features import fill_from_torchvision
from acutance.weights import find_weights

Network = Literal["squeeze", "alex", "vgg"]


class Backbone(NamedTuple):
    """A network of features: its name for people, torchvision's file, the side below which it has nothing to pool."""

    title: str
    file: str
    least: int


BACKBONES: dict[Network, Backbone] = {
    "squeeze": Backbone("SqueezeNet 1.1", "squeezenet1_1-b8a52dc0.pth", 17),
    "alex": Backbone("AlexNet", "alexnet-owt-7be5be79.pth", 31),
    "vgg": Backbone("VGG16", "vgg16-397923af.pth", 16),
}

EPSILON = 1e-10
"""Added to the length of a feature vector before it is divided by it, as in the authors' code."""


def lpips(restored: np.ndarray, truth: np.ndarray, *, network: Network) -> float:
    """Return the perceptual distance of two pictures, 0 for identical ones; no border is cut.

    Args:
        restored: uint8, or float64 of 0..255, (H, W, 3) RGB.
        truth: the same size.
        network: whose features are compared.

    Raises:
        Unmeasurable: for a picture with a side shorter than the network can pool.
        ValueError: for what are not two pictures of one size.
        WeightsError: when the network's weights are not found, or are those of another.
    """
    require_colours(f"LPIPS ({network})", restored, truth, side=BACKBONES[network].least)
    return float(distances(_signed(restored), _signed(truth), network=network))


def distances(first: Tensor, second: Tensor, *, network: Network) -> Tensor:
    """Return LPIPS of each pair of pictures, (N,), float32.

    Args:
        first: (N, 3, H, W) RGB in -1..1.
        second: the same.
        network: as for `lpips`.
    """
    parts = _network(network, find_weights(BACKBONES[network].file))
    with torch.inference_mode():
        seen = [
            parts.scaling_layer(pictures.contiguous(memory_format=torch.channels_last)) for pictures in (first, second)
        ]
        features = [parts.net(pictures) for pictures in seen]
        heads = [head.model[-1].weight.flatten() for head in parts.lins]
        return torch.stack([_compared(*layer) for layer in zip(*features, heads, strict=True)]).sum(0)


def _compared(first: Tensor, second: Tensor, head: Tensor) -> Tensor:
    """One layer's share: the features (N, C, H, W) to unit length, their squared difference weighed and averaged.

    With the channels last each vector is contiguous, and the features are needed no more: half the package's time.
    """
    a, b = (features.permute(0, 2, 3, 1).flatten(1, 2) for features in (first, second))
    for vectors in (a, b):
        vectors.div_(torch.linalg.vector_norm(vectors, dim=2, keepdim=True).add_(EPSILON))
    return a.sub_(b).square_().mean(1) @ head


def _signed(picture: np.ndarray) -> Tensor:
    """(H, W, 3) of 0..255 -> float32 (1, 3, H, W) in -1..1."""
    return torch.from_numpy(np.array(picture, order="C")).permute(2, 0, 1)[None].float() / 127.5 - 1


@cache
def _network(name: Network, path: Path) -> Any:
    """LPIPS of the lpips package with its own heads and a backbone from a file; built once per process.

    It is built without storage and filled afterwards: nothing is initialised, printed or downloaded.
    """
    import lpips as package

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        network = package.LPIPS(net=name, pnet_rand=True, pretrained=False, verbose=False)
    heads = Path(package.__file__).parent / "weights" / "v0.1" / f"{name}.pth"
    network.load_state_dict(torch.load(heads, map_location="cpu", weights_only=True), strict=False, assign=True)
    network.scaling_layer = package.ScalingLayer()
    # Its slices keep torchvision's numbers: `slice2.3.squeeze.weight` is `features.3.squeeze.weight`.
    fill_from_torchvision(network.net, path, BACKBONES[name].title, (r"^[^.]+", "features"))
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
