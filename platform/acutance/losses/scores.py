"""Losses on scores of pictures: for 4PP-EUSR's score predictors, and on the scores that they predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from acutance.losses.feature_loss import FeatureLoss
from acutance.losses.pixel import require_same_shape

HIGHEST = 10.0


class EarthMover(nn.Module):
    """Squared earth mover's distance of two distributions over ordered scores.

    Args:
        form: "root" is the mean over the batch of sqrt(mean_i (CDF_i - CDF'_i)^2), as released code and published
            values have it; "sum" that of sum_i (CDF_i - CDF'_i)^2, as the paper writes it. The other one is recorded
            beside it.
    """

    reads: ClassVar[Literal["outputs", "logits"]] = "outputs"

    def __init__(self, *, form: Literal["root", "sum"] = "root") -> None:
        super().__init__()
        self.form = form

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar distance of two (B,bins) of probabilities, and its value in both forms."""
        require_same_shape(prediction, target)
        squares = (prediction.float().cumsum(1) - target.float().cumsum(1)).square()
        # A root has no derivative at 0; so small a number does not show in float32.
        forms = {"root": squares.mean(1).add(1e-12).sqrt().mean(), "sum": squares.sum(1).mean()}
        return forms[self.form], forms


class Score(FeatureLoss):
    """Hinge on a predicted score, 4PP-EUSR's l_as and l_ss: max(0, (10 - S(J)) - factor (10 - S(I))).

    J is the restored picture and I the true one. With a factor below 1 the loss is 0 only at a better score than the
    truth's.

    Args:
        network: anything with the feature `score` (B,), 1 to 10.
        factor: alpha_as, alpha_ss of the paper.
    """

    def __init__(self, *, network: nn.Module, factor: float = 0.8) -> None:
        super().__init__(network)
        self.factor = factor

    @staticmethod
    def feature_taps(arguments: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Return the layers that it compares: parameter of the network -> names of layers."""
        return {"network": ("score",)}

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of two (B,C,H,W) in 0..1, and the mean scores; no gradient reaches the target."""
        found, true = (features["score"].float() for features in self.features_of_both(prediction, target, ("score",)))
        loss = ((HIGHEST - found) - self.factor * (HIGHEST - true)).clamp_min(0).mean()
        return loss, {"restored": found.mean(), "true": true.mean()}
