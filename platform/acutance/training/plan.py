"""From a pipeline to stage jobs: what is to be done, in which order, and what is done already."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from acutance import storage
from acutance.config.data import BICUBIC, DataSettings, closure
from acutance.config.pipeline import Pipeline, Stage, columns_read
from acutance.config.schema import Choice
from acutance.data import Contents
from acutance.data.columns import columns_fingerprint, dataset_fingerprint
from acutance.data.inventory import checksums
from acutance.data.prepare import shards_folder
from acutance.data.stream import key_of
from acutance.errors import WeightsError
from acutance.fingerprint import file_sha256, fingerprint
from acutance.inference.enlarger import Enlarger
from acutance.models.counting import parameter_count
from acutance.models.features import UNTRAINED
from acutance.models.model_file import describe_model
from acutance.parts import origin
from acutance.parts.sources import packed, sources_named
from acutance.storage.done import is_done
from acutance.storage.outputs import stage_folder
from acutance.weights import find_weights, other_than_published, require_weights

TRAINING_VERSION = 7
"""Counts changes of the training code after which equal settings give other weights."""

_NOT_DETERMINING = {
    "needs", "data", "subimages", "validation", "accept", "checkpoint_every", "report_every", "seed", "workers",
    "channels_last", "compile",
}  # fmt: skip
"""Compiling and the order in memory change the order of summation, as the number of workers does: rounding alone."""


@dataclass(frozen=True)
class ShardSpec:
    """What a stage trains on or is measured on, as `prepare` makes it.

    Attributes:
        fingerprint: of all that determines it.
        folder: its URI.
        enlarger: what `settings.enlarge` stands for.
    """

    settings: DataSettings
    scale: int
    fingerprint: str
    folder: str
    enlarger: Enlarger | None = None

    def done(self) -> bool:
        """Tell whether the shard set is complete."""
        return is_done("shards", self.folder, self.fingerprint)


@dataclass(frozen=True)
class StagePlan:
    """All that a worker needs to train one stage; it travels between processes as plain data.

    Attributes:
        stage: its settings, with the derived columns that are made in its steps.
        margin: HR pixels around its patches that these columns need.
        folder: URI of the stage's own folder: checkpoints, `model.safetensors`, `done.json`.
        measured_on: what the kept network is measured on.
        sources: what it starts from or looks through -> URI of that model or weights file.
        weights: name of a file that is looked for among the weights -> SHA-256.
        description: what the model file says of itself besides its network.
        workers: that train it together, under Ray Train.
        continues: URI of the folder of checkpoints whose newest it goes on from while it has none of its own.
        beginning: fingerprint of what determines its first steps: of all but its length and how its rates fall.
        begins_at: URI of a checkpoint of another training with this beginning that it goes on from likewise.
    """

    name: str
    stage: Stage
    scale: int
    seed: int
    trained_on: ShardSpec
    folder: str
    fingerprint: str
    sources: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)
    continues: str | None = None
    beginning: str = ""
    begins_at: str | None = None
    measured_on: ShardSpec | None = None
    workers: int = 1
    margin: int = 0

    @property
    def key(self) -> int:
        """What its samples, first weights and dropout are drawn from; stages of one seed draw different ones."""
        return key_of(self.seed, self.name)

    @property
    def shards(self) -> str:
        """URI of the shard set that it trains on."""
        return self.trained_on.folder

    @property
    def checkpoints(self) -> str:
        """URI of the folder of its checkpoints."""
        return storage.join(self.folder, "checkpoints")

    @property
    def model(self) -> str:
        """URI of the finished model file."""
        return storage.join(self.folder, "model.safetensors")

    def done(self) -> bool:
        """Tell whether this work is complete."""
        return is_done("stage", self.folder, self.fingerprint)


def lease_of(root: str, stage: str) -> str:
    """Return the URI of the sign of who trains the stage of this fingerprint, for whatever pipeline."""
    return storage.join(root, "leases", f"{stage}.json")


def plan_stages(
    pipeline: Pipeline,
    contents: Contents,
    root: str,
    *,
    group: str = "stages",
    only: str | None = None,
    trial: int | None = None,
) -> list[StagePlan]:
    """Return the jobs of a pipeline in order.

    Args:
        contents: what the data sets consist of that these stages train on and are measured on.
        root: URI of the storage root.
        group: the folder below it for stages that are not trained yet: the pipeline's name, or a campaign's folder.
        only: one stage; then it and what it needs.
        trial: number of the trial that trains that one; its folder is named for it.

    Raises:
        WeightsError: when a file that a stage starts from or looks through is not there.
    """
    order = pipeline.order(only)
    require_weights(file for name in order for file in weights_files(pipeline.stages[name]))
    jobs: dict[str, StagePlan] = {}
    for name in order:
        parameter_counts(pipeline.stages[name], name)  # a network that no machine could hold is found now
        called = trial_name(trial) if trial is not None and name == only else name
        place = partial(stage_folder, root, group, called)
        jobs[name] = _job(pipeline, name, contents, root, jobs, place)
    return list(jobs.values())


def trial_name(number: int) -> str:
    """Return what the folder of the stage that a trial trains is called."""
    return f"trial-{number}"


def _job(
    pipeline: Pipeline,
    name: str,
    contents: Contents,
    root: str,
    before: dict[str, StagePlan],
    place: Callable[[str], str],
) -> StagePlan:
    """Return one stage's job; `place` returns its folder by its fingerprint."""
    stage, data, validation = as_trained(pipeline, name), pipeline.data_of(name), pipeline.validation_data(name)
    seed, scale = pipeline.seed_of(name), pipeline.scale_of(name)
    enlarger = _enlarger(data, name, before, root)
    trained_on = _shard_set(data, scale, contents, root, enlarger)
    measured_on = _shard_set(validation, scale, contents, root, enlarger) if validation else None
    settings = stage.model_dump(mode="json")
    files = {source: _checksum_named(source, name, root) for source in sorted(stage.reads() - before.keys())}
    by_name = {file: sum for file, sum in files.items() if is_looked_for(file)}
    weights = {file: checksum(find_weights(file)) for file in weights_files(stage)}
    determines = {
        "version": TRAINING_VERSION,
        "stage": _without_paths({k: v for k, v in settings.items() if k not in _NOT_DETERMINING}, files),
        "measured": [measured_on.fingerprint, stage.validation.metrics] if measured_on and stage.validation else None,
        "scale": scale,
        "seed": [seed, name],
        "dataset": columns_fingerprint(
            data,
            scale,
            contents[data.source].originals,
            columns_read(stage),
            enlarger.fingerprint if enlarger else "",
        ),
        "upstream": {source: before[source].fingerprint for source in stage.reads() if source in before},
        "files": list(files.values()),
        "weights": weights,
    }
    mark = fingerprint(determines)
    beginning = fingerprint({**determines, "stage": _without_what_lies_ahead(determines["stage"])})
    return StagePlan(
        name=name,
        stage=stage,
        margin=pipeline.margin(name),
        scale=scale,
        seed=seed,
        workers=pipeline.workers_of(name),
        trained_on=trained_on,
        measured_on=measured_on,
        folder=place(mark),
        fingerprint=mark,
        beginning=beginning,
        sources={source: before[source].model if source in before else source for source in stage.reads()},
        weights=weights | by_name,
        description={
            "title": pipeline.title,
            "stage": name,
            **_parts_of_the_network(pipeline, name),
            "fingerprint": mark,
            "dataset": trained_on.fingerprint,
            "notes": sorted({*_notes(stage, before), *contents[data.source].notes}),
        },
    )


def marks_of_settings(pipeline: Pipeline, only: str) -> dict[str, str]:
    """Return a mark for a stage and each it comes from; equal marks are one training, made once.

    Unlike fingerprints they need neither pictures nor weights files.
    """
    marks: dict[str, str] = {}
    for name in pipeline.order(only):
        stage, data, scale = as_trained(pipeline, name), pipeline.data_of(name), pipeline.scale_of(name)
        settings = stage.model_dump(mode="json").items()
        by = data.enlarge.by if data.enlarge else ""
        determines = {
            "stage": {key: value for key, value in settings if key not in _NOT_DETERMINING},
            "seed": [pipeline.seed_of(name), name],
            "data": [data.source, columns_fingerprint(data, scale, [], columns_read(stage), marks.get(by, by))],
            "upstream": [marks[source] for source in pipeline.upstream(name)],
        }
        marks[name] = fingerprint(determines)
    return marks


def _shard_set(data: DataSettings, scale: int, contents: Contents, root: str, enlarger: Enlarger | None) -> ShardSpec:
    mark = dataset_fingerprint(data, scale, contents[data.source].originals, enlarger.fingerprint if enlarger else "")
    return ShardSpec(data, scale, mark, shards_folder(root, data, mark), enlarger)


def _enlarger(data: DataSettings, stage: str, before: Mapping[str, StagePlan], root: str) -> Enlarger | None:
    if data.enlarge is None:
        return None
    by, scale = data.enlarge.by, data.enlarge.scale
    if by == BICUBIC:
        return Enlarger(None, BICUBIC, scale)
    if by in before:
        return Enlarger(before[by].model, before[by].fingerprint, scale)
    mark = _checksum_named(by, stage, root)
    return Enlarger(_place(by), mark, scale)


def going_on_from(job: StagePlan, model: str, place: Callable[[str], str]) -> StagePlan:
    """Return a job that takes up weights and optimisers where another one ended, with its own numbers.

    Args:
        model: URI of the other one's model file.
        place: returns the folder of a stage by its fingerprint.
    """
    folder = model.rpartition("/")[0]
    mark = fingerprint({"job": job.fingerprint, "goes on from": folder.rpartition("/")[2]})
    return replace(
        job,
        fingerprint=mark,
        folder=place(mark),
        description={**job.description, "fingerprint": mark},
        continues=storage.join(folder, "checkpoints"),
    )


def weights_files(stage: Stage) -> list[str]:
    """Return the names of the published weights files that a stage's network and feature networks need."""
    networks = [network for network in stage.feature_networks() if network.weights == "published"]  # type: ignore[attr-defined]
    trunk = trunk_file(stage)
    return sorted({network.part.file for network in networks} | ({trunk} if trunk else set()))


def trunk_file(stage: Stage) -> str | None:
    """Return the name of the published weights file that a stage's own network starts from, None where from none."""
    return str(stage.network.part.file) if _start(stage) == "published" else None


def _start(stage: Stage) -> str | None:
    """Return the setting `weights` of a network that has one; all of it may come from elsewhere, so that it is idle."""
    return None if "." in stage.network.init else getattr(stage.network, "weights", None)


def _notes(stage: Stage, before: Mapping[str, StagePlan]) -> set[str]:
    """Return what is to be said of all that comes from this stage, as of what it comes from."""
    models = [before[source].description for source in stage.reads() if source in before]
    files = [_place(source) for source in stage.reads() - before.keys() if source.endswith(".safetensors")]
    models += [describe_model(file) for file in files]
    inherited = {note for model in models for note in model.get("notes", [])}
    trunk = {str(stage.network.part.untrained)} if _start(stage) == "none" else set()
    untrained = {UNTRAINED for network in stage.feature_networks() if network.weights == "none"}  # type: ignore[attr-defined]
    others = {other_than_published(find_weights(file)) for file in weights_files(stage)} - {""}
    return inherited | trunk | untrained | others


def as_trained(pipeline: Pipeline, name: str) -> Stage:
    """Return a stage with all derived columns that are made in its steps, those of its data among them."""
    return pipeline.stages[name].model_copy(update={"derive": pipeline.made_in_step(name)})


def _parts_of_the_network(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """Return what a model file says of the parts that its network consists of: what it reads, and whose code it is."""
    network, derived = pipeline.stages[name].network, pipeline.derived(name)
    read = closure(network.part.inputs, derived)
    made = {
        column: one.model_dump(mode="json", exclude={"stored", "margin"})
        for column, one in derived.items()
        if column in read
    }
    kinds = [(network.kind, network.type), *((one.kind, one.type) for c, one in derived.items() if c in read)]
    return {
        "derive": made,
        "code": packed(sources_named([made, network.type])),
        "requires": sorted({origin(kind, part) for kind, part in kinds} - {""}),
    }


def _without_what_lies_ahead(stage: dict[str, Any]) -> dict[str, Any]:
    """Return a stage's settings without its length and its schedules, in which trainings may differ later on."""

    def early(optimiser: dict[str, Any] | None) -> dict[str, Any] | None:
        return optimiser and {key: value for key, value in optimiser.items() if key not in ("schedule", "warmup")}

    discriminators = {
        name: {**one, "optimiser": early(one["optimiser"])} for name, one in stage["discriminators"].items()
    }
    rest = {key: value for key, value in stage.items() if key != "steps"}
    return {**rest, "optimiser": early(stage["optimiser"]), "discriminators": discriminators}


def _without_paths(content: Any, files: Collection[str]) -> Any:
    """Replace the paths of files by `file`: their checksums count, not where they lie."""
    if isinstance(content, dict):
        return {key: _without_paths(value, files) for key, value in content.items()}
    if isinstance(content, list):
        return [_without_paths(value, files) for value in content]
    return "file" if isinstance(content, str) and content in files else content


def checksum(path: Path) -> str:
    """Return the SHA-256 of a large file, once for each of its states."""
    state = path.stat()
    return _checksum_of(path, state.st_mtime_ns, state.st_size)


@cache
def _checksum_of(path: Path, *_: int) -> str:
    return file_sha256(path)


def is_looked_for(source: str) -> bool:
    """Tell whether a stage starts from a file that is named without a folder and is looked for among the weights."""
    return not storage.is_remote(source) and "/" not in source and not Path(source).exists()


def _place(source: str) -> str:
    return str(find_weights(source)) if is_looked_for(source) else source


def _checksum_named(source: str, stage: str, root: str) -> str:
    if is_looked_for(source):
        try:
            return checksum(find_weights(source))
        except WeightsError as error:
            raise _nothing(source, stage, f"put the file there, or into a folder of {error.where}") from None
    if source not in storage.states([source]):
        raise _nothing(source, stage, "put the file there")
    return checksums([source], root, "models")[source]


def _nothing(source: str, stage: str, fix: str) -> WeightsError:
    what = f"{source!r} is neither a stage of this pipeline nor a file"
    return WeightsError(what, where=f"stages.{stage}", fix=f"name a stage, or {fix}")


def parameter_counts(stage: Stage, name: str) -> dict[str, Any]:
    """Return the number of parameters of a stage's network and discriminators, without allocating them.

    Raises:
        ConfigError: for a network that no machine could hold.
    """
    place = f"stages.{name}"
    return {
        "network": _count(stage.network, f"{place}.network"),
        "discriminators": {
            judge: _count(discriminator.network, f"{place}.discriminators.{judge}.network")
            for judge, discriminator in stage.discriminators.items()
        },
    }


_COUNTED: dict[str, int] = {}


def _count(choice: Choice, where: str) -> int:
    """Return a network's number of parameters, built once for each of its settings."""
    settings = f"{choice.kind} {choice.type} {choice.arguments()}"
    if settings not in _COUNTED:
        _COUNTED[settings] = parameter_count(choice.part, choice.arguments(), where)
    return _COUNTED[settings]
