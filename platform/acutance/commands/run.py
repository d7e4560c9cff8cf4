"""A pipeline from end to end: prepare, train, evaluate, register; each part passes over what is done already."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from mlflow import MlflowClient
from rich.markup import escape

from acutance import storage
from acutance.commands.context import PipelineContext
from acutance.commands.evaluate import EVALUATION_VERSION, EXAM, OVERLAP, evaluate_models, evaluation_of
from acutance.commands.held_out import require_measurable
from acutance.console import Update, clock, progress, say
from acutance.data import Manifest, read_manifest, read_picture
from acutance.errors import AbsentError, UserError
from acutance.evaluation.metrics import unavailable
from acutance.evaluation.results import Evaluation
from acutance.fingerprint import fingerprint
from acutance.registry import is_recorded, log_model, tracking
from acutance.registry.card import DataSet, Facts, Training
from acutance.storage import done
from acutance.storage.done import Done
from acutance.storage.lease import Lease, alone
from acutance.storage.leftovers import free_checkpoints, free_uploads
from acutance.storage.outputs import stage_is_done
from acutance.storage.places import place
from acutance.storage.scratch import working_folder
from acutance.training.checkpoint import step_of
from acutance.training.extend import going_on
from acutance.training.launch import train
from acutance.training.loop import Losses
from acutance.training.shards import make_shards, shard_sets
from acutance.training.stage_plan import TRAINING_VERSION, ShardSpec, StagePlan, lease_of
from acutance.training.validate import require_accepted, validated


@dataclass(frozen=True)
class Outcome:
    """What a run came to; `fresh` is False where everything had been done before.

    Attributes:
        validations: stage -> step -> what it was measured to be, of stages with a validation.
        evaluation: of restored pictures; None where the pipeline restores none.
        sheet: URI of the picture sheet, empty without an evaluation.
        model, version: of the registry, empty where nothing is registered.
    """

    validations: dict[str, dict[int, Losses]]
    evaluation: Evaluation | None
    sheet: str
    run_id: str
    model: str
    version: str
    fresh: bool


def prepare_data(work: PipelineContext, only: str | None = None) -> list[Manifest]:
    """Make the shards that the stages read; the caller has connected to Ray.

    What a stage has to be trained for first is left to `train_stages`.

    Args:
        only: one stage, with those it needs.
    """
    jobs = work.jobs(only)
    waiting = {job.model for job in jobs if not job.done()}
    return [
        _shards(work, shards)
        for shards in shard_sets(jobs)
        if shards.enlarger is None or shards.enlarger.model not in waiting
    ]


def _shards(work: PipelineContext, shards: ShardSpec) -> Manifest:
    data = shards.settings
    with _shown_if_any("prepare") as on_progress:
        manifest = make_shards(
            shards,
            work.catalogue,
            work.root,
            found=work.found.get(data.source),
            gpus=work.pipeline.compute.gpus,
            on_progress=on_progress,
        )
    if data.source not in work.found and (known := work.recall(data)):
        what = f"the pictures of {data.train} are not here (they were {known.place})"
        say(escape(f"{what}; its {len(manifest.shards)} shards, complete, are used"))
    if manifest.fresh:
        for skipped in manifest.skipped:
            say(f"  left out {skipped.name}: {skipped.reason}")
    return manifest


@contextmanager
def _shown_if_any(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar once there is anything to do."""
    with ExitStack() as shown:
        bars: list[Update] = []

        def on_progress(done: int, total: int, note: str) -> None:
            bars[:] = bars or [shown.enter_context(progress(title, total))]
            bars[0](done, note)

        yield on_progress


def train_stages(
    work: PipelineContext, only: str | None = None, *, of: Collection[str] | None = None
) -> list[StagePlan]:
    """Train the stages that are not done; the caller has connected to Ray and `prepare_data` was called.

    Args:
        only: one stage, with those it needs.
        of: just those of them.
    """
    free_uploads(work.root)
    free_checkpoints(work.root)

    def planned() -> list[StagePlan]:
        return [job for job in work.jobs(only) if of is None or job.name in of]

    jobs = planned()
    for job in jobs:
        tracking.record_kept(tracking.tracking_uri(work.root), job.folder)
    with _alone_on(jobs, work.root) as leases:
        jobs = planned()  # what was waited for lies where another pipeline has trained it
        todo = [job for job in jobs if not job.done()]
        for job in jobs:
            if job not in todo:
                require_accepted(job)
        if todo:
            _train_stages(work, todo, leases)
    return jobs


def _train_stages(work: PipelineContext, todo: list[StagePlan], leases: list[Lease]) -> None:
    with _recorded(work, todo, leases) as trackers, _shown(todo) as on_progress:
        for wave in _waves(todo):
            for shards in shard_sets(wave):
                found = work.found.get(shards.settings.source)
                make_shards(shards, work.catalogue, work.root, found=found, gpus=work.pipeline.compute.gpus)
            jobs = [_going_on(job, work.root) for job in wave]
            train(jobs, work.pipeline.compute, work.root, trackers=trackers, on_progress=on_progress)


def _going_on(job: StagePlan, root: str) -> StagePlan:
    longer = going_on(job, root)
    if longer.begins_at:
        step, steps = step_of(longer.begins_at.rpartition("/")[2]), job.stage.steps
        say(f"{job.name} goes on from step {step} of {steps}: a training before it differs in later steps alone")
    return longer


@contextmanager
def _alone_on(jobs: list[StagePlan], root: str) -> Iterator[list[Lease]]:
    """Train what is not done of some stages alone; what another process trains already is waited for."""

    def alone_on(job: StagePlan) -> AbstractContextManager[Lease]:
        where = lease_of(root, job.fingerprint)
        done_anywhere = partial(stage_is_done, root, job.fingerprint)
        return alone(place(where), f"the training of {job.name}", job.folder, until=done_anywhere)

    with ExitStack() as stack:
        # In one order for all pipelines that share stages, so that no two wait for each other.
        todo = [job for job in sorted(jobs, key=lambda job: job.fingerprint) if not job.done()]
        yield [stack.enter_context(alone_on(job)) for job in todo]


def _waves(jobs: list[StagePlan]) -> list[list[StagePlan]]:
    """Part stages, in their order, where the data of one is made by another."""
    waves: list[list[StagePlan]] = [[]]
    for job in jobs:
        maker = job.trained_on.enlarger
        if maker and maker.model in {other.model for other in waves[-1]}:
            waves.append([])
        waves[-1].append(job)
    return waves


@contextmanager
def _recorded(
    work: PipelineContext, jobs: list[StagePlan], leases: list[Lease]
) -> Iterator[dict[str, tracking.StageRun]]:
    """Open the pipeline's MLflow run, below which each stage's begins with its training; end those that are left."""
    client = tracking.connect(work.root)
    parent, who = open_run(work, client), {"mlflow.user": tracking.user()}
    try:
        yield {
            job.name: tracking.StageRun(
                client.tracking_uri,
                parent,
                job.name,
                job.fingerprint,
                params(work, job),
                {**who, **marks(job)},
                job.folder,
            )
            for job in jobs
        }
    except BaseException as error:
        if not all(lease.held() for lease in leases):
            raise  # the runs are another process's by now
        ending: tracking.Status = "FAILED" if isinstance(error, Exception) else "KILLED"
        tracking.finish_children(client, parent, ending)
        tracking.finish(client, parent, ending)
        raise
    _close(client, parent)


@contextmanager
def _ended(client: MlflowClient, run: str) -> Iterator[None]:
    """End a pipeline's run as FAILED where the block fails: on a full disk, say."""
    try:
        yield
    except Exception:
        with suppress(UserError):  # a database on that disk: the next command ends the run
            tracking.finish(client, run, "FAILED")
        raise


def _close(client: MlflowClient, parent: str) -> None:
    """End a pipeline's run and those below it: a driver that was killed may have left some of them RUNNING."""
    tracking.finish_children(client, parent)
    tracking.finish(client, parent)


@contextmanager
def _shown(jobs: list[StagePlan]) -> Iterator[Any]:
    """Show one bar over the steps of all stages. The time left is a stage's own: others' steps take longer, or less."""
    steps = {job.name: int(job.stage.steps) for job in jobs}
    taken = dict.fromkeys(steps, 0)
    first: dict[str, tuple[int, float]] = {}
    with progress("train", sum(steps.values()), alike=False) as update:
        update(0, "starting the workers")

        def on_progress(stage: str, step: int, losses: Losses) -> None:
            taken[stage], now = step, time.monotonic()
            since, began = first.setdefault(stage, (step, now))
            note = f"{stage} {step}/{steps[stage]} loss {losses['total']:.4g}"
            if step > since:
                note += f", {clock((now - began) / (step - since) * (steps[stage] - step))} left"
            if later := [name for name in steps if not taken[name]]:
                note += f", then {', '.join(later)}"
            update(sum(taken.values()), note)

        yield on_progress


def open_run(work: PipelineContext, client: MlflowClient) -> str:
    """Return the id of the pipeline's MLflow run: a new one, or the one that its settings had before.

    The data do not count, since a stage may be trained where those of others are not at hand.
    """
    content = work.pipeline.model_dump(mode="json", include={"stages", "data", "scale", "seed"})
    mark = fingerprint({"settings": content, "version": TRAINING_VERSION})
    return tracking.pipeline_run(
        client,
        work.name,
        work.title,
        mark,
        {"acutance.pipeline": str(work.file), **tracking.linked(storage.join(work.root, work.group))},
    )


def params(work: PipelineContext, job: StagePlan) -> dict[str, Any]:
    """Return a stage's resolved settings, as MLflow shows them."""
    return {
        "stage": {name: value for name, value in job.stage.model_dump(mode="json").items() if name != "data"},
        "data": job.trained_on.settings.model_dump(mode="json"),
        "scale": job.scale,
        "seed": job.seed,
        "fingerprint": job.fingerprint,
    }


def marks(job: StagePlan) -> dict[str, str]:
    """Return tags for whatever comes from a stage: that its feature network was never trained, say."""
    notes = "; ".join(job.description["notes"])
    return {"acutance.notes": notes} if notes else {}


def register_model(
    work: PipelineContext, jobs: list[StagePlan], evaluation: Evaluation, folder: str
) -> tuple[str, Any]:
    """Record the evaluation in the pipeline's MLflow run, register the model as candidate; return run and version."""
    client = tracking.connect(work.root)
    run = open_run(work, client)
    registered, wanted = work.pipeline.registered, work.pipeline.evaluate
    assert registered is not None, "what is to be registered has a name"
    assert wanted is not None, "what is registered is evaluated"
    job = next(job for job in jobs if job.name == registered.stage)
    means = {name: mean for name in evaluation.metrics if (mean := evaluation.mean(job.name, name)) is not None}
    rows = [
        {"dataset": r.dataset, "picture": r.picture, "candidate": r.candidate, **r.metrics} for r in evaluation.rows
    ]
    tracking.log_table(client, run, "pictures.json", rows)
    tracking.log_json(client, run, "config.json", work.pipeline.model_dump(mode="json", by_alias=True))
    tags = {
        "acutance.dataset": job.trained_on.fingerprint,
        "acutance.stage": job.fingerprint,
        "acutance.pipeline": str(work.file),
        EXAM: json.dumps({**wanted.model_dump(), "gate": registered.gate, "scale": job.scale}),
        **marks(job),
    }
    if shared := work.overlap():
        tags[OVERLAP] = "; ".join(shared)
    source = next(iter(work.held_out().values()))[0]
    with working_folder("register") as scratch:
        sheet, model = scratch / "sheet.png", scratch / "model.safetensors"
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


def _facts(work: PipelineContext, job: StagePlan, evaluation: Evaluation) -> Facts:
    """Return what the model card says beyond what the model says of itself."""
    shards, stage = read_manifest(job.shards), work.pipeline.stages[job.name]
    settings = {"steps": stage.steps, "batch": stage.batch, "patch": stage.patch, "seed": job.seed}
    training = Training(
        data=_data_set(work, job.trained_on.settings.train, len(shards.sources)),
        fingerprint=job.trained_on.fingerprint,
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
        overlap=tuple(work.overlap()),
    )


def _data_set(work: PipelineContext, name: str, pictures: int) -> DataSet:
    entry = work.catalogue.entries.get(name)
    return DataSet(name, pictures, entry.about, entry.licence) if entry else DataSet(name, pictures)


def require_held_out(work: PipelineContext, *, absent: bool = False) -> None:
    """Make sure, before Ray starts and anything is trained, that what models are measured on is here and serves.

    Args:
        absent: pictures that are not here are told, no error: a training alone does not read them.

    Raises:
        ConfigError, DataError: as `PipelineContext.held_out` and `require_measurable`.
    """
    wanted = work.pipeline.evaluate
    if wanted is None:
        return
    try:
        pictures = work.held_out()
    except AbsentError as error:
        if not absent:
            raise
        say(escape(f"`acutance run` will need pictures to measure on that are not here: {error.what}; {error.fix}"))
        return
    require_measurable(pictures, scale=work.pipeline.scale, protocol=wanted.protocol, metrics=wanted.metrics)


def train_all(work: PipelineContext, only: str | None = None) -> list[StagePlan]:
    """Make the shards and train the stages, as far as that is not done; the caller has connected to Ray.

    Raises:
        UnreachableError: when the tracking store does not answer, before any work begins.
    """
    tracking.connect(work.root)
    prepare_data(work, only)
    return train_stages(work, only)


def run(work: PipelineContext) -> Outcome:
    """Do all of a pipeline that is not done yet; the caller has connected to Ray.

    Where another process does the very same already, it is waited for, and its outcome returned.

    Raises:
        LostError: when another process has taken the run over, since this one was stopped for a minute.
        UnreachableError: when the tracking store does not answer, before any work begins.
    """
    client = tracking.connect(work.root)
    mark = _receipt(work)
    with alone(place(f"{mark}.lease"), "this very run", mark, until=partial(storage.exists, mark)) as lease:
        return finished(work) or _run(work, client, lease)


def _run(work: PipelineContext, client: MlflowClient, lease: Lease) -> Outcome:
    for sentence in work.overlap():
        say(escape(sentence))
    fresh = any(manifest.fresh for manifest in prepare_data(work)) or any(not job.done() for job in work.jobs())
    jobs = train_stages(work)
    receipt = {"run": "", "model_version": "", "evaluation": ""}
    if work.pipeline.evaluate:
        evaluation, folder, measured = evaluate_models(work, jobs)
        note = done.read(done.note_of("evaluation", folder), "evaluation")
        fresh, receipt["evaluation"] = fresh or measured, note.fingerprint if note else ""
        if work.pipeline.registered:
            lease.require()
            with _ended(client, open_run(work, client)):
                receipt["run"], version = register_model(work, jobs, evaluation, folder)
            receipt["model_version"] = str(version.version)
    if not receipt["model_version"]:
        receipt["run"] = open_run(work, client)
        _close(client, receipt["run"])
    where = _receipt(work)
    done.write(where, Done("run", PurePosixPath(where).stem, EVALUATION_VERSION, receipt))
    return _outcome(work, receipt, fresh)


def finished(work: PipelineContext) -> Outcome | None:
    """Return what an earlier run of the very same work came to; None when something is left to do, or is gone."""
    note = done.read(_receipt(work), "run")
    if not note or not _is_there(work, note.content):
        return None
    for job in work.jobs():
        require_accepted(job)
    return _outcome(work, note.content, False)


def _is_there(work: PipelineContext, receipt: Mapping[str, str]) -> bool:
    """Tell whether a finished run's evaluation, and its run and model in MLflow, have not been lost since."""
    registered = work.pipeline.registered
    if receipt["evaluation"] and not evaluation_of(work.root, receipt["evaluation"]):
        return False
    version = (registered.name, receipt["model_version"]) if registered and receipt["model_version"] else None
    return is_recorded(tracking.connect(work.root), receipt["run"], version)


def _outcome(work: PipelineContext, receipt: Mapping[str, str], fresh: bool) -> Outcome:
    found = evaluation_of(work.root, receipt["evaluation"]) if receipt["evaluation"] else None
    registered = work.pipeline.registered
    return Outcome(
        validations={job.name: rows for job in work.jobs() if (rows := validated(job))},
        evaluation=found[0] if found else None,
        sheet=storage.join(found[1], "sheet.png") if found else "",
        run_id=receipt["run"],
        model=registered.name if registered else "",
        version=receipt["model_version"],
        fresh=fresh,
    )


def _receipt(work: PipelineContext) -> str:
    """Return where a finished run is noted, named by all that determines it."""
    settings = work.pipeline.model_dump(
        mode="json", by_alias=True, include={"evaluate", "registered", "paper", "title"}
    )
    mark = fingerprint(
        {
            "stages": [job.fingerprint for job in work.jobs()],
            "settings": settings,
            "unavailable": sorted(unavailable(work.pipeline.evaluate.metrics if work.pipeline.evaluate else [])),
            "evaluation": EVALUATION_VERSION,
            # A database beside the outputs moves with them.
            "tracking": tracking.tracking_uri(work.root).replace(work.root, "."),
        }
    )
    return storage.join(work.root, "runs", f"{mark}.json")
