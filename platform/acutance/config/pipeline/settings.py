"""A pipeline file: data, a graph of stages, evaluation, registration, and what must fit together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from pydantic import Field, model_validator

from acutance.config.length import scaled
from acutance.config.pipeline.sections import Compute, Evaluate, Length, Paper, Register
from acutance.config.pipeline.stage import Stage, columns_read
from acutance.config.schema import Choice, Seed, Strict, nearest
from acutance.data import DataSettings, SubImages
from acutance.data.degradations import reduction
from acutance.data.size import fits, grown, shown, sides, uneven
from acutance.errors import ConfigError
from acutance.evaluation.metrics import METRICS
from acutance.evaluation.protocols import PROTOCOLS
from acutance.evaluation.validation import MEASURES
from acutance.imaging.extractors import CHANNELS, CODINGS
from acutance.losses import MASKS, TERMS
from acutance.losses.objective import target_of
from acutance.models import NETWORKS
from acutance.models.features import FEATURE_NETWORKS


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
        taken = [name for name in self.stages if name in FEATURE_NETWORKS]
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
            problems += _unknown("register.stage", [registered.stage], wanted.stages or self.stages)
        if registered and not metrics:
            problems += _unknown("register.gate", registered.gate, wanted.metrics)
        return problems

    def _restoring_none(self, stages: Iterable[str]) -> list[str]:
        networks = {name: NETWORKS[self.stages[name].network.type] for name in stages if name in self.stages}
        return [name for name, network in networks.items() if "image" not in network.outputs]

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
        """Return the data that a stage is measured on: made like its own, one patch from the middle of each picture."""
        settings, data = self.stages[stage], self.data_of(stage)
        if settings.validation is None:
            return None
        seen = grown(settings.patch, self.margin(stage))
        changes: dict[str, Any] = {"train": settings.validation.on, "lr": settings.validation.lr}
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
        problems += self._detail_problems(name, place) + self._scale_problems(name, place)
        problems += self._degrade_problems(name, place) + self._validation_problems(name, place)
        patch, within = shown(stage.patch), grown(self.data_of(name).size, stage.pad)
        if not fits(stage.patch, within):
            problems.append(f"{place}.patch: {patch} is larger than {self._cuts(name)}.size")
        elif not fits(grown(stage.patch, self.margin(name)), within):
            problems.append(f"{place}.patch: {patch} and its margins are larger than {self._cuts(name)}.size")
        for judge, discriminator in stage.discriminators.items():
            if sides(discriminator.network.size) != sides(stage.patch):
                size = f"{place}.discriminators.{judge}.network.size"
                problems.append(f"{size}: {discriminator.network.size} is not the stage's patch, {patch}")
        return problems + _sharing_problems(stage, place)

    def _cuts(self, name: str) -> str:
        """Return where a file says how a stage's pictures are cut."""
        return f"stages.{name}.subimages" if self.stages[name].subimages else "data.subimages"

    def _column_problems(self, name: str, place: str) -> list[str]:
        """What networks, terms and discriminators read is made by the data or in the step."""
        stage, columns = self.stages[name], self.columns(name) | set(self.stages[name].derive)
        missing = set(NETWORKS[stage.network.type].inputs) - columns
        judged = {d.on for d in stage.discriminators.values()}
        judged |= {t.on for t in stage.objective if TERMS[t.type].reads == "outputs"}
        missing |= {target_of(output) for output in judged} - columns
        missing |= {column for t in stage.objective if t.mask for column in MASKS[t.mask.type].columns} - columns
        problems = [f"{place}: needs the column {c!r}, which neither data nor derive makes" for c in sorted(missing)]
        return problems + self._derive_problems(name, place)

    def _derive_problems(self, name: str, place: str) -> list[str]:
        """What is computed in the step comes from a column, and a smaller picture lies on its pixels' borders."""
        stage, problems = self.stages[name], []
        there = self.columns(name) - self.made_in_step(name).keys()
        for column, made in stage.derive.items():
            of, *besides = made.reads()
            problems += _unknown(f"{place}.derive.{column}.of", [of], there)
            if set(besides) - there:
                problems.append(f"{place}.derive.{column}: {made.type} needs data.{made.type}")
            times = getattr(made, "scale", 1)
            if uneven(stage.patch, [times]) or (times > 1 and stage.margin % (times * self.scale_of(name))):
                problems.append(f"{place}.derive.{column}.scale: {times} divides the patch or the margin unevenly")
        return problems

    def _term_problems(self, stage: Stage, place: str) -> list[str]:
        adversarial = [term.on for term in stage.objective if TERMS[term.type].reads == "logits"]
        problems = _unknown(f"{place}.objective adversarial on", adversarial, stage.discriminators)
        term_names = [term.name for term in stage.objective]
        if doubled := {n for n in term_names if term_names.count(n) > 1}:
            problems.append(f"{place}.objective: two terms are named {', '.join(sorted(doubled))}; name them apart")
        for term in stage.objective:
            for argument, (network, at) in term.looks().items():
                problems += _layer_problems(f"{place}.objective.{term.name}", argument, network, at)
            problems += _mask_problems(f"{place}.objective.{term.name}.mask", term, stage)
        return problems

    def _scale_problems(self, name: str, place: str) -> list[str]:
        """A network of several scales needs LR pictures and sub-images for each."""
        stage, data = self.stages[name], self.data_of(name)
        if not stage.scales:
            return []
        if "scale" not in getattr(NETWORKS[stage.network.type], "options", ()):
            return [f"{place}.scales: the network {stage.network.type} has one scale; leave them out"]
        lacking = [scale for scale in stage.scales if scale not in data.lr_scales]
        problems = [f"{place}.scales: {scale} is not among data.lr_scales" for scale in lacking]
        height, width = (side // self.scale * max(stage.scales) for side in sides(stage.patch))
        if not fits((height, width), data.size):
            what = f"at x{max(stage.scales)} it is {shown((height, width))}, larger than {self._cuts(name)}.size"
            problems.append(f"{place}.patch: {what}")
        if stage.discriminators:
            problems.append(f"{place}.discriminators: one judges pictures of one size; leave them out with scales")
        if stage.margin or stage.derive:
            problems.append(f"{place}.derive: nothing can be derived where the scale is drawn; leave it out")
        return problems

    def _degrade_problems(self, name: str, place: str) -> list[str]:
        """What is made in the stream must have the scale, and nothing in the shards may be of another LR."""
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
        if "lr_detail" in columns_read(stage) and self.data_of(name).detail_margin is None:
            problems.append(f"{place}: detail layers of this `lr` are made in the step; set data.detail_margin")
        return problems

    def _detail_problems(self, name: str, place: str) -> list[str]:
        """A network and its discriminator read as many channels as the extractor makes."""
        stage, detail = self.stages[name], self.data_of(name).detail
        if detail is None:
            return []
        made = CHANNELS[CODINGS[detail.type]]
        read = {f"{place}.network.detail_planes": getattr(stage.network, "detail_planes", made)}
        for judge, discriminator in stage.discriminators.items():
            if target_of(discriminator.on) == "hr_detail":
                read[f"{place}.discriminators.{judge}.network.in_channels"] = discriminator.network.in_channels
        return [f"{path}: {n} where data.detail, {detail.type}, makes {made}" for path, n in read.items() if n != made]

    def _validation_problems(self, name: str, place: str) -> list[str]:
        """A measure needs an output of the network, and its target."""
        stage, problems = self.stages[name], []
        there = self.columns(name) | set(stage.derive)
        for metric in stage.validation.metrics if stage.validation else []:
            measure, outputs = MEASURES[metric], NETWORKS[stage.network.type].outputs
            if measure.output not in outputs:
                what = f"{metric} measures {measure.output!r}; {stage.network.type} gives {', '.join(outputs)}"
                problems.append(f"{place}.validation.metrics: {what}")
            elif measure.target not in there:
                problems.append(f"{place}.validation.metrics: {metric} needs the column {measure.target!r}")
        return problems

    def made_in_step(self, name: str) -> dict[str, dict[str, Any]]:
        """Return how a stage derives what it reads of its data and the shards do not hold, by column."""
        data, read = self.data_of(name), columns_read(self.stages[name])
        made: dict[str, dict[str, Any]] = {}
        if data.detail and data.detail_margin is not None:
            detail = data.detail.model_dump(mode="json")
            made |= {f"{of}_detail": {**detail, "of": of} for of in ("hr", "lr") if f"{of}_detail" in read}
        if data.weight_map and "hr_weight" in read:
            made["hr_weight"] = {"type": "weight_map", "of": "hr", "alpha": data.weight_map.alpha}
        return made

    def margin(self, name: str) -> int:
        """Return how many HR pixels around its patches a stage needs for what is computed in the step.

        Neighbours are a pixel away; smaller pictures that are derived, too, lie on their pixels' borders.
        """
        stage, made = self.stages[name], self.made_in_step(name)
        detail = self.data_of(name).detail_margin or 0 if made.keys() - {"hr_weight"} else 0
        least = max(stage.margin, detail * self.scale_of(name), 1 if "hr_weight" in made else 0)
        multiple = math.lcm(*(getattr(d, "scale", 1) for d in stage.derive.values())) * self.scale_of(name)
        return -(-least // multiple) * multiple if made else stage.margin

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
        detail = {"hr_detail"} | {f"{name}_detail" for name in lr} if data.detail else set()
        weight = {"hr_weight", "hr_differences"} if data.weight_map else set()
        return {"hr"} | lr | detail | weight | ({data.label} if data.label else set())

    def upstream(self, stage: str) -> list[str]:
        """Return the stages that a stage waits for, sorted."""
        named = set(self.stages[stage].needs) | self.stages[stage].reads()
        return sorted(name for name in named if name in self.stages)

    def evaluated(self) -> list[str]:
        """Return the stages that are measured on the held-out pictures."""
        if self.evaluate is None:
            return []
        if self.evaluate.stages is not None:
            return self.evaluate.stages
        assert self.registered is not None  # every pipeline is checked for it
        before = self.order(self.registered.stage)
        return [name for name in before if "lr" in NETWORKS[self.stages[name].network.type].inputs]

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
            todo = [self.registered.stage, *self.evaluated()]
        else:
            todo = [only] if only else list(self.stages)
        while todo:
            name = todo.pop()
            if name not in wanted:
                wanted.add(name)
                todo.extend(graph[name])
        return [name for name in TopologicalSorter(graph).static_order() if name in wanted]


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
        return [f"{place}: needs {argument!r}: a stage, a model file, or one of {', '.join(FEATURE_NETWORKS)}"]
    if isinstance(network, str):
        return []
    there = FEATURE_NETWORKS[network.type].layers
    return [f"{place}: {network.type} has no layer {one!r}{nearest(one, there)}" for one in layers if one not in there]


def _mask_problems(place: str, term: Any, stage: Stage) -> list[str]:
    """A mask is of pictures: the weight map of `hr`, the one of edges also of pictures made of it."""
    if term.mask is None:
        return []
    if TERMS[term.type].reads != "outputs":
        return [f"{place}: {term.type} compares no pictures; leave the mask out"]
    fitting = {"hr", *(stage.derive if term.mask.type == "gms" else ())}
    if target_of(term.on) not in fitting:
        return [f"{place}: {term.mask.type} is for outputs that are compared with {', '.join(sorted(fitting))}"]
    return []


def _unknown(place: str, names: Iterable[str], valid: Mapping[str, Any] | Iterable[str]) -> list[str]:
    valid = list(valid)
    return [f"{place}: there is no {name!r}{nearest(name, valid)}" for name in names if name not in valid]
