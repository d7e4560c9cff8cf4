"""Base class of losses that compare features of a frozen network."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from acutance.errors import ConfigError

Features = dict[str, Tensor]


class FeatureLoss(nn.Module):
    """A loss that compares the features of two pictures.

    Args:
        network: a module with `features(picture, layers) -> {layer: Tensor}`; it is frozen and set to eval mode.
    """

    reads: ClassVar[Literal["outputs", "logits"]] = "outputs"
    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not callable(getattr(network, "features", None)):
            raise ConfigError(f"{type(network).__name__} has no features to compare", where="network")
        # Not registered as a submodule: the network is not trained, saved or set to train mode.
        self.__dict__["network"] = network.eval().requires_grad_(False)

    def features_of_both(
        self, prediction: Tensor, target: Tensor, layers: tuple[str, ...]
    ) -> tuple[Features, Features]:
        """Return the features of prediction and target; no gradient reaches the target."""
        features: Callable[..., Features] = self.network.features  # type: ignore[assignment]
        with torch.no_grad():
            wanted = features(target, layers)
        return features(prediction, layers), wanted

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Apply .to(), .cuda() and the like to the unregistered network too."""
        self.network._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self
