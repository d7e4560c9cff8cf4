"""What may vary in a search: the values of one parameter, and on what other parameter it depends."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from acutance.config.schema import Strict
from acutance.errors import ConfigError

if TYPE_CHECKING:
    from optuna import Trial


class Condition(Strict):
    """A parameter that only exists where others have certain values."""

    when: dict[str, list[Any]] = Field(
        default_factory=dict, description="parameter named before -> the values of it with which this one exists"
    )

    def exists(self, chosen: Mapping[str, Any]) -> bool:
        """Return whether the parameter exists beside these values of the others."""
        return all(name in chosen and chosen[name] in values for name, values in self.when.items())


class Choices(Condition):
    """One of a list of values of any kind."""

    choice: list[Any] = Field(min_length=1)

    def suggest(self, trial: Trial, name: str) -> Any:
        """Return a value; those that Optuna cannot hold travel as JSON."""
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in self.choice]))

    def values(self) -> list[Any]:
        """Return all values, for a grid."""
        return self.choice


class FloatRange(Condition):
    """A number between two bounds, uniform or uniform in its logarithm."""

    float_: tuple[float, float] = Field(alias="float")
    log: bool = False
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _possible(self) -> FloatRange:
        _check_bounds("float", self.float_, self.log, self.step is not None)
        return self

    def suggest(self, trial: Trial, name: str) -> float:
        """Return a value."""
        return trial.suggest_float(name, *self.float_, log=self.log, step=self.step)

    def values(self) -> list[float]:
        """Return all values, for a grid.

        Raises:
            ConfigError: without `step` there is no end of them.
        """
        if self.step is None:
            raise ConfigError("a grid needs a finite number of values", fix="give `step`, or a `choice`")
        low, high = self.float_
        return [float(low + index * self.step) for index in range(math.floor((high - low) / self.step + 1e-9) + 1)]


class IntRange(Condition):
    """A whole number between two bounds, both included."""

    int_: tuple[int, int] = Field(alias="int")
    log: bool = False
    step: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _possible(self) -> IntRange:
        _check_bounds("int", self.int_, self.log, self.step != 1)
        return self

    def suggest(self, trial: Trial, name: str) -> int:
        """Return a value."""
        return trial.suggest_int(name, *self.int_, log=self.log, step=self.step)

    def values(self) -> list[int]:
        """Return all values, for a grid."""
        return list(range(self.int_[0], self.int_[1] + 1, self.step))


def _check_bounds(key: str, bounds: tuple[float, float], log: bool, stepped: bool) -> None:
    low, high = bounds
    if low > high:
        raise ValueError(f"{key}: the lower bound {low:g} is above the upper one, {high:g}")
    if log and low <= 0:
        raise ValueError(f"{key}: a logarithmic range starts above 0, not at {low:g}")
    if log and stepped:
        raise ValueError("log and step exclude each other")


def _kind(content: Any) -> str | None:
    if not isinstance(content, dict):
        return {"Choices": "choice", "FloatRange": "float", "IntRange": "int"}.get(type(content).__name__)
    return next((kind for kind in ("choice", "float", "int") if kind in content), "choice")


Parameter = Annotated[
    Annotated[Choices, Tag("choice")] | Annotated[FloatRange, Tag("float")] | Annotated[IntRange, Tag("int")],
    Discriminator(_kind),
]


def suggest(parameters: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
    """Ask Optuna for a value of each parameter that exists beside those before it."""
    chosen: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if parameter.exists(chosen):
            chosen[name] = parameter.suggest(trial, name)
    return chosen


def grid(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every combination of the parameters' values, the last parameter changing fastest.

    Raises:
        ConfigError: for a range without steps.
    """
    points: list[dict[str, Any]] = []
    for combination in itertools.product(*(parameter.values() for parameter in parameters.values())):
        chosen: dict[str, Any] = {}
        for (name, parameter), value in zip(parameters.items(), combination, strict=True):
            if parameter.exists(chosen):
                chosen[name] = value
        if chosen not in points:  # a parameter that does not exist here has but one point
            points.append(chosen)
    return points
