"""The loss of classifiers."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn


class CrossEntropy(nn.Module):
    """Cross entropy: the mean of -log softmax(logits) at the true class."""

    reads: ClassVar[Literal["outputs", "logits"]] = "outputs"

    def __init__(self) -> None:  # the signature is the schema of the settings: there are none
        super().__init__()

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss and the accuracy, the share of samples whose largest logit is the true class.

        Args:
            prediction: logits (B,classes).
            target: numbers of the true classes, (B,1) or (B,), whole numbers of any type.
        """
        true = target.reshape(len(prediction)).long()
        accuracy = (prediction.detach().argmax(1) == true).float().mean()
        return F.cross_entropy(prediction.float(), true), {"accuracy": accuracy}
