"""A pipeline that a command works on: its settings, its data sets, its output folder, and its plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from acutance.commands.overlap import overlaps
from acutance.config import pipeline as pipelines
from acutance.config.data import DataSettings, reduction
from acutance.config.packaged import locate
from acutance.config.pipeline import Pipeline
from acutance.data.columns import Content, Contents
from acutance.data.dataset_record import DatasetRecord, read_record
from acutance.data.datasets import Catalogue, Source, catalogue_for
from acutance.data.inputs import Inputs, content_of, find_inputs, list_pictures
from acutance.errors import AbsentError, ConfigError, DataError, WeightsError
from acutance.evaluation.pictures import measured_pictures
from acutance.redact import redacted
from acutance.storage.outputs import readable, storage_root
from acutance.training.parameter_counts import parameter_counts
from acutance.training.plan import plan_stages, validation_pictures
from acutance.training.source_weights import weights_files
from acutance.training.stage_plan import Pictures, StagePlan
from acutance.weights import require_weights

NAME_LENGTH = 250
"""The longest name of a run that MLflow's databases hold."""


@dataclass(frozen=True)
class PipelineContext:
    """A pipeline with the data sets it names and where its outputs go.

    Attributes:
        trial: STUDY/NUMBER of the trial that its values come from, empty if they come from the file.
        changes: the profile and the overrides with which the file was read.
    """

    file: Path
    pipeline: Pipeline
    catalogue: Catalogue
    root: str
    trial: str = ""
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The pipeline's short name: its file's."""
        return self.file.stem

    @property
    def group(self) -> str:
        """The folder below the storage root in which its stages lie."""
        return readable(self.name)

    @property
    def title(self) -> str:
        """The pipeline's title, with the overrides."""
        trial = (f"trial {self.trial}",) if self.trial else ()
        return called(self.pipeline.title, (*trial, *self.changes))

    def data(self, only: str | None = None) -> list[DataSettings]:
        """Return the data sets that the stages train on and are validated on, without repetition."""
        of_stages = [
            data
            for name in self.pipeline.order(only)
            for data in (self.pipeline.data_of(name), self.pipeline.validation_data(name))
        ]
        return [data for index, data in enumerate(of_stages) if data and data not in of_stages[:index]]

    def contents(self, only: str | None = None) -> Contents:
        """Return what the data sets of the stages consist of. Only new and changed files are read.

        A data set that is not on this machine has the content that it had when its shards were made.

        Raises:
            AbsentError: for a data set that is not on this machine and has no shards.
            ConfigError, DataError: as `find_inputs`.
        """
        for data in self.data(only):
            if data.source not in self._contents:
                self._contents[data.source] = self._read_content(data)
        return dict(self._contents)

    def _read_content(self, data: DataSettings) -> Content:
        try:
            found = find_inputs(data, self.pipeline.scale, self.catalogue, self.root)
        except AbsentError:
            record = self.read_record(data)
            if record is None:
                raise
            return record.content
        self.inputs[data.source] = found
        return content_of(found, data, self.catalogue)

    def read_record(self, data: DataSettings) -> DatasetRecord | None:
        """Return what a data set consisted of when its shards were made."""
        return read_record(data, self.pipeline.scale, self.catalogue, self.root)

    @cached_property
    def inputs(self) -> dict[str, Inputs]:
        """The inputs of each data set that `contents` found here, by `DataSettings.source`."""
        return {}

    @cached_property
    def _contents(self) -> Contents:
        return {}

    def plans(self, only: str | None = None) -> list[StagePlan]:
        """Return the plans of the stages in order. A plan whose validation pictures are absent has none."""
        pictures: dict[str, Pictures] = {}
        for name in self.pipeline.order(only):
            with suppress(AbsentError):
                pictures[name] = self.validation_pictures(name)
        return plan_stages(
            self.pipeline, self.contents(only), self.root, group=self.group, only=only, pictures=pictures
        )

    def validation_pictures(self, stage: str) -> Pictures:
        """Return the pictures of a stage's validation.

        Raises:
            AbsentError, ConfigError, DataError: as `measured_pictures`.
        """
        return validation_pictures(self.pipeline, self.catalogue, stage)

    def held_out(self) -> dict[str, list[Source]]:
        """Return the pictures of each data set that models are measured on, with the LR that is read."""
        wanted = self.pipeline.evaluate
        return measured_pictures(self.catalogue, wanted.on, self.pipeline.scale, wanted.protocol) if wanted else {}

    def overlap(self, only: str | None = None) -> list[str]:
        """Return sentences about pictures that stages are both trained and measured on.

        Raises:
            ConfigError, DataError: as `contents`, and for pictures to be measured on that are not here.
        """
        contents, names = self.contents(only), self.pipeline.order(only)
        found = [] if only else self.overlap_with(self.held_out(), by="evaluation")
        for name in names:
            validation, own = self.pipeline.validation_data(name), self.pipeline.data_of(name)
            if validation:
                learnt = {checksum for _, checksum in contents[own.source].inputs}
                shared = [one for one, checksum in contents[validation.source].inputs if checksum in learnt]
                if shared:
                    what = f"{len(shared)} pictures of {validation.train}, the first {shared[0]}"
                    found.append(f"trained on what it is judged by (validation of {name}): {what}")
            with suppress(AbsentError):
                found += self.overlap_with(self.validation_pictures(name), by=f"validation of {name}", only=name)
        return found

    def overlap_with(self, pictures: Pictures, *, by: str, only: str | None = None) -> list[str]:
        """Return sentences, by data set, about pictures that stages are trained on; see `overlap`."""
        contents = self.contents(only)
        sources = {self.pipeline.data_of(name).source for name in self.pipeline.order(only)}
        trained = {checksum for source in sources for _, checksum in contents[source].inputs}
        trained |= {one.sha256 for source in sources for one in self.inputs.get(source, [])}
        return overlaps(trained, pictures, scale=self.pipeline.scale, root=self.root, by=by)


def _values_of(trial: str, root: str) -> dict[str, Any]:
    """Return the values of a trial, `STUDY/NUMBER`, by dotted path."""
    from acutance.tuning.study import find_trial, study_address  # and with it Optuna, which few commands need

    return find_trial(study_address(root), trial).values


def open_pipeline(
    file: str, overrides: list[str], profile: str | None, root: str | None, trial: str | None = None
) -> PipelineContext:
    """Read a pipeline and the catalogue beside it.

    Args:
        file: a path, or the name of a pipeline that comes with the package.
        trial: STUDY/NUMBER of a trial whose values the pipeline gets, beneath the overrides.

    Raises:
        ConfigError: see `acutance.pipeline.load`; or there is no such trial, or a data set of another scale.
    """
    file = str(locate(file, "pipelines"))
    values = _values_of(trial, storage_root(root)) if trial else {}
    pipeline = pipelines.load(file, overrides, profile=profile, values=values)
    catalogue = catalogue_for(file)
    if pipeline.evaluate:
        require_scale(catalogue, pipeline.evaluate.on, pipeline.scale, f"{file}: evaluate.on")
    changes = (*([profile] if profile else []), *overrides)
    return PipelineContext(Path(file), pipeline.shortened(), catalogue, storage_root(root), trial or "", changes)


def called(title: str, changes: Iterable[str]) -> str:
    """Return the name of a run: a title and changes, without passwords, cut at NAME_LENGTH characters."""
    listed = ", ".join(changes)
    name = redacted(f"{title} ({listed})" if listed else title)
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 3]}..."


def require_scale(catalogue: Catalogue, datasets: Iterable[str], scale: int, where: str) -> None:
    """Refuse a degraded data set of another scale before a model is trained that would be measured on it.

    Raises:
        ConfigError: naming the data set.
    """
    for name in datasets:
        entry = catalogue.entries.get(name)
        if entry and entry.of and (made := reduction(catalogue.steps(name))) != scale:
            what = f"{name} is degraded at scale {made}, asked for is {scale}"
            raise ConfigError(what, where=where, fix="choose another data set")


def plan_summary(context: PipelineContext, only: str | None = None) -> dict[str, Any]:
    """Return what a run would do, without doing it and without data present."""
    missing = _missing(context, only)
    done: dict[str, bool] = {}
    shared: list[str] = []
    try:
        todo = [context.pipeline.stages[name] for name in context.pipeline.order(only)]
        require_weights(file for stage in todo for file in weights_files(stage))
        plans = [] if missing else context.plans(only)
        done = {plan.name: plan.done() for plan in plans}
        missing += _without_shards(context, plans)
        shared = [] if missing else context.overlap(only)
    except WeightsError as error:
        missing.append(f"{error.what}; {error.fix}")
    stages = [
        {
            "name": name,
            "needs": context.pipeline.upstream(name),
            "steps": context.pipeline.stages[name].steps,
            "done": done.get(name, False),
            "parameters": parameter_counts(context.pipeline.stages[name], name),
            "learning_rates": context.pipeline.stages[name].optimiser.curve(context.pipeline.stages[name].steps),
        }
        for name in context.pipeline.order(only)
    ]
    config = context.pipeline.model_dump(mode="json", by_alias=True, exclude={"profiles"})
    return {
        "pipeline": str(context.file),
        "storage": context.root,
        "missing": missing,
        "overlap": shared,
        "stages": stages,
        "all_steps": sum(stage["steps"] for stage in stages),
        "config": config,
    }


def _missing(context: PipelineContext, only: str | None) -> list[str]:
    """Return a sentence for each missing data set. With `only`, those of the evaluation are not needed."""
    scale, evaluated = context.pipeline.scale, context.pipeline.evaluate
    checks: dict[str, Callable[[], object]] = {}
    for data in context.data(only):
        checks[data.source] = partial(list_pictures, data, scale, context.catalogue)
    with_shards = {data.source for data in context.data(only) if context.read_record(data)}
    if evaluated and not only:
        for name in evaluated.on:
            checks[name] = partial(measured_pictures, context.catalogue, [name], scale, evaluated.protocol)
            with_shards.discard(name)
    for stage in context.pipeline.order(only):
        checks[f"validation of {stage}"] = partial(context.validation_pictures, stage)
    missing = []
    for name, check in checks.items():
        try:
            check()
        except DataError as error:
            if not isinstance(error, AbsentError) or name not in with_shards:
                missing.append(f"{name}: {error.what}; {error.fix}")
    return missing


def _without_shards(context: PipelineContext, plans: list[StagePlan]) -> list[str]:
    """Return sentences about data sets of which neither pictures nor shards are present."""
    unread = [plan.trained_on for plan in plans if not plan.done()]
    unread += [plan.measured_on for plan in plans if plan.measured_on and not plan.done()]
    return list(
        dict.fromkeys(
            f"{shards.settings.source}: neither its pictures are here nor complete shards of them"
            for shards in unread
            if shards.settings.source not in context.inputs and not shards.done()
        )
    )
