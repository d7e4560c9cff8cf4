"""The sections of a pipeline file beside its data and its stages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from typing_extensions import TypedDict

from acutance.config.data import DataSetName
from acutance.config.pipeline.validation import stage_named
from acutance.config.schema import Strict


class Evaluate(Strict):
    """Which stages are evaluated, on which pictures, by which protocol."""

    stages: list[str] | None = Field(
        default=None,
        description="where left out: the registered stage and those before it, as far as they restore pictures",
    )
    on: Annotated[list[DataSetName], AfterValidator(lambda names: list(dict.fromkeys(names)))]
    protocol: str = "y_crop4"
    metrics: list[str] = Field(default_factory=lambda: ["psnr_y", "ssim_y"])


class Improvement(TypedDict):
    """A metric that must improve: in the mean by this much, and by more than chance (paired bootstrap, 95 %)."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    improve_by: NonNegativeFloat


def _one_message(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A union would complain once for each of its kinds."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError("give how much worse it may be, such as 0.1, or {improve_by: 0.05}") from None


GateRule = Annotated[float | Improvement, WrapValidator(_one_message)]


class Register(Strict):
    """The registered model, and what a new version must gain or not lose to become champion."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]+$", max_length=200, description="letters, digits, _ and -; MLflow takes no others"
    )
    stage: str = Field(description="STAGE, or STAGE@best: its best checkpoint in place of the last")
    gate: dict[str, GateRule] = Field(
        default_factory=dict,
        description="metric -> how much worse its mean over the held-out pictures may be (0.1; 0: not at all), "
        "or {improve_by: 0.05}: how much better it must be, and by more than chance ({improve_by: 0}: just better)",
    )

    @property
    def trained(self) -> str:
        """The stage, without `@best`."""
        return stage_named(self.stage)


class Compute(Strict):
    """What a training runs on."""

    workers: PositiveInt = Field(default=1, description="the most that train a stage together")
    cpus_per_worker: PositiveInt = 1
    gpus: Literal["auto"] | NonNegativeInt = Field(
        default="auto",
        description="of each worker; auto: 1 where the cluster has or can start GPUs, else 0",
    )
    grace_seconds: PositiveFloat = Field(
        default=30.0, description="at Ctrl-C and SIGTERM, how long a training may write a checkpoint before it ends"
    )
    price_per_hour: NonNegativeFloat = Field(
        default=0.0, description="of all workers together, in any currency; the time left is then shown in money, too"
    )


class Length(Strict):
    """How long the stages train."""

    scale: PositiveFloat = Field(
        default=1,
        description="every stage's steps, milestones, ramps and whatever else is counted in steps are so many times "
        "as long; intervals of reports, checkpoints and validations stay",
    )


class Paper(Strict):
    """Where a pipeline comes from."""

    title: str
    authors: str
    year: int
