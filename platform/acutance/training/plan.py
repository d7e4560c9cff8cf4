"""From a pipeline to the plans of its stages, in the order of training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from acutance import storage
from acutance.config.data import BICUBIC, DataSettings, closure
from acutance.config.pipeline import Pipeline, Stage, columns_read
from acutance.config.pipeline.validation import stage_named
from acutance.data.columns import Contents, columns_fingerprint, dataset_fingerprint
from acutance.data.datasets import Catalogue
from acutance.data.prepare import shards_folder
from acutance.errors import ConfigError
from acutance.evaluation.pictures import measured_pictures
from acutance.fingerprint import fingerprint
from acutance.inference.enlarger import Enlarger
from acutance.parts import origin
from acutance.parts.sources import packed, sources_named
from acutance.storage.outputs import stage_folder
from acutance.training.parameter_counts import parameter_counts
from acutance.training.source_weights import (
    checksum,
    in_weights_folder,
    notes_of,
    path_of,
    source_checksum,
    weights_files,
)
from acutance.training.stage_plan import TRAINING_VERSION, Pictures, ShardSpec, StagePlan
from acutance.weights import find_weights, require_weights

_NOT_DETERMINING = {
    "needs", "data", "subimages", "validation", "keep", "accept", "checkpoint_every", "checkpoint_seconds",
    "report_every", "seed", "workers", "channels_last", "compile",
}  # fmt: skip
"""Settings that are not part of a stage's fingerprint. Compilation, memory order and the number of workers change the
order of summation, that is, rounding only."""


def plan_stages(
    pipeline: Pipeline,
    contents: Contents,
    root: str,
    *,
    group: str = "stages",
    only: str | None = None,
    trial: int | None = None,
    pictures: Mapping[str, Pictures] | None = None,
) -> list[StagePlan]:
    """Return the plans of a pipeline's stages in order.

    Args:
        contents: of the data sets that these stages train on and are validated on.
        root: URI of the storage root.
        group: the folder below the root for stages that are not trained yet: the pipeline's name, or a campaign's.
        only: a stage; then only this one and what it needs.
        trial: the number of the trial that trains that stage; its folder is named after it.
        pictures: stage -> data set -> the pictures of its validation.

    Raises:
        WeightsError: when a weights file that a stage needs is missing.
    """
    order = pipeline.order(only)
    require_weights(file for name in order for file in weights_files(pipeline.stages[name]))
    plans: dict[str, StagePlan] = {}
    for name in order:
        parameter_counts(pipeline.stages[name], name)  # a network that no machine could hold is found before training
        folder_name = trial_name(trial) if trial is not None and name == only else name
        place = partial(stage_folder, root, group, folder_name)
        plan = _plan(pipeline, name, contents, root, plans, place)
        plans[name] = replace(plan, pictures=(pictures or {}).get(name, {}))
    return list(plans.values())


def validation_pictures(pipeline: Pipeline, catalogue: Catalogue, stage: str) -> Pictures:
    """Return the pictures of a stage's validation; none for a stage that is not measured on whole pictures.

    Raises:
        ConfigError, DataError: as `measured_pictures`.
    """
    validation = pipeline.stages[stage].validation
    if validation is None or not validation.of_pictures:
        return {}
    scale, protocol = pipeline.scale_of(stage), validation.protocol
    return measured_pictures(catalogue, validation.on, scale, protocol, lr_in=validation.lr)


def trial_name(number: int) -> str:
    """Return the folder name of the stage that a trial trains."""
    return f"trial-{number}"


def _plan(
    pipeline: Pipeline,
    name: str,
    contents: Contents,
    root: str,
    before: dict[str, StagePlan],
    place: Callable[[str], str],
) -> StagePlan:
    """Return the plan of one stage; `place` returns its folder, given its fingerprint."""
    stage, data, validation = as_trained(pipeline, name), pipeline.data_of(name), pipeline.validation_data(name)
    seed, scale = pipeline.seed_of(name), pipeline.scale_of(name)
    enlarger = _enlarger(data, name, before, root)
    trained_on = _shard_set(data, scale, contents, root, enlarger)
    measured_on = _shard_set(validation, scale, contents, root, enlarger) if validation else None
    settings = stage.model_dump(mode="json")
    files = {
        source: source_checksum(source, name, root)
        for source in sorted(stage.reads())
        if stage_named(source) not in before
    }
    by_name = {file: sum for file, sum in files.items() if in_weights_folder(file)}
    weights = {file: checksum(find_weights(file)) for file in weights_files(stage)}
    determines = {
        "version": TRAINING_VERSION,
        "stage": _without_paths({k: v for k, v in settings.items() if k not in _NOT_DETERMINING}, files),
        "measured": _validated_by(stage, measured_on),
        "scale": scale,
        "seed": [seed, name],
        "dataset": columns_fingerprint(
            data,
            scale,
            contents[data.source].inputs,
            columns_read(stage),
            enlarger.fingerprint if enlarger else "",
        ),
        "upstream": {s: before[stage_named(s)].fingerprint for s in stage.reads() if stage_named(s) in before},
        "files": list(files.values()),
        "weights": weights,
    }
    own = fingerprint(determines)
    beginning = fingerprint({**determines, "stage": _without_schedules(determines["stage"])})
    return StagePlan(
        name=name,
        stage=stage,
        margin=pipeline.margin(name),
        scale=scale,
        seed=seed,
        workers=pipeline.workers_of(name),
        trained_on=trained_on,
        measured_on=measured_on,
        folder=place(own),
        fingerprint=own,
        beginning=beginning,
        sources={source: _file_of(source, before) for source in stage.reads()},
        weights=weights | by_name,
        description={
            "title": pipeline.title,
            "stage": name,
            **_network_parts(pipeline, name),
            "fingerprint": own,
            "dataset": trained_on.fingerprint,
            "notes": sorted({*notes_of(stage, before), *contents[data.source].notes}),
        },
    )


def _file_of(source: str, before: Mapping[str, StagePlan]) -> str:
    """Return the URI of what a stage reads: the model of another stage, or a file as it is named."""
    stage = before.get(stage_named(source))
    return stage.named(source) if stage else source


def _validated_by(stage: Stage, measured_on: ShardSpec | None) -> dict[str, Any] | None:
    """Return what determines the values of a validation, when it stops the training, and which model is best.

    Of restored pictures these are the names of data sets: to look at others, later, does not make another stage.
    """
    validation, best = stage.validation, stage.keep.best
    if validation is None:
        return None
    settings = validation.model_dump(mode="json", include={"metrics", "patience"})
    if best:
        settings["best"] = validation.name_of(best)
    if measured_on:
        return {**settings, "on": measured_on.fingerprint}
    return {**settings, **validation.model_dump(mode="json", include={"on", "lr", "protocol", "every"})}


def settings_fingerprints(pipeline: Pipeline, only: str) -> dict[str, str]:
    """Return a fingerprint of the settings of a stage, and of each stage that it depends on.

    Unlike the fingerprints of plans, these need neither pictures nor weights files. Equal ones mean the same training.
    """
    found: dict[str, str] = {}
    for name in pipeline.order(only):
        stage, data, scale = as_trained(pipeline, name), pipeline.data_of(name), pipeline.scale_of(name)
        settings = stage.model_dump(mode="json").items()
        by = data.enlarge.by if data.enlarge else ""
        determines = {
            "stage": {key: value for key, value in settings if key not in _NOT_DETERMINING},
            "seed": [pipeline.seed_of(name), name],
            "data": [data.source, columns_fingerprint(data, scale, [], columns_read(stage), found.get(by, by))],
            "upstream": [found[source] for source in pipeline.upstream(name)],
        }
        found[name] = fingerprint(determines)
    return found


def _shard_set(data: DataSettings, scale: int, contents: Contents, root: str, enlarger: Enlarger | None) -> ShardSpec:
    by = enlarger.fingerprint if enlarger else ""
    own = dataset_fingerprint(data, scale, contents[data.source].inputs, by)
    return ShardSpec(data, scale, own, shards_folder(root, data, own), enlarger)


def _enlarger(data: DataSettings, stage: str, before: Mapping[str, StagePlan], root: str) -> Enlarger | None:
    if data.enlarge is None:
        return None
    by, scale = data.enlarge.by, data.enlarge.scale
    if by == BICUBIC:
        return Enlarger(None, BICUBIC, scale)
    if by in before:
        return Enlarger(before[by].model, before[by].fingerprint, scale)
    return Enlarger(path_of(by), source_checksum(by, stage, root), scale)


def going_on_from(plan: StagePlan, model: str, place: Callable[[str], str]) -> StagePlan:
    """Return a plan that starts from the last weights and optimiser states of another training, with its own settings.

    Args:
        model: URI of the other training's model file.
        place: returns the folder of a stage by its fingerprint.
    """
    folder = model.rpartition("/")[0]
    own = fingerprint({"plan": plan.fingerprint, "goes on from": folder.rpartition("/")[2]})
    return replace(
        plan,
        fingerprint=own,
        folder=place(own),
        description={**plan.description, "fingerprint": own},
        continues=storage.join(folder, "checkpoints"),
    )


def going_on_from_checkpoint(plan: StagePlan, uri: str, place: Callable[[str], str]) -> StagePlan:
    """Return a plan of its own that starts from a checkpoint of another training, with its own settings.

    Args:
        uri: of the checkpoint.
        place: returns the folder of a stage by its fingerprint.

    Raises:
        ConfigError: when no step is left to take.
        TrainingError: when it is damaged, or no checkpoint.
    """
    from acutance.training.checkpoint import origin_of  # and with it the learner, which plans do not need

    origin, step = origin_of(uri)
    if step >= plan.stage.steps:
        what = f"the checkpoint is of step {step}, and the stage has {plan.stage.steps}"
        raise ConfigError(what, where=f"stages.{plan.name}.steps", fix="set more steps than that")
    own = fingerprint({"plan": plan.fingerprint, "goes on from": [origin, step]})
    return replace(
        plan,
        fingerprint=own,
        beginning=own,
        folder=place(own),
        description={**plan.description, "fingerprint": own, "origin": f"{origin}, step {step}"},
        continues=uri,
    )


def as_trained(pipeline: Pipeline, name: str) -> Stage:
    """Return a stage with all derived columns that are made in its steps, including those of its data."""
    return pipeline.stages[name].model_copy(update={"derive": pipeline.made_in_step(name)})


def _network_parts(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """Return the keys of a model file's description about the parts that its network consists of."""
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


def _without_schedules(stage: dict[str, Any]) -> dict[str, Any]:
    """Return a stage's settings without its length and its schedules."""

    def early(optimiser: dict[str, Any] | None) -> dict[str, Any] | None:
        return optimiser and {key: value for key, value in optimiser.items() if key not in ("schedule", "warmup")}

    discriminators = {
        name: {**one, "optimiser": early(one["optimiser"])} for name, one in stage["discriminators"].items()
    }
    rest = {key: value for key, value in stage.items() if key != "steps"}
    return {**rest, "optimiser": early(stage["optimiser"]), "discriminators": discriminators}


def _without_paths(content: Any, files: Collection[str]) -> Any:
    """Replace the paths of files by `file`: their checksums are part of the fingerprint, their places are not."""
    if isinstance(content, dict):
        return {key: _without_paths(value, files) for key, value in content.items()}
    if isinstance(content, list):
        return [_without_paths(value, files) for value in content]
    return "file" if isinstance(content, str) and content in files else content
