"""Runs a pipeline: prepare, train, evaluate, register. Each part skips work that is done already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from mlflow import MlflowClient
from rich.markup import escape

from acutance import storage
from acutance.commands.context import PipelineContext
from acutance.commands.evaluate import EVALUATION_VERSION, evaluate_models, evaluation_of
from acutance.commands.held_out import require_measurable
from acutance.commands.prepare import prepare_data
from acutance.commands.register import register_model
from acutance.commands.train import end_run, open_run, train_stages
from acutance.console import say
from acutance.errors import AbsentError, UserError
from acutance.evaluation.metrics import unavailable
from acutance.evaluation.results import Evaluation
from acutance.fingerprint import fingerprint
from acutance.registry import tracking
from acutance.registry.versions import is_recorded
from acutance.storage import done
from acutance.storage.done import Done
from acutance.storage.lease import Lease, exclusive
from acutance.storage.lease_stores import lease_store
from acutance.training.loop import Losses
from acutance.training.scores import read_scores, require_accepted


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


def require_held_out(context: PipelineContext, *, absent: bool = False) -> None:
    """Check, before Ray starts, that the pictures that models are measured on are present and measurable.

    Args:
        absent: missing pictures give a message, no error: training alone does not read them.

    Raises:
        ConfigError, DataError: as `PipelineContext.held_out` and `require_measurable`.
    """
    wanted = context.pipeline.evaluate
    if wanted is None:
        return
    try:
        pictures = context.held_out()
    except AbsentError as error:
        if not absent:
            raise
        say(escape(f"`acutance run` will need pictures to measure on that are not here: {error.what}; {error.fix}"))
        return
    require_measurable(pictures, scale=context.pipeline.scale, protocol=wanted.protocol, metrics=wanted.metrics)


def run(context: PipelineContext) -> Outcome:
    """Run all of a pipeline that is not done yet; the caller has connected to Ray.

    Where another process runs the same already, wait for it and return its outcome.

    Raises:
        LostError: when another process has taken the run over, since this one was stopped for a minute.
        UnreachableError: when the tracking store does not answer, before any work begins.
    """
    client = tracking.connect(context.root)
    receipt = _receipt_file(context)
    with exclusive(
        lease_store(f"{receipt}.lease"), "this very run", receipt, until=partial(storage.exists, receipt)
    ) as lease:
        return finished(context) or _run(context, client, lease)


@contextmanager
def _ended(client: MlflowClient, run: str) -> Iterator[None]:
    """End a pipeline's run as FAILED where the block fails: on a full disk, say."""
    try:
        yield
    except Exception:
        with suppress(UserError):  # the database is on that disk: the next command ends the run
            tracking.finish(client, run, "FAILED")
        raise


def _run(context: PipelineContext, client: MlflowClient, lease: Lease) -> Outcome:
    for sentence in context.overlap():
        say(escape(sentence))
    fresh = any(manifest.fresh for manifest in prepare_data(context)) or any(
        not plan.done() for plan in context.plans()
    )
    plans = train_stages(context)
    receipt = {"run": "", "model_version": "", "evaluation": ""}
    if context.pipeline.evaluate:
        evaluation, folder, measured = evaluate_models(context, plans)
        note = done.read(done.note_of("evaluation", folder), "evaluation")
        fresh, receipt["evaluation"] = fresh or measured, note.fingerprint if note else ""
        if context.pipeline.registered:
            lease.require()
            with _ended(client, open_run(context, client)):
                receipt["run"], version = register_model(context, plans, evaluation, folder)
            receipt["model_version"] = str(version.version)
    if not receipt["model_version"]:
        receipt["run"] = open_run(context, client)
        end_run(client, receipt["run"])
    file = _receipt_file(context)
    done.write(file, Done("run", PurePosixPath(file).stem, EVALUATION_VERSION, receipt))
    return _outcome(context, receipt, fresh)


def finished(context: PipelineContext) -> Outcome | None:
    """Return the outcome of an earlier run of the same work; None where something is left to do or is lost."""
    written = done.read(_receipt_file(context), "run")
    if not written or not _still_exists(context, written.content):
        return None
    for plan in context.plans():
        require_accepted(plan)
    return _outcome(context, written.content, False)


def _still_exists(context: PipelineContext, receipt: Mapping[str, str]) -> bool:
    """Return whether a finished run's evaluation, and its run and model in MLflow, still exist."""
    registered = context.pipeline.registered
    if receipt["evaluation"] and not evaluation_of(context.root, receipt["evaluation"]):
        return False
    version = (registered.name, receipt["model_version"]) if registered and receipt["model_version"] else None
    return is_recorded(tracking.connect(context.root), receipt["run"], version)


def _outcome(context: PipelineContext, receipt: Mapping[str, str], fresh: bool) -> Outcome:
    found = evaluation_of(context.root, receipt["evaluation"]) if receipt["evaluation"] else None
    registered = context.pipeline.registered
    return Outcome(
        validations={plan.name: rows for plan in context.plans() if (rows := read_scores(plan.folder))},
        evaluation=found[0] if found else None,
        sheet=storage.join(found[1], "sheet.png") if found else "",
        run_id=receipt["run"],
        model=registered.name if registered else "",
        version=receipt["model_version"],
        fresh=fresh,
    )


def _receipt_file(context: PipelineContext) -> str:
    """Return the URI of the JSON that records a finished run; its name is a fingerprint of all that determines it."""
    settings = context.pipeline.model_dump(
        mode="json", by_alias=True, include={"evaluate", "registered", "paper", "title"}
    )
    key = fingerprint(
        {
            "stages": [plan.fingerprint for plan in context.plans()],
            "settings": settings,
            "unavailable": sorted(unavailable(context.pipeline.evaluate.metrics if context.pipeline.evaluate else [])),
            "evaluation": EVALUATION_VERSION,
            # A database beside the outputs moves with them.
            "tracking": tracking.tracking_uri(context.root).replace(context.root, "."),
        }
    )
    return storage.join(context.root, "runs", f"{key}.json")
