"""Everything that a campaign leaves behind, as files of one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from acutance.errors import AcutanceError
from acutance.evaluation.sheet import picture_sheet
from acutance.tuning.report.front import best, ranked
from acutance.tuning.report.page import report_page
from acutance.tuning.report.plots import (
    curves_picture,
    history_picture,
    importance_picture,
    parallel_picture,
    pareto_picture,
)
from acutance.tuning.report.record import Figure, Record
from acutance.tuning.report.sheets import best_strips
from acutance.tuning.report.table import markdown, orders_csv, rows_csv
from acutance.tuning.study import TrialRecord

PAGE, FRONT = "report.html", "pareto.png"


def write_report(record: Record, folder: Path) -> list[Path]:
    """Write the page, its figures as PNG, and a table as Markdown and CSV into a local folder; return the files.

    A picture sheet that cannot be made is told on the page: a model that is gone does not spoil the report.
    """
    drawn = {**_drawn(record), "sheet": _sheet(record, folder / "sheet.png")}
    files = {f"{name}.png": one.png for name, one in drawn.items() if one.png is not None}
    if record.table is not None:
        files["table.md"] = markdown(record.table).encode()
        files["table.csv"] = rows_csv(record.table).encode()
        files["orders.csv"] = orders_csv(record.table).encode()
    files[PAGE] = report_page(record, drawn).encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def _drawn(record: Record) -> dict[str, Figure]:
    """Draw the figures. A table is a fixed grid: it has no search whose history and parameters would tell anything."""
    campaign, trials, goals = record.campaign, record.trials, record.campaign.objectives
    published = campaign.tables[campaign.published].scores() if campaign.published else {}
    winner = best(trials, goals, campaign.primary_objective)
    drawn = {
        "pareto": Figure(pareto_picture(_points(record), goals, campaign.title, published, campaign.seeds)),
        "curves": Figure(curves_picture(trials, goals, winner)),
    }
    if record.table is not None:
        return drawn
    return {
        **drawn,
        "history": Figure(history_picture(trials, campaign)),
        "parallel": Figure(parallel_picture(trials, campaign)),
        "importances": importance_picture(trials, campaign),
    }


def _points(record: Record) -> Sequence[TrialRecord]:
    """Return the points of a figure: every trial; for a table, the means of its rows over the seeds."""
    if record.table is None:
        return record.trials
    rows = [(row.name, {name: cell.measured for name, cell in row.cells.items()}) for row in record.table.rows]
    means = [(row, {name: found.mean for name, found in cells.items() if found is not None}) for row, cells in rows]
    return [
        TrialRecord(number, "complete", {}, row=row, history={record.steps: scores})
        for number, (row, scores) in enumerate(means)
        if scores
    ]


def _sheet(record: Record, file: Path) -> Figure:
    """Draw the pictures of the best trials, or say why there are none."""
    campaign, base = record.campaign, record.search.base
    goal = next((goal for goal in campaign.objectives if record.pictures.get(goal.on)), None)
    trials = [trial for trial in ranked(record.trials, campaign.objectives, campaign.primary_objective) if trial.model]
    if record.table is not None:  # one of each row
        trials = list({trial.row: trial for trial in reversed(trials)}.values())[::-1]
    if base.evaluate is None or goal is None:
        return Figure(None, ["The stage makes no pictures to look at."])
    if not trials:
        return Figure(None, ["No trial was trained to its end: there are no pictures to look at."])
    try:
        strips = best_strips(trials, goal, record.pictures, protocol=base.evaluate.protocol, scale=base.scale)
    except AcutanceError as error:
        return Figure(None, [f"There are no pictures to look at: {error}"])
    picture_sheet(str(file), strips, title=f"{campaign.title}: the best trials")
    return Figure(file.read_bytes())
