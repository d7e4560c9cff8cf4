"""What a stage is made of: network, terms, discriminators, optimisers, steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    TypeAdapter,
    model_validator,
)
from torch import Tensor

from acutance.config.length import IN_STEPS, PER_STEP
from acutance.config.schema import Choice, Seed, Strict, choice_of, nearest
from acutance.data import DataSettings, SubImages
from acutance.data.degradations import Steps
from acutance.data.entries import DataSetName
from acutance.data.settings import BICUBIC, of_two_folders
from acutance.data.size import Size, sides
from acutance.data.stream import Turning
from acutance.evaluation.validation import MEASURES
from acutance.imaging import frequency
from acutance.imaging.extractors import EXTRACTORS, on_unit_range
from acutance.imaging.resize import imresize
from acutance.imaging.weightmap import weight_map
from acutance.losses import MASKS, TERMS
from acutance.losses.adversarial import Form
from acutance.losses.objective import target_of
from acutance.models import DISCRIMINATORS, NETWORKS
from acutance.models.features import FEATURE_NETWORKS


def bicubic(picture: Tensor, *, scale: int) -> Tensor:
    """Return a picture (..., C, H, W) `scale` times smaller, as today's MATLAB makes it, not rounded."""
    return imresize(picture, 1 / scale)


def counted(picture: Tensor, differences: Tensor, *, alpha: float) -> Tensor:
    """Return the weight map (B, 3, H, W) of patches, 0..1, of pictures that have these `difference_statistics` (B, 2).

    The values at the patch's border are compared with those inside it alone: give it a margin of a pixel. Which of two
    neighbours that differ as much comes first is decided as the patch is turned.
    """
    return weight_map((255 * picture).round(), alpha=alpha, statistics=differences)


DERIVATIONS: dict[str, Callable[..., Any]] = {
    "highpass": frequency.highpass,
    "bicubic": bicubic,
    "weight_map": counted,
    **{kind: on_unit_range(kind) for kind in EXTRACTORS},
}
"""Batch columns computed in the step, on the device: functions of another column, and of what BESIDES names."""

BESIDES = {"weight_map": ("hr_differences",)}


class NetworkChoice(Choice):
    """A network: its architecture's parameters, and where parts of it start from."""

    init: dict[str, str] = Field(
        default_factory=dict,
        description="part of the network ('.' is all of it) -> stage, or weights file, that it starts from",
    )


class TermChoice(Choice):
    """A term of an objective."""

    name: str = Field(default="", description="how logs and dotted paths call it; its type where left out")
    on: str = Field(default="image", description="the output, or for adversarial terms the discriminator, it reads")
    weight: float = 1.0
    mask: choice_of(MASKS) | None = Field(  # type: ignore[valid-type]
        default=None, description="what it looks at; all of it where left out"
    )

    def looks(self) -> dict[str, tuple[Choice | str, tuple[str, ...]]]:
        """Return what it looks through and at which layers, by the argument that names the network.

        A network is a stage or a file, as text, or a feature network with its settings.
        """
        find = getattr(TERMS[self.type], "looks", None)
        arguments = self.arguments()
        return {name: (feature_network(arguments[name]), at) for name, at in find(arguments).items()} if find else {}

    @model_validator(mode="before")
    @classmethod
    def _named(cls, content: Any) -> Any:
        if isinstance(content, dict) and not content.get("name"):
            return {**content, "name": content.get("type", "")}
        return content


FeatureChoice = choice_of(FEATURE_NETWORKS)
FEATURES = TypeAdapter(FeatureChoice)

Looked = Annotated[
    Annotated[str, Tag("name")] | Annotated[FeatureChoice, Tag("network")],  # type: ignore[valid-type]
    pydantic.Discriminator(lambda given: "name" if isinstance(given, str) else "network"),
]
"""A network that a term looks through: a stage, a model file, or a feature network, by name or with its settings."""


def feature_network(named: Choice | str | None) -> Any:
    """Return a feature network that is given by its name alone with its settings, anything else as it is."""
    return FEATURES.validate_python({"type": named}) if named in FEATURE_NETWORKS else named


class DerivationChoice(Choice):
    """A batch column computed from another one."""

    of: str

    def reads(self) -> tuple[str, ...]:
        """Return the columns that it is a function of, `of` first."""
        return (self.of, *BESIDES.get(self.type, ()))


class Optimiser(Strict):
    """Adam (Kingma and Ba) or SGD with momentum, and how the learning rate falls."""

    type: Literal["adam", "sgd"] = "adam"
    learning_rate: PositiveFloat = 1e-4
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="of adam alone")
    eps: PositiveFloat = Field(default=1e-8, description="of adam alone")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd alone; not Nesterov's")
    weight_decay: NonNegativeFloat = Field(
        default=0.0, description="of kernels alone: parameters of 2 or more dimensions; added to the gradient"
    )
    milestones: list[Annotated[PositiveInt, IN_STEPS]] = Field(
        default_factory=list, description="steps at which the rate falls"
    )
    every: Annotated[PositiveInt, IN_STEPS] | None = Field(
        default=None, description="the rate falls every so many steps, too"
    )
    gamma: float | list[float] = Field(
        default=0.5, description="what the rate is multiplied by where it falls; or a list, one for each milestone"
    )
    floor: NonNegativeFloat = Field(default=0.0, description="the rate falls no lower")
    clip: PositiveFloat | None = Field(default=None, description="longer gradients are cut to this norm")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (counted from 0)."""
        passed = sum(step >= milestone for milestone in self.milestones)
        if isinstance(self.gamma, list):
            left = math.prod(self.gamma[:passed])
        else:
            left = self.gamma ** (passed + (step // self.every if self.every else 0))
        return float(max(self.floor, self.learning_rate * left))

    @model_validator(mode="after")
    def _falls_by_as_many(self) -> Optimiser:
        if self.milestones != sorted(self.milestones):
            raise ValueError("milestones: give them in their order")
        if isinstance(self.gamma, list) and (self.every or len(self.gamma) != len(self.milestones)):
            raise ValueError("gamma: a list has a factor for each of the milestones, and none for `every`")
        return self

    @model_validator(mode="after")
    def _starts_above_the_floor(self) -> Optimiser:
        if self.floor > self.learning_rate:
            raise ValueError(f"floor: {self.floor:g} is above the learning rate of {self.learning_rate:g}")
        return self


class Discriminator(Strict):
    """An adversary that judges one output of the network."""

    network: choice_of(DISCRIMINATORS)  # type: ignore[valid-type]
    on: str = Field(default="", description="the output it judges; its own name where left out")
    form: Form = "relativistic_average"
    sync_mean: bool = Field(default=False, description="relativistic means are over all workers, not each one's own")
    optimiser: Optimiser | None = Field(default=None, description="the stage's own where left out")

    @model_validator(mode="after")
    def _has_means(self) -> Discriminator:
        if self.sync_mean and self.form == "vanilla":
            raise ValueError("sync_mean: the vanilla form has no means; leave it out")
        return self


class Validation(Strict):
    """What the kept network is measured on besides its steps: the middles of pictures that it does not learn from."""

    on: DataSetName = Field(
        description="a data set like the stage's own, or two folders", json_schema_extra={"type": ["string", "object"]}
    )
    lr: DataSetName | None = Field(default=None, description="the folder of the LR of each picture of `on`")
    split: str = Field(default="val", description="its part, of scored or classified pictures")
    metrics: list[str] = Field(min_length=1)
    every: PositiveInt | None = Field(default=None, description="steps; null: at the end alone")

    @model_validator(mode="before")
    @classmethod
    def _two_folders(cls, content: Any) -> Any:
        return of_two_folders(content, "on")

    @model_validator(mode="after")
    def _known(self) -> Validation:
        if unknown := [name for name in self.metrics if name not in MEASURES]:
            raise ValueError(f"metrics: there is no {unknown[0]!r}{nearest(unknown[0], MEASURES)}")
        return self


class Stage(Strict):
    """One training: network + objective + discriminators + optimisers + schedule + steps."""

    data: DataSettings | None = Field(default=None, description="its own where it differs from the pipeline's")
    subimages: SubImages | None = Field(default=None, description="how its pictures are cut, where not as `data` says")
    validation: Validation | None = None
    accept: dict[str, float] = Field(
        default_factory=dict,
        description="metric of the validation -> the worst value at the end with which the pipeline goes on",
    )
    needs: list[str] = Field(default_factory=list, description="stages to finish first, besides those it reads")
    network: choice_of(NETWORKS, common=NetworkChoice)  # type: ignore[valid-type]
    derive: dict[str, choice_of(DERIVATIONS, common=DerivationChoice)] = Field(  # type: ignore[valid-type]
        default_factory=dict
    )
    objective: list[choice_of(TERMS, common=TermChoice, modules=Looked)] = Field(min_length=1)  # type: ignore[valid-type]
    discriminators: dict[str, Discriminator] = Field(default_factory=dict)
    optimiser: Optimiser = Optimiser()
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
    margin: NonNegativeInt = Field(default=0, description="HR pixels around the patch that derivations alone see")
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
    checkpoint_every: PositiveInt = 1000
    report_every: PositiveInt = 50

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
    def _measures_what_is_accepted(self) -> Stage:
        measured = self.validation.metrics if self.validation else []
        if unknown := [name for name in self.accept if name not in measured]:
            raise ValueError(f"accept: {unknown[0]!r} is not among the metrics of the stage's validation")
        return self

    @model_validator(mode="before")
    @classmethod
    def _names(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("discriminators"), dict):
            named = {k: {"on": k, **v} if isinstance(v, dict) else v for k, v in content["discriminators"].items()}
            return {**content, "discriminators": named}
        return content

    def shares(self) -> list[int]:
        """Return the numbers of workers that its batch can be shared by, in equal parts."""
        return [n for n in range(1, self.batch + 1) if self.batch % (n * self.accumulate) == 0]

    def reads(self) -> set[str]:
        """Return the names of what it starts from or looks through: stages or files."""
        looked = {network for term in self.objective for network, _ in term.looks().values()}
        enlarger = {self.data.enlarge.by} - {BICUBIC} if self.data and self.data.enlarge else set()
        started = set(self.network.init.values()) | enlarger
        return started | {network for network in looked if isinstance(network, str)}

    def feature_networks(self) -> list[Choice]:
        """Return the feature networks that its terms look through."""
        looked = [network for term in self.objective for network, _ in term.looks().values()]
        return [network for network in looked if not isinstance(network, str)]


def columns_read(stage: Stage) -> set[str]:
    """Return the shard columns that a stage's network, terms and derivations read."""
    read = set(NETWORKS[stage.network.type].inputs)
    read |= {target_of(term.on) for term in stage.objective if TERMS[term.type].reads == "outputs"}
    read |= {target_of(d.on) for d in stage.discriminators.values()}
    read |= {column for term in stage.objective if term.mask for column in MASKS[term.mask.type].columns}
    read |= {column for made in stage.derive.values() for column in made.reads()}
    if stage.scales:
        read = (read - {"lr"}) | {f"lr_x{scale}" for scale in stage.scales}
    if stage.degrade:
        read = (read - {"lr"}) | {"hr"}
    return read - set(stage.derive)
