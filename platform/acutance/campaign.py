"""What a search space file may say: which numbers of which stage to search, for what, how."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import Discriminator, Field, PositiveInt, Tag, model_validator

from acutance import pipeline as pipelines
from acutance.errors import ConfigError
from acutance.evaluation.metrics import METRICS
from acutance.pipeline import Pipeline
from acutance.schema import Strict, load_yaml, nearest, override, parse_override, validate


class Choices(Strict):
    """One of a list of values of any kind."""

    choice: list[Any] = Field(min_length=1)

    def distribution(self) -> BaseDistribution:
        """Return the Optuna distribution; values Optuna cannot hold travel as JSON."""
        return CategoricalDistribution([json.dumps(value) for value in self.choice])

    def value(self, suggested: Any) -> Any:
        """Return the value that a suggestion stands for."""
        return json.loads(suggested)


class FloatRange(Strict):
    """A number between two bounds, uniform or uniform in its logarithm."""

    float_: tuple[float, float] = Field(alias="float")
    log: bool = False
    step: float | None = None

    def distribution(self) -> BaseDistribution:
        """Return the Optuna distribution."""
        return FloatDistribution(*self.float_, log=self.log, step=self.step)

    def value(self, suggested: Any) -> Any:
        """Return the value that a suggestion stands for."""
        return suggested


class IntRange(Strict):
    """A whole number between two bounds, both included."""

    int_: tuple[int, int] = Field(alias="int")
    log: bool = False
    step: int = 1

    def distribution(self) -> BaseDistribution:
        """Return the Optuna distribution."""
        return IntDistribution(*self.int_, log=self.log, step=self.step)

    def value(self, suggested: Any) -> Any:
        """Return the value that a suggestion stands for."""
        return suggested


def _kind(content: Any) -> str | None:
    if not isinstance(content, dict):
        return {"Choices": "choice", "FloatRange": "float", "IntRange": "int"}.get(type(content).__name__)
    return next((kind for kind in ("choice", "float", "int") if kind in content), "choice")


Parameter = Annotated[
    Annotated[Choices, Tag("choice")] | Annotated[FloatRange, Tag("float")] | Annotated[IntRange, Tag("int")],
    Discriminator(_kind),
]


class Goal(Strict):
    """A metric of the evaluation, on a data set, to be made large or small.

    A metric that should come close to the truth's own value (fine detail) counts by its distance to it.
    """

    metric: str
    on: str
    goal: Literal["maximize", "minimize"]

    @property
    def name(self) -> str:
        """How tables and studies call it."""
        return f"{self.metric} on {self.on}"


class Sampler(Strict):
    """Who proposes the next trial."""

    type: Literal["tpe", "random", "nsgaii"] = "tpe"
    seed: int = 0


class Asha(Strict):
    """Asynchronous successive halving (Li et al. 2020): the worse part of each rung goes no further.

    Rungs are judged by the first objective.
    """

    type: Literal["asha"] = "asha"
    reduction_factor: float = Field(default=3, gt=1)
    first_rung: PositiveInt = Field(description="steps before a trial can be stopped")


class Campaign(Strict):
    """A search space file."""

    title: str
    pipeline: str
    stage: str
    profile: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict, description="dotted path -> value, for every trial")
    parameters: dict[str, Parameter] = Field(
        min_length=1, description="dotted path inside the stage -> what values it may take"
    )
    objectives: list[Goal] = Field(min_length=1)
    sampler: Sampler = Sampler()
    scheduler: Asha | None = None
    trials: PositiveInt = 10
    concurrency: PositiveInt = 2
    cpus_per_trial: PositiveInt = 1

    @model_validator(mode="after")
    def _known(self) -> Campaign:
        for goal in self.objectives:
            if goal.metric not in METRICS:
                raise ValueError(f"objectives: there is no metric {goal.metric!r}{nearest(goal.metric, METRICS)}")
            if METRICS[goal.metric].goal == "closest to the truth" and goal.goal == "maximize":
                raise ValueError(f"objectives: {goal.metric} counts by its distance to the truth; minimize that")
        return self

    def path_of(self, parameter: str) -> str:
        """Return the dotted path of a parameter inside the pipeline."""
        return f"stages.{self.stage}.{parameter}"

    def decode(self, suggested: dict[str, Any]) -> dict[str, Any]:
        """Turn a suggestion into dotted paths of the pipeline and their values."""
        return {self.path_of(name): self.parameters[name].value(value) for name, value in suggested.items()}


def load(path: str | Path, overrides: Iterable[str] = ()) -> tuple[Campaign, Path, Pipeline]:
    """Read a search space file and the pipeline it searches; every dotted path is tried before anything starts.

    Returns:
        The campaign, the pipeline's file, and the pipeline as it is without any suggestion.

    Raises:
        ConfigError: naming file, dotted path and nearest valid name.
    """
    content = load_yaml(path)
    for text in overrides:
        override(content, *parse_override(text))
    campaign = validate(Campaign, content, str(path))
    file = _pipeline_file(Path(path), campaign.pipeline)
    base = pipelines.load(file, profile=campaign.profile, values=campaign.overrides)
    if campaign.stage not in base.stages:
        fault = f"stage: there is no stage {campaign.stage!r}{nearest(campaign.stage, base.stages)}"
        raise ConfigError(fault, where=str(path))
    if campaign.stage not in base.evaluate.stages:
        raise ConfigError(f"stage: {campaign.stage!r} makes no pictures to be measured", where=str(path))
    for name, parameter in campaign.parameters.items():
        _try(campaign, file, name, parameter, str(path))
    return campaign, file, base


def _pipeline_file(search_space: Path, pipeline: str) -> Path:
    """A pipeline is named from the repository's root, from which the command usually runs too."""
    candidates = [Path(pipeline), search_space.resolve().parent.parent / pipeline]
    return next((file for file in candidates if file.is_file()), candidates[0])


def _try(campaign: Campaign, file: Path, name: str, parameter: Any, where: str) -> None:
    distribution = parameter.distribution()
    low = distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low
    try:
        values = campaign.overrides | {campaign.path_of(name): parameter.value(low)}
        pipelines.load(file, profile=campaign.profile, values=values)
    except ConfigError as error:
        raise ConfigError(f"parameters.{name}: {error.what}", where=where, fix=error.fix) from None
