"""What a pipeline file may say: data, a graph of stages, evaluation, registration.

`load` reads a file, applies a profile and `key=value` overrides, and validates everything before anything starts.
Each number of a pipeline is reachable by a dotted path; a term of an objective is addressed by its name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from typing_extensions import TypedDict

from acutance.data import DataSettings
from acutance.errors import ConfigError
from acutance.evaluation.metrics import METRICS
from acutance.evaluation.protocols import PROTOCOLS
from acutance.imaging import frequency
from acutance.imaging.extractors import CHANNELS, CODINGS, EXTRACTORS, on_unit_range
from acutance.losses import TERMS
from acutance.losses.adversarial import Form
from acutance.losses.objective import target_of
from acutance.models import DISCRIMINATORS, NETWORKS
from acutance.models.features import FEATURE_NETWORKS
from acutance.schema import Choice, Strict, choice_of, load_yaml, nearest, override, parse_override, validate

DERIVATIONS: dict[str, Callable[..., Any]] = {
    "highpass": frequency.highpass,
    **{kind: on_unit_range(kind) for kind in EXTRACTORS},
}
"""Batch columns computed in the step, on the device: functions of another column."""


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


class Optimiser(Strict):
    """Adam (Kingma and Ba) with a learning rate that is multiplied by `gamma` at each milestone."""

    learning_rate: PositiveFloat = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    milestones: list[PositiveInt] = Field(default_factory=list, description="steps at which the rate is multiplied")
    gamma: float = 0.5
    clip: PositiveFloat | None = Field(default=None, description="longer gradients are cut to this norm")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (counted from 0)."""
        return float(self.learning_rate * self.gamma ** sum(step >= milestone for milestone in self.milestones))


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


class Stage(Strict):
    """One training: network + objective + discriminators + optimisers + schedule + steps."""

    needs: list[str] = Field(default_factory=list, description="stages to finish first, besides those it reads")
    network: choice_of(NETWORKS, common=NetworkChoice)  # type: ignore[valid-type]
    derive: dict[str, choice_of(DERIVATIONS, skip=1, common=DerivationChoice)] = Field(  # type: ignore[valid-type]
        default_factory=dict
    )
    objective: list[choice_of(TERMS, common=TermChoice, modules=Looked)] = Field(min_length=1)  # type: ignore[valid-type]
    discriminators: dict[str, Discriminator] = Field(default_factory=dict)
    optimiser: Optimiser = Optimiser()
    steps: PositiveInt
    batch: PositiveInt = Field(default=16, description="samples a step, over all workers")
    patch: PositiveInt = Field(default=128, description="side of the HR patch in pixels")
    margin: NonNegativeInt = Field(default=0, description="HR pixels around the patch that derivations alone see")
    augment: bool = Field(default=True, description="flips and transposition, drawn once for all columns")
    ema: float | None = Field(default=None, gt=0, lt=1, description="decay of the averaged weights that are kept")
    seed: int | None = Field(default=None, description="of weights and batches; the pipeline's where left out")
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

    @model_validator(mode="before")
    @classmethod
    def _names(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("discriminators"), dict):
            named = {k: {"on": k, **v} if isinstance(v, dict) else v for k, v in content["discriminators"].items()}
            return {**content, "discriminators": named}
        return content

    def reads(self) -> set[str]:
        """Return the names of what it starts from or looks through: stages or files."""
        looked = {network for term in self.objective for network, _ in term.looks().values()}
        return set(self.network.init.values()) | {network for network in looked if isinstance(network, str)}

    def feature_networks(self) -> list[Choice]:
        """Return the feature networks that its terms look through."""
        looked = [network for term in self.objective for network, _ in term.looks().values()]
        return [network for network in looked if not isinstance(network, str)]


def columns_read(stage: Stage) -> set[str]:
    """Return the shard columns that a stage's network, terms and derivations read."""
    read = set(NETWORKS[stage.network.type].inputs)
    read |= {target_of(term.on) for term in stage.objective if TERMS[term.type].reads == "outputs"}
    read |= {target_of(d.on) for d in stage.discriminators.values()}
    read |= {made.of for made in stage.derive.values()}
    return read - set(stage.derive)


class Evaluate(Strict):
    """What is measured, on which pictures, by which protocol."""

    stages: list[str]
    on: list[str]
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

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    stage: str
    gate: dict[str, GateRule] = Field(
        default_factory=dict,
        description="metric -> how much worse its mean over the held-out pictures may be (0.1; 0: not at all), "
        "or {improve_by: 0.05}: how much better it must be, and by more than chance ({improve_by: 0}: just better)",
    )


class Compute(Strict):
    """What a training runs on."""

    workers: PositiveInt = 1
    cpus_per_worker: PositiveInt = 1


class Paper(Strict):
    """Where a pipeline comes from."""

    title: str
    authors: str
    year: int


class Pipeline(Strict):
    """A pipeline file."""

    title: str
    paper: Paper | None = None
    scale: Literal[1, 2, 4, 8] = 4
    seed: int = 0
    data: DataSettings
    stages: dict[str, Stage] = Field(min_length=1)
    evaluate: Evaluate
    registered: Register = Field(alias="register")
    compute: Compute = Compute()
    profiles: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="named sets of overrides, chosen by --profile"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Pipeline:
        problems = [problem for name in self.stages for problem in self._stage_problems(name)]
        taken = [name for name in self.stages if name in FEATURE_NETWORKS]
        problems += [f"stages.{name}: a feature network has this name; give the stage another" for name in taken]
        problems += _unknown("evaluate.stages", self.evaluate.stages, self.stages)
        problems += _unknown("evaluate.metrics", self.evaluate.metrics, METRICS)
        problems += _unknown("evaluate.protocol", [self.evaluate.protocol], PROTOCOLS)
        problems += _unknown("register.stage", [self.registered.stage], self.evaluate.stages)
        problems += _unknown("register.gate", self.registered.gate, self.evaluate.metrics)
        if not problems:
            problems += self._cycle()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _stage_problems(self, name: str) -> list[str]:
        stage, place = self.stages[name], f"stages.{name}"
        problems = _unknown(f"{place}.needs", stage.needs, self.stages)
        columns = self.columns() | set(stage.derive)
        missing = set(NETWORKS[stage.network.type].inputs) - columns
        judged = {d.on for d in stage.discriminators.values()}
        judged |= {t.on for t in stage.objective if TERMS[t.type].reads == "outputs"}
        missing |= {target_of(output) for output in judged} - columns
        for column in sorted(missing):
            problems.append(f"{place}: needs the column {column!r}, which neither data nor derive makes")
        for column, made in stage.derive.items():
            problems += _unknown(f"{place}.derive.{column}.of", [made.of], self.columns())
        adversarial = [term.on for term in stage.objective if TERMS[term.type].reads == "logits"]
        problems += _unknown(f"{place}.objective adversarial on", adversarial, stage.discriminators)
        term_names = [term.name for term in stage.objective]
        if doubled := {n for n in term_names if term_names.count(n) > 1}:
            problems.append(f"{place}.objective: two terms are named {', '.join(sorted(doubled))}; name them apart")
        for term in stage.objective:
            for argument, (network, at) in term.looks().items():
                problems += _layer_problems(f"{place}.objective.{term.name}", argument, network, at)
        if stage.patch % self.scale:
            problems.append(f"{place}.patch: {stage.patch} is no multiple of the scale {self.scale}")
        problems += self._detail_problems(stage, place)
        if stage.patch > self.data.subimages.size:
            problems.append(f"{place}.patch: {stage.patch} is larger than data.subimages.size")
        elif stage.patch + 2 * self.margin(stage) > self.data.subimages.size:
            problems.append(f"{place}.patch: {stage.patch} and its margins are larger than data.subimages.size")
        for judge, discriminator in stage.discriminators.items():
            if discriminator.network.size != stage.patch:
                size = f"{place}.discriminators.{judge}.network.size"
                problems.append(f"{size}: {discriminator.network.size} is not the stage's patch, {stage.patch}")
        if stage.batch % self.compute.workers:
            problems.append(f"{place}.batch: {stage.batch} cannot be shared by {self.compute.workers} workers")
        elif (share := stage.batch // self.compute.workers) % stage.accumulate:
            problems.append(f"{place}.accumulate: a worker's {share} samples make no {stage.accumulate} equal parts")
        return problems

    def _detail_problems(self, stage: Stage, place: str) -> list[str]:
        """A network and its discriminator read as many channels as the extractor makes."""
        if self.data.detail is None:
            return []
        made = CHANNELS[CODINGS[self.data.detail.type]]
        read = {f"{place}.network.detail_planes": getattr(stage.network, "detail_planes", made)}
        for judge, discriminator in stage.discriminators.items():
            if target_of(discriminator.on) == "hr_detail":
                read[f"{place}.discriminators.{judge}.network.in_channels"] = discriminator.network.in_channels
        kind = self.data.detail.type
        return [f"{path}: {n} where data.detail, {kind}, makes {made}" for path, n in read.items() if n != made]

    def margin(self, stage: Stage) -> int:
        """Return how many HR pixels around its patches a stage needs for what is computed in the step."""
        reads_detail = any(column.endswith("_detail") for column in columns_read(stage))
        return max(stage.margin, (self.data.detail_margin or 0) * self.scale if reads_detail else 0)

    def _cycle(self) -> list[str]:
        try:
            self.order()
        except CycleError as error:
            return [f"stages: these wait for one another: {' -> '.join(error.args[1])}"]
        return []

    def columns(self) -> set[str]:
        """Return the columns that the shards of this pipeline hold."""
        lr = {"lr"} if self.data.degradation else set()
        detail = {"hr_detail"} | {f"{name}_detail" for name in lr} if self.data.detail else set()
        return {"hr"} | lr | detail

    def upstream(self, stage: str) -> list[str]:
        """Return the stages that a stage waits for, sorted."""
        named = set(self.stages[stage].needs) | self.stages[stage].reads()
        return sorted(name for name in named if name in self.stages)

    def order(self, only: str | None = None) -> list[str]:
        """Return the stages in an order in which each comes after those it needs.

        Args:
            only: a stage; then just that one and what it needs.

        Raises:
            ConfigError: when `only` names no stage.
        """
        if only is not None and only not in self.stages:
            raise ConfigError(f"there is no stage {only!r}{nearest(only, self.stages)}", where="--stage")
        graph = {name: self.upstream(name) for name in self.stages}
        wanted: set[str] = set()
        todo = [only] if only else list(self.stages)
        while todo:
            name = todo.pop()
            if name not in wanted:
                wanted.add(name)
                todo.extend(graph[name])
        return [name for name in TopologicalSorter(graph).static_order() if name in wanted]


def _layer_problems(place: str, argument: str, network: Choice | str | None, layers: Iterable[str]) -> list[str]:
    if network is None:
        return [f"{place}: needs {argument!r}: a stage, a model file, or one of {', '.join(FEATURE_NETWORKS)}"]
    if isinstance(network, str):
        return []
    there = FEATURE_NETWORKS[network.type].layers
    return [f"{place}: {network.type} has no layer {one!r}{nearest(one, there)}" for one in layers if one not in there]


def _unknown(place: str, names: Iterable[str], valid: Mapping[str, Any] | Iterable[str]) -> list[str]:
    valid = list(valid)
    return [f"{place}: there is no {name!r}{nearest(name, valid)}" for name in names if name not in valid]


def load(
    path: str | Path,
    overrides: Iterable[str] = (),
    *,
    profile: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> Pipeline:
    """Read a pipeline file.

    Args:
        path: the YAML file.
        overrides: `key=value` texts, applied last.
        profile: a named set of overrides from the file's `profiles`, applied first.
        values: dotted path -> value, applied after the profile (a trial of a search).

    Raises:
        ConfigError: naming the file, the dotted path and the nearest valid name of each mistake.
    """
    content = load_yaml(path)
    profiles = content.get("profiles") or {}
    changes: list[tuple[str, Any]] = []
    if profile is not None:
        if profile not in profiles:
            raise ConfigError(f"there is no profile {profile!r}{nearest(profile, profiles)}", where=str(path))
        changes += list(profiles[profile].items())
    changes += list((values or {}).items())
    changes += [parse_override(text) for text in overrides]
    return _changed(content, changes, str(path))


def resolve(content: Mapping[str, Any], values: Mapping[str, Any], where: str) -> Pipeline:
    """Return a pipeline from settings in memory and values by dotted path; errors as for `load`."""
    return _changed(content, list(values.items()), where)


def _changed(content: Mapping[str, Any], changes: list[tuple[str, Any]], where: str) -> Pipeline:
    settings = copy.deepcopy(dict(content))
    for dotted, value in changes:
        override(settings, dotted, value)
    return validate(Pipeline, settings, where)
