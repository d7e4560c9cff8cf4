"""A pipeline from end to end: prepare, train, evaluate, register; each part passes over what is done already."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from acutance import storage
from acutance.console import progress, say
from acutance.data import Manifest, prepare, read_manifest, read_picture
from acutance.evaluation.metrics import unavailable
from acutance.evaluation.results import Evaluation
from acutance.examine import EVALUATION_VERSION, EXAM, evaluate_models
from acutance.fingerprint import fingerprint
from acutance.registry import log_model, tracking
from acutance.registry.card import DataSet, Facts, Training
from acutance.training.launch import train
from acutance.training.loop import Losses
from acutance.training.plan import StageJob
from acutance.work import Work


@dataclass(frozen=True)
class Outcome:
    """What a run came to; `fresh` is False where everything had been done before."""

    evaluation: Evaluation
    sheet: str
    run_id: str
    model: str
    version: str
    fresh: bool


def prepare_data(work: Work) -> Manifest:
    """Make the shards of a pipeline's training pictures; the caller has connected to Ray."""
    total = len(work.catalogue.find(work.pipeline.data.train))
    with progress("prepare", total) as update:
        manifest = prepare(
            work.pipeline.data,
            work.pipeline.scale,
            work.catalogue,
            work.root,
            on_progress=lambda done, _, note: update(done, note),
        )
    for skipped in manifest.skipped:
        say(f"  left out {skipped.name}: {skipped.reason}")
    return manifest


def train_stages(work: Work, only: str | None = None, *, before: bool = False) -> list[StageJob]:
    """Train the stages that are not done; the caller has connected to Ray and the shards are there.

    Args:
        only: one stage, with those it needs.
        before: just those it needs, not the stage itself.
    """
    jobs = [job for job in work.jobs(only) if not (before and job.name == only)]
    todo = [job for job in jobs if not job.done()]
    if todo:
        with _recorded(work, todo) as trackers, _shown(todo) as on_progress:
            train(todo, work.pipeline.compute, work.root, trackers=trackers, on_progress=on_progress)
    return jobs


@contextmanager
def _recorded(work: Work, jobs: list[StageJob]) -> Iterator[dict[str, tracking.StageTracker]]:
    """Open an MLflow run per stage under the pipeline's run; end each by what became of its stage."""
    client = tracking.connect(work.root)
    parent = open_run(work, client)
    runs = {
        job.name: tracking.stage_run(client, parent, job.name, job.fingerprint, params(work, job), tags=marks(job))
        for job in jobs
    }
    try:
        yield {name: tracking.StageTracker(client.tracking_uri, run) for name, run in runs.items()}
    except BaseException as error:
        ending: tracking.Status = "FAILED" if isinstance(error, Exception) else "KILLED"
        for job in jobs:
            tracking.finish(client, runs[job.name], "FINISHED" if job.done() else ending)
        tracking.finish(client, parent, ending)
        raise
    _close(client, parent)


def _close(client: MlflowClient, parent: str) -> None:
    """End a pipeline's run and those below it: a driver that was killed may have left some of them RUNNING."""
    tracking.finish_children(client, parent)
    tracking.finish(client, parent)


@contextmanager
def _shown(jobs: list[StageJob]) -> Iterator[Any]:
    """Show one progress bar over the steps of all stages."""
    steps = {job.name: int(job.settings["steps"]) for job in jobs}
    before = {name: sum(list(steps.values())[:index]) for index, name in enumerate(steps)}
    with progress("train", sum(steps.values())) as update:

        def on_progress(stage: str, step: int, losses: Losses) -> None:
            update(before[stage] + step, f"{stage} {step}/{steps[stage]} loss {losses['total']:.4g}")

        yield on_progress


def open_run(work: Work, client: MlflowClient) -> str:
    """Return the id of the pipeline's MLflow run: a new one, or the one that its settings had before."""
    mark = fingerprint([job.fingerprint for job in work.jobs()])
    return tracking.pipeline_run(
        client,
        work.name,
        work.pipeline.title,
        mark,
        {"acutance.pipeline": str(work.file), "acutance.storage": work.root},
    )


def params(work: Work, job: StageJob) -> dict[str, Any]:
    """Return a stage's resolved settings, as MLflow shows them."""
    data = work.pipeline.data.model_dump(mode="json")
    return {
        "stage": job.settings,
        "data": data,
        "scale": job.scale,
        "seed": job.seed,
        "fingerprint": job.fingerprint,
    }


def marks(job: StageJob) -> dict[str, str]:
    """Return tags for whatever comes from a stage: that its feature network was never trained, say."""
    notes = "; ".join(job.description["notes"])
    return {"acutance.notes": notes} if notes else {}


def register_model(work: Work, jobs: list[StageJob], evaluation: Evaluation, folder: str) -> tuple[str, Any]:
    """Record the evaluation in the pipeline's MLflow run, register the model as candidate; return run and version."""
    client = tracking.connect(work.root)
    run = open_run(work, client)
    registered = work.pipeline.registered
    job = next(job for job in jobs if job.name == registered.stage)
    means = {name: mean for name in evaluation.metrics if (mean := evaluation.mean(job.name, name)) is not None}
    rows = [
        {"dataset": r.dataset, "picture": r.picture, "candidate": r.candidate, **r.metrics} for r in evaluation.rows
    ]
    tracking.log_table(client, run, "pictures.json", rows)
    tracking.log_json(client, run, "config.json", work.pipeline.model_dump(mode="json", by_alias=True))
    tags = {
        "acutance.dataset": work.dataset,
        "acutance.stage": job.fingerprint,
        "acutance.pipeline": str(work.file),
        EXAM: json.dumps({**work.pipeline.evaluate.model_dump(), "gate": registered.gate, "scale": job.scale}),
        **marks(job),
    }
    source = next(iter(work.held_out().values()))[0]
    with tempfile.TemporaryDirectory() as scratch:
        sheet, model = Path(scratch) / "sheet.png", Path(scratch) / "model.safetensors"
        sheet.write_bytes(storage.read_bytes(storage.join(folder, "sheet.png")))
        model.write_bytes(storage.read_bytes(job.model))
        tracking.log_file(client, run, sheet)
        example = read_picture(source.hr_path(work.pipeline.scale))
        facts = _facts(work, job, evaluation)
        version = log_model(
            client, run, model, registered.name, example, tags=tags, metrics=means, facts=facts, sheet=sheet
        )
    _close(client, run)
    return run, version


def _facts(work: Work, job: StageJob, evaluation: Evaluation) -> Facts:
    """Return what the model card says beyond what the model says of itself."""
    shards, stage = read_manifest(work.shards()), work.pipeline.stages[job.name]
    settings = {"steps": stage.steps, "batch": stage.batch, "patch": stage.patch, "seed": job.seed}
    training = Training(
        data=_data_set(work, work.pipeline.data.train, len(shards.sources)),
        fingerprint=work.dataset,
        samples=shards.rows,
        settings=settings,
        starts={part: Path(source).name for part, source in stage.network.init.items()},
    )
    return Facts(
        paper=work.pipeline.paper.model_dump() if work.pipeline.paper else None,
        training=training,
        evaluation=evaluation,
        candidate=job.name,
        measured_on=tuple(_data_set(work, name, len(evaluation.pictures(name))) for name in evaluation.datasets),
    )


def _data_set(work: Work, name: str, pictures: int) -> DataSet:
    entry = work.catalogue.entries.get(name)
    return DataSet(name, pictures, entry.about, entry.licence) if entry else DataSet(name, pictures)


def train_all(work: Work, only: str | None = None) -> list[StageJob]:
    """Make the shards and train the stages, as far as that is not done; the caller has connected to Ray.

    Raises:
        UnreachableError: when the tracking store does not answer, before any work begins.
    """
    tracking.connect(work.root)
    prepare_data(work)
    return train_stages(work, only)


def run(work: Work) -> Outcome:
    """Do all of a pipeline that is not done yet; the caller has connected to Ray.

    Raises:
        UnreachableError: when the tracking store does not answer, before any work begins.
    """
    tracking.connect(work.root)
    manifest = prepare_data(work)
    waiting = any(not job.done() for job in work.jobs())
    jobs = train_stages(work)
    evaluation, folder, measured = evaluate_models(work, jobs)
    run_id, version = register_model(work, jobs, evaluation, folder)
    receipt = {"run": run_id, "version": str(version.version), "evaluation": folder.rpartition("/")[2]}
    storage.write_json(_receipt(work), receipt)
    fresh = manifest.fresh or waiting or measured
    return Outcome(evaluation, storage.join(folder, "sheet.png"), run_id, version.name, str(version.version), fresh)


def finished(work: Work) -> Outcome | None:
    """Return what an earlier run of the very same work came to; None when something is left to do."""
    receipt = _receipt(work)
    if not storage.exists(receipt):
        return None
    known = storage.read_json(receipt)
    folder = storage.join(work.root, "evaluations", known["evaluation"])
    evaluation = Evaluation.from_json(storage.read_json(storage.join(folder, "evaluation.json")))
    sheet = storage.join(folder, "sheet.png")
    return Outcome(evaluation, sheet, known["run"], work.pipeline.registered.name, known["version"], False)


def _receipt(work: Work) -> str:
    """Return where a finished run is noted, named by all that determines it."""
    settings = work.pipeline.model_dump(
        mode="json", by_alias=True, include={"evaluate", "registered", "paper", "title"}
    )
    mark = fingerprint(
        {
            "stages": [job.fingerprint for job in work.jobs()],
            "settings": settings,
            "unavailable": sorted(unavailable(work.pipeline.evaluate.metrics)),
            "evaluation": EVALUATION_VERSION,
            "tracking": tracking.tracking_uri(work.root),
        }
    )
    return storage.join(work.root, "runs", f"{mark}.json")
