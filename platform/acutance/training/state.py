"""The state of a learner as named tensors and plain values: what a checkpoint holds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from acutance.training.learner import Learner

COUNTERS = ("steps_done", "skipped_steps", "consecutive_skips", "rollbacks")

State = tuple[dict[str, Tensor], dict[str, Any]]


def state_of(learner: Learner) -> State:
    """Return all that changes during a training: weights, optimisers, averaged weights and counters."""
    tensors: dict[str, Tensor] = {}
    groups: dict[str, Any] = {}
    for name, trained in learner.trained_modules().items():
        tensors |= _prefixed(f"{name}/weights", trained.module.state_dict())
        state = trained.optimiser.state_dict()
        for index, entry in state["state"].items():
            # SGD without momentum keeps None in place of a tensor.
            kept = {key: value for key, value in entry.items() if value is not None}
            tensors |= _prefixed(f"{name}/optimiser/{index}", kept)
        groups[name] = state["param_groups"]
    if learner.ema:
        tensors |= _prefixed("ema/weights", learner.ema.state_dict())
    return tensors, {**{name: getattr(learner, name) for name in COUNTERS}, "optimisers": groups}


@torch.no_grad()
def load_state(learner: Learner, state: State) -> None:
    """Bring a learner with the same networks and optimisers to the state that `state_of` returned."""
    tensors, values = state
    for name, trained in learner.trained_modules().items():
        trained.module.load_state_dict(_below(f"{name}/weights", tensors))
        entries: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _below(f"{name}/optimiser", tensors).items():
            index, entry = key.split("/")
            entries.setdefault(int(index), {})[entry] = _in_order_of(trained.weights[int(index)], tensor)
        trained.optimiser.load_state_dict({"state": entries, "param_groups": values["optimisers"][name]})
    if learner.ema:
        learner.ema.load_state_dict(_below("ema/weights", tensors))
    for name in COUNTERS:
        setattr(learner, name, values[name])


def _in_order_of(weight: Tensor, tensor: Tensor) -> Tensor:
    """Bring an optimiser's state to its weight's memory order: a fused optimiser walks through both side by side."""
    return torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = len(prefix) + 1
    return {name[start:]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}
