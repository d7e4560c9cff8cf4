"""Trains the stages of a pipeline, and records them in MLflow."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from mlflow import MlflowClient

from acutance import storage
from acutance.commands.context import PipelineContext
from acutance.commands.held_out import require_measurable
from acutance.commands.prepare import prepare_data
from acutance.commands.training_shown import log_of, training_shown
from acutance.config.metrics import METRICS
from acutance.console import say
from acutance.fingerprint import fingerprint
from acutance.registry import tracking
from acutance.storage.lease import Lease, exclusive
from acutance.storage.lease_stores import lease_store
from acutance.storage.leftovers import free_checkpoints, free_uploads
from acutance.storage.outputs import stage_folder, stage_is_done
from acutance.training.checkpoint import step_of
from acutance.training.extend import going_on
from acutance.training.launch import train
from acutance.training.plan import going_on_from_checkpoint
from acutance.training.scores import require_accepted
from acutance.training.shards import make_shards, shard_sets
from acutance.training.stage_plan import TRAINING_VERSION, StagePlan, lease_of
from acutance.weights import fetch_weights


def train_all(context: PipelineContext, only: str | None = None, origin: str = "") -> list[StagePlan]:
    """Make the shards and train the stages that are not done; the caller has connected to Ray.

    Args:
        only, origin: as for `planned_stages`.

    Raises:
        UnreachableError: when the tracking store does not answer, before any work begins.
    """
    tracking.connect(context.root)
    prepare_data(context, only)
    return train_stages(context, only, origin=origin)


def planned_stages(context: PipelineContext, only: str | None = None, origin: str = "") -> list[StagePlan]:
    """Return the plans of the stages in order.

    Args:
        only: one stage, with those it needs.
        origin: URI of a checkpoint from which that stage goes on, as a stage of its own.

    Raises:
        ConfigError, TrainingError: as `going_on_from_checkpoint`.
    """
    plans = context.plans(only)
    if not origin or only is None:
        return plans
    place = partial(stage_folder, context.root, context.group, only)
    return [going_on_from_checkpoint(plan, origin, place) if plan.name == only else plan for plan in plans]


def train_stages(
    context: PipelineContext, only: str | None = None, *, of: Collection[str] | None = None, origin: str = ""
) -> list[StagePlan]:
    """Train the stages that are not done; the caller has connected to Ray and `prepare_data` was called.

    Args:
        only, origin: as for `planned_stages`.
        of: just those of them.
    """
    free_uploads(context.root)
    free_checkpoints(context.root)

    def planned() -> list[StagePlan]:
        return [plan for plan in planned_stages(context, only, origin) if of is None or plan.name in of]

    plans = planned()
    for plan in plans:
        tracking.record_kept(tracking.tracking_uri(context.root), plan.folder)
    with _exclusive_training(plans, context.root) as leases:
        plans = planned()  # a stage that another pipeline trained meanwhile has that pipeline's folder
        todo = [plan for plan in plans if not plan.done()]
        for plan in plans:
            if plan not in todo:
                require_accepted(plan)
        if todo:
            for plan in todo:
                _require_validation(context, plan)
            _train_stages(context, todo, leases)
    return plans


def _require_validation(context: PipelineContext, plan: StagePlan) -> None:
    """Check that the pictures that a stage is validated on are present and measurable.

    Raises:
        AbsentError, ConfigError, DataError: as `measured_pictures` and `require_measurable`.
        WeightsError: for a metric whose parameter file is not here and cannot be fetched.
    """
    validation = plan.stage.validation
    if validation is None or not validation.of_pictures:
        return
    for name in validation.metrics:
        for file in METRICS[name].requires:
            fetch_weights(file)
    require_measurable(
        context.validation_pictures(plan.name),
        scale=plan.scale,
        protocol=validation.protocol,
        metrics=validation.metrics,
    )


def _train_stages(context: PipelineContext, todo: list[StagePlan], leases: list[Lease]) -> None:
    shown = training_shown(todo, context.pipeline.compute, log_of(context.root, context.group))
    with _recorded(context, todo, leases) as trackers, shown as on_progress:
        for wave in _waves(todo):
            for shards in shard_sets(wave):
                inputs = context.inputs.get(shards.settings.source)
                make_shards(shards, context.catalogue, context.root, inputs=inputs, gpus=context.pipeline.compute.gpus)
            plans = [_continuing(plan, context.root) for plan in wave]
            train(plans, context.pipeline.compute, context.root, trackers=trackers, on_progress=on_progress)


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
    context: PipelineContext, plans: list[StagePlan], leases: list[Lease]
) -> Iterator[dict[str, tracking.StageRun]]:
    """Open the pipeline's MLflow run, the parent of each stage's run; end those that are left RUNNING."""
    client = tracking.connect(context.root)
    parent, who = open_run(context, client), {"mlflow.user": tracking.user()}
    try:
        yield {
            plan.name: tracking.StageRun(
                client.tracking_uri,
                parent,
                plan.name,
                plan.fingerprint,
                params(context, plan),
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
    end_run(client, parent)


def end_run(client: MlflowClient, parent: str) -> None:
    """End a pipeline's run and those below it: a driver that was killed may have left some of them RUNNING."""
    tracking.finish_children(client, parent)
    tracking.finish(client, parent)


def open_run(context: PipelineContext, client: MlflowClient) -> str:
    """Return the id of the pipeline's MLflow run: a new one, or the one that its settings had before.

    The data do not count, since a stage may be trained where the data of others are missing.
    """
    content = context.pipeline.model_dump(mode="json", include={"stages", "data", "scale", "seed"})
    key = fingerprint({"settings": content, "version": TRAINING_VERSION})
    return tracking.pipeline_run(
        client,
        context.name,
        context.title,
        key,
        {"acutance.pipeline": str(context.file), **tracking.linked(storage.join(context.root, context.group))},
    )


def params(context: PipelineContext, plan: StagePlan) -> dict[str, Any]:
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
