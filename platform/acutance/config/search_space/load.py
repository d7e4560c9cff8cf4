"""Reads a search space file and the pipeline it searches, and tries every dotted path before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from acutance.config import packaged
from acutance.config import pipeline as pipelines
from acutance.config.length import scaled
from acutance.config.metrics import AMOUNTS, MEASURES, PARTS, QUANTITIES
from acutance.config.mistakes import validate
from acutance.config.overrides import load_yaml, override, parse_override
from acutance.config.pipeline import Length, Pipeline
from acutance.config.search_space.parameters import FloatRange, IntRange, grid
from acutance.config.search_space.settings import Campaign, Goal, Sampler
from acutance.config.search_space.tables import After
from acutance.errors import ConfigError, nearest
from acutance.parts.sources import Source, sources_named


@dataclass(frozen=True)
class Point:
    """One row of a fixed grid with one seed: dotted path in the pipeline -> value.

    Attributes:
        seeded: of a table, the stages that have the seed.
        once: of a table, the other stages that come before what is measured: trained once for all seeds.
    """

    row: str
    seed: int
    values: dict[str, Any]
    seeded: tuple[str, ...] = ()
    once: tuple[str, ...] = ()


@dataclass(frozen=True)
class Start:
    """The row that a table starts from.

    Attributes:
        table, row: whose row, and which.
        values: what is set, by dotted path inside the stage or from the top.
    """

    table: str
    row: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Search:
    """A search space file, read.

    Attributes:
        campaign: its settings; of a table, with the table's columns as objectives.
        file: the pipeline's file.
        base: the pipeline as it is without any suggestion, at its full length; `budget.scale` says how long it trains.
        points: of a grid or a table, all that is run; None where a sampler proposes.
        table: the name of the table, where one was asked for.
        start: of a table that starts from the best row of another one, that row, once it is known.
        sources: the files of parts that its values may name; they travel with it.
    """

    campaign: Campaign
    file: Path
    base: Pipeline
    points: list[Point] | None = None
    table: str | None = None
    start: Start | None = None
    sources: tuple[Source, ...] = ()

    @property
    def after(self) -> After | None:
        """The table whose best row this one starts from."""
        return self.campaign.tables[self.table].after if self.table else None

    @property
    def shortened(self) -> Pipeline:
        """The pipeline without any suggestion, as long as it is trained."""
        return self.base.shortened()

    @property
    def seeded(self) -> list[str]:
        """Of a table, the stages that its seeds reach in any row."""
        return list(dict.fromkeys(stage for point in self.points or [] for stage in point.seeded))

    @property
    def once(self) -> list[str]:
        """Of a table, the stages that are trained once for all seeds of a row."""
        return list(dict.fromkeys(stage for point in self.points or [] for stage in point.once))


def load(path: str | Path, overrides: Iterable[str] = (), *, table: str | None = None) -> Search:
    """Read a search space file.

    Args:
        path: of the file, or the name of one that comes with the package.
        overrides: `key=value` texts; keys are those of the search space file.
        table: one of the file's tables, to be run in place of the search.

    Raises:
        ConfigError: naming file, dotted path and nearest valid name.
    """
    path = packaged.locate(str(path), "search_spaces")
    content = load_yaml(path)
    for text in overrides:
        override(content, *parse_override(text))
    campaign = validate(Campaign, content, str(path))
    if table is not None:
        campaign = _as_table(campaign, table, str(path))
    file = _pipeline_file(Path(path), campaign, table)
    values = dict(campaign.overrides)
    base = pipelines.load(file, profile=campaign.profile, values=values)
    _check_stage(campaign, base, str(path))
    _check_workers(campaign, base, str(path))
    if (scale := _scale(campaign, base, str(path))) != base.budget.scale:
        base = base.model_copy(update={"budget": Length(scale=scale)})
    if campaign.scheduler is not None:
        campaign = campaign.model_copy(update={"scheduler": scaled(campaign.scheduler, scale)})
    if table is not None:
        points = _rows(campaign, table, base)
    elif not campaign.parameters:
        raise ConfigError("parameters: a search needs some", where=str(path), fix="name them, or run a --table")
    elif campaign.sampler.type == "grid":
        points = [Point("", base.seed, campaign.placed(values)) for values in grid(campaign.parameters)]
    else:
        points = None
    search = Search(campaign, file, base, points, table, sources=sources_named(content))
    where = f"{path} ({file})" if table and campaign.tables[table].pipeline else str(path)
    content = base.model_dump(mode="json", by_alias=True)
    for name, trial in _tried(search):
        _try(content, file, trial, name, where)
    return _with_seeds(search, str(path)) if table is not None else search


def started(search: Search, start: Start) -> Search:
    """Return a table with the values of the row that it starts from, which those of its own rows override."""
    inherited = search.campaign.placed(start.values)
    points = [replace(point, values={**inherited, **point.values}) for point in search.points or []]
    return _with_seeds(replace(search, points=points, start=start), str(search.file))


def _as_table(campaign: Campaign, name: str, where: str) -> Campaign:
    """Return the campaign that runs a table: its columns measured at the end of each row."""
    if name not in campaign.tables:
        raise ConfigError(f"there is no table {name!r}{nearest(name, campaign.tables)}", where=where)
    table = campaign.tables[name]
    goals = [
        Goal(metric=c.metric, on=c.on, goal="maximize" if QUANTITIES[c.metric].goal == "maximize" else "minimize")
        for c in table.columns
    ]
    count = len(table.points()) * table.seeds
    return campaign.model_copy(
        update={
            "pipeline": table.pipeline or campaign.pipeline,
            "stage": table.stage or campaign.stage,
            "overrides": {**campaign.overrides, **table.overrides},
            "objectives": goals,
            "sampler": Sampler(type="grid"),
            "scheduler": None,
            "seeds": 1,
            "published": name,
            "budget": campaign.budget.model_copy(update={"trials": count}),
        }
    )


def _scale(campaign: Campaign, base: Pipeline, where: str) -> float:
    """Return how many times as long as its file says the pipeline is trained."""
    budget, own = campaign.budget, base.stages[campaign.stage].steps
    if budget.steps is None:
        return base.budget.scale * (budget.scale or 1)
    if not own:
        fault = f"budget.steps: the stage {campaign.stage} has 0 steps, of which {budget.steps} are no part"
        raise ConfigError(fault, where=where, fix="use budget.scale, such as 0.05, which shortens all stages")
    return budget.steps / own


def _rows(campaign: Campaign, table: str, base: Pipeline) -> list[Point]:
    """Return the table's rows, all of one seed before the next, so that a table cut short has whole rows."""
    settings = campaign.tables[table]
    return [
        Point(row, seed, campaign.placed(values))
        for seed in range(base.seed, base.seed + settings.seeds)
        for row, values in settings.points().items()
    ]


def _with_seeds(search: Search, where: str) -> Search:
    """Return a table whose points have their seeds in the stages that they reach, which a row's own values decide."""
    campaign, chosen = search.campaign, search.campaign.tables[str(search.table)].seeded
    content = search.base.model_dump(mode="json", by_alias=True)
    rows = {point.row: pipelines.resolve(content, point.values, where) for point in search.points or []}
    orders = {row: pipeline.order(campaign.stage) for row, pipeline in rows.items()}
    for name in chosen or []:
        if not any(name in order for order in orders.values()):
            reached = {stage for order in orders.values() for stage in order}
            what = f"tables.{search.table}.seeded: {name!r} is no stage that a row trains{nearest(name, reached)}"
            raise ConfigError(what, where=where)
    points = []
    for point in search.points or []:
        order = orders[point.row]
        seeded = tuple(name for name in order if chosen is None or name in chosen)
        seeds = rows[point.row].seeds(seeded, point.seed - search.base.seed)
        once = tuple(name for name in order if name not in seeded)
        points.append(replace(point, values={**point.values, **seeds}, seeded=seeded, once=once))
    return replace(search, points=points)


def _check_stage(campaign: Campaign, base: Pipeline, where: str) -> None:
    if campaign.stage not in base.stages:
        fault = f"stage: there is no stage {campaign.stage!r}{nearest(campaign.stage, base.stages)}"
        raise ConfigError(fault, where=where)
    if any(goal.picture_metric for goal in campaign.objectives) and campaign.stage not in base.evaluated():
        raise ConfigError(f"stage: {campaign.stage!r} makes no pictures to be measured", where=where)
    validation = base.stages[campaign.stage].validation
    for goal in campaign.objectives:
        measured = set(validation.names().values()) if validation else set()
        if goal.metric in MEASURES and (goal.metric, goal.on) not in measured:
            what = f"objectives: {goal.name} is no validation of the stage {campaign.stage!r}"
            raise ConfigError(what, where=where, fix="choose of what the stage's 'validation' measures")
        if goal.metric in AMOUNTS and not goal.picture_metric:
            _check_amount(goal, campaign.stage, base, where)


def _check_workers(campaign: Campaign, base: Pipeline, where: str) -> None:
    """The workers of a trial train every stage of it together."""
    count, stages = campaign.resources.workers, {name: base.stages[name] for name in base.order(campaign.stage)}
    for name, stage in stages.items():
        if count not in stage.shares():
            common = set.intersection(*(set(one.shares()) for one in stages.values()))
            what = (
                f"resources.workers: a batch of {stage.batch} of the stage {name} cannot be shared by {count} workers"
            )
            choices = ", ".join(map(str, sorted(common)))
            raise ConfigError(what, where=where, fix=f"all stages of a trial can be shared by {choices}")


def _check_amount(goal: Goal, stage: str, base: Pipeline, where: str) -> None:
    lacks = ""
    if goal.on not in PARTS:
        lacks = f"is of the stage's own data; use on: {' or '.join(PARTS)}"
    elif goal.on == "validation" and base.validation_data(stage) is None:
        lacks = f"needs stages.{stage}.validation by measures"
    if lacks:
        raise ConfigError(f"objectives: {goal.name} {lacks}", where=where)


def _tried(search: Search) -> list[tuple[str, dict[str, Any]]]:
    """Return (what, values) to be tried: every row of a grid, else both ends or all choices of each parameter.

    A row that starts from another table's is tried on each that may turn out the best.
    """
    if search.points is not None:
        starts = _starts(search.campaign, search.table) if search.table else {"": {}}
        return [
            (f"{point.row or point.values}{start}", search.campaign.placed(beneath) | point.values)
            for start, beneath in starts.items()
            for point in search.points
            if point.seed == search.points[0].seed
        ]
    return [
        (f"parameters.{name}", search.campaign.placed({name: value}))
        for name, parameter in search.campaign.parameters.items()
        if not parameter.when
        for value in _ends(parameter)
    ]


def _starts(campaign: Campaign, table: str) -> dict[str, dict[str, Any]]:
    """Return what a table may start from: every row of the one before it, on the first of what that may start from."""
    after = campaign.tables[table].after
    if after is None:
        return {"": {}}
    first = next(iter(_starts(campaign, after.table).values()))
    return {f" on {row} of {after.table}": first | v for row, v in campaign.tables[after.table].points().items()}


def _ends(parameter: Any) -> Iterable[Any]:
    match parameter:
        case FloatRange():
            return parameter.float_
        case IntRange():
            return parameter.int_
        case _:
            return parameter.choice


def _try(content: Mapping[str, Any], file: Path, values: Mapping[str, Any], what: str, where: str) -> None:
    try:
        pipelines.resolve(content, values, str(file))
    except ConfigError as error:
        place = "" if error.where == str(file) else f"{error.where}: "
        raise ConfigError(f"{what}: {place}{error.what}", where=where, fix=error.fix) from None


def _pipeline_file(search_space: Path, campaign: Campaign, table: str | None) -> Path:
    """A pipeline lies beside the search space, or is named from the folder above; or it comes with the package."""
    named, folder = campaign.pipeline, search_space.resolve().parent
    beside = folder.parent / named
    for place in (str(folder / named), str(beside), named):
        if file := packaged.found(place, "pipelines"):
            return file
    key = f"tables.{table}.pipeline" if table and campaign.tables[table].pipeline else "pipeline"
    places = [Path(named).parent, beside.parent, *packaged.folders("pipelines")]
    there = {str(Path(named).with_name(file.name)) for place in places for file in place.glob("*.yaml")}
    raise ConfigError(f"{key}: there is no file {named!r}{nearest(named, there)}", where=str(search_space))
