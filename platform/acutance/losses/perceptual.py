"""Differences in the features of a frozen network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.losses.feature_loss import FeatureLoss
from acutance.losses.pixel import CRITERIA, Criterion, require_same_shape


class Perceptual(FeatureLoss):
    """Sum over layers of the mean difference of features; with HighPassNet's first two layers HFA's L_hf.

    Args:
        network: anything with `features(picture, layers) -> dict[layer, Tensor]`; it is frozen and put in
            eval mode.
        layers: names of its features.
        criterion: mean absolute ("l1") or mean squared ("l2") difference.
    """

    def __init__(
        self, *, network: nn.Module, layers: tuple[str, ...] = ("conv0", "conv1"), criterion: Criterion = "l1"
    ) -> None:
        super().__init__(network)
        if not layers:
            raise ConfigError("a perceptual term needs at least one layer", where="layers")
        self.layers, self.criterion = tuple(layers), criterion

    @staticmethod
    def feature_taps(arguments: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Return the layers that it compares: parameter of the network -> names of layers."""
        return {"network": tuple(arguments["layers"])}

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of two (B,C,H,W) in 0..1; no gradient reaches the target."""
        require_same_shape(prediction, target)
        found, wanted = self.features_of_both(prediction, target, self.layers)
        compare = CRITERIA[self.criterion]
        return torch.stack([compare(found[layer].float(), wanted[layer].float()) for layer in self.layers]).sum()
