"""Runs a pipeline: prepare, train, evaluate, register. Each part skips work that is done already."""

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
from acutance.commands.evaluate import EVALUATION_SPEC, EVALUATION_VERSION, OVERLAP, evaluate_models, evaluation_of
from acutance.commands.held_out import require_measurable
from acutance.console import Update, clock, progress, say
from acutance.data import Manifest, read_manifest, read_picture
from acutance.errors import AbsentError, UserError
from acutance.evaluation.metrics import unavailable
from acutance.evaluation.results import Evaluation
from acutance.fingerprint import fingerprint
from acutance.parts.sources import packed, sources_named
from acutance.registry import is_recorded, log_model, tracking
from acutance.registry.card import DataSet, Facts, Training
from acutance.storage import done
from acutance.storage.done import Done
from acutance.storage.lease import Lease, exclusive
from acutance.storage.lease_stores import lease_store
from acutance.storage.leftovers import free_checkpoints, free_uploads
from acutance.storage.outputs import stage_is_done
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
    plans = work.plans(only)
    waiting = {plan.model for plan in plans if not plan.done()}
    return [
        _shards(work, shards)
        for shards in shard_sets(plans)
        if shards.enlarger is None or shards.enlarger.model not in waiting
    ]


def _shards(work: PipelineContext, shards: ShardSpec) -> Manifest:
    data = shards.settings
    with _shown_if_any("prepare") as on_progress:
        manifest = make_shards(
            shards,
            work.catalogue,
            work.root,
            inputs=work.inputs.get(data.source),
            gpus=work.pipeline.compute.gpus,
            on_progress=on_progress,
        )
    if data.source not in work.inputs and (record := work.read_record(data)):
        what = f"the pictures of {data.train} are not here (they were {record.place})"
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
        return [plan for plan in work.plans(only) if of is None or plan.name in of]

    plans = planned()
    for plan in plans:
        tracking.record_kept(tracking.tracking_uri(work.root), plan.folder)
    with _exclusive_training(plans, work.root) as leases:
        plans = planned()  # a stage that another pipeline trained meanwhile has that pipeline's folder
        todo = [plan for plan in plans if not plan.done()]
        for plan in plans:
            if plan not in todo:
                require_accepted(plan)
        if todo:
            _train_stages(work, todo, leases)
    return plans


def _train_stages(work: PipelineContext, todo: list[StagePlan], leases: list[Lease]) -> None:
    with _recorded(work, todo, leases) as trackers, _shown(todo) as on_progress:
        for wave in _waves(todo):
            for shards in shard_sets(wave):
                inputs = work.inputs.get(shards.settings.source)
                make_shards(shards, work.catalogue, work.root, inputs=inputs, gpus=work.pipeline.compute.gpus)
            plans = [_continuing(plan, work.root) for plan in wave]
            train(plans, work.pipeline.compute, work.root, trackers=trackers, on_progress=on_progress)


def _continuing(plan: StagePlan, root: str) -> StagePlan:
    continuing = going_on(plan, root)
    if continuing.begins_at:
        step, steps = step_of(continuing.begins_at.rpartition("/")[2]), plan.stage.steps
        say(f"{plan.name} goes on from step {step} of {steps}: a training before it differs in later steps alone")
    return continuing


@contextmanager
def _exclusive_training(plans: list[StagePlan], root: str) -> Iterator[list[Lease]]:
    """Hold the leases of the stages that are not done; wait for those that another process trains."""

    def lease_on(plan: StagePlan) -> AbstractContextManager[Lease]:
        store = lease_store(lease_of(root, plan.fingerprint))
        done_anywhere = partial(stage_is_done, root, plan.fingerprint)
        return exclusive(store, f"the training of {plan.name}", plan.folder, until=done_anywhere)

    with ExitStack() as stack:
        # In the same order for all pipelines that share stages, so that no two wait for each other.
        todo = [plan for plan in sorted(plans, key=lambda plan: plan.fingerprint) if not plan.done()]
        yield [stack.enter_context(lease_on(plan)) for plan in todo]


def _waves(plans: list[StagePlan]) -> list[list[StagePlan]]:
    """Split stages, in their order, so that a stage comes after the stage that makes its data."""
    waves: list[list[StagePlan]] = [[]]
    for plan in plans:
        maker = plan.trained_on.enlarger
        if maker and maker.model in {other.model for other in waves[-1]}:
            waves.append([])
        waves[-1].append(plan)
    return waves


@contextmanager
def _recorded(
    work: PipelineContext, plans: list[StagePlan], leases: list[Lease]
) -> Iterator[dict[str, tracking.StageRun]]:
    """Open the pipeline's MLflow run, the parent of each stage's run; end those that are left RUNNING."""
    client = tracking.connect(work.root)
    parent, who = open_run(work, client), {"mlflow.user": tracking.user()}
    try:
        yield {
            plan.name: tracking.StageRun(
                client.tracking_uri,
                parent,
                plan.name,
                plan.fingerprint,
                params(work, plan),
                {**who, **provenance_tags(plan)},
                plan.folder,
            )
            for plan in plans
        }
    except BaseException as error:
        if not all(lease.held() for lease in leases):
            raise  # another process has taken the runs over
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
        with suppress(UserError):  # the database is on that disk: the next command ends the run
            tracking.finish(client, run, "FAILED")
        raise


def _close(client: MlflowClient, parent: str) -> None:
    """End a pipeline's run and those below it: a driver that was killed may have left some of them RUNNING."""
    tracking.finish_children(client, parent)
    tracking.finish(client, parent)


@contextmanager
def _shown(plans: list[StagePlan]) -> Iterator[Any]:
    """Show one bar over the steps of all stages; the time left is that of each stage, as steps take different times."""
    steps = {plan.name: int(plan.stage.steps) for plan in plans}
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

    The data do not count, since a stage may be trained where the data of others are missing.
    """
    content = work.pipeline.model_dump(mode="json", include={"stages", "data", "scale", "seed"})
    key = fingerprint({"settings": content, "version": TRAINING_VERSION})
    return tracking.pipeline_run(
        client,
        work.name,
        work.title,
        key,
        {"acutance.pipeline": str(work.file), **tracking.linked(storage.join(work.root, work.group))},
    )


def params(work: PipelineContext, plan: StagePlan) -> dict[str, Any]:
    """Return a stage's resolved settings, as MLflow shows them."""
    return {
        "stage": {name: value for name, value in plan.stage.model_dump(mode="json").items() if name != "data"},
        "data": plan.trained_on.settings.model_dump(mode="json"),
        "scale": plan.scale,
        "seed": plan.seed,
        "fingerprint": plan.fingerprint,
    }


def provenance_tags(plan: StagePlan) -> dict[str, str]:
    """Return tags for runs and models of a stage, such as that its feature network was never trained."""
    notes = "; ".join(plan.description["notes"])
    return {"acutance.notes": notes} if notes else {}


def register_model(
    work: PipelineContext, plans: list[StagePlan], evaluation: Evaluation, folder: str
) -> tuple[str, Any]:
    """Record the evaluation in the pipeline's MLflow run, register the model as candidate; return run and version."""
    client = tracking.connect(work.root)
    run = open_run(work, client)
    registered, wanted = work.pipeline.registered, work.pipeline.evaluate
    assert registered is not None, "what is to be registered has a name"
    assert wanted is not None, "what is registered is evaluated"
    plan = next(plan for plan in plans if plan.name == registered.stage)
    means = {name: mean for name in evaluation.metrics if (mean := evaluation.mean(plan.name, name)) is not None}
    rows = [
        {"dataset": r.dataset, "picture": r.picture, "candidate": r.candidate, **r.metrics} for r in evaluation.rows
    ]
    tracking.log_table(client, run, "pictures.json", rows)
    tracking.log_json(client, run, "config.json", work.pipeline.model_dump(mode="json", by_alias=True))
    tags = {
        "acutance.dataset": plan.trained_on.fingerprint,
        "acutance.stage": plan.fingerprint,
        "acutance.pipeline": str(work.file),
        EVALUATION_SPEC: json.dumps(
            {
                **wanted.model_dump(),
                "gate": registered.gate,
                "scale": plan.scale,
                "code": _log_metric_code(work, client, run),
            }
        ),
        **provenance_tags(plan),
    }
    if shared := work.overlap():
        tags[OVERLAP] = "; ".join(shared)
    source = next(iter(work.held_out().values()))[0]
    with working_folder("register") as scratch:
        sheet, model = scratch / "sheet.png", scratch / "model.safetensors"
        sheet.write_bytes(storage.read_bytes(storage.join(folder, "sheet.png")))
        model.write_bytes(storage.read_bytes(plan.model))
        tracking.log_file(client, run, sheet)
        example = read_picture(source.hr_path(work.pipeline.scale))
        facts = _facts(work, plan, evaluation)
        version = log_model(
            client, run, model, registered.name, example, tags=tags, metrics=means, facts=facts, sheet=sheet
        )
    _close(client, run)
    return run, version


def _log_metric_code(work: PipelineContext, client: MlflowClient, run: str) -> str:
    """Log the user's files of metrics, which another machine lacks, as a file of the run; return its name or ''."""
    wanted, registered = work.pipeline.evaluate, work.pipeline.registered
    sources = packed(sources_named([wanted.metrics if wanted else [], list(registered.gate) if registered else []]))
    if not sources:
        return ""
    file = f"code/{fingerprint(sources)}.json"  # one for each content: versions may share a run
    tracking.log_json(client, run, file, sources)
    return file


def _facts(work: PipelineContext, plan: StagePlan, evaluation: Evaluation) -> Facts:
    """Return the facts of the model card that the model file does not hold."""
    shards, stage = read_manifest(plan.shards), work.pipeline.stages[plan.name]
    settings = {"steps": stage.steps, "batch": stage.batch, "patch": stage.patch, "seed": plan.seed}
    training = Training(
        data=_data_set(work, plan.trained_on.settings.train, len(shards.sources)),
        fingerprint=plan.trained_on.fingerprint,
        samples=shards.rows,
        settings=settings,
        starts={part: Path(source).name for part, source in stage.network.init.items()},
    )
    return Facts(
        paper=work.pipeline.paper.model_dump() if work.pipeline.paper else None,
        training=training,
        evaluation=evaluation,
        candidate=plan.name,
        measured_on=tuple(_data_set(work, name, len(evaluation.pictures(name))) for name in evaluation.datasets),
        overlap=tuple(work.overlap()),
    )


def _data_set(work: PipelineContext, name: str, pictures: int) -> DataSet:
    entry = work.catalogue.entries.get(name)
    return DataSet(name, pictures, entry.about, entry.licence) if entry else DataSet(name, pictures)


def require_held_out(work: PipelineContext, *, absent: bool = False) -> None:
    """Check, before Ray starts, that the pictures that models are measured on are present and measurable.

    Args:
        absent: missing pictures give a message, no error: training alone does not read them.

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
    """Make the shards and train the stages that are not done; the caller has connected to Ray.

    Raises:
        UnreachableError: when the tracking store does not answer, before any work begins.
    """
    tracking.connect(work.root)
    prepare_data(work, only)
    return train_stages(work, only)


def run(work: PipelineContext) -> Outcome:
    """Run all of a pipeline that is not done yet; the caller has connected to Ray.

    Where another process runs the same already, wait for it and return its outcome.

    Raises:
        LostError: when another process has taken the run over, since this one was stopped for a minute.
        UnreachableError: when the tracking store does not answer, before any work begins.
    """
    client = tracking.connect(work.root)
    receipt = _receipt_file(work)
    with exclusive(
        lease_store(f"{receipt}.lease"), "this very run", receipt, until=partial(storage.exists, receipt)
    ) as lease:
        return finished(work) or _run(work, client, lease)


def _run(work: PipelineContext, client: MlflowClient, lease: Lease) -> Outcome:
    for sentence in work.overlap():
        say(escape(sentence))
    fresh = any(manifest.fresh for manifest in prepare_data(work)) or any(not plan.done() for plan in work.plans())
    plans = train_stages(work)
    receipt = {"run": "", "model_version": "", "evaluation": ""}
    if work.pipeline.evaluate:
        evaluation, folder, measured = evaluate_models(work, plans)
        note = done.read(done.note_of("evaluation", folder), "evaluation")
        fresh, receipt["evaluation"] = fresh or measured, note.fingerprint if note else ""
        if work.pipeline.registered:
            lease.require()
            with _ended(client, open_run(work, client)):
                receipt["run"], version = register_model(work, plans, evaluation, folder)
            receipt["model_version"] = str(version.version)
    if not receipt["model_version"]:
        receipt["run"] = open_run(work, client)
        _close(client, receipt["run"])
    file = _receipt_file(work)
    done.write(file, Done("run", PurePosixPath(file).stem, EVALUATION_VERSION, receipt))
    return _outcome(work, receipt, fresh)


def finished(work: PipelineContext) -> Outcome | None:
    """Return the outcome of an earlier run of the same work; None where something is left to do or is lost."""
    written = done.read(_receipt_file(work), "run")
    if not written or not _still_exists(work, written.content):
        return None
    for plan in work.plans():
        require_accepted(plan)
    return _outcome(work, written.content, False)


def _still_exists(work: PipelineContext, receipt: Mapping[str, str]) -> bool:
    """Return whether a finished run's evaluation, and its run and model in MLflow, still exist."""
    registered = work.pipeline.registered
    if receipt["evaluation"] and not evaluation_of(work.root, receipt["evaluation"]):
        return False
    version = (registered.name, receipt["model_version"]) if registered and receipt["model_version"] else None
    return is_recorded(tracking.connect(work.root), receipt["run"], version)


def _outcome(work: PipelineContext, receipt: Mapping[str, str], fresh: bool) -> Outcome:
    found = evaluation_of(work.root, receipt["evaluation"]) if receipt["evaluation"] else None
    registered = work.pipeline.registered
    return Outcome(
        validations={plan.name: rows for plan in work.plans() if (rows := validated(plan))},
        evaluation=found[0] if found else None,
        sheet=storage.join(found[1], "sheet.png") if found else "",
        run_id=receipt["run"],
        model=registered.name if registered else "",
        version=receipt["model_version"],
        fresh=fresh,
    )


def _receipt_file(work: PipelineContext) -> str:
    """Return the URI of the JSON that records a finished run; its name is a fingerprint of all that determines it."""
    settings = work.pipeline.model_dump(
        mode="json", by_alias=True, include={"evaluate", "registered", "paper", "title"}
    )
    key = fingerprint(
        {
            "stages": [plan.fingerprint for plan in work.plans()],
            "settings": settings,
            "unavailable": sorted(unavailable(work.pipeline.evaluate.metrics if work.pipeline.evaluate else [])),
            "evaluation": EVALUATION_VERSION,
            # A database beside the outputs moves with them.
            "tracking": tracking.tracking_uri(work.root).replace(work.root, "."),
        }
    )
    return storage.join(work.root, "runs", f"{key}.json")
