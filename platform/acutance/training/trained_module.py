"""A module with its optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from acutance.config.pipeline.stage import OptimiserChoice


@dataclass
class TrainedModule:
    """The generator (or classifier, or predictor), or a discriminator.

    Attributes:
        module: holds the weights; its parameter names are those of checkpoints and model files.
        settings: of the optimiser.
        forward: what a step calls: the module, or its compiled form.
    """

    module: nn.Module
    settings: OptimiserChoice
    forward: Callable[..., Any] = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.forward = self.module
        self.optimiser = _optimiser(self.module, self.settings)

    @property
    def weights(self) -> list[nn.Parameter]:
        """The parameters that are trained (not the frozen ones), in the optimiser's order."""
        return [weight for group in self.optimiser.param_groups for weight in group["params"]]

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients of the newest backward pass."""
        return [weight.grad for weight in self.weights if weight.grad is not None]

    def update(self, learning_rate: float, gradient_norm: Tensor) -> None:
        """Clip the gradients and take one optimiser step.

        Args:
            learning_rate: of this step, for all parameter groups.
            gradient_norm: scalar; the norm of all gradients. It is limited to `settings.clip`.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        if self.settings.clip:
            nn.utils.clip_grads_with_norm_(self.weights, self.settings.clip, gradient_norm)
        self.optimiser.step()


FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
"""Optimisers whose fused form runs on CPUs and GPUs alike."""


def _optimiser(module: nn.Module, settings: OptimiserChoice) -> torch.optim.Optimizer:
    """Return an optimiser with two parameter groups: kernels, to which a weight decay applies, and all others."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in weights if weight.ndim >= 2]},
        {"params": [weight for weight in weights if weight.ndim < 2]},
    ]
    arguments = settings.arguments()
    if "weight_decay" in arguments:
        groups[1]["weight_decay"] = 0.0
    if settings.part in FUSED:
        arguments["fused"] = True
    optimiser: torch.optim.Optimizer = settings.part(groups, lr=settings.learning_rate, **arguments)
    return optimiser
