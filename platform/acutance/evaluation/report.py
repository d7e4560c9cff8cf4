"""An evaluation as tables: for the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from rich.console import Group
from rich.table import Table
from rich.text import Text

from acutance.evaluation.metrics import METRICS
from acutance.evaluation.results import GROUND_TRUTH, Evaluation

UNAVAILABLE = "unavailable"
NO_VALUE = "-"
MOST_PICTURES = 20
"""A data set of more pictures shows its means only; `csv_text` always has them all."""

ARROWS = {"maximize": "↑", "minimize": "↓", "closest to the truth": "→ truth"}


@dataclass(frozen=True)
class Line:
    """A candidate's line: a text for each metric, and which of them are the best of its picture."""

    candidate: str
    texts: list[str]
    best: list[bool]


def table(evaluation: Evaluation) -> Group:
    """Return a table for the terminal, 100 columns wide: picture by picture, then means; the best is bold."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("picture", overflow="fold")
    grid.add_column("")
    for metric in (METRICS[name] for name in evaluation.metrics):
        grid.add_column(f"{metric.title}\n{metric.unit} {ARROWS[metric.goal]}".replace("\n ", "\n"), justify="right")
    for label, lines in _blocks(evaluation):
        for index, line in enumerate(lines):
            cells = [Text(t, "bold" if b else "") for t, b in zip(line.texts, line.best, strict=True)]
            style = "dim" if line.candidate == GROUND_TRUTH else ""
            grid.add_row(Text("" if index else label), Text(line.candidate), *cells, style=style)
        grid.add_row()
    return Group(grid, *(Text(note, style="dim") for note in notes(evaluation)))


def markdown(evaluation: Evaluation) -> str:
    """Return the same table and notes as Markdown."""
    headings = [f"{METRICS[name].title} {ARROWS[METRICS[name].goal]}" for name in evaluation.metrics]
    rows = [["picture", "", *headings], ["---", "---", *["---:"] * len(headings)]]
    for label, lines in _blocks(evaluation):
        for index, line in enumerate(lines):
            cells = [f"**{t}**" if b else t for t, b in zip(line.texts, line.best, strict=True)]
            rows.append(["" if index else label, line.candidate, *cells])
    grid = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([*grid, "", *(f"- {note}" for note in notes(evaluation)), ""])


def csv_text(evaluation: Evaluation) -> str:
    """Return all single values, unrounded: a line a picture and candidate; empty where there is none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["dataset", "picture", "candidate", *evaluation.metrics])
    for row in evaluation.rows:
        values = [UNAVAILABLE if n in evaluation.unavailable else row.metrics.get(n) for n in evaluation.metrics]
        writer.writerow([row.dataset, row.picture, row.candidate, *values])
    return file.getvalue()


def notes(evaluation: Evaluation) -> list[str]:
    """Return what a reader must know: the protocol, what is unavailable, what the means leave out."""
    lines = [f"{', '.join(evaluation.datasets)}; x{evaluation.scale}, protocol {evaluation.protocol}"]
    for name, reason in evaluation.unavailable.items():
        lines.append(f"{METRICS[name].title} is {UNAVAILABLE}: {reason}")
    for dataset in evaluation.datasets:
        lines += [note for name in evaluation.metrics if (note := _left_out(evaluation, name, dataset))]
        lines += [_compressed(evaluation, dataset)] if "compressed_size" in evaluation.metrics else []
    return lines


def _compressed(evaluation: Evaluation, dataset: str) -> str:
    """Say how large a whole data set is as PNG files, as Zhou et al. print it in table IV of their weight map."""
    sizes = {name: evaluation.values(name, "compressed_size", dataset).values() for name in evaluation.candidates}
    megabytes = [f"{name} {sum(filter(None, own)) / 1e6:.2f} MB" for name, own in sizes.items()]
    return f"PNG files of all of {dataset}: {', '.join(megabytes)}"


def _left_out(evaluation: Evaluation, metric: str, dataset: str) -> str:
    rows = [row for row in evaluation.rows if row.dataset == dataset and metric in row.reasons]
    if not rows:
        return ""
    pictures = sorted({row.picture for row in rows})
    named = ", ".join(pictures[:3]) + (" ..." if len(pictures) > 3 else "")
    return f"{METRICS[metric].title}: its mean on {dataset} leaves out {named}: {rows[0].reasons[metric]}"


def _blocks(evaluation: Evaluation) -> Iterator[tuple[str, list[Line]]]:
    """Yield a label and its lines: for each picture, then for each data set's mean."""
    several = len(evaluation.datasets) > 1
    for dataset in evaluation.datasets:
        pictures = evaluation.pictures(dataset)
        for picture in pictures if len(pictures) <= MOST_PICTURES else []:
            label = f"{dataset}: {picture[1]}" if several else picture[1]
            yield label, _lines(evaluation, partial(_single, evaluation, picture))
        label = f"mean of {len(pictures)}" + (f" of {dataset}" if several else "")
        yield label, _lines(evaluation, partial(evaluation.mean, dataset=dataset))


def _single(evaluation: Evaluation, picture: tuple[str, str], candidate: str, metric: str) -> float | None:
    return evaluation.values(candidate, metric).get(picture)


Value = Callable[[str, str], float | None]
"""(candidate, metric) -> what its cell shows."""


def _lines(evaluation: Evaluation, value: Value) -> list[Line]:
    columns = [_column(evaluation, name, value) for name in evaluation.metrics]
    best = [_best(evaluation, name, value) for name in evaluation.metrics]
    return [
        Line(
            candidate,
            [column[index] for column in columns],
            [candidate != GROUND_TRUTH and column[index] == b for column, b in zip(columns, best, strict=True)],
        )
        for index, candidate in enumerate(evaluation.candidates)
    ]


def _column(evaluation: Evaluation, metric: str, value: Value) -> list[str]:
    blank = {GROUND_TRUTH} if METRICS[metric].needs_truth else set()
    return ["" if c in blank else _text(evaluation, metric, value(c, metric)) for c in evaluation.candidates]


def _text(evaluation: Evaluation, metric: str, value: float | None) -> str:
    if metric in evaluation.unavailable:
        return UNAVAILABLE
    return NO_VALUE if value is None else f"{value:.{METRICS[metric].digits}f}"


def _best(evaluation: Evaluation, metric: str, value: Value) -> str | None:
    """The best value as it reads: what reads the same is equally good. None where nothing is compared."""
    rivals = [value(name, metric) for name in evaluation.candidates if name != GROUND_TRUTH]
    measured = [v for v in rivals if v is not None]
    if len(measured) < 2:
        return None
    goal, truth = METRICS[metric].goal, value(GROUND_TRUTH, metric)
    if goal != "closest to the truth":
        best = max(measured) if goal == "maximize" else min(measured)
    elif truth is not None:
        best = min(measured, key=lambda v: abs(v - truth))
    else:
        return None
    return _text(evaluation, metric, best)
