"""An evaluation as tables: for the terminal, as Markdown and as CSV."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rich.console import Group
from rich.text import Text

from acutance.config.metrics import METRICS
from acutance.evaluation.results import GROUND_TRUTH, Evaluation
from acutance.table import Number, Row, Table

UNAVAILABLE = "unavailable"
NO_VALUE = "-"
MOST_PICTURES = 20
"""A data set of more pictures shows its means only; `csv_text` always has them all."""

ARROWS = {"maximize": "↑", "minimize": "↓", "closest to the truth": "→ truth"}


def table(evaluation: Evaluation) -> Group:
    """Return a table for the terminal, 100 columns wide: picture by picture, then means; the best is bold."""
    return Group(_table(evaluation).rich(), *(Text(note, style="dim") for note in notes(evaluation)))


def markdown(evaluation: Evaluation) -> str:
    """Return the same table and notes as Markdown."""
    return "\n".join([_table(evaluation).markdown(), *(f"- {note}" for note in notes(evaluation)), ""])


def csv_text(evaluation: Evaluation) -> str:
    """Return all values as CSV, unrounded: one line per picture and candidate; a missing value is empty."""
    rows = []
    for row in evaluation.rows:
        values = [UNAVAILABLE if n in evaluation.unavailable else row.metrics.get(n) for n in evaluation.metrics]
        rows.append(Row([row.dataset, row.picture, row.candidate, *values]))
    return Table(["dataset", "picture", "candidate", *evaluation.metrics], rows).csv()


def column(metric: str) -> Number:
    """Return the column of a metric, with its unit and an arrow to where it is better."""
    known = METRICS[metric]
    return Number(known.title, f"{known.unit} {ARROWS[known.goal]}".strip())


def notes(evaluation: Evaluation) -> list[str]:
    """Return the notes below a table: the protocol, unavailable metrics, and pictures that are left out of means."""
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


def _table(evaluation: Evaluation) -> Table:
    """Return a block of rows for each picture, then for each data set's mean."""
    several = len(evaluation.datasets) > 1
    rows: list[Row] = []
    for dataset in evaluation.datasets:
        pictures = evaluation.pictures(dataset)
        for picture in pictures if len(pictures) <= MOST_PICTURES else []:
            label = f"{dataset}: {picture[1]}" if several else picture[1]
            rows += _block(evaluation, label, partial(_single, evaluation, picture))
        label = f"mean of {len(pictures)}" + (f" of {dataset}" if several else "")
        rows += _block(evaluation, label, partial(evaluation.mean, dataset=dataset))
    return Table(["picture", "", *map(column, evaluation.metrics)], rows)


def _single(evaluation: Evaluation, picture: tuple[str, str], candidate: str, metric: str) -> float | None:
    return evaluation.values(candidate, metric).get(picture)


Value = Callable[[str, str], float | None]
"""(candidate, metric) -> text of the cell."""


def _block(evaluation: Evaluation, label: str, value: Value) -> list[Row]:
    """Return a row for each candidate, the best of each metric marked."""
    columns = [_column(evaluation, name, value) for name in evaluation.metrics]
    best = [_best(evaluation, name, value) for name in evaluation.metrics]
    rows = []
    for index, candidate in enumerate(evaluation.candidates):
        texts, truth = [column[index] for column in columns], candidate == GROUND_TRUTH
        cell_styles = {} if truth else {2 + i: "best" for i, text in enumerate(texts) if text == best[i]}
        cells = ["" if index else label, candidate, *texts]
        rows.append(Row(cells, "aside" if truth else "", cell_styles, last=index == len(evaluation.candidates) - 1))
    return rows


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
