"""A pipeline from end to end: prepare, train, evaluate, register; each part passes over what is done already."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from acutance import pipeline as pipelines
from acutance import storage
from acutance.console import progress, say
from acutance.data import (
    Catalogue,
    Manifest,
    Source,
    dataset_fingerprint,
    load_catalogue,
    prepare,
    read_picture,
    shards_folder,
)
from acutance.errors import DataError, ModelError
from acutance.evaluation.evaluate import BICUBIC, evaluate, tasks_of
from acutance.evaluation.metrics import METRICS, unavailable
from acutance.evaluation.results import GROUND_TRUTH, Evaluation
from acutance.evaluation.sheet import picture_sheet, strips_of
from acutance.fingerprint import file_sha256, fingerprint
from acutance.models.model_file import load_model
from acutance.pipeline import Pipeline
from acutance.registry import Decision, Verdict, log_model, promote, resolve_model, tracking, user
from acutance.registry.resolve import CANDIDATE, find_version
from acutance.training.launch import train
from acutance.training.loop import Losses
from acutance.training.plan import StageJob, parameter_counts, plan_stages

DEFAULT_STORAGE = "outputs"
EXAM = "acutance.exam"
"""The tag of a model version that says how it is examined: data sets, protocol, metrics, gate."""

EVALUATION_VERSION = 1
"""Counts changes of the evaluation's code after which equal models give other numbers."""


@dataclass(frozen=True)
class Work:
    """A pipeline with the data sets it names and where its outputs go."""

    file: Path
    pipeline: Pipeline
    catalogue: Catalogue
    root: str

    @property
    def name(self) -> str:
        """The pipeline's short name: its file's."""
        return self.file.stem

    def dataset(self) -> str:
        """Return the fingerprint of the shard set."""
        sources = self.catalogue.find(self.pipeline.data.train)
        return dataset_fingerprint(self.pipeline.data, self.pipeline.scale, sources)

    def shards(self) -> str:
        """Return the URI of the shard set's folder."""
        return shards_folder(self.root, self.dataset())

    def jobs(self, only: str | None = None) -> list[StageJob]:
        """Return the stage jobs in order."""
        return plan_stages(self.pipeline, self.dataset(), self.root, only=only)

    def held_out(self) -> dict[str, list[Source]]:
        """Return the pictures of each data set that models are measured on."""
        return {name: self.catalogue.find(name) for name in self.pipeline.evaluate.on}


@dataclass(frozen=True)
class Outcome:
    """What a run came to; `fresh` is False where everything had been done before."""

    evaluation: Evaluation
    sheet: str
    run_id: str
    model: str
    version: str
    fresh: bool


def open_work(file: str, overrides: list[str], profile: str | None, root: str | None) -> Work:
    """Read a pipeline and the catalogue beside it.

    Raises:
        ConfigError: see `acutance.pipeline.load`.
    """
    pipeline = pipelines.load(file, overrides, profile=profile)
    return Work(Path(file), pipeline, catalogue_for(file), storage_root(root))


def storage_root(given: str | None) -> str:
    """Return the storage root: as given, else ACUTANCE_STORAGE, else ./outputs; a local one absolute."""
    root = given or os.environ.get("ACUTANCE_STORAGE") or DEFAULT_STORAGE
    return root.rstrip("/") if storage.is_remote(root) else str(Path(root).absolute())


def catalogue_for(file: str = "") -> Catalogue:
    """Return the catalogue of data sets: beside a pipeline file, or in ./pipelines."""
    beside = Path(file).parent / "datasets.yaml"
    return load_catalogue(beside if beside.is_file() else Path("pipelines/datasets.yaml"))


def plan(work: Work, only: str | None = None) -> dict[str, Any]:
    """Return what a run would do, without doing it and without data present."""
    missing = [
        problem for name in [work.pipeline.data.train, *work.pipeline.evaluate.on] if (problem := _missing(work, name))
    ]
    done = {} if missing else {job.name: job.done() for job in work.jobs(only)}
    stages = [
        {
            "name": name,
            "needs": work.pipeline.upstream(name),
            "steps": work.pipeline.stages[name].steps,
            "done": done.get(name, False),
            "parameters": parameter_counts(work.pipeline.stages[name]),
        }
        for name in work.pipeline.order(only)
    ]
    config = work.pipeline.model_dump(mode="json", by_alias=True, exclude={"profiles"})
    return {
        "pipeline": str(work.file),
        "storage": work.root,
        "missing": missing,
        "stages": stages,
        "config": config,
    }


def _missing(work: Work, dataset: str) -> str | None:
    try:
        work.catalogue.find(dataset)
    except DataError as error:
        return f"{dataset}: {error.what}; {error.fix}"
    return None


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


def train_stages(work: Work, only: str | None = None) -> list[StageJob]:
    """Train the stages that are not done; the caller has connected to Ray and the shards are there."""
    jobs = work.jobs(only)
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
    runs = {job.name: tracking.stage_run(client, parent, job.name, job.fingerprint, params(work, job)) for job in jobs}
    try:
        yield {name: tracking.StageTracker(client.tracking_uri, run) for name, run in runs.items()}
    except BaseException:
        for job in jobs:
            tracking.finish(client, runs[job.name], "FINISHED" if job.done() else "KILLED")
        tracking.finish(client, parent, "KILLED")
        raise
    for run in runs.values():
        tracking.finish(client, run)


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


def evaluate_models(work: Work, jobs: list[StageJob]) -> tuple[Evaluation, str, bool]:
    """Measure bicubic and the pipeline's evaluated stages on the held-out pictures; the caller has connected to Ray.

    Returns:
        The evaluation, the URI of its folder (`evaluation.json`, `sheet.png`), and whether it was made just now.
    """
    wanted = work.pipeline.evaluate
    models = {job.name: job.model for job in jobs if job.name in wanted.stages}
    return measure_models(
        work.root,
        {BICUBIC: BICUBIC, **models},
        work.held_out(),
        protocol=wanted.protocol,
        metrics=wanted.metrics,
        scale=work.pipeline.scale,
        title=f"{work.pipeline.title}: x{work.pipeline.scale}",
    )


def measure_models(
    root: str,
    candidates: dict[str, str],
    pictures: dict[str, list[Source]],
    *,
    protocol: str,
    metrics: list[str],
    scale: int,
    title: str,
) -> tuple[Evaluation, str, bool]:
    """Measure candidates on pictures, or fetch what was measured before."""
    determines = {
        "version": EVALUATION_VERSION,
        "candidates": {label: _mark(model) for label, model in candidates.items()},
        "pictures": {n: [file_sha256(s.hr_path(scale)) for s in sources] for n, sources in pictures.items()},
        "protocol": protocol,
        "metrics": metrics,
        "unavailable": sorted(unavailable(metrics)),
        "scale": scale,
    }
    folder = storage.join(root, "evaluations", fingerprint(determines))
    result = storage.join(folder, "evaluation.json")
    if storage.exists(result):
        return Evaluation.from_json(storage.read_json(result)), folder, False
    total = len(tasks_of(candidates, pictures))
    with tempfile.TemporaryDirectory() as kept:
        with progress("evaluate", total) as update:
            evaluation = evaluate(
                candidates,
                pictures,
                scale=scale,
                protocol=protocol,
                metrics=metrics,
                on_progress=update,
                pictures_to=kept,
            )
        picture_sheet(storage.join(folder, "sheet.png"), strips_of(evaluation, kept), title=title)
    storage.write_json(result, evaluation.to_json())
    return evaluation, folder, True


def _mark(model: str) -> str:
    if model == BICUBIC:
        return model
    return fingerprint(storage.read_bytes(model).hex()) if storage.is_remote(model) else file_sha256(model)


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
        "acutance.dataset": work.dataset(),
        "acutance.stage": job.fingerprint,
        "acutance.pipeline": str(work.file),
        EXAM: json.dumps({**work.pipeline.evaluate.model_dump(), "gate": registered.gate, "scale": job.scale}),
    }
    source = next(iter(work.held_out().values()))[0]
    with tempfile.TemporaryDirectory() as scratch:
        sheet, model = Path(scratch) / "sheet.png", Path(scratch) / "model.safetensors"
        sheet.write_bytes(storage.read_bytes(storage.join(folder, "sheet.png")))
        model.write_bytes(storage.read_bytes(job.model))
        tracking.log_file(client, run, sheet)
        example = read_picture(source.hr_path(work.pipeline.scale))
        paper = work.pipeline.paper.model_dump() if work.pipeline.paper else None
        version = log_model(client, run, model, registered.name, example, tags=tags, metrics=means, paper=paper)
    tracking.finish(client, run)
    return run, version


def run(work: Work) -> Outcome:
    """Do all of a pipeline that is not done yet; the caller has connected to Ray."""
    manifest = prepare_data(work)
    waiting = any(not job.done() for job in work.jobs())
    jobs = train_stages(work)
    evaluation, folder, measured = evaluate_models(work, jobs)
    run_id, version = register_model(work, jobs, evaluation, folder)
    storage.write_json(_receipt(work), {"run": run_id, "version": str(version.version), "evaluation": folder})
    fresh = manifest.fresh or waiting or measured
    return Outcome(evaluation, storage.join(folder, "sheet.png"), run_id, version.name, str(version.version), fresh)


def finished(work: Work) -> Outcome | None:
    """Return what an earlier run of the very same work came to; None when something is left to do."""
    receipt = _receipt(work)
    if not storage.exists(receipt):
        return None
    known = storage.read_json(receipt)
    folder = known["evaluation"]
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


def model_file(reference: str, root: str) -> str:
    """Return the URI of the model file that MODEL names: a registry reference, PIPELINE:STAGE, or a file.

    Raises:
        ModelError: when it names nothing, or a stage that is not trained yet.
    """
    file, colon, stage = reference.rpartition(":")
    if not colon or not file.endswith((".yaml", ".yml")):
        return str(resolve_model(reference, root))
    work = open_work(file, [], None, root)
    job = next(job for job in work.jobs(stage) if job.name == stage)
    if not job.done():
        raise ModelError("this stage is not trained yet", where=reference, fix=f"acutance train {file} --stage {stage}")
    return job.model


def evaluate_model(
    reference: str, datasets: list[str], *, protocol: str, metrics: list[str] | None, scale: int, root: str
) -> tuple[Evaluation, str]:
    """Measure a model, or bicubic, beside bicubic; the caller has connected to Ray. Return it and its folder."""
    candidates = {BICUBIC: BICUBIC}
    if reference != BICUBIC:
        candidates["model"] = model_file(reference, root)
        scale = int(load_model(candidates["model"])[1]["scale"])
    pictures = {name: catalogue_for().find(name) for name in datasets}
    title = f"{reference}: x{scale}"
    evaluation, folder, _ = measure_models(
        root,
        candidates,
        pictures,
        protocol=protocol,
        metrics=metrics or list(METRICS),
        scale=scale,
        title=title,
    )
    return evaluation, folder


def promote_model(name: str, root: str) -> Decision:
    """Let the candidate of a registered model be examined and, if it is not worse, become the champion.

    The caller has connected to Ray. The candidate's own exam (from its pipeline file) is taken by both models.
    """
    client = tracking.connect(root)
    version = find_version(client, f"models:/{name}@{CANDIDATE}")
    if EXAM not in version.tags:
        raise ModelError(
            "this version does not say how it is examined", where=name, fix="register it by `acutance run`"
        )
    exam = json.loads(version.tags[EXAM])

    def judge(candidate: Path, champion: Path | None) -> Verdict:
        rivals = {"candidate": str(candidate)} | ({"champion": str(champion)} if champion else {})
        evaluation, _, _ = measure_models(
            root,
            rivals,
            {dataset: catalogue_for().find(dataset) for dataset in exam["on"]},
            protocol=exam["protocol"],
            metrics=exam["metrics"],
            scale=exam["scale"],
            title=f"{name}: candidate and champion",
        )
        scores = {rival: _scores(evaluation, rival) for rival in [*rivals, GROUND_TRUTH]}
        return Verdict(scores["candidate"], scores.get("champion"), exam["gate"], scores[GROUND_TRUTH])

    return promote(client, name, judge=judge, who=user())


def _scores(evaluation: Evaluation, candidate: str) -> dict[str, dict[str, float | None]]:
    return {f"{r.dataset}/{r.picture}": r.metrics for r in evaluation.rows if r.candidate == candidate}
