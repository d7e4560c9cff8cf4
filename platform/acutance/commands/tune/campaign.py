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


def finished(work: CampaignContext) -> CampaignOutcome | None:
    """Return the result of an earlier run of the campaign; None if there is work left."""
    if work.before is not None:
        earlier = finished(work.before)
        return finished(from_best(work, earlier)) if earlier else None
    note = done.read(done.note_of("campaign", work.folder), "campaign")
    if note is None or note.fingerprint != work.fingerprint:
        return None
    trials = trial_records(work.study())
    if len(trials) < work.wanted or any(trial.state == "running" for trial in trials):
        return None
    return outcome_of(work, trials, note.content["run"])


def run_campaign(work: CampaignContext, *, resume: bool = False) -> CampaignOutcome:
    """Run a campaign, and before a table those that it starts from; the caller has connected to Ray.

    Args:
        resume: go on with a study that holds trials already.

    Raises:
        ConfigError: when the study holds trials and `resume` is not asked for, or another process is at work on it.
        DataError: when pictures, or weights of a metric, are not here without which it would be for nothing.
        LostError: when another process has taken the campaign over, since this one was stopped for a minute.
        TrainingError: when a table that another one starts from has no best row, or was cut short.
    """
    require_objectives(work)
    if work.before is not None:
        earlier = finished(work.before) or run_campaign(work.before, resume=resume)
        settled = from_best(work, earlier)
        say(f"{settled.search.table} {starting(settled)}")
        return finished(settled) or run_campaign(settled, resume=resume)
    study = work.study()
    with exclusive_driver(study) as lease:
        known = trial_records(study)
        if known and not resume:
            ended = sum(trial.state != "running" for trial in known)
            raise ConfigError(
                f"this campaign was begun before: {ended} of {work.wanted} trials have ended",
                where=work.name,
                fix="--resume goes on with it",
            )
        if len(known) > work.wanted:
            say(f"{work.name} has {len(known)} trials, more than {work.wanted}: no other begins")
        client = tracking.connect(work.base.root)
        if resume and not known:
            close_former(work, study, client)
        _try_objectives(work)
        for sentence in overlap(work):
            say(escape(sentence))
        note_settings(work, study)
        prepare_trials(work)
        train_stages(work.base, work.campaign.stage, of=shared_stages(work))
        stage = next(plan for plan in work.base.plans(work.campaign.stage) if plan.name == work.campaign.stage)
        tags = {
            "acutance.kind": "campaign",
            "acutance.study": work.name,
            **provenance_tags(stage),
            **tracking.linked(work.folder),
        }
        name = called(work.file.stem, work.changes)
        run = tracking.pipeline_run(client, work.campaign.title, name, work.fingerprint, tags)
        study.set_user_attr(RUN, run)
        try:
            _search(work, study, client, run, lease)
            lease.require()
        except BaseException as error:
            if lease.held():  # else the runs are another process's
                with suppress(UserError):  # of a store that is away as well; the next command ends them
                    tracking.finish_children(client, run, "KILLED")  # no fault of theirs: --resume goes on with them
                    tracking.finish(client, run, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        return _recorded(work, client, run, trial_records(study))


def _try_objectives(work: CampaignContext) -> None:
    """Measure every objective on bicubic enlargements of its pictures, before the first trial.

    Raises:
        ConfigError, DataError: as `require_measurable`.
    """
    wanted = work.base.pipeline.evaluate
    for on, pictures in objective_pictures(work).items():
        metrics = sorted(
            {goal.picture_metric for goal in work.campaign.objectives if goal.on == on and goal.picture_metric}
        )
        assert wanted is not None, "restored pictures are measured by the pipeline's protocol"
        require_measurable({on: pictures}, scale=work.base.pipeline.scale, protocol=wanted.protocol, metrics=metrics)


def _search(work: CampaignContext, study: Study, client: Any, run: str, lease: Lease) -> None:
    campaign, base = work.campaign, work.base
    resources = worker_resources(campaign.resources)
    setup = TrialSetup(
        campaign=campaign.model_dump(mode="json", by_alias=True),
        pipeline=work.search.base.model_dump(mode="json", by_alias=True),
        catalogue=base.catalogue,
        contents=base.contents(campaign.stage),
        root=base.root,
        group=work.group,
        measured_on=objective_pictures(work),
        resources=resources,
        open_tracker=OpenTrialRun(client.tracking_uri, run, work.name),
    )
    hours = campaign.budget.hours
    ask_tell = AskTell(study, work.search, work.steps, time.time() + 3600 * hours if hours else math.inf)
    live_table = LiveTable(
        campaign.objectives,
        campaign.primary_objective,
        trial_records(study),
        work.wanted,
        work.steps,
        campaign.concurrency,
    )

    def on_end(trial: TrialRecord, trial_run: str) -> None:
        live_table.on_end(trial)
        if trial_run:
            with suppress(UnreachableError):  # it is ended with the campaign
                tracking.finish(client, trial_run, ENDINGS[trial.state])

    with live_table.shown():
        search(ask_tell, work.search, setup, Listener(live_table.on_report, on_end), lease)


def _recorded(work: CampaignContext, client: Any, run: str, trials: list[TrialRecord]) -> CampaignOutcome:
    outcome = outcome_of(work, trials, run)
    for trial in outcome.trials:
        if trial.model:
            tracking.record_kept(client.tracking_uri, trial.model.rpartition("/")[0])
    address, pictures = study_address(work.base.root), objective_pictures(work)
    record = Record(work.name, work.base.root, work.search, outcome.trials, address, run, pictures, outcome.table)
    with working_folder("report") as scratch:
        for file in write_report(record, scratch):
            storage.write_bytes(storage.join(work.folder, file.name), file.read_bytes())
            tracking.log_file(client, run, file)
    tracking.log_table(client, run, "trials.json", [_row(trial, outcome.front) for trial in trials])
    tracking.finish_children(client, run)
    tracking.finish(client, run)
    content = {"run": run, "study": work.name}
    done.write(done.note_of("campaign", work.folder), Done("campaign", work.fingerprint, TRAINING_VERSION, content))
    return outcome


def _row(trial: TrialRecord, front: list[int]) -> dict[str, Any]:
    named = {"trial": trial.number, "row": trial.row, "seed": trial.seed} if trial.row else {"trial": trial.number}
    ended = {"step": trial.step, "state": trial.state, "reason": trial.reason, "on the front": trial.number in front}
    return {**named, **trial.values, **trial.scores, **ended}
