"""Reads a search space file and the pipeline it searches, and tries every dotted path before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acutance import pipeline as pipelines
from acutance.campaign.parameters import FloatRange, IntRange, grid
from acutance.campaign.settings import Budget, Campaign, Goal, Sampler
from acutance.errors import ConfigError
from acutance.evaluation.metrics import METRICS
from acutance.pipeline import Pipeline
from acutance.schema import load_yaml, nearest, override, parse_override, validate


@dataclass(frozen=True)
class Point:
    """One row of a fixed grid, with one seed: what is set, by dotted path inside the pipeline."""

    row: str
    seed: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Search:
    """A search space file, read.

    Attributes:
        campaign: its settings; of a table, with the table's columns as objectives.
        file: the pipeline's file.
        base: the pipeline as it is without any suggestion.
        points: of a grid or a table, all that is run; None where a sampler proposes.
        table: the name of the table, where one was asked for.
    """

    campaign: Campaign
    file: Path
    base: Pipeline
    points: list[Point] | None = None
    table: str | None = None


def load(path: str | Path, overrides: Iterable[str] = (), *, table: str | None = None) -> Search:
    """Read a search space file.

    Args:
        overrides: `key=value` texts; keys are those of the search space file.
        table: one of the file's tables, to be run in place of the search.

    Raises:
        ConfigError: naming file, dotted path and nearest valid name.
    """
    content = load_yaml(path)
    for text in overrides:
        override(content, *parse_override(text))
    campaign = validate(Campaign, content, str(path))
    if table is not None:
        campaign = _as_table(campaign, table, str(path))
    file = _pipeline_file(Path(path), campaign.pipeline)
    values = dict(campaign.overrides)
    base = pipelines.load(file, profile=campaign.profile, values=values)
    _check_stage(campaign, base, str(path))
    if campaign.budget.steps is not None:
        values[f"stages.{campaign.stage}.steps"] = campaign.budget.steps
        base = pipelines.load(file, profile=campaign.profile, values=values)
    if table is not None:
        points = _rows(campaign, table, base.seed)
    elif not campaign.parameters:
        raise ConfigError("parameters: a search needs some", where=str(path), fix="name them, or run a --table")
    elif campaign.sampler.type == "grid":
        points = [Point("", base.seed, campaign.placed(values)) for values in grid(campaign.parameters)]
    else:
        points = None
    search = Search(campaign, file, base, points, table)
    for name, trial in _tried(search):
        _try(campaign, file, values | trial, name, str(path))
    return search


def _as_table(campaign: Campaign, name: str, where: str) -> Campaign:
    """Return the campaign that runs a table: its columns measured at the end of each row."""
    if name not in campaign.tables:
        raise ConfigError(f"there is no table {name!r}{nearest(name, campaign.tables)}", where=where)
    table = campaign.tables[name]
    goals = [
        Goal(metric=c.metric, on=c.on, goal="maximize" if METRICS[c.metric].goal == "maximize" else "minimize")
        for c in table.columns
    ]
    count = len(table.points()) * table.seeds
    return campaign.model_copy(
        update={
            "stage": table.stage or campaign.stage,
            "overrides": {**campaign.overrides, **table.overrides},
            "objectives": goals,
            "sampler": Sampler(type="grid"),
            "scheduler": None,
            "seeds": 1,
            "published": name,
            "budget": Budget(trials=count, steps=campaign.budget.steps, hours=campaign.budget.hours),
        }
    )


def _rows(campaign: Campaign, table: str, first_seed: int) -> list[Point]:
    """Return the table's rows, all of one seed before the next, so that a table cut short has whole rows."""
    settings = campaign.tables[table]
    return [
        Point(row, seed, {**campaign.placed(values), f"stages.{campaign.stage}.seed": seed})
        for seed in range(first_seed, first_seed + settings.seeds)
        for row, values in settings.points().items()
    ]


def _check_stage(campaign: Campaign, base: Pipeline, where: str) -> None:
    if campaign.stage not in base.stages:
        fault = f"stage: there is no stage {campaign.stage!r}{nearest(campaign.stage, base.stages)}"
        raise ConfigError(fault, where=where)
    if campaign.stage not in base.evaluate.stages:
        raise ConfigError(f"stage: {campaign.stage!r} makes no pictures to be measured", where=where)


def _tried(search: Search) -> list[tuple[str, dict[str, Any]]]:
    """Return (what, values) to be tried: every row of a grid, else both ends or all choices of each parameter."""
    if search.points is not None:
        unique = {point.row or str(point.values): point.values for point in search.points}
        return list(unique.items())
    return [
        (f"parameters.{name}", search.campaign.placed({name: value}))
        for name, parameter in search.campaign.parameters.items()
        if not parameter.when
        for value in _ends(parameter)
    ]


def _ends(parameter: Any) -> Iterable[Any]:
    match parameter:
        case FloatRange():
            return parameter.float_
        case IntRange():
            return parameter.int_
        case _:
            return parameter.choice


def _try(campaign: Campaign, file: Path, values: Mapping[str, Any], what: str, where: str) -> None:
    try:
        pipelines.load(file, profile=campaign.profile, values=values)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error.what}", where=where, fix=error.fix) from None


def _pipeline_file(search_space: Path, pipeline: str) -> Path:
    """A pipeline is named from the repository's root, from which the command usually runs too."""
    candidates = [Path(pipeline), search_space.resolve().parent.parent / pipeline]
    return next((file for file in candidates if file.is_file()), candidates[0])
