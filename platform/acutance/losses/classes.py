"""The term of classifiers."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn


class CrossEntropy(nn.Module):
    """Minus the logarithm of the share that the softmax of the logits gives to the true class, averaged."""

    reads: ClassVar[Literal["outputs", "logits"]] = "outputs"

    def __init__(self) -> None:  # its settings are read off this signature: there are none
        super().__init__()

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss, and the accuracy: how often the largest logit is the true class's.

        Args:
            prediction: logits (B,classes).
            target: numbers of the true classes, (B,1) or (B,), whole numbers of any type.
        """
        true = target.reshape(len(prediction)).long()
        accuracy = (prediction.detach().argmax(1) == true).float().mean()
        return F.cross_entropy(prediction.float(), true), {"accuracy": accuracy}
