"""A paper's table, measured: each row beside what the paper printed, and whether their order is the paper's.

Seeds are paired: the difference of two rows is the mean over the seeds that both have of the difference with that seed.
A stage sees the same data in the same order wherever it has that name and seed, so what a seed does to both rows drops
out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal

from acutance.config.search_space.tables import TableSettings

if TYPE_CHECKING:  # with it comes Optuna, which a plan does without
    from acutance.tuning.study import TrialRecord

LEVEL = 0.95

Agreement = Literal["agrees", "disagrees", "not resolved", "not measured", "not published", "equal in the paper"]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; with two seeds or more its standard deviation and the bounds of its 95 % interval."""

    mean: float
    seeds: int
    deviation: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out 0; one seed alone tells nothing."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Cell:
    """A row's column.

    Attributes:
        measured: over the seeds that have ended; None where none has, and of a row that is not run.
        published: the paper's value, None where it has none.
        difference: measured, of this row minus the baseline, over the seeds of both.
        published_difference: the same of the paper's values.
    """

    measured: Estimate | None
    published: float | None
    difference: Estimate | None
    published_difference: float | None


@dataclass(frozen=True)
class Row:
    """A row; `run` is False for other methods of the paper; `note` says what is unfinished or failed."""

    name: str
    run: bool
    note: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Order:
    """Which of two rows is better in a column: in the paper, and measured (by the mean, resolved or not)."""

    column: str
    first: str
    second: str
    agreement: Agreement
    better_published: str | None
    better_measured: str | None
    difference: Estimate | None
    published_difference: float | None


@dataclass(frozen=True)
class Table:
    """A measured table.

    Attributes:
        seeds: how many were asked for.
        goals: for each column, which way is better.
        seeded: the stages that the seeds reach.
        once: the other stages that come before what is measured; trained once for all seeds.
    """

    name: str
    about: str
    baseline: str | None
    seeds: int
    goals: dict[str, Literal["maximize", "minimize"]]
    rows: list[Row]
    orders: list[Order]
    seeded: list[str] = field(default_factory=list)
    once: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; no number in it is NaN or infinite."""
        return asdict(self)


Values = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Row -> column -> seed -> value, of trials that came to their end."""


def measured_table(name: str, settings: TableSettings, trials: Sequence[TrialRecord]) -> Table:
    """Return a table of the trials that are complete.

    Args:
        trials: the trials of its campaign, in any order and number.
    """
    values = {row: _values(row, settings, trials) for row in settings.points()}
    published = settings.scores()
    others = [row for row in published if row not in values]
    rows = [
        Row(row, True, _note(row, settings.seeds, trials), _cells(row, settings, values, published)) for row in values
    ]
    rows += [Row(row, False, "", _cells(row, settings, values, published)) for row in others]
    return Table(
        name,
        settings.about,
        settings.baseline,
        settings.seeds,
        {column.name: column.goal for column in settings.columns},
        rows,
        [
            _order(column.name, column.goal == "maximize", pair, values, published)
            for pair in combinations(values, 2)
            for column in settings.columns
        ],
    )


def best_row(table: Table, column: str) -> str | None:
    """Return the row with the best mean in a column; of equal ones the first; None without a value.

    A row counts whose seeds have all come to their end.
    """
    means = {row.name: cell.mean for row in table.rows if not row.note and (cell := row.cells[column].measured)}
    better = max if table.goals[column] == "maximize" else min
    return better(means, key=means.__getitem__, default=None)


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return the mean of one value a seed with Student's 95 % interval; None of nothing, no interval of one value."""
    if not values:
        return None
    mean, seeds = fmean(values), len(values)
    if seeds == 1:
        return Estimate(mean, 1)
    from scipy.stats import t as student  # takes more than a second to import

    deviation = stdev(values)
    half_width = float(student.ppf((1 + LEVEL) / 2, seeds - 1)) * deviation / math.sqrt(seeds)
    return Estimate(mean, seeds, deviation, mean - half_width, mean + half_width)


def _values(row: str, settings: TableSettings, trials: Sequence[TrialRecord]) -> dict[str, dict[int, float]]:
    ended = [a for a in trials if a.row == row and a.seed is not None and a.state == "complete"]
    names = [column.name for column in settings.columns]
    return {
        name: {
            a.seed: a.scores[name] for a in ended if a.seed is not None and math.isfinite(a.scores.get(name, math.nan))
        }
        for name in names
    }


def _note(row: str, seeds: int, trials: Sequence[TrialRecord]) -> str:
    """What of a row is missing, and why; nothing where all its seeds have ended."""
    known = [trial for trial in trials if trial.row == row]
    ended = sum(trial.state == "complete" for trial in known)
    if ended >= seeds:
        return ""
    faults = [f"seed {a.seed} {a.state}: {a.reason}" for a in known if a.state in ("failed", "stopped")]
    unfinished = [f"seed {a.seed} is unfinished at step {a.step}" for a in known if a.state == "running"]
    fresh = ["not run yet"] if not known else [f"{seeds - len(known)} not run yet"] if len(known) < seeds else []
    return "; ".join([*([f"{ended} of {seeds} seeds"] if seeds > 1 and known else []), *faults, *unfinished, *fresh])


def _cells(
    row: str, settings: TableSettings, values: Values, published: Mapping[str, Mapping[str, float]]
) -> dict[str, Cell]:
    base = settings.baseline
    compared = base is not None and base != row
    return {
        name: Cell(
            estimate(list(values.get(row, {}).get(name, {}).values())),
            published.get(row, {}).get(name),
            _difference(name, row, str(base), values) if compared else None,
            _published_difference(name, row, str(base), published) if compared else None,
        )
        for name in (column.name for column in settings.columns)
    }


def _difference(column: str, first: str, second: str, values: Values) -> Estimate | None:
    """Return first minus second, over the seeds that both have."""
    of_first, of_second = (values.get(row, {}).get(column, {}) for row in (first, second))
    return estimate([of_first[seed] - of_second[seed] for seed in of_first if seed in of_second])


def _published_difference(
    column: str, first: str, second: str, published: Mapping[str, Mapping[str, float]]
) -> float | None:
    of_first, of_second = (published.get(row, {}).get(column) for row in (first, second))
    # Rounded, since 27.39 - 27.37 in floating point has sixteen decimals.
    return None if of_first is None or of_second is None else round(of_first - of_second, 10)


def _order(
    column: str,
    larger_is_better: bool,
    pair: tuple[str, str],
    values: Values,
    published: Mapping[str, Mapping[str, float]],
) -> Order:
    measured, in_paper = _difference(column, *pair, values), _published_difference(column, *pair, published)
    return Order(
        column,
        *pair,
        agreement=_agreement(measured, in_paper),
        better_published=_better(in_paper, larger_is_better, pair),
        better_measured=_better(measured.mean if measured else None, larger_is_better, pair),
        difference=measured,
        published_difference=in_paper,
    )


def _better(difference: float | None, larger_is_better: bool, pair: tuple[str, str]) -> str | None:
    if not difference:
        return None
    return pair[0] if (difference > 0) == larger_is_better else pair[1]


def _agreement(measured: Estimate | None, published: float | None) -> Agreement:
    """Both differences are in the column's own units, so that the same sign is the same order."""
    if published is None:
        return "not published"
    if measured is None:
        return "not measured"
    if published == 0:
        return "equal in the paper"
    if not measured.resolved:
        return "not resolved"
    return "agrees" if (measured.mean > 0) == (published > 0) else "disagrees"
