"""NIMA (Talebi and Milanfar, 2018): the distribution of scores that people would give a picture, by MobileNetV2.

4PP-EUSR looks through two of them, one trained on aesthetic and one on subjective scores, at their mean score and at
the representation that it comes from.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from acutance.errors import ConfigError, nearest
from acutance.models.features import DEVIATION, MEAN, Weights, fill_from_torchvision
from acutance.models.mobilenet import mobilenet_v2
from acutance.models.rrdbnet import glorot

SCORES = 10
REPRESENTATION = 1280


class NIMA(nn.Module):
    """MobileNetV2 without its classifier (2,223,872 parameters) and a linear layer to ten scores (12,810).

    That layer starts as the released code does, by Glorot uniform.

    How pictures are normalised belongs to the trunk's weights, and is stored with them.

    Args:
        weights: where the trunk starts from: torchvision's file, which was trained on ImageNet, or nothing.
        dropout: share of the representation that is dropped in training.
    """

    inputs: ClassVar[tuple[str, ...]] = ("hr",)
    outputs: ClassVar[tuple[str, ...]] = ("distribution",)
    file: ClassVar[str] = "mobilenet_v2-b0353104.pth"
    untrained: ClassVar[str] = "predictor: trunk untrained at the start"
    layers: ClassVar[tuple[str, ...]] = ("representation", "score")
    scale = 1
    mean: Tensor
    deviation: Tensor

    def __init__(self, *, weights: Weights = "published", dropout: float = 0.75) -> None:
        super().__init__()
        self.trunk = mobilenet_v2()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(REPRESENTATION, SCORES)
        glorot(self.linear)
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

    def forward(self, hr: Tensor) -> dict[str, Tensor]:
        """Map pictures (B,3,H,W) in 0..1 to {"distribution": (B,10)}, the shares of the scores 1 to 10."""
        return {"distribution": self.linear(self.dropout(self._representation(hr))).softmax(1)}

    def features(self, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Return `representation` (B,1280) and `score` (B,), 1 to 10, of pictures (B,3,H,W) in 0..1.

        Raises:
            ConfigError: for another layer.
        """
        if unknown := sorted(set(layers) - set(self.layers)):
            raise ConfigError(f"NIMA has no layer {unknown[0]!r}{nearest(unknown[0], self.layers)}")
        found = {"representation": self._representation(picture)}
        if "score" in layers:
            found["score"] = mean_score(self.linear(self.dropout(found["representation"])).softmax(1))
        return {layer: found[layer] for layer in layers}

    def fill(self, path: Path) -> None:
        """Take the trunk's weights from torchvision's file of MobileNetV2.

        Raises:
            WeightsError: when the file is not that.
        """
        fill_from_torchvision(self.trunk, path, "MobileNetV2", (r"^", "features."))

    def _representation(self, picture: Tensor) -> Tensor:
        return self.trunk((picture - self.mean) / self.deviation).mean((2, 3))


def mean_score(distribution: Tensor) -> Tensor:
    """Return the mean score (B,) of shares (B,10) of the scores 1 to 10."""
    return distribution @ torch.arange(1, SCORES + 1, dtype=distribution.dtype, device=distribution.device)
