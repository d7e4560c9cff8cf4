"""How settings follow the length of a training: those that are counted in steps say so, and are shortened with it.

A setting says it by its type: `Annotated[PositiveInt, IN_STEPS]`.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

SettingsT = TypeVar("SettingsT", bound=BaseModel)


@dataclass(frozen=True)
class Follows:
    """Marks a setting, or those in a list, that change with the length of a training.

    Attributes:
        scaled: (value, factor) -> the value in a training that is `factor` times as long.
    """

    scaled: Callable[[Any, float], Any]


IN_STEPS = Follows(
    lambda steps, factor: steps if isinstance(steps, float) else max(1, round(steps * factor)) if steps else 0
)
"""Of a number of steps; at least 1 unless it was 0. A share of all steps, such as 0.5, stays as it is."""

PER_STEP = Follows(lambda share, factor: share ** (1 / factor))
"""Of the share that is left after a step: after `factor` times as many steps there is as much left."""


def scaled(settings: SettingsT, factor: float) -> SettingsT:
    """Return settings for a training that is `factor` times as long, in all that they hold."""
    fields = type(settings).model_fields
    changes = {
        name: _scaled(getattr(settings, name), mark_of(field.annotation, *field.metadata), factor)
        for name, field in fields.items()
    }
    return settings.model_copy(update=changes)


def mark_of(hint: Any, *metadata: Any) -> Follows | None:
    """Return the mark of a field, or of the types in its lists and unions."""
    for one in (*metadata, *getattr(hint, "__metadata__", ())):
        if isinstance(one, Follows):
            return one
    return next((mark for part in typing.get_args(hint) if (mark := mark_of(part))), None)


def _scaled(value: Any, mark: Follows | None, factor: float) -> Any:
    if isinstance(value, BaseModel):
        return scaled(value, factor)
    if isinstance(value, list):
        return [_scaled(one, mark, factor) for one in value]
    if isinstance(value, dict):
        return {name: _scaled(one, mark, factor) for name, one in value.items()}
    return value if mark is None or value is None else mark.scaled(value, factor)
