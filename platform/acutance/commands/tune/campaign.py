"""A campaign from end to end: what the trials share is made once, trials run, the outcome is shown and recorded."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any

from optuna import Study
from rich.markup import escape

from acutance import storage
from acutance.commands.context import called
from acutance.commands.held_out import require_measurable
from acutance.commands.train import provenance_tags, train_stages
from acutance.commands.tune.context import (
    CampaignContext,
    objective_pictures,
    overlap,
    require_objectives,
    shared_stages,
)
from acutance.commands.tune.former_campaign import RUN, close_former, note_settings
from acutance.commands.tune.outcome import CampaignOutcome, from_best, outcome_of, starting
from acutance.commands.tune.shards import prepare_trials
from acutance.commands.tune.trial_run import OpenTrialRun
from acutance.console import say
from acutance.errors import ConfigError, UnreachableError, UserError
from acutance.registry import tracking
from acutance.storage import done
from acutance.storage.done import Done
from acutance.storage.lease import Lease
from acutance.storage.scratch import working_folder
from acutance.training.stage_plan import TRAINING_VERSION
from acutance.tuning.ask_tell import AskTell
from acutance.tuning.live_table import LiveTable
from acutance.tuning.report.record import Record
from acutance.tuning.report.write import write_report
from acutance.tuning.search import Listener, search, worker_resources
from acutance.tuning.study import TrialRecord, study_address, trial_records
from acutance.tuning.study_lock import exclusive_driver
from acutance.tuning.trial import TrialSetup

ENDINGS: dict[str, tracking.Status] = {"complete": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


def finished(context: CampaignContext) -> CampaignOutcome | None:
    """Return the result of an earlier run of the campaign; None if there is work left."""
    if context.before is not None:
        earlier = finished(context.before)
        return finished(from_best(context, earlier)) if earlier else None
    note = done.read(done.note_of("campaign", context.folder), "campaign")
    if note is None or note.fingerprint != context.fingerprint:
        return None
    trials = trial_records(context.study())
    if len(trials) < context.wanted or any(trial.state == "running" for trial in trials):
        return None
    return outcome_of(context, trials, note.content["run"])


def run_campaign(context: CampaignContext, *, resume: bool = False) -> CampaignOutcome:
    """Run a campaign, and before a table those that it starts from; the caller has connected to Ray.

    Args:
        resume: go on with a study that holds trials already.

    Raises:
        ConfigError: when the study holds trials and `resume` is not asked for, or another process is at work on it.
        DataError: when pictures, or weights of a metric, are not here without which it would be for nothing.
        LostError: when another process has taken the campaign over, since this one was stopped for a minute.
        TrainingError: when a table that another one starts from has no best row, or was cut short.
    """
    require_objectives(context)
    if context.before is not None:
        earlier = finished(context.before) or run_campaign(context.before, resume=resume)
        settled = from_best(context, earlier)
        say(f"{settled.search.table} {starting(settled)}")
        return finished(settled) or run_campaign(settled, resume=resume)
    study = context.study()
    with exclusive_driver(study) as lease:
        known = trial_records(study)
        if known and not resume:
            ended = sum(trial.state != "running" for trial in known)
            raise ConfigError(
                f"this campaign was begun before: {ended} of {context.wanted} trials have ended",
                where=context.name,
                fix="--resume goes on with it",
            )
        if len(known) > context.wanted:
            say(f"{context.name} has {len(known)} trials, more than {context.wanted}: no other begins")
        client = tracking.connect(context.base.root)
        if resume and not known:
            close_former(context, study, client)
        _try_objectives(context)
        for sentence in overlap(context):
            say(escape(sentence))
        note_settings(context, study)
        prepare_trials(context)
        train_stages(context.base, context.campaign.stage, of=shared_stages(context))
        stage = next(plan for plan in context.base.plans(context.campaign.stage) if plan.name == context.campaign.stage)
        tags = {
            "acutance.kind": "campaign",
            "acutance.study": context.name,
            **provenance_tags(stage),
            **tracking.linked(context.folder),
        }
        name = called(context.file.stem, context.changes)
        run = tracking.pipeline_run(client, context.campaign.title, name, context.fingerprint, tags)
        study.set_user_attr(RUN, run)
        try:
            _search(context, study, client, run, lease)
            lease.require()
        except BaseException as error:
            if lease.held():  # else the runs are another process's
                with suppress(UserError):  # of a store that is away as well; the next command ends them
                    tracking.finish_children(client, run, "KILLED")  # no fault of theirs: --resume goes on with them
                    tracking.finish(client, run, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        return _recorded(context, client, run, trial_records(study))


def _try_objectives(context: CampaignContext) -> None:
    """Measure every objective on bicubic enlargements of its pictures, before the first trial.

    Raises:
        ConfigError, DataError: as `require_measurable`.
    """
    wanted = context.base.pipeline.evaluate
    for on, pictures in objective_pictures(context).items():
        metrics = sorted(
            {goal.picture_metric for goal in context.campaign.objectives if goal.on == on and goal.picture_metric}
        )
        assert wanted is not None, "restored pictures are measured by the pipeline's protocol"
        require_measurable({on: pictures}, scale=context.base.pipeline.scale, protocol=wanted.protocol, metrics=metrics)


def _search(context: CampaignContext, study: Study, client: Any, run: str, lease: Lease) -> None:
    campaign, base = context.campaign, context.base
    resources = worker_resources(campaign.resources)
    setup = TrialSetup(
        campaign=campaign.model_dump(mode="json", by_alias=True),
        pipeline=context.search.base.model_dump(mode="json", by_alias=True),
        catalogue=base.catalogue,
        contents=base.contents(campaign.stage),
        root=base.root,
        group=context.group,
        measured_on=objective_pictures(context),
        resources=resources,
        open_tracker=OpenTrialRun(client.tracking_uri, run, context.name),
    )
    hours = campaign.budget.hours
    ask_tell = AskTell(study, context.search, context.steps, time.time() + 3600 * hours if hours else math.inf)
    live_table = LiveTable(
        campaign.objectives,
        campaign.primary_objective,
        trial_records(study),
        context.wanted,
        context.steps,
        campaign.concurrency,
    )

    def on_end(trial: TrialRecord, trial_run: str) -> None:
        live_table.on_end(trial)
        if trial_run:
            with suppress(UnreachableError):  # it is ended with the campaign
                tracking.finish(client, trial_run, ENDINGS[trial.state])

    with live_table.shown():
        search(ask_tell, context.search, setup, Listener(live_table.on_report, on_end), lease)


def _recorded(context: CampaignContext, client: Any, run: str, trials: list[TrialRecord]) -> CampaignOutcome:
    outcome = outcome_of(context, trials, run)
    for trial in outcome.trials:
        if trial.model:
            tracking.record_kept(client.tracking_uri, trial.model.rpartition("/")[0])
    address, pictures = study_address(context.base.root), objective_pictures(context)
    record = Record(
        context.name, context.base.root, context.search, outcome.trials, address, run, pictures, outcome.table
    )
    with working_folder("report") as scratch:
        for file in write_report(record, scratch):
            storage.write_bytes(storage.join(context.folder, file.name), file.read_bytes())
            tracking.log_file(client, run, file)
    tracking.log_table(client, run, "trials.json", [_row(trial, outcome.front) for trial in trials])
    tracking.finish_children(client, run)
    tracking.finish(client, run)
    content = {"run": run, "study": context.name}
    done.write(
        done.note_of("campaign", context.folder), Done("campaign", context.fingerprint, TRAINING_VERSION, content)
    )
    return outcome


def _row(trial: TrialRecord, front: list[int]) -> dict[str, Any]:
    named = {"trial": trial.number, "row": trial.row, "seed": trial.seed} if trial.row else {"trial": trial.number}
    ended = {"step": trial.step, "state": trial.state, "reason": trial.reason, "on the front": trial.number in front}
    return {**named, **trial.values, **trial.scores, **ended}
