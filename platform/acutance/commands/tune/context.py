"""A campaign that a command works on: its search space, its pipeline, its plan, and metrics that are unavailable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acutance import storage
from acutance.commands.context import PipelineContext, plan_summary, require_scale
from acutance.config import search_space as campaigns
from acutance.config.pipeline import Pipeline, with_values
from acutance.config.search_space import Campaign, Pbt, Point, Search
from acutance.data.datasets import Source, catalogue_for
from acutance.errors import DataError
from acutance.evaluation.metrics import unavailable
from acutance.evaluation.pictures import measured_pictures
from acutance.fingerprint import fingerprint
from acutance.storage.outputs import CAMPAIGNS, storage_root
from acutance.training.plan import settings_fingerprints

if TYPE_CHECKING:
    from optuna import Study


@dataclass(frozen=True)
class CampaignContext:
    """A campaign with the pipeline that it searches.

    Attributes:
        lacking: objective -> why it cannot be measured here: its pictures or its metric's weights are not here. A
            table is measured without these columns; for them it shows the paper's values alone.
        changes: the table that was asked for, and the overrides with which the file was read.
        before: the table from whose best row this table starts; None if there is none or its best row is known.
    """

    file: Path
    search: Search
    base: PipelineContext
    lacking: dict[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    before: CampaignContext | None = None

    @property
    def campaign(self) -> Campaign:
        """The settings."""
        return self.search.campaign

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what determines the campaign. Without the budget: a study can go on with more trials."""
        settings = self.campaign.model_dump(
            mode="json", by_alias=True, exclude={"concurrency", "pipeline", "budget", "tables", "published"}
        )
        points = [[point.row, point.values] for point in self.search.points or []]
        stages = [plan.fingerprint for plan in self.base.plans(self.campaign.stage)]
        scale = self.search.base.budget.scale
        return fingerprint({"campaign": settings, "points": points, "stages": stages, "scale": scale})

    @property
    def name(self) -> str:
        """The study's name."""
        table = f"-{self.search.table}" if self.search.table else ""
        return f"{self.file.stem}{table}-{self.fingerprint[:8]}"

    @property
    def group(self) -> str:
        """The folder below the storage root for its report and its trials."""
        return f"{CAMPAIGNS}/{self.name}"

    @property
    def folder(self) -> str:
        """URI of that folder."""
        return storage.join(self.base.root, self.group)

    @property
    def wanted(self) -> int:
        """The number of trials."""
        return len(self.search.points) if self.search.points is not None else self.campaign.budget.trials

    @property
    def steps(self) -> int:
        """The steps of a trial that is not stopped."""
        return self.base.pipeline.stages[self.campaign.stage].steps

    def study(self) -> Study:
        """Open the study."""
        from acutance.tuning.study import open_storage, open_study, study_address  # with it comes Optuna

        return open_study(open_storage(study_address(self.base.root)), self.name, self.campaign.objectives)


def open_campaign(file: str, overrides: list[str], root: str | None, table: str | None = None) -> CampaignContext:
    """Read a search space, or one of its tables with those that it starts from, and the pipelines they name.

    Raises:
        ConfigError: see `acutance.campaign.load`.
    """
    found = campaigns.load(file, overrides, table=table)
    context = PipelineContext(found.file, found.shortened, catalogue_for(str(found.file)), storage_root(root))
    datasets = [goal.on for goal in found.campaign.objectives]
    require_scale(context.catalogue, datasets, found.base.scale, f"{file}: objectives")
    lacking = _lacking(found.campaign, context)
    if table and (measured := [goal for goal in found.campaign.objectives if goal.name not in lacking]):
        found = replace(found, campaign=found.campaign.model_copy(update={"objectives": measured}))
    before = open_campaign(file, overrides, root, found.after.table) if found.after else None
    return CampaignContext(Path(file), found, context, lacking, (*([table] if table else []), *overrides), before)


def _lacking(campaign: Campaign, context: PipelineContext) -> dict[str, str]:
    """Return objective -> why it cannot be measured on this machine."""
    restored = [goal for goal in campaign.objectives if goal.picture_metric]
    reasons = unavailable({goal.picture_metric for goal in restored})
    for name in {goal.on for goal in restored}:
        try:
            measured_on(context, [name])
        except DataError as error:
            reasons[name] = f"{name}: {error.what}; {error.fix}"
    by_goal = {goal: reasons.get(goal.picture_metric) or reasons.get(goal.on) for goal in campaign.objectives}
    return {goal.name: reason for goal, reason in by_goal.items() if reason}


def measured_on(context: PipelineContext, datasets: Iterable[str]) -> dict[str, list[Source]]:
    """Return the pictures that objectives are measured on; raises as `measured_pictures`."""
    wanted = context.pipeline.evaluate
    return measured_pictures(context.catalogue, datasets, context.pipeline.scale, wanted.protocol if wanted else "")


def objective_pictures(context: CampaignContext) -> dict[str, list[Source]]:
    """Return the pictures of each data set that objectives are measured on."""
    return measured_on(context.base, sorted({goal.on for goal in context.campaign.objectives if goal.picture_metric}))


def overlap(context: CampaignContext) -> list[str]:
    """Return sentences about pictures that trials are both trained and measured on."""
    stage = context.campaign.stage
    objectives = context.base.overlap_with(objective_pictures(context), by="objective", only=stage)
    return [*objectives, *context.base.overlap(stage)]


def require_objectives(context: CampaignContext) -> None:
    """Refuse a campaign whose metrics are unavailable here, or whose result another table needs and cannot get.

    Raises:
        DataError: naming an objective and what it lacks.
    """
    needed = [goal.name for goal in context.campaign.objectives if goal.name in context.lacking]
    if needed:
        raise DataError(f"{needed[0]} cannot be measured here: {context.lacking[needed[0]]}", where=str(context.file))
    after, before = context.search.after, context.before
    if before is not None and after is not None:
        require_objectives(before)
        if after.best in before.lacking:
            raise DataError(
                f"{after.best} cannot be measured here: {before.lacking[after.best]}",
                where=f"{context.file}: tables.{context.search.table}.after.best",
                fix=f"or choose by another column of {after.table}",
            )


def shared_stages(context: CampaignContext) -> set[str]:
    """Return the stages before the searched stage that trials share with the pipeline.

    For a table or a grid these are the stages that some row needs; a search may need all of them.
    """
    stage, base = context.campaign.stage, context.base.pipeline
    before = set(base.order(stage)) - {stage}
    if context.search.points is None:
        return before
    rows = [pipeline for point in context.search.points for pipeline in _pipelines(context, point)]
    trained = {mark for row in rows for mark in settings_fingerprints(row, stage).values()}
    return {name for name, mark in settings_fingerprints(base, stage).items() if name in before and mark in trained}


def plan_campaign(context: CampaignContext) -> dict[str, Any]:
    """Return what a campaign would do, without doing it and without data present.

    `all_steps` counts each training once. For a search it assumes that no trial is stopped, and that trials differ in
    the searched stage alone.
    """
    settings = context.campaign.model_dump(mode="json", by_alias=True)
    planned, (rows, trainings) = plan_summary(context.base, context.campaign.stage), _planned_rows(context)
    missing = list(dict.fromkeys([*planned["missing"], *context.lacking.values()]))
    summary = {
        "config": {"campaign": settings},
        "scale": context.search.base.budget.scale,
        "trials": len(rows) or context.wanted,
        "rows": rows,
        "missing": missing,
        "overlap": [] if missing else overlap(context),
    }
    if rows:
        trained = {name for row in rows for name in row["steps"]}
        summary["stages"] = [stage for stage in planned["stages"] if stage["name"] in trained]
    return {**planned, **summary, "all_steps": sum((trainings or _of_a_search(context)).values())}


def _planned_rows(context: CampaignContext) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the rows of a grid, or of a table and those that it starts from, as they are run; and all trainings."""
    rows, trainings = _planned_rows(context.before) if context.before else ([], {})
    start = f"the best of {context.before.search.table}" if context.before else ""
    for point in context.search.points or []:
        steps = {}
        for pipeline in _pipelines(context, point):
            marks = settings_fingerprints(pipeline, context.campaign.stage)
            steps = {name: pipeline.stages[name].steps for name in marks}
            trainings |= {mark: steps[name] for name, mark in marks.items()}
        planned = {"row": point.row, "seed": point.seed, "values": point.values, "steps": steps}
        planned |= {"seeded": point.seeded, "once": point.once}
        rows.append({"table": context.search.table or "", "start": start, **planned})
    return rows, trainings


def _pipelines(context: CampaignContext, point: Point) -> list[Pipeline]:
    """Return the pipeline of a row as it is trained, with each seed of its trial."""
    content, stage = context.search.base.model_dump(mode="json", by_alias=True), context.campaign.stage
    seeds = range(context.campaign.seeds)
    return [with_values(content, stage, point.values, seed, str(context.file)).shortened() for seed in seeds]


def _of_a_search(context: CampaignContext) -> dict[str, int]:
    """Return the steps of each stage of a search, over all trials and seeds."""
    campaign, pipeline = context.campaign, context.base.pipeline
    steps = {name: campaign.seeds * pipeline.stages[name].steps for name in pipeline.order(campaign.stage)}
    each = campaign.scheduler.every if isinstance(campaign.scheduler, Pbt) else context.steps
    return {**steps, campaign.stage: campaign.seeds * context.wanted * each}
