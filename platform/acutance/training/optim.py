"""What learns: a network with its optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from acutance.config.pipeline import Optimiser
from acutance.losses.adversarial import Form


@dataclass
class Player:
    """A network that learns: the generator, the classifier, or a discriminator.

    Attributes:
        call: the network, or its compiled form; the network itself keeps its own names of weights.
    """

    network: nn.Module
    settings: Optimiser
    call: Callable[..., Any] = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.call = self.network
        self.optimiser = _optimiser(self.network, self.settings)

    @property
    def weights(self) -> list[nn.Parameter]:
        """What is learned, frozen parts left out, in the order in which the optimiser counts it."""
        return [weight for group in self.optimiser.param_groups for weight in group["params"]]

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients that the newest backward pass left."""
        return [weight.grad for weight in self.weights if weight.grad is not None]

    def move(self, rate: float, length: Tensor) -> None:
        """Take one optimiser step.

        Args:
            length: the norm of the gradients, which is cut to `settings.clip`.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.settings.clip:
            nn.utils.clip_grads_with_norm_(self.weights, self.settings.clip, length)
        self.optimiser.step()


@dataclass
class Adversary(Player):
    """A discriminator and what it judges."""

    on: str
    form: Form
    sync_mean: bool


def _optimiser(network: nn.Module, settings: Optimiser) -> torch.optim.Optimizer:
    """Return the optimiser with two groups of weights, also where neither decays: kernels, and all the others."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.type == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, fused=True)
    return torch.optim.Adam(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=True)
