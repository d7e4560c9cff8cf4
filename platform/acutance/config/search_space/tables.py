"""A paper's table as a fixed grid: its rows, its metrics, and the published numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from acutance.config.data import DataSetName
from acutance.config.metrics import QUANTITIES, score_name
from acutance.config.schema import Strict
from acutance.errors import nearest


class ColumnSettings(Strict):
    """One column: a metric of one data set."""

    metric: str
    on: DataSetName

    @property
    def name(self) -> str:
        """How the table calls it."""
        return score_name(self.metric, self.on)

    @property
    def goal(self) -> Literal["maximize", "minimize"]:
        """Which way is better; a metric that should come close to the truth counts by its distance to it."""
        return "maximize" if QUANTITIES[self.metric].goal == "maximize" else "minimize"


class After(Strict):
    """The table whose best row another one starts from: it is run first, and its row's values are set beneath."""

    table: str
    best: str = Field(description="the column of it that decides, as METRIC on DATA SET")


class TableSettings(Strict):
    """A table: either `vary`, every combination of some values, or `rows`, each with its own."""

    about: str = Field(default="", description="what the table shows, and at what budget the paper made it")
    after: After | None = Field(default=None, description="the table whose best row this one starts from")
    pipeline: str | None = Field(default=None, description="the pipeline's file; the campaign's where left out")
    stage: str | None = Field(default=None, description="the stage that is measured; the campaign's where left out")
    overrides: dict[str, Any] = Field(default_factory=dict, description="dotted path -> value, for every row")
    vary: dict[str, list[Any]] = Field(default_factory=dict, description="path -> values; a row for each combination")
    rows: dict[str, dict[str, Any]] = Field(default_factory=dict, description="row -> path -> value")
    columns: list[ColumnSettings] = Field(min_length=1)
    published: dict[str, list[float | None]] = Field(
        default_factory=dict,
        description="row -> the paper's value for each column, null where it has none; rows of other methods are "
        "printed, not run. Of a metric that should come close to the truth's own value: the distance to it",
    )
    baseline: str | None = Field(default=None, description="the row from which differences are counted")
    seeds: PositiveInt = Field(default=1, description="trainings a row")
    seeded: list[str] | None = Field(
        default=None,
        min_length=1,
        description="stages that the seeds reach, others are trained once; where left out, the stage that is measured "
        "and all those it comes from",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> TableSettings:
        problems = []
        if bool(self.vary) == bool(self.rows):
            problems.append("a table has either 'vary' or 'rows'")
        for column in self.columns:
            if column.metric not in QUANTITIES:
                problems.append(f"columns: there is no metric {column.metric!r}{nearest(column.metric, QUANTITIES)}")
        names = [column.name for column in self.columns]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            problems.append(f"columns: {', '.join(doubled)} is named twice")
        for row, values in self.published.items():
            if len(values) != len(self.columns):
                problems.append(f"published.{row}: {len(values)} values for {len(self.columns)} columns")
        if self.baseline is not None and self.baseline not in self.points():
            problems.append(f"baseline: there is no row {self.baseline!r}{nearest(self.baseline, self.points())}")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def scores(self) -> dict[str, dict[str, float]]:
        """Return the published numbers: row -> column -> value; missing ones are left out."""
        names = [column.name for column in self.columns]
        return {
            row: {name: value for name, value in zip(names, values, strict=True) if value is not None}
            for row, values in self.published.items()
        }

    def points(self) -> dict[str, dict[str, Any]]:
        """Return the rows that are run: name -> path -> value. Rows of `vary` are named by their values."""
        if self.rows:
            return self.rows
        combinations = itertools.product(*self.vary.values())
        return {", ".join(map(_named, values)): dict(zip(self.vary, values, strict=True)) for values in combinations}


def after_problems(tables: Mapping[str, TableSettings]) -> list[str]:
    """Return the mistakes in references between tables: unknown tables, unknown columns, circles."""
    started = {name: table.after for name, table in tables.items() if table.after is not None}
    problems = []
    for name, after in started.items():
        place, columns = f"tables.{name}.after", []
        if after.table in tables:
            columns = [column.name for column in tables[after.table].columns]
        else:
            problems.append(f"{place}.table: there is no table {after.table!r}{nearest(after.table, tables)}")
        if columns and after.best not in columns:
            what = f"the table {after.table} has no column {after.best!r}"
            problems.append(f"{place}.best: {what}{nearest(after.best, columns)}")
    try:
        TopologicalSorter({name: [after.table] for name, after in started.items()}).prepare()
    except CycleError as error:
        problems.append(f"tables: these start from one another: {' -> '.join(reversed(error.args[1]))}")
    return problems


def _named(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
