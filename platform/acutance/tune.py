"""A campaign from end to end: what the trials share is made once, trials run, the outcome is shown and recorded."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna import Study

from acutance import campaign as campaigns
from acutance import pipeline as pipelines
from acutance import storage
from acutance.campaign import Campaign, Search, Start, started
from acutance.console import say
from acutance.data import Source
from acutance.errors import ConfigError, DataError, TrainingError
from acutance.evaluation.metrics import unavailable
from acutance.fingerprint import fingerprint
from acutance.registry import tracking
from acutance.run import prepare_data, train_stages
from acutance.training.loop import Losses
from acutance.tuning.board import Board
from acutance.tuning.lease import alone
from acutance.tuning.ledger import Ledger
from acutance.tuning.report import best, pareto_front
from acutance.tuning.report.record import Record
from acutance.tuning.report.write import FRONT, PAGE, write_report
from acutance.tuning.search import Listener, search, worker_resources
from acutance.tuning.study import Attempt, attempts, open_storage, open_study, study_address
from acutance.tuning.tables import Table, best_row, measured_table
from acutance.tuning.trial import TrialSetup
from acutance.work import Work, catalogue_for, plan, storage_root

ENDINGS: dict[str, tracking.Status] = {"complete": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


@dataclass(frozen=True)
class CampaignWork:
    """A campaign with the pipeline that it searches.

    Attributes:
        lacking: objective -> why it cannot be measured here: its pictures or its metric's weights are not here. A
            table does without the columns that are lacking; what it is told of them is the paper's.
        before: of a table that starts from the best row of another one, that one, until its best row is known.
    """

    file: Path
    search: Search
    base: Work
    lacking: dict[str, str] = field(default_factory=dict)
    before: CampaignWork | None = None

    @property
    def campaign(self) -> Campaign:
        """The settings."""
        return self.search.campaign

    @cached_property
    def fingerprint(self) -> str:
        """What determines the campaign, whatever it may spend: a study goes on with more trials."""
        settings = self.campaign.model_dump(
            mode="json", by_alias=True, exclude={"concurrency", "pipeline", "budget", "tables", "published"}
        )
        points = [[point.row, point.values] for point in self.search.points or []]
        stages = [job.fingerprint for job in self.base.jobs()]
        return fingerprint({"campaign": settings, "points": points, "stages": stages})

    @property
    def name(self) -> str:
        """The study's name."""
        table = f"-{self.search.table}" if self.search.table else ""
        return f"{self.file.stem}{table}-{self.fingerprint[:8]}"

    @property
    def folder(self) -> str:
        """URI of the folder of reports."""
        return storage.join(self.base.root, "campaigns", self.name)

    @property
    def wanted(self) -> int:
        """How many trials there are to be."""
        return len(self.search.points) if self.search.points is not None else self.campaign.budget.trials

    @property
    def steps(self) -> int:
        """The steps of a trial that is not stopped."""
        return self.base.pipeline.stages[self.campaign.stage].steps

    def study(self) -> Study:
        """Open the study."""
        return open_study(open_storage(study_address(self.base.root)), self.name, self.campaign.objectives)


@dataclass(frozen=True)
class CampaignOutcome:
    """What a campaign came to.

    Attributes:
        front: the numbers of the trials on the Pareto front; `winner` is one of them.
        table: of a table campaign, measured beside published.
        start: the row of another table that it started from.
        report: URI of the page, an HTML file.
        picture: URI of the Pareto front as PNG.
    """

    study: str
    trials: list[Attempt]
    front: list[int]
    winner: int | None
    table: Table | None
    start: Start | None
    report: str
    picture: str
    run_id: str


@dataclass(frozen=True)
class OpenTrialRun:
    """Opens a trial's MLflow run in the trial's own process, below the campaign's."""

    uri: str
    parent: str
    study: str

    def __call__(self, number: int, values: dict[str, Any]) -> TrialRun:
        client = tracking.client_of(self.uri)
        mark = fingerprint([self.study, number])
        tags = {"acutance.trial": f"{self.study}/{number}"}
        run = tracking.stage_run(client, self.parent, f"trial {number}", mark, values, tags=tags)
        return TrialRun(run, tracking.StageTracker(self.uri, run))


@dataclass(frozen=True)
class TrialRun:
    """Where a trial's losses and scores go."""

    run: str
    stage: tracking.StageTracker

    def metrics(self, rows: list[tuple[int, Losses]]) -> None:
        """Record (step, losses or scores) rows."""
        self.stage.metrics([(step, {_plain(name): value for name, value in row.items()}) for step, row in rows])


def _plain(name: str) -> str:
    """Metric names of MLflow know fewer characters than a data set given as a folder."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)


def open_campaign(file: str, overrides: list[str], root: str | None, table: str | None = None) -> CampaignWork:
    """Read a search space, or one of its tables with those that it starts from, and the pipelines they name.

    Raises:
        ConfigError: see `acutance.campaign.load`.
    """
    found = campaigns.load(file, overrides, table=table)
    work = Work(found.file, found.base, catalogue_for(str(found.file)), storage_root(root))
    lacking = _lacking(found.campaign, work)
    if table and (measured := [goal for goal in found.campaign.objectives if goal.name not in lacking]):
        found = replace(found, campaign=found.campaign.model_copy(update={"objectives": measured}))
    before = open_campaign(file, overrides, root, found.after.table) if found.after else None
    return CampaignWork(Path(file), found, work, lacking, before)


def _lacking(campaign: Campaign, work: Work) -> dict[str, str]:
    """Return objective -> why it cannot be measured on this machine."""
    reasons = unavailable({goal.metric for goal in campaign.objectives})
    for name in {goal.on for goal in campaign.objectives}:
        try:
            work.catalogue.find(name)
        except DataError as error:
            reasons[name] = f"{name}: {error.what}; {error.fix}"
    told = {goal: reasons.get(goal.metric) or reasons.get(goal.on) for goal in campaign.objectives}
    return {goal.name: reason for goal, reason in told.items() if reason}


def _require_objectives(work: CampaignWork) -> None:
    """Refuse to begin what could not be measured at its end, or what another table could not be chosen by.

    Raises:
        DataError: naming an objective and what it lacks.
    """
    needed = [goal.name for goal in work.campaign.objectives if goal.name in work.lacking]
    if needed:
        raise DataError(f"{needed[0]} cannot be measured here: {work.lacking[needed[0]]}", where=str(work.file))
    after, before = work.search.after, work.before
    if before is not None and after is not None:
        _require_objectives(before)
        if after.best in before.lacking:
            raise DataError(
                f"{after.best} cannot be measured here: {before.lacking[after.best]}",
                where=f"{work.file}: tables.{work.search.table}.after.best",
                fix=f"or choose by another column of {after.table}",
            )


def plan_campaign(work: CampaignWork) -> dict[str, Any]:
    """Return what a campaign would do, without doing it and without data present."""
    settings = work.campaign.model_dump(mode="json", by_alias=True)
    planned, rows = plan(work.base, work.campaign.stage), _planned_rows(work)
    missing = list(dict.fromkeys([*planned["missing"], *work.lacking.values()]))
    told = {"config": {"campaign": settings}, "trials": len(rows) or work.wanted, "rows": rows, "missing": missing}
    return {**planned, **told}


def _planned_rows(work: CampaignWork) -> list[dict[str, Any]]:
    """Return the rows of a grid, or of a table and those that it starts from, in the order in which they are run."""
    earlier = _planned_rows(work.before) if work.before else []
    start = f"the best of {work.before.search.table}" if work.before else ""
    return [
        *earlier,
        *(
            {"table": work.search.table or "", "start": start, "row": p.row, "seed": p.seed, "values": p.values}
            for p in work.search.points or []
        ),
    ]


def _from_best(work: CampaignWork, earlier: CampaignOutcome) -> CampaignWork:
    """Return a table's work with the row that it starts from, the best of the table before it.

    Raises:
        TrainingError: when that table has rows that have not ended, or none of which all seeds came to their end.
    """
    before, after, table = work.before, work.search.after, earlier.table
    if before is None or after is None or table is None:
        return work
    ended = sum(trial.state != "running" for trial in earlier.trials)
    if ended < before.wanted:
        what = f"{work.search.table} waits for {after.table}, of which {ended} of {before.wanted} trials have ended"
        raise TrainingError(what, where=earlier.study, fix="--resume goes on with it")
    row = best_row(table, after.best)
    if row is None:
        what = f"{work.search.table} starts from the best row of {after.table}, of which no row has come to its end"
        raise TrainingError(what, where=earlier.study, fix="look at why its trials failed")
    beneath = earlier.start.values if earlier.start else {}
    start = Start(after.table, row, {**beneath, **before.campaign.tables[after.table].points()[row]})
    return replace(work, search=started(work.search, start), before=None)


def finished(work: CampaignWork) -> CampaignOutcome | None:
    """Return what an earlier run of the campaign came to; None where there is something left to do."""
    if work.before is not None:
        earlier = finished(work.before)
        return finished(_from_best(work, earlier)) if earlier else None
    noted = storage.join(work.folder, "campaign.json")
    if not storage.exists(noted):
        return None
    trials = attempts(work.study())
    if len(trials) < work.wanted or any(trial.state == "running" for trial in trials):
        return None
    return _outcome(work, trials, storage.read_json(noted)["run"])


def run_campaign(work: CampaignWork, *, resume: bool = False) -> CampaignOutcome:
    """Run a campaign, and before a table those that it starts from; the caller has connected to Ray.

    Args:
        resume: go on with a study that holds trials already.

    Raises:
        ConfigError: when the study holds trials and `resume` is not asked for, or another process is at work on it.
        DataError: when pictures, or weights of a metric, are not here without which it would be for nothing.
        TrainingError: when a table that another one starts from has no best row, or was cut short.
    """
    _require_objectives(work)
    if work.before is not None:
        earlier = finished(work.before) or run_campaign(work.before, resume=resume)
        settled = _from_best(work, earlier)
        say(f"{settled.search.table} {_starting(settled)}")
        return finished(settled) or run_campaign(settled, resume=resume)
    study = work.study()
    known = attempts(study)
    if known and not resume:
        ended = sum(attempt.state != "running" for attempt in known)
        raise ConfigError(
            f"this campaign was begun before: {ended} of {work.wanted} trials have ended",
            where=work.name,
            fix="--resume goes on with it",
        )
    with alone(study):
        client = tracking.connect(work.base.root)
        prepare_data(work.base)
        train_stages(work.base, work.campaign.stage, before=True)
        tags = {"acutance.kind": "campaign", "acutance.study": work.name}
        run = tracking.pipeline_run(client, work.campaign.title, work.file.stem, work.fingerprint, tags)
        try:
            _search(work, study, client, run)
        except BaseException as error:
            tracking.finish_children(client, run)
            tracking.finish(client, run, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        return _recorded(work, client, run, attempts(study))


def _search(work: CampaignWork, study: Study, client: Any, run: str) -> None:
    campaign, base = work.campaign, work.base
    resources = worker_resources(campaign.resources.cpus, campaign.resources.gpus)
    setup = TrialSetup(
        campaign=campaign.model_dump(mode="json", by_alias=True),
        pipeline=base.pipeline.model_dump(mode="json", by_alias=True),
        catalogue=base.catalogue,
        trained_on=base.pictures,
        root=base.root,
        measured_on=_pictures(work),
        resources=resources,
        open_tracker=OpenTrialRun(client.tracking_uri, run, work.name),
    )
    hours = campaign.budget.hours
    ledger = Ledger(study, work.search, work.steps, time.time() + 3600 * hours if hours else math.inf)
    board = Board(campaign.objectives, campaign.judge, attempts(study), work.wanted, work.steps, campaign.concurrency)

    def on_end(attempt: Attempt, trial_run: str) -> None:
        board.on_end(attempt)
        if trial_run:
            tracking.finish(client, trial_run, ENDINGS[attempt.state])

    with board.shown():
        search(ledger, work.search, setup, Listener(board.on_report, on_end))


def _recorded(work: CampaignWork, client: Any, run: str, trials: list[Attempt]) -> CampaignOutcome:
    outcome = _outcome(work, trials, run)
    address, pictures = study_address(work.base.root), _pictures(work)
    record = Record(work.name, work.base.root, work.search, trials, address, run, pictures, outcome.table)
    with tempfile.TemporaryDirectory() as scratch:
        for file in write_report(record, Path(scratch)):
            storage.write_bytes(storage.join(work.folder, file.name), file.read_bytes())
            tracking.log_file(client, run, file)
    tracking.log_table(client, run, "trials.json", [_row(trial, outcome.front) for trial in trials])
    tracking.finish_children(client, run)
    tracking.finish(client, run)
    storage.write_json(storage.join(work.folder, "campaign.json"), {"run": run, "study": work.name})
    return outcome


def _outcome(work: CampaignWork, trials: list[Attempt], run: str) -> CampaignOutcome:
    goals = work.campaign.objectives
    winner = best(trials, goals, work.campaign.judge)
    return CampaignOutcome(
        study=work.name,
        trials=trials,
        front=[attempt.number for attempt in pareto_front(trials, goals)],
        winner=winner.number if winner else None,
        table=_table(work, trials),
        start=work.search.start,
        report=storage.join(work.folder, PAGE),
        picture=storage.join(work.folder, FRONT),
        run_id=run,
    )


def _table(work: CampaignWork, trials: list[Attempt]) -> Table | None:
    name = work.search.table
    if name is None:
        return None
    table = measured_table(name, work.campaign.tables[name], trials)
    about = [table.about, f"It {_starting(work)}." if work.search.start else ""]
    about += [f"Not measured: {', '.join(work.lacking)}." if work.lacking else ""]
    return replace(table, about=" ".join(filter(None, about)))


def _starting(work: CampaignWork) -> str:
    """Return from which row a table starts, and by what that one was chosen."""
    start, after = work.search.start, work.search.after
    return f"starts from {start.row}, the best row of {start.table} by {after.best}" if start and after else ""


def winners_work(work: CampaignWork, outcome: CampaignOutcome) -> Work:
    """Return the campaign's pipeline with the winner's values, at the length of the pipeline's file.

    Raises:
        TrainingError: when no trial was trained to its end.
    """
    if outcome.winner is None:
        raise TrainingError("the campaign has no winner", where=outcome.study, fix="look at why its trials failed")
    values = {**work.campaign.overrides, **outcome.trials[outcome.winner].values}
    pipeline = pipelines.load(work.search.file, profile=work.campaign.profile, values=values)
    return replace(work.base, pipeline=pipeline, trial=f"{outcome.study}/{outcome.winner}")


def _row(trial: Attempt, front: list[int]) -> dict[str, Any]:
    named = {"trial": trial.number, "row": trial.row, "seed": trial.seed} if trial.row else {"trial": trial.number}
    ended = {"step": trial.step, "state": trial.state, "reason": trial.reason, "on the front": trial.number in front}
    return {**named, **trial.values, **trial.scores, **ended}


def _pictures(work: CampaignWork) -> dict[str, list[Source]]:
    names = sorted({goal.on for goal in work.campaign.objectives})
    return {name: work.base.catalogue.find(name) for name in names}


def as_dict(outcome: CampaignOutcome) -> dict[str, Any]:
    """Return the outcome as JSON-like values; a score that is not finite is None."""
    content = asdict(outcome)
    for trial in content["trials"]:
        trial["history"] = {step: _finite(scores) for step, scores in trial["history"].items()}
        trial |= {"scores": list(trial["history"].values())[-1] if trial["history"] else {}}
    return content


def _finite(scores: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}
