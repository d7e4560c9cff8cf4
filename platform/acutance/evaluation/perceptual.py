"""LPIPS with SqueezeNet features (Zhang et al., CVPR 2018), version 0.1.

Values of different backbones cannot be compared: papers report AlexNet or VGG.
"""

from __future__ import annotations

import pickle
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from acutance.errors import WeightsError
from acutance.evaluation.unmeasurable import Unmeasurable
from acutance.evaluation.weights import find_weights

BACKBONE = "squeezenet1_1-b8a52dc0.pth"
MINIMUM_SIDE = 17
"""Below it SqueezeNet's third pooling has nothing to pool."""


def lpips_squeeze(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the perceptual distance of two pictures, 0 for identical ones; no border is cut.

    Args:
        restored: uint8 (H, W, 3) RGB.
        truth: the same.

    Raises:
        Unmeasurable: for a picture with a side of fewer than 17 pixels.
        WeightsError: when SqueezeNet's weights are not found, or are not SqueezeNet's.
    """
    if min(truth.shape[:2]) < MINIMUM_SIDE:
        raise Unmeasurable(f"LPIPS needs {MINIMUM_SIDE} pixels on a side")
    with torch.inference_mode():
        return float(_network()(_signed(restored), _signed(truth)))


def _signed(picture: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> float32 (1, 3, H, W) in -1..1."""
    return torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()).float() / 127.5 - 1


@cache
def _network() -> nn.Module:
    """LPIPS with its backbone from a file; prints and downloads nothing, leaves the random state alone."""
    import lpips

    path = find_weights(BACKBONE)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    _load_backbone(network.net, path)
    return network.eval().requires_grad_(False)


def _load_backbone(backbone: nn.Module, path: Path) -> None:
    """Its slices keep torchvision's numbers: `slice2.3.squeeze.weight` is `features.3.squeeze.weight`."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        weights = {name: stored[f"features.{name.split('.', 1)[1]}"] for name in backbone.state_dict()}
        backbone.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WeightsError(
            f"the file does not hold SqueezeNet 1.1 as torchvision publishes it ({reason})",
            where=str(path),
            fix="put torchvision's own file there",
        ) from error
