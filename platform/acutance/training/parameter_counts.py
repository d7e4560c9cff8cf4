"""How many parameters the networks of a stage have."""

from __future__ import annotations

from typing import Any

from acutance.config.pipeline import Stage
from acutance.config.schema import Choice
from acutance.models.counting import parameter_count


def parameter_counts(stage: Stage, name: str) -> dict[str, Any]:
    """Return the number of parameters of a stage's network and discriminators, without allocating them.

    Raises:
        ConfigError: for a network that no machine could hold.
    """
    place = f"stages.{name}"
    return {
        "network": _count(stage.network, f"{place}.network"),
        "discriminators": {
            discriminator: _count(settings.network, f"{place}.discriminators.{discriminator}.network")
            for discriminator, settings in stage.discriminators.items()
        },
    }


_COUNTED: dict[str, int] = {}


def _count(choice: Choice, where: str) -> int:
    """Return a network's number of parameters; equal settings are counted once."""
    settings = f"{choice.kind} {choice.type} {choice.arguments()}"
    if settings not in _COUNTED:
        _COUNTED[settings] = parameter_count(choice.part, choice.arguments(), where)
    return _COUNTED[settings]
