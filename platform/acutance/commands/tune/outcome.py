"""What a campaign came to: its trials, the best of them, a paper's table, and the row from which another one starts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from acutance import storage
from acutance.commands.context import PipelineContext
from acutance.commands.tune.context import CampaignContext
from acutance.config import pipeline as pipelines
from acutance.config.search_space import Start, started
from acutance.errors import TrainingError
from acutance.tuning.report.front import best, pareto_front
from acutance.tuning.report.write import FRONT, PAGE
from acutance.tuning.study import TrialRecord
from acutance.tuning.tables import Table, best_row, measured_table


@dataclass(frozen=True)
class CampaignOutcome:
    """What a campaign came to.

    Attributes:
        front: the numbers of the trials on the Pareto front; `winner` is one of them.
        trials: with the URIs of their model files.
        table: of a table campaign, measured beside published.
        start: the row of another table that it started from.
        report: URI of the page, an HTML file.
        picture: URI of the Pareto front as PNG.
    """

    study: str
    trials: list[TrialRecord]
    front: list[int]
    winner: int | None
    table: Table | None
    start: Start | None
    report: str
    picture: str
    run_id: str


def outcome_of(context: CampaignContext, trials: list[TrialRecord], run: str) -> CampaignOutcome:
    """Return the outcome of a campaign with these trials and the MLflow run of this id."""
    goals, root = context.campaign.objectives, context.base.root
    winner = best(trials, goals, context.campaign.primary_objective)
    return CampaignOutcome(
        study=context.name,
        trials=[replace(trial, model=storage.join(root, trial.model)) if trial.model else trial for trial in trials],
        front=[trial.number for trial in pareto_front(trials, goals)],
        winner=winner.number if winner else None,
        table=_table(context, trials),
        start=context.search.start,
        report=storage.join(context.folder, PAGE),
        picture=storage.join(context.folder, FRONT),
        run_id=run,
    )


def _table(context: CampaignContext, trials: list[TrialRecord]) -> Table | None:
    name = context.search.table
    if name is None:
        return None
    table = measured_table(name, context.campaign.tables[name], trials)
    about = [table.about, f"It {starting(context)}." if context.search.start else ""]
    about += [f"Not measured: {', '.join(context.lacking)}." if context.lacking else ""]
    return replace(table, about=" ".join(filter(None, about)), seeded=context.search.seeded, once=context.search.once)


def starting(context: CampaignContext) -> str:
    """Return the row that a table starts from, and the values by which it was chosen."""
    start, after = context.search.start, context.search.after
    return f"starts from {start.row}, the best row of {start.table} by {after.best}" if start and after else ""


def from_best(context: CampaignContext, earlier: CampaignOutcome) -> CampaignContext:
    """Return a table's context with the row that it starts from, the best of the table before it.

    Raises:
        TrainingError: when that table has rows that have not ended, or none of which all seeds came to their end.
    """
    before, after, table = context.before, context.search.after, earlier.table
    if before is None or after is None or table is None:
        return context
    ended = sum(trial.state != "running" for trial in earlier.trials)
    if ended < before.wanted:
        what = f"{context.search.table} waits for {after.table}, of which {ended} of {before.wanted} trials have ended"
        raise TrainingError(what, where=earlier.study, fix="--resume goes on with it")
    row = best_row(table, after.best)
    if row is None:
        what = f"{context.search.table} starts from the best row of {after.table}, of which no row has come to its end"
        raise TrainingError(what, where=earlier.study, fix="look at why its trials failed")
    beneath = earlier.start.values if earlier.start else {}
    start = Start(after.table, row, {**beneath, **before.campaign.tables[after.table].points()[row]})
    return replace(context, search=started(context.search, start), before=None)


def winner_context(context: CampaignContext, outcome: CampaignOutcome) -> PipelineContext:
    """Return the campaign's pipeline with the winner's values, at the length of the pipeline's file.

    Raises:
        TrainingError: when no trial was trained to its end.
    """
    if outcome.winner is None:
        raise TrainingError("the campaign has no winner", where=outcome.study, fix="look at why its trials failed")
    values = {**context.campaign.overrides, **outcome.trials[outcome.winner].values}
    pipeline = pipelines.load(context.search.file, profile=context.campaign.profile, values=values)
    return replace(context.base, pipeline=pipeline.shortened(), trial=f"{outcome.study}/{outcome.winner}")


def as_dict(outcome: CampaignOutcome) -> dict[str, Any]:
    """Return the outcome as JSON-like values; a score that is not finite is None."""
    content = asdict(outcome)
    for trial in content["trials"]:
        trial["history"] = {step: _finite(scores) for step, scores in trial["history"].items()}
        trial |= {"scores": list(trial["history"].values())[-1] if trial["history"] else {}}
    return content


def _finite(scores: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}
