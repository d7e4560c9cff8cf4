"""What a stage is made of: network, terms, discriminators, optimisers, steps."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from acutance import parts
from acutance.config.data import (
    BICUBIC,
    DataSettings,
    DerivedColumn,
    Steps,
    SubImages,
    Turning,
    closure,
)
from acutance.config.length import IN_STEPS, PER_STEP
from acutance.config.pipeline.columns import columns_needed
from acutance.config.pipeline.validation import Keep, Validation
from acutance.config.schedules import StepCount, in_steps, torch_rate
from acutance.config.schema import Choice, Seed, Strict
from acutance.config.size import Size, sides

Form = Literal["relativistic_average", "vanilla"]
"""The form of the adversarial loss: relativistic average, or vanilla, in which each picture counts alone."""


class NetworkChoice(Choice):
    """A network: its architecture's parameters, and where parts of it start from."""

    kind: ClassVar[str] = "network"

    init: dict[str, str] = Field(
        default_factory=dict,
        description="part of the network ('.' is all of it) -> stage, or weights file, that it starts from",
    )


class DiscriminatorNetworkChoice(Choice):
    """The network of a discriminator."""

    kind: ClassVar[str] = "discriminator"


class FeatureChoice(Choice):
    """A feature network with its settings."""

    kind: ClassVar[str] = "feature_network"


FeatureNetworkRef = Annotated[
    Annotated[str, Tag("name")] | Annotated[FeatureChoice, Tag("network")],
    pydantic.Discriminator(lambda given: "name" if isinstance(given, str) else "network"),
]
"""A network whose features a loss compares: a stage, a model file, or a feature network, by name or with settings."""


class MaskChoice(Choice):
    """A mask that a term carries."""

    kind: ClassVar[str] = "mask"

    def columns(self) -> set[str]:
        """Return the batch columns that it reads."""
        read: Iterable[str] = self.part.columns_read(**self.arguments()) if hasattr(self.part, "columns_read") else ()
        return set(read)


class TermChoice(Choice):
    """A term of an objective."""

    kind: ClassVar[str] = "loss"
    module: ClassVar[Any] = FeatureNetworkRef

    name: str = Field(default="", description="how logs and dotted paths call it; its type where left out")
    on: str = Field(default="image", description="the output, or for adversarial terms the discriminator, it reads")
    weight: float = 1.0
    mask: MaskChoice | None = Field(default=None, description="what it looks at; all of it where left out")

    def feature_taps(self) -> dict[str, tuple[Choice | str, tuple[str, ...]]]:
        """Return the networks whose features it compares, each with its layers, by the argument that names it.

        A network is a stage or a file, as text, or a feature network with its settings.
        """
        find = getattr(self.part, "feature_taps", None)
        arguments = self.arguments()
        return {name: (feature_network(arguments[name]), at) for name, at in find(arguments).items()} if find else {}

    @model_validator(mode="before")
    @classmethod
    def _named(cls, content: Any) -> Any:
        if isinstance(content, dict) and not content.get("name"):
            return {**content, "name": content.get("type", "")}
        return content


def feature_network(named: Choice | str | None) -> Any:
    """Return a feature network that is given by its name alone with its settings, anything else as it is."""
    if isinstance(named, str) and named in parts.names("feature_network"):
        return FeatureChoice.chosen({"type": named})
    return named


class ScheduleChoice(Choice):
    """How the learning rate changes: one of ours, or a class of `torch.optim.lr_scheduler` by its dotted name."""

    kind: ClassVar[str] = "schedule"
    given: ClassVar[tuple[str, ...]] = ("step", "learning_rate", "steps", "optimizer", "last_epoch")
    positional: ClassVar[bool] = True

    def rate(self, step: int, learning_rate: float, steps: int) -> float:
        """Return the learning rate of a step.

        Raises:
            ValueError: when its settings do not fit together.
        """
        if inspect.isclass(self.part):
            return torch_rate(self.part, self.arguments(), step, learning_rate)
        return float(self.part(step, learning_rate, steps, **self.arguments()))


LONG = 20_000
"""Steps from which on a curve by a class of `torch.optim.lr_scheduler` takes too long to draw."""


class OptimiserChoice(Choice):
    """An optimiser of `torch.optim`, or of an installed package by its dotted name, and its learning rate.

    Where an optimiser has a weight decay, it acts on kernels alone: on parameters of 2 or more dimensions.
    """

    kind: ClassVar[str] = "optimiser"
    usual: ClassVar[str] = "adam"
    given: ClassVar[tuple[str, ...]] = ("params", "lr", "foreach", "fused", "capturable", "differentiable")
    positional: ClassVar[bool] = True

    learning_rate: PositiveFloat = 1e-4
    schedule: ScheduleChoice = Field(
        default_factory=lambda: ScheduleChoice.chosen({"type": "constant"}),
        description="how the learning rate changes; it stays the same where left out",
    )
    warmup: StepCount | None = Field(
        default=None, description="steps, or their share, in which the learning rate rises from 0 to the schedule's"
    )
    clip: PositiveFloat | None = Field(default=None, description="longer gradients are cut to this norm")

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: counted from 0.
            steps: of the whole training.

        Raises:
            ValueError: when the schedule's settings do not fit together.
        """
        rate = self.schedule.rate(step, self.learning_rate, steps)
        return rate if self.warmup is None else rate * min(1.0, (step + 1) / in_steps(self.warmup, steps))

    def curve(self, steps: int, points: int = 16) -> list[float]:
        """Return the learning rates of steps spread evenly over a training, the first and the last among them.

        Empty for a training without steps, and for a long one by a schedule that has to be run from its first step on.
        """
        if not steps or (inspect.isclass(self.schedule.part) and steps > LONG):
            return []
        return [self.rate(round(index * (steps - 1) / (points - 1)), steps) for index in range(points)]

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the optimiser's own defaults: a later version of a library may have further parameters."""
        fields = type(self).model_fields
        dumped: dict[str, Any] = handler(self)
        idle = {name for name in self.parameters if getattr(self, name) == fields[name].default}
        return {name: value for name, value in dumped.items() if name not in idle}


class Discriminator(Strict):
    """A discriminator of one output of the network."""

    network: DiscriminatorNetworkChoice
    on: str = Field(default="", description="the output it judges; its own name where left out")
    form: Form = "relativistic_average"
    sync_mean: bool = Field(default=False, description="relativistic means are over all workers, not each one's own")
    optimiser: OptimiserChoice | None = Field(default=None, description="the stage's own where left out")

    @model_validator(mode="after")
    def _has_means(self) -> Discriminator:
        if self.sync_mean and self.form == "vanilla":
            raise ValueError("sync_mean: the vanilla form has no means; leave it out")
        return self


class Stage(Strict):
    """One training: network + objective + discriminators + optimisers + schedule + steps."""

    data: DataSettings | None = Field(default=None, description="its own where it differs from the pipeline's")
    subimages: SubImages | None = Field(default=None, description="how its pictures are cut, where not as `data` says")
    validation: Validation | None = None
    keep: Keep = Field(default={}, validate_default=True, description="which checkpoints")
    accept: dict[str, float] = Field(
        default_factory=dict,
        description="value of the validation, such as `accuracy` or `psnr_y on Set14` -> the worst one at the end with "
        "which the pipeline goes on",
    )
    needs: list[str] = Field(default_factory=list, description="stages to finish first, besides those it reads")
    network: NetworkChoice
    derive: dict[str, DerivedColumn] = Field(
        default_factory=dict, description="further columns that are made in its steps, besides those of `data.derive`"
    )
    objective: list[TermChoice] = Field(min_length=1)
    discriminators: dict[str, Discriminator] = Field(default_factory=dict)
    optimiser: OptimiserChoice = Field(default={}, validate_default=True)
    steps: Annotated[NonNegativeInt, IN_STEPS] = Field(
        description="0 trains nothing: the network as it starts, which may take its pictures another way"
    )
    batch: PositiveInt = Field(default=16, description="samples a step, over all workers")
    patch: Size = Field(default=128, description="HR pixels of a patch's side, or [height, width]")
    scales: list[PositiveInt] = Field(
        default_factory=list,
        description="one of them is drawn for each step; LR patches stay as large, HR ones are as many times larger",
    )
    degrade: Steps = Field(
        default_factory=list,
        description="makes `lr` of each sample's HR patch, drawn anew for each sample; `bicubic` makes it smaller",
    )
    augment: Turning = Field(
        default="turns",
        description="drawn once for all columns: flips and transposition, both flips, left to right, or none",
    )
    pad: NonNegativeInt = Field(default=0, description="HR pixels of 0 around pictures, of which patches take some")
    frozen: list[str] = Field(
        default_factory=list, description="parts of the network that do not learn and stay in eval mode"
    )
    first: Literal["together", "discriminator"] = Field(
        default="together",
        description="together: everyone's gradient is taken before anything moves; discriminator: it moves first, "
        "and the generator's gradient is by its new judgement",
    )
    ema: Annotated[float, Field(gt=0, lt=1), PER_STEP] | None = Field(
        default=None, description="decay of the averaged weights that are kept"
    )
    seed: Seed | None = Field(default=None, description="of weights and batches; the pipeline's where left out")
    workers: PositiveInt | None = Field(
        default=None,
        description="that share its batches; where left out, as many of compute.workers as divide it evenly",
    )
    accumulate: PositiveInt = Field(
        default=1,
        description="parts that a worker's samples pass through in turn, to save memory; the gradients are averaged. "
        "Batch normalisation and relativistic means see one part at a time",
    )
    precision: Literal["float32", "bf16"] = Field(
        default="float32", description="bf16: networks run under autocast; weights and losses stay float32"
    )
    tf32: bool = Field(default=True, description="on GPUs that have it; float32 with 10 bits of mantissa in products")
    channels_last: bool = Field(default=True, description="memory order of pictures and kernels")
    compile: bool = Field(default=False, description="torch.compile; takes a minute or more before the first step")
    skips: PositiveInt = Field(
        default=5,
        description="steps in a row that are skipped, because something was not finite, before the run goes back to "
        "its last checkpoint with half the learning rate; the second time it fails",
    )
    checkpoint_every: PositiveInt = Field(default=1000, description="steps")
    checkpoint_seconds: PositiveFloat = Field(
        default=600.0, description="also where the newest checkpoint is older, so that a slow network loses minutes"
    )
    report_every: PositiveInt = 50

    @model_validator(mode="after")
    def _has_learning_rates(self) -> Stage:
        rates = {name: optimiser.rate for name, optimiser in self.optimisers().items()} if self.steps else {}
        for name, rate in rates.items():
            try:
                rate(1, self.steps)
            except (ValueError, TypeError) as error:
                place = "optimiser" if name == "generator" else f"discriminators.{name}.optimiser"
                raise ValueError(f"{place}.schedule: {error}") from None
        return self

    @model_validator(mode="after")
    def _stores_nothing(self) -> Stage:
        if stored := [name for name, column in self.derive.items() if column.stored]:
            raise ValueError(f"derive.{stored[0]}: what is stored is for all stages; put it into data.derive")
        return self

    @model_validator(mode="after")
    def _stands_upright(self) -> Stage:
        height, width = sides(self.patch)
        if self.augment == "turns" and height != width:
            raise ValueError("augment: a patch of two sides cannot be turned; use flips, mirror or none")
        return self

    @model_validator(mode="after")
    def _in_turn(self) -> Stage:
        if self.first == "discriminator" and self.accumulate > 1:
            raise ValueError("accumulate: parts cannot be looked at twice where the discriminator moves first")
        return self

    @model_validator(mode="after")
    def _measures_what_is_best(self) -> Stage:
        if self.keep.best and not self.validation:
            raise ValueError("keep.best: needs a validation")
        if self.keep.best and self.validation:
            self.validation.require_watched(self.keep.best, "keep.best")
        return self

    @model_validator(mode="after")
    def _measures_what_is_accepted(self) -> Stage:
        measured = list(self.validation.names()) if self.validation and self.accept else []
        if unknown := [name for name in self.accept if name not in measured]:
            raise ValueError(f"accept: {unknown[0]!r} is not among the values of the stage's validation, {measured}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _names(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("discriminators"), dict):
            named = {k: {"on": k, **v} if isinstance(v, dict) else v for k, v in content["discriminators"].items()}
            return {**content, "discriminators": named}
        return content

    def optimisers(self) -> dict[str, OptimiserChoice]:
        """Return the optimisers of the generator and of each discriminator, by name."""
        return {
            "generator": self.optimiser,
            **{n: d.optimiser or self.optimiser for n, d in self.discriminators.items()},
        }

    def shares(self) -> list[int]:
        """Return the numbers of workers that its batch can be shared by, in equal parts."""
        return [n for n in range(1, self.batch + 1) if self.batch % (n * self.accumulate) == 0]

    def reads(self) -> set[str]:
        """Return the stages and files that it starts from, or whose features its losses compare."""
        looked = {network for term in self.objective for network, _ in term.feature_taps().values()}
        enlarger = {self.data.enlarge.by} - {BICUBIC} if self.data and self.data.enlarge else set()
        started = set(self.network.init.values()) | enlarger
        return started | {network for network in looked if isinstance(network, str)}

    def feature_networks(self) -> list[Choice]:
        """Return the feature networks of its losses."""
        looked = [network for term in self.objective for network, _ in term.feature_taps().values()]
        return [network for network in looked if not isinstance(network, str)]


def columns_read(stage: Stage) -> set[str]:
    """Return the columns of its data that a stage reads: for its network, terms and derived columns."""
    read = closure(columns_needed(stage), stage.derive)
    if stage.scales:
        read = (read - {"lr"}) | {f"lr_x{scale}" for scale in stage.scales}
    if stage.degrade:
        read = (read - {"lr"}) | {"hr"}
    return read - set(stage.derive)
