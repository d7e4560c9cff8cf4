"""The dual perceptual loss (Song et al., "Dual Perceptual Loss for Single Image Super-Resolution Using ESRGAN")."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.losses.perceptual import Perceptual
from acutance.losses.pixel import Criterion

EPSILON = 1e-8
"""Keeps the ratio finite; the paper has a small number without its value."""


class DualPerceptual(nn.Module):
    """l_DP = l_VGG + 1/mu z l_RES: differences of features of two networks, the second made as large as the first.

    Args:
        network: the first feature network, VGG19 in the paper.
        layer: of the first.
        second: the second one, ResNet-50 in the paper; not needed where `mu` is infinite.
        taps: layers of the second, whose differences are added. The paper takes one, its released code b13, b24
            and b36 together.
        mu: the second loss is divided by it; infinity leaves the second loss out.
        weighting: "dynamic" multiplies l_RES by z = l_VGG / l_RES of each step, without a gradient; "static" by 1.
        criterion: mean absolute ("l1") or mean squared ("l2") difference.

    With dynamic weighting its value is (1 + 1/mu) l_VGG for any l_RES; only the gradient depends on l_RES. The parts
    `first` (l_VGG), `second` (l_RES) and `ratio` (z) are logged separately.
    """

    reads: ClassVar[Literal["outputs", "logits"]] = "outputs"

    def __init__(
        self,
        *,
        network: nn.Module,
        layer: str = "conv5_4",
        second: nn.Module | None = None,
        taps: tuple[str, ...] = ("b36",),
        mu: float = 0.5,
        weighting: Literal["dynamic", "static"] = "dynamic",
        criterion: Criterion = "l1",
    ) -> None:
        super().__init__()
        if not mu > 0:
            raise ConfigError(f"mu is {mu}", where="mu", fix="use a number above 0, or .inf")
        self.mu, self.weighting = mu, weighting
        self.first = Perceptual(network=network, layers=(layer,), criterion=criterion)
        self.second = None
        if math.isfinite(mu):
            if second is None:
                raise ConfigError("a finite mu needs a second network", where="second", fix="name one, or mu: .inf")
            self.second = Perceptual(network=second, layers=taps, criterion=criterion)

    @staticmethod
    def feature_taps(arguments: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Return the layers that it compares: parameter of the network -> names of layers."""
        second = {"second": tuple(arguments["taps"])} if math.isfinite(arguments["mu"]) else {}
        return {"network": (arguments["layer"],), **second}

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of two (B,C,H,W) in 0..1, and its parts; no gradient reaches the target."""
        first = self.first(prediction, target)
        if self.second is None:
            return first, {"first": first}
        second = self.second(prediction, target)
        ratio = (first.detach() + EPSILON) / (second.detach() + EPSILON)
        weight = ratio if self.weighting == "dynamic" else 1.0
        return first + weight * second / self.mu, {"first": first, "second": second, "ratio": ratio}
