"""Registers a pipeline's model, with its evaluation, card and picture sheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from acutance import storage
from acutance.commands.context import PipelineContext
from acutance.commands.evaluate import EVALUATION_SPEC, OVERLAP
from acutance.commands.train import end_run, open_run, provenance_tags
from acutance.data.manifest import read_manifest
from acutance.data.pictures import read_picture
from acutance.evaluation.results import Evaluation
from acutance.fingerprint import fingerprint
from acutance.parts.sources import packed, sources_named
from acutance.registry import tracking
from acutance.registry.card import DataSet, Facts, Training
from acutance.registry.package import log_model
from acutance.storage.scratch import working_folder
from acutance.training.stage_plan import StagePlan


def register_model(
    context: PipelineContext, plans: list[StagePlan], evaluation: Evaluation, folder: str
) -> tuple[str, Any]:
    """Record the evaluation in the pipeline's MLflow run, register the model as candidate; return run and version."""
    client = tracking.connect(context.root)
    run = open_run(context, client)
    registered, wanted = context.pipeline.registered, context.pipeline.evaluate
    assert registered is not None, "what is to be registered has a name"
    assert wanted is not None, "what is registered is evaluated"
    plan = next(plan for plan in plans if plan.name == registered.trained)
    means = {name: mean for name in evaluation.metrics if (mean := evaluation.mean(registered.stage, name)) is not None}
    rows = [
        {"dataset": r.dataset, "picture": r.picture, "candidate": r.candidate, **r.metrics} for r in evaluation.rows
    ]
    tracking.log_table(client, run, "pictures.json", rows)
    tracking.log_json(client, run, "config.json", context.pipeline.model_dump(mode="json", by_alias=True))
    tags = {
        "acutance.dataset": plan.trained_on.fingerprint,
        "acutance.stage": plan.fingerprint,
        "acutance.pipeline": str(context.file),
        EVALUATION_SPEC: json.dumps(
            {
                **wanted.model_dump(),
                "gate": registered.gate,
                "scale": plan.scale,
                "code": _log_metric_code(context, client, run),
            }
        ),
        **provenance_tags(plan),
    }
    if shared := context.overlap():
        tags[OVERLAP] = "; ".join(shared)
    source = next(iter(context.held_out().values()))[0]
    with working_folder("register") as scratch:
        sheet, model = scratch / "sheet.png", scratch / "model.safetensors"
        sheet.write_bytes(storage.read_bytes(storage.join(folder, "sheet.png")))
        model.write_bytes(storage.read_bytes(plan.named(registered.stage)))
        tracking.log_file(client, run, sheet)
        example = read_picture(source.hr_path(context.pipeline.scale))
        facts = _facts(context, plan, evaluation, registered.stage)
        version = log_model(
            client, run, model, registered.name, example, tags=tags, metrics=means, facts=facts, sheet=sheet
        )
    end_run(client, run)
    return run, version


def _log_metric_code(context: PipelineContext, client: MlflowClient, run: str) -> str:
    """Log the user's files of metrics, which another machine lacks, as a file of the run; return its name or ''."""
    wanted, registered = context.pipeline.evaluate, context.pipeline.registered
    sources = packed(sources_named([wanted.metrics if wanted else [], list(registered.gate) if registered else []]))
    if not sources:
        return ""
    file = f"code/{fingerprint(sources)}.json"  # one for each content: versions may share a run
    tracking.log_json(client, run, file, sources)
    return file


def _facts(context: PipelineContext, plan: StagePlan, evaluation: Evaluation, candidate: str) -> Facts:
    """Return the facts of the model card that the model file does not hold."""
    shards, stage = read_manifest(plan.shards), context.pipeline.stages[plan.name]
    settings = {"steps": stage.steps, "batch": stage.batch, "patch": stage.patch, "seed": plan.seed}
    training = Training(
        data=_data_set(context, plan.trained_on.settings.train, len(shards.sources)),
        fingerprint=plan.trained_on.fingerprint,
        samples=shards.rows,
        settings=settings,
        starts={part: Path(source).name for part, source in stage.network.init.items()},
    )
    return Facts(
        paper=context.pipeline.paper.model_dump() if context.pipeline.paper else None,
        training=training,
        evaluation=evaluation,
        candidate=candidate,
        measured_on=tuple(_data_set(context, name, len(evaluation.pictures(name))) for name in evaluation.datasets),
        overlap=tuple(context.overlap()),
    )


def _data_set(context: PipelineContext, name: str, pictures: int) -> DataSet:
    entry = context.catalogue.entries.get(name)
    return DataSet(name, pictures, entry.about, entry.licence) if entry else DataSet(name, pictures)
