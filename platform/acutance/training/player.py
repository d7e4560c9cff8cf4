"""What learns: a network with its optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from acutance.losses.adversarial import Form
from acutance.pipeline import Optimiser


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
        self.optimiser = torch.optim.Adam(
            self.weights,
            lr=self.settings.learning_rate,
            betas=self.settings.betas,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )

    @property
    def weights(self) -> list[nn.Parameter]:
        """What is learned: all weights but those of frozen parts."""
        return [weight for weight in self.network.parameters() if weight.requires_grad]

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
