"""A table of texts and numbers, for the terminal, as Markdown, as CSV and as HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.table import Table as Grid
from rich.text import Text

from acutance.templates import filled_in

STYLES = {"": "", "best": "bold", "aside": "dim", "good": "green", "bad": "bold red"}


class Number(NamedTuple):
    """A right-aligned column; `unit` is written below its title or after it."""

    title: str
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """Cells, of which None is empty.

    Attributes:
        style: `best`, `aside` or nothing, for the whole row.
        cell_styles: index of a column -> `best`, `good` or `bad`, for a single cell.
        last: whether it is the last row of a block; the terminal prints an empty line below it.
    """

    cells: Sequence[object]
    style: str = ""
    cell_styles: Mapping[int, str] = field(default_factory=dict)
    last: bool = False

    @property
    def texts(self) -> list[str]:
        """The cells as they are printed."""
        return ["" if cell is None else str(cell) for cell in self.cells]


@dataclass(frozen=True)
class Table:
    """Columns by their titles, and rows with a cell for each; a column that is a plain text holds texts."""

    columns: Sequence[str | Number]
    rows: Sequence[Row]
    title: str = ""

    @property
    def titles(self) -> list[str]:
        """The titles of the columns without their units."""
        return [column.title if isinstance(column, Number) else column for column in self.columns]

    def rich(self) -> Grid:
        """Return the table for the terminal; names are printed as they are, brackets and all."""
        grid = Grid(box=None, pad_edge=False, header_style="bold", show_header=any(self.titles))
        for column in self.columns:
            grid.add_column(Text(_headed(column, "\n")), justify=_side(column), overflow="fold")  # type: ignore[arg-type]
        for row in self.rows:
            cells = [Text(text, STYLES[row.cell_styles.get(i, "")]) for i, text in enumerate(row.texts)]
            grid.add_row(*cells, style=STYLES[row.style])
            if row.last:
                grid.add_row()
        return grid

    def markdown(self) -> str:
        """Return the table as Markdown, the best cells in bold."""
        rules = ["---:" if isinstance(column, Number) else "---" for column in self.columns]
        rows = [[_headed(column, " ") for column in self.columns], rules]
        for row in self.rows:
            best = [row.cell_styles.get(index) == "best" and bool(text) for index, text in enumerate(row.texts)]
            rows.append([f"**{text}**" if b else text for text, b in zip(row.texts, best, strict=True)])
        return "\n".join("| " + " | ".join(map(plain, row)) + " |" for row in rows) + "\n"

    def csv(self) -> str:
        """Return titles and cells as CSV, unrounded."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.titles)
        writer.writerows(row.cells for row in self.rows)
        return file.getvalue()

    def html(self) -> str:
        """Return the table as HTML, its classes the styles of rows and cells."""
        heads = [(_headed(column, "\n"), "" if isinstance(column, Number) else "text") for column in self.columns]
        return filled_in("table.html.j2", heads=heads, rows=self.rows)


def plain(text: str) -> str:
    """Return a text as it may stand in a line of Markdown, and in a cell of its tables."""
    return text.replace("|", "\\|").replace("\n", " ")


def _headed(column: str | Number, between: str) -> str:
    return between.join(filter(None, column)) if isinstance(column, Number) else column


def _side(column: str | Number) -> str:
    return "right" if isinstance(column, Number) else "left"
