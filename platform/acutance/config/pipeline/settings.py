"""A pipeline file: data, a graph of stages, evaluation, registration, and what must fit together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from pydantic import Field, model_validator

from acutance.config.data import DataSettings, DerivedColumn, SubImages, closure, reduction
from acutance.config.length import scaled
from acutance.config.metrics import MEASURES, METRICS, PROTOCOLS
from acutance.config.pipeline.columns import columns_needed, target_of
from acutance.config.pipeline.sections import Compute, Evaluate, Length, Paper, Register
from acutance.config.pipeline.stage import Stage
from acutance.config.pipeline.validation import BEST, stage_named
from acutance.config.schema import Choice, Seed, Strict
from acutance.config.size import fits, grown, shown, sides, uneven
from acutance.errors import ConfigError, nearest
from acutance.parts import names

PICTURES = {"lr", "hr"}
"""The columns that a picture alone provides."""


class Pipeline(Strict):
    """A pipeline file."""

    title: str
    paper: Paper | None = None
    scale: Literal[1, 2, 4, 8] = 4
    seed: Seed = 0
    data: DataSettings | None = Field(default=None, description="of all stages that have none of their own")
    stages: dict[str, Stage] = Field(min_length=1)
    evaluate: Evaluate | None = Field(default=None, description="null where nothing restores pictures")
    registered: Register | None = Field(default=None, alias="register")
    compute: Compute = Compute()
    budget: Length = Length()
    profiles: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="named sets of overrides, chosen by --profile; what one makes is registered as NAME-PROFILE",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Pipeline:
        problems = [problem for name in self.stages for problem in self._stage_problems(name)]
        taken = [name for name in self.stages if name in names("feature_network")]
        problems += [f"stages.{name}: a feature network has this name; give the stage another" for name in taken]
        problems += self._evaluation_problems()
        if not problems:
            problems += self._cycle()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _evaluation_problems(self) -> list[str]:
        wanted, registered = self.evaluate, self.registered
        if wanted is None:
            return ["register: what is registered must be evaluated; say how in 'evaluate'"] if registered else []
        if wanted.stages is None and registered is None:
            return ["evaluate.stages: name them; they can be left out where a stage is registered"]
        stages = _unknown("evaluate.stages", wanted.stages or [], self.stages)
        metrics = _unknown("evaluate.metrics", wanted.metrics, METRICS)
        problems = stages + metrics + _unknown("evaluate.protocol", [wanted.protocol], PROTOCOLS)
        problems += [f"evaluate.stages: {name} makes no pictures" for name in self._restoring_none(wanted.stages or [])]
        # What is no metric itself is nothing to choose from.
        if registered and not stages:
            problems += _unknown("register.stage", [registered.trained], wanted.stages or self.stages)
            problems += self._best_problems("register.stage", [registered.stage])
        if registered and not metrics:
            problems += _unknown("register.gate", registered.gate, wanted.metrics)
        return problems

    def _best_problems(self, place: str, sources: Iterable[str]) -> list[str]:
        """Only a stage that keeps its best checkpoint has a best model."""
        named = [source for source in sources if source.endswith(BEST) and stage_named(source) in self.stages]
        without = [source for source in named if not self.stages[stage_named(source)].keep.best]
        return [f"{place}: {source} needs stages.{stage_named(source)}.keep.best" for source in without]

    def _restoring_none(self, stages: Iterable[str]) -> list[str]:
        known = [name for name in stages if name in self.stages]
        return [name for name in known if "image" not in self.stages[name].network.part.outputs]

    def shortened(self) -> Pipeline:
        """Return the pipeline as it is trained: all that is counted in steps is as `budget.scale` has it, now 1."""
        if self.budget.scale == 1:
            return self
        stages = {name: scaled(stage, self.budget.scale) for name, stage in self.stages.items()}
        return self.model_copy(update={"stages": stages, "budget": Length()})

    def data_of(self, stage: str) -> DataSettings:
        """Return what a stage trains on: its own data, or the pipeline's."""
        data, cuts = self.stages[stage].data or self.data, self.stages[stage].subimages
        assert data is not None  # every pipeline is checked for it
        return data.model_copy(update={"subimages": cuts}) if cuts else data

    def workers_of(self, stage: str) -> int:
        """Return how many workers train a stage: its own number, or the most that its batch can be shared by."""
        chosen = self.stages[stage]
        return chosen.workers or max(n for n in chosen.shares() if n <= self.compute.workers)

    def seed_of(self, stage: str) -> int:
        """Return a stage's seed: its own, or the pipeline's."""
        own = self.stages[stage].seed
        return self.seed if own is None else own

    def seeds(self, stages: Iterable[str], further: int) -> dict[str, int]:
        """Return, by dotted path, the seeds that follow on those of some stages: each is `further` larger."""
        return {f"stages.{name}.seed": self.seed_of(name) + further for name in stages}

    def scale_of(self, stage: str) -> int:
        """Return how many times smaller LR is than HR for a stage; 1 for labelled pictures that have no LR."""
        return 1 if self.data_of(stage).label and "lr" not in self.columns(stage) else self.scale

    def validation_data(self, stage: str) -> DataSettings | None:
        """Return the data of a stage's measures: made like its own, one patch from the middle of each picture.

        None for a stage without a validation, and for one that is measured on whole pictures.
        """
        settings, data = self.stages[stage], self.data_of(stage)
        if settings.validation is None or settings.validation.of_pictures:
            return None
        seen = grown(settings.patch, self.margin(stage))
        changes: dict[str, Any] = {"train": settings.validation.on[0], "lr": settings.validation.lr}
        changes |= {"split": settings.validation.split} if data.label else {}
        changes |= {"subimages": SubImages(size=seen, stride="centre")} if data.subimages else {}
        return data.model_copy(update=changes)

    def _stage_problems(self, name: str) -> list[str]:
        stage, place = self.stages[name], f"stages.{name}"
        if stage.data is None and self.data is None:
            return [f"{place}: has no data; give the pipeline, or the stage, 'data'"]
        if stage.subimages and self.data_of(name).label == "class":
            return [f"{place}.subimages: classified pictures are small and stay whole; leave it out"]
        problems = _unknown(f"{place}.needs", stage.needs, self.stages)
        problems += self._column_problems(name, place) + self._term_problems(stage, place)
        for what, pixels in (("patch", stage.patch), ("pad", stage.pad)):
            if uneven(pixels, [self.scale_of(name)]):
                problems.append(f"{place}.{what}: {shown(pixels)} is no multiple of the scale {self.scale}")
        problems += self._channel_problems(name, place) + self._scale_problems(name, place)
        problems += self._degrade_problems(name, place) + self._validation_problems(name, place)
        patch, within = shown(stage.patch), grown(self.data_of(name).size, stage.pad)
        if not fits(stage.patch, within):
            problems.append(f"{place}.patch: {patch} is larger than {self._cuts(name)}.size")
        elif not fits(grown(stage.patch, self.margin(name)), within):
            problems.append(f"{place}.patch: {patch} and its margins are larger than {self._cuts(name)}.size")
        for key, discriminator in stage.discriminators.items():
            size = getattr(discriminator.network, "size", stage.patch)
            if sides(size) != sides(stage.patch):
                where = f"{place}.discriminators.{key}.network.size"
                problems.append(f"{where}: {size} is not the stage's patch, {patch}")
        problems += self._best_problems(f"{place}.network.init", stage.reads())
        return problems + _sharing_problems(stage, place)

    def _cuts(self, name: str) -> str:
        """Return where a file says how a stage's pictures are cut."""
        return f"stages.{name}.subimages" if self.stages[name].subimages else "data.subimages"

    def _column_problems(self, name: str, place: str) -> list[str]:
        """What networks, terms and discriminators read is made by the data or in the step."""
        stage, there = self.stages[name], self.columns(name)
        missing = columns_needed(stage) - there
        problems = [f"{place}: needs the column {c!r}, which neither data nor derive makes" for c in sorted(missing)]
        return problems + self._derive_problems(name, place)

    def _derive_problems(self, name: str, place: str) -> list[str]:
        """A derived column comes from columns that there are; what a network reads of them, from a picture alone."""
        stage, derived, problems = self.stages[name], self.derived(name), []
        there = self.columns(name)
        try:
            TopologicalSorter({column: made.sources for column, made in derived.items()}).prepare()
        except CycleError as error:
            return [f"{place}.derive: these are made of one another: {' -> '.join(error.args[1])}"]
        for column, made in derived.items():
            at = f"{place}.derive.{column}" if column in stage.derive else f"data.derive.{column}"
            problems += _unknown(f"{at}.of", made.sources, there - {column})
            if not made.stored and column in closure(columns_needed(stage), derived):
                problems += self._in_step_problems(name, at, made)
        for column in stage.network.part.inputs:
            roots = {root for root in closure([column], derived) if root not in derived}
            if column in there and not roots <= PICTURES:
                lacking = ", ".join(sorted(roots - PICTURES))
                problems.append(
                    f"{place}.network: it reads {column!r}, made of {lacking}, which no picture alone gives"
                )
        return problems

    def _in_step_problems(self, name: str, at: str, made: DerivedColumn) -> list[str]:
        """Of a patch no values of the whole picture can be made; a smaller picture lies on its pixels' borders."""
        if getattr(made.part, "values", None):
            return [f"{at}.stored: {made.type} is of whole pictures; set it to true, in data.derive"]
        times = getattr(made, "scale", 1)
        if uneven(self.stages[name].patch, [times]):
            return [f"{at}.scale: {times} divides the patch unevenly"]
        return []

    def _term_problems(self, stage: Stage, place: str) -> list[str]:
        adversarial = [term.on for term in stage.objective if term.part.reads == "logits"]
        problems = _unknown(f"{place}.objective adversarial on", adversarial, stage.discriminators)
        term_names = [term.name for term in stage.objective]
        if doubled := {n for n in term_names if term_names.count(n) > 1}:
            problems.append(f"{place}.objective: two terms are named {', '.join(sorted(doubled))}; name them apart")
        for term in stage.objective:
            for argument, (network, at) in term.feature_taps().items():
                problems += _layer_problems(f"{place}.objective.{term.name}", argument, network, at)
            problems += _mask_problems(f"{place}.objective.{term.name}.mask", term, stage)
        return problems

    def _scale_problems(self, name: str, place: str) -> list[str]:
        """A network of several scales needs LR pictures and sub-images for each."""
        stage, data = self.stages[name], self.data_of(name)
        if not stage.scales:
            return []
        if "scale" not in getattr(stage.network.part, "options", ()):
            return [f"{place}.scales: the network {stage.network.type} has one scale; leave them out"]
        lacking = [scale for scale in stage.scales if scale not in data.lr_scales]
        problems = [f"{place}.scales: {scale} is not among data.lr_scales" for scale in lacking]
        height, width = (side // self.scale * max(stage.scales) for side in sides(stage.patch))
        if not fits((height, width), data.size):
            what = f"at x{max(stage.scales)} it is {shown((height, width))}, larger than {self._cuts(name)}.size"
            problems.append(f"{place}.patch: {what}")
        if stage.discriminators:
            problems.append(f"{place}.discriminators: one judges pictures of one size; leave them out with scales")
        if self.made_in_step(name):
            problems.append(f"{place}.derive: nothing can be derived where the scale is drawn; leave it out")
        return problems

    def _degrade_problems(self, name: str, place: str) -> list[str]:
        """LR that `degrade` makes must have the pipeline's scale, and no stored column may be made of another LR."""
        stage, place = self.stages[name], f"{place}.degrade"
        if not stage.degrade:
            return []
        problems = []
        if (made := reduction(stage.degrade)) != self.scale:
            problems.append(f"{place}: `lr` becomes {made} times smaller, the scale is {self.scale}; see `bicubic`")
        if stage.scales:
            problems.append(f"{place}: several scales have their LR in the shards; leave out degrade or scales")
        if "lr" in stage.derive:
            problems.append(f"{place}: `lr` is made here and by derive; leave one of them out")
        read = closure(columns_needed(stage), self.derived(name))
        of_stored_lr = [c for c, made in self.data_of(name).stored.items() if c in read and "lr" in made.sources]
        problems += [
            f"{place}: {column} is made of this `lr`, in the step; set data.derive.{column}.stored to false"
            for column in of_stored_lr
        ]
        return problems

    def _channel_problems(self, name: str, place: str) -> list[str]:
        """A network and its discriminators read as many channels as a detail layer has."""
        stage, derived = self.stages[name], self.derived(name)
        made = {column: getattr(one.part, "channels", None) for column, one in derived.items()}
        read = []
        if "lr_detail" in stage.network.part.inputs and hasattr(stage.network, "detail_planes"):
            read.append(("lr_detail", f"{place}.network.detail_planes", stage.network.detail_planes))
        for key, discriminator in stage.discriminators.items():
            where = f"{place}.discriminators.{key}.network.in_channels"
            if hasattr(discriminator.network, "in_channels"):
                read.append((target_of(discriminator.on), where, discriminator.network.in_channels))
        return [
            f"{path}: {n} where data.derive.{column}, {derived[column].type}, makes {made[column]}"
            for column, path, n in read
            if made.get(column) not in (None, n)
        ]

    def _validation_problems(self, name: str, place: str) -> list[str]:
        """A measure needs an output of the network and its target, a metric a network that restores pictures."""
        stage, problems = self.stages[name], []
        if stage.validation and stage.validation.of_pictures:
            none = self._restoring_none([name])
            return [f"{place}.validation.metrics: {stage.network.type} restores no pictures to measure"] if none else []
        there = self.columns(name)
        for metric in stage.validation.metrics if stage.validation else []:
            measure, outputs = MEASURES[metric], stage.network.part.outputs
            if measure.output not in outputs:
                what = f"{metric} measures {measure.output!r}; {stage.network.type} gives {', '.join(outputs)}"
                problems.append(f"{place}.validation.metrics: {what}")
            elif measure.target not in there:
                problems.append(f"{place}.validation.metrics: {metric} needs the column {measure.target!r}")
        return problems

    def derived(self, name: str) -> dict[str, DerivedColumn]:
        """Return the derived columns that a stage may read: those of its data, and its own."""
        return {**self.data_of(name).derive, **self.stages[name].derive}

    def made_in_step(self, name: str) -> dict[str, DerivedColumn]:
        """Return the derived columns that a stage reads and its shards do not hold, by name."""
        derived = self.derived(name)
        read = closure(self._read(name), derived)
        return {column: made for column, made in derived.items() if column in read and not made.stored}

    def _read(self, name: str) -> set[str]:
        """Return the columns that a stage's network, objective and validation read."""
        validation = self.stages[name].validation
        measures = validation.metrics if validation and not validation.of_pictures else []
        return columns_needed(self.stages[name]) | {MEASURES[measure].target for measure in measures}

    def margin(self, name: str) -> int:
        """Return how many HR pixels around its patches a stage needs for the columns that are made in its steps.

        Smaller pictures that are derived lie on their pixels' borders, with their margins.
        """
        made, scale = self.made_in_step(name), self.scale_of(name)
        least = max((_reach(column, made, scale)[0] for column in made), default=0)
        multiple = math.lcm(*(getattr(one, "scale", 1) for one in made.values())) * scale
        return -(-least // multiple) * multiple

    def _cycle(self) -> list[str]:
        try:
            self.order()
        except CycleError as error:
            return [f"stages: these wait for one another: {' -> '.join(error.args[1])}"]
        return []

    def columns(self, stage: str) -> set[str]:
        """Return the columns that a stage's shards hold, or that are made of them in its stream or in its step."""
        data = self.data_of(stage)
        lr = {"lr"} if data.degradation or self.stages[stage].degrade else set()
        return {"hr"} | lr | set(self.derived(stage)) | ({data.label} if data.label else set())

    def upstream(self, stage: str) -> list[str]:
        """Return the stages that a stage waits for, sorted."""
        named = set(self.stages[stage].needs) | set(map(stage_named, self.stages[stage].reads()))
        return sorted(name for name in named if name in self.stages)

    def evaluated(self) -> list[str]:
        """Return the stages that are measured on the held-out pictures."""
        if self.evaluate is None:
            return []
        if self.evaluate.stages is not None:
            return self.evaluate.stages
        assert self.registered is not None  # every pipeline is checked for it
        before = self.order(self.registered.trained)
        return [name for name in before if "lr" in self.stages[name].network.part.inputs]

    def order(self, only: str | None = None) -> list[str]:
        """Return the stages that are trained, in an order in which each comes after those it needs.

        Where a stage is registered, they are that one, those that are evaluated, and what these need; else all.

        Args:
            only: a stage; then just that one and what it needs.

        Raises:
            ConfigError: when `only` names no stage.
        """
        if only is not None and only not in self.stages:
            raise ConfigError(f"there is no stage {only!r}{nearest(only, self.stages)}", where="--stage")
        graph = {name: self.upstream(name) for name in self.stages}
        wanted: set[str] = set()
        if only is None and self.registered:
            todo = [self.registered.trained, *self.evaluated()]
        else:
            todo = [only] if only else list(self.stages)
        while todo:
            name = todo.pop()
            if name not in wanted:
                wanted.add(name)
                todo.extend(graph[name])
        return [name for name in TopologicalSorter(graph).static_order() if name in wanted]


def _reach(column: str, made: Mapping[str, DerivedColumn], scale: int) -> tuple[int, int]:
    """Return how many HR pixels around a patch a column depends on, and how many one of its pixels is wide."""
    if column not in made:
        return 0, scale if column == "lr" else 1
    one = made[column]
    reaches = [_reach(source, made, scale) for source in one.sources]
    width = reaches[0][1]
    return one.margin * width + max(around for around, _ in reaches), width * getattr(one, "scale", 1)


def _sharing_problems(stage: Stage, place: str) -> list[str]:
    """Workers share a batch evenly, and the parts of each are equal."""
    shares = stage.shares()
    if not shares:
        return [f"{place}.accumulate: a batch of {stage.batch} makes no {stage.accumulate} equal parts"]
    if stage.workers is None or stage.workers in shares:
        return []
    parts = f" in {stage.accumulate} parts each" if stage.accumulate > 1 else ""
    what = f"a batch of {stage.batch} cannot be shared by {stage.workers} workers{parts}"
    return [f"{place}.workers: {what}; choose one of {', '.join(map(str, shares))}"]


def _layer_problems(place: str, argument: str, network: Choice | str | None, layers: Iterable[str]) -> list[str]:
    if network is None:
        known = ", ".join(names("feature_network"))
        return [f"{place}: needs {argument!r}: a stage, a model file, or one of {known}"]
    if isinstance(network, str):
        return []
    there = network.part.layers
    return [f"{place}: {network.type} has no layer {one!r}{nearest(one, there)}" for one in layers if one not in there]


def _mask_problems(place: str, term: Any, stage: Stage) -> list[str]:
    """A mask is of pictures: `gms` is of `hr` and of pictures made of it."""
    if term.mask is None:
        return []
    if term.part.reads != "outputs":
        return [f"{place}: {term.type} compares no pictures; leave the mask out"]
    fitting = {"hr", *stage.derive}
    if term.mask.type == "gms" and target_of(term.on) not in fitting:
        return [f"{place}: {term.mask.type} is for outputs that are compared with {', '.join(sorted(fitting))}"]
    return []


def _unknown(place: str, names: Iterable[str], valid: Mapping[str, Any] | Iterable[str]) -> list[str]:
    valid = valid if isinstance(valid, Mapping) else list(valid)
    return [f"{place}: there is no {name!r}{nearest(name, valid)}" for name in names if name not in valid]
