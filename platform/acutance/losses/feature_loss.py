"""What terms share that look at pictures through a frozen network."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from acutance.errors import ConfigError

Features = dict[str, Tensor]


class FeatureLoss(nn.Module):
    """A term that compares pictures by what a frozen network makes of them.

    Args:
        network: anything with `features(picture, layers) -> dict[layer, Tensor]`; it is frozen and put in eval mode.
    """

    reads: ClassVar[Literal["outputs", "logits"]] = "outputs"
    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not callable(getattr(network, "features", None)):
            raise ConfigError(f"{type(network).__name__} has no features to compare", where="network")
        # Past nn.Module's bookkeeping: the network is no part of what is trained, saved or set to train mode.
        self.__dict__["network"] = network.eval().requires_grad_(False)

    def seen(self, prediction: Tensor, target: Tensor, layers: tuple[str, ...]) -> tuple[Features, Features]:
        """Return the features of both; no gradient reaches the target."""
        features: Callable[..., Features] = self.network.features  # type: ignore[assignment]
        with torch.no_grad():
            wanted = features(target, layers)
        return features(prediction, layers), wanted

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Carry the unregistered network along with .to(), .cuda() and the like."""
        self.network._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self
