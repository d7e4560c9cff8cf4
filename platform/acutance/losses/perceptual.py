"""Differences in the features of a frozen network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.losses.pixel import CRITERIA, Criterion, require_same_shape


class Perceptual(nn.Module):
    """Sum over layers of the mean difference of features; with HighPassNet's first two layers HFA's L_hf.

    Args:
        network: anything with `features(picture, layers) -> dict[layer, Tensor]`; it is frozen and put in
            eval mode.
        layers: names of its features.
        criterion: mean absolute ("l1") or mean squared ("l2") difference.
    """

    reads: ClassVar[Literal["outputs", "logits"]] = "outputs"
    network: nn.Module

    def __init__(
        self, *, network: nn.Module, layers: tuple[str, ...] = ("conv0", "conv1"), criterion: Criterion = "l1"
    ) -> None:
        super().__init__()
        if not layers:
            raise ConfigError("a perceptual term needs at least one layer", where="layers")
        if not callable(getattr(network, "features", None)):
            raise ConfigError(f"{type(network).__name__} has no features to compare", where="network")
        # Past nn.Module's bookkeeping: the network is no part of what is trained, saved or set to train mode.
        self.__dict__["network"] = network.eval().requires_grad_(False)
        self.layers, self.criterion = tuple(layers), criterion

    @staticmethod
    def looks(arguments: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Return which layers it looks at, by the argument that names the network."""
        return {"network": tuple(arguments["layers"])}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Perceptual:
        """Carry the unregistered network along with .to(), .cuda() and the like."""
        self.network._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of two (B,C,H,W) in 0..1; no gradient reaches the target."""
        require_same_shape(prediction, target)
        features: Callable[..., dict[str, Tensor]] = self.network.features  # type: ignore[assignment]
        with torch.no_grad():
            wanted = features(target, self.layers)
        found = features(prediction, self.layers)
        compare = CRITERIA[self.criterion]
        return torch.stack([compare(found[layer].float(), wanted[layer].float()) for layer in self.layers]).sum()
