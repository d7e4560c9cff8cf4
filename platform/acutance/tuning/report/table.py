"""A measured table in words: tables of text for the terminal and the page, Markdown, CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from acutance import table as texts
from acutance.config.metrics import QUANTITIES, scored_by
from acutance.table import Number, plain
from acutance.tuning.tables import Estimate, Order, Row, Table

AGREEMENT_TEXTS = {
    "agrees": "agrees",
    "disagrees": "DISAGREES",
    "not resolved": "not resolved",
    "not measured": "not measured",
    "not published": "",
    "equal in the paper": "equal in the paper",
}
NO_VALUE = "-"
COLUMNS_PER_GRID = 5
"""Objectives whose comparisons stand beside one another in one table of text."""
AGREEMENT_STYLES = {"agrees": "good", "DISAGREES": "bad"}
"""Text of a cell -> its style; cells of other texts have none."""


def grids(table: Table) -> list[texts.Table]:
    """Return texts for each column of the table, measured beside published, and some for the order of the rows.

    A table of which no paper has printed anything has neither.
    """
    columns = [_column(table, name) for name in table.goals]
    if not _printed(table):
        return columns
    names = list(table.goals)
    parts = [names[start : start + COLUMNS_PER_GRID] for start in range(0, len(names), COLUMNS_PER_GRID)]
    return [*columns, *(_orders(table, part) for part in parts)] if table.orders else columns


def notes(table: Table) -> list[str]:
    """Return the notes below a table: the result, the number of trials, and what is missing."""
    lines = [table.about] if table.about else []
    lines += [f"{row.name}: {row.note}" for row in table.rows if row.note]
    counts = Counter(order.agreement for order in table.orders)
    compared = sum(counts[agreement] for agreement in ("agrees", "disagrees", "not resolved"))
    if compared:
        lines.append(
            f"Of {compared} orders in the paper: agrees {counts['agrees']}, disagrees {counts['disagrees']}, "
            f"not resolved at this budget {counts['not resolved']}."
        )
    if table.seeds > 1 and table.seeded:
        lines.append(seeds_sentence(table.seeded, table.once))
    if table.seeds == 1:
        lines.append("With one seed a row no order is resolved: set the table's seeds to 3 or more.")
    elif compared:
        lines.append(
            "An order is resolved where the 95 % interval (Student's t) of the difference, paired by seed, leaves out "
            "0. Each pair is compared alone: of 20 pairs that are equal about one would look resolved."
        )
    return lines


def seeds_sentence(seeded: Sequence[str], once: Sequence[str]) -> str:
    """Return a sentence: which stages the seeds of a table reach, and which they leave out."""
    plural = "s" if len(seeded) > 1 else ""
    trained = f"; trained once for all seeds: {', '.join(once)}." if once else ", which is all that is trained."
    return f"The seeds reach the stage{plural} {', '.join(seeded)}{trained}"


def markdown(table: Table) -> str:
    """Return grids and notes as Markdown."""
    parts = [f"## {plain(grid.title)}\n\n{grid.markdown()}" for grid in grids(table)]
    lines = "\n".join(f"- {plain(note)}" for note in notes(table))
    return "\n".join([f"# {plain(table.name)}\n", *parts, f"{lines}\n"])


def rows_csv(table: Table) -> str:
    """Return every row and column as CSV, unrounded; a missing value is empty."""
    heads = ["row", "column", "measured", "deviation", "low", "high", "seeds", "published"]
    heads += ["difference", "difference_low", "difference_high", "difference_seeds", "published_difference", "note"]
    lines = []
    for row in table.rows:
        for name, cell in row.cells.items():
            difference = cell.difference
            differences = (
                [difference.mean, difference.low, difference.high, difference.seeds] if difference else [None] * 4
            )
            measured = cell.measured
            values = (
                [measured.mean, measured.deviation, measured.low, measured.high, measured.seeds]
                if measured
                else [None] * 5
            )
            known = [row.name, name, *values, cell.published, *differences, cell.published_difference, row.note]
            lines.append(texts.Row(known))
    return texts.Table(heads, lines).csv()


def orders_csv(table: Table) -> str:
    """Return every pair of rows and column, unrounded, as CSV."""
    heads = ["first", "second", "column", "agreement", "better_published", "better_measured", "published_difference"]
    heads += ["difference", "low", "high", "seeds"]
    lines = []
    for o in table.orders:
        difference = o.difference
        differences = [difference.mean, difference.low, difference.high, difference.seeds] if difference else [None] * 4
        names = [o.first, o.second, o.column, o.agreement, o.better_published, o.better_measured]
        lines.append(texts.Row([*names, o.published_difference, *differences]))
    return texts.Table(heads, lines).csv()


def _column(table: Table, name: str) -> texts.Table:
    digits = _digits(table, name)
    several = any(cell.measured and cell.measured.low is not None for cell in (r.cells[name] for r in table.rows))
    columns = ["row", "measured", *(["95 % interval", "deviation"] if several else []), "published"]
    if table.baseline is not None:
        columns += [f"minus {table.baseline}", "in the paper"]
    rows = [_line(row, name, digits, several, table.baseline is not None) for row in table.rows]
    if not _printed(table):
        shown = [index for index, column in enumerate(columns) if column not in ("published", "in the paper")]
        columns, rows = [columns[i] for i in shown], [[row[i] for i in shown] for row in rows]
    better = "larger" if table.goals[name] == "maximize" else "smaller"
    styles = ["" if row.run else "aside" for row in table.rows]
    lines = [texts.Row(cells, style) for cells, style in zip(rows, styles, strict=True)]
    return texts.Table([columns[0], *map(Number, columns[1:])], lines, f"{title(name)} ({better} is better)")


def _printed(table: Table) -> bool:
    return any(cell.published is not None for row in table.rows for cell in row.cells.values())


def _line(row: Row, name: str, digits: int, several: bool, compared: bool) -> list[str]:
    cell = row.cells[name]
    texts = [row.name, _number(cell.measured.mean, digits) if cell.measured else (row.note and "missing") or NO_VALUE]
    if several:
        deviation = cell.measured.deviation if cell.measured else None
        texts += [_interval(cell.measured, digits), _number(deviation, digits)]
    texts.append(_number(cell.published, digits))
    if compared:
        texts += [_difference(cell.difference, digits + 1), _number(cell.published_difference, digits, "+")]
    return texts


def _orders(table: Table, names: list[str]) -> texts.Table:
    """Return the comparisons: a line for each pair of rows, a column for each objective."""
    pairs: dict[tuple[str, str], dict[str, Order]] = {}
    for order in table.orders:
        pairs.setdefault((order.first, order.second), {})[order.column] = order
    rows = []
    for (first, second), found in pairs.items():
        agreements = [AGREEMENT_TEXTS[found[name].agreement] for name in names]
        cell_styles = {
            index: AGREEMENT_STYLES[agreement]
            for index, agreement in enumerate(agreements, 1)
            if agreement in AGREEMENT_STYLES
        }
        rows.append(texts.Row([f"{first} : {second}", *agreements], cell_styles=cell_styles))
    return texts.Table(["rows", *map(Number, map(title, names))], rows, "Is the order of two rows the paper's?")


def title(column: str) -> str:
    """Return a column's name with the metric's own title."""
    metric, on = scored_by(column)
    distance = ", distance from the truth," if QUANTITIES[metric].goal == "closest to the truth" else ""
    return f"{QUANTITIES[metric].title}{distance} on {on}"


def _digits(table: Table, name: str) -> int:
    """As many digits as the paper has, and not fewer than tell trials apart."""
    published = [cell.published for cell in (row.cells[name] for row in table.rows) if cell.published is not None]
    printed = [len(repr(value).partition(".")[2]) for value in published if "e" not in repr(value)]
    return max([QUANTITIES[scored_by(name)[0]].digits, *printed])


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return NO_VALUE if value is None else f"{value:{sign}.{digits}f}"


def _interval(found: Estimate | None, digits: int, sign: str = "") -> str:
    if found is None or found.low is None:
        return NO_VALUE
    return f"{_number(found.low, digits, sign)} .. {_number(found.high, digits, sign)}"


def _difference(found: Estimate | None, digits: int) -> str:
    if found is None:
        return NO_VALUE
    interval = f" ({_interval(found, digits, '+')})" if found.low is not None else ""
    return f"{_number(found.mean, digits, '+')}{interval}"
