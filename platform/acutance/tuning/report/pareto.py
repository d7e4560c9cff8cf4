"""The Pareto front: trials in the plane of two objectives, with a paper's points; of one objective, every score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from acutance.config.search_space import Goal
from acutance.tuning.report.drawing import (
    BEST,
    FAINT,
    PAPER,
    PLAIN,
    axis_title,
    count_trials,
    cut_off,
    dress,
    name_point,
    png,
    worded,
)
from acutance.tuning.report.front import pareto_front
from acutance.tuning.study import TrialRecord

MOST_NAMES = 12
"""With more trials than this only those on the front bear their numbers."""

STOPPED, ENDED = "stopped early, as it was then", "trained to its end"

Published = Mapping[str, Mapping[str, float]]
"""A paper's rows: row -> objective -> value."""


def pareto_picture(
    attempts: Sequence[TrialRecord], goals: Sequence[Goal], title: str, published: Published | None = None
) -> bytes:
    """Draw each pair of the first three objectives, every trial and the front; of one objective, each trial's score.

    Args:
        attempts: a trial with a `row` is called by it.
        published: drawn beside them; a row that lacks one of a pair of objectives is not in its panel.
    """
    pairs = list(combinations(goals[:3], 2))
    size = (7.5, 5.0) if len(pairs) < 2 else (10.0, 8.0)
    figure = Figure(figsize=size, layout="constrained")
    front = pareto_front(attempts, goals)
    if not pairs:
        _draw_scores(figure.subplots(), attempts, front, goals[0], published or {})
    else:
        panels = list(np.ravel(figure.subplots(2, 2))) if len(pairs) > 1 else [figure.subplots()]
        for axes, (first, second) in zip(panels, pairs, strict=False):
            _draw_front(axes, attempts, front, (first, second), published or {}, joined=len(goals) == 2)
        for axes in panels[len(pairs) :]:
            axes.remove()
    figure.suptitle(worded(title), fontsize=11)
    return png(figure)


def _draw_front(
    axes: Axes,
    attempts: Sequence[TrialRecord],
    front: Sequence[TrialRecord],
    goals: tuple[Goal, Goal],
    published: Published,
    joined: bool,
) -> None:
    """Of three objectives a front is a surface: a line through its points in two of them would mean nothing."""
    first, second = (goal.name for goal in goals)

    def places(shown: Iterable[Mapping[str, float]]) -> tuple[list[float], list[float]]:
        rows = list(shown)
        return [row[first] for row in rows], [row[second] for row in rows]

    scored = [a for a in attempts if math.isfinite(a.scores.get(first, math.nan) + a.scores.get(second, math.nan))]
    stopped, ended = ([a for a in scored if a.state == state] for state in ("stopped", "complete"))
    others = [attempt for attempt in ended if attempt not in front]
    for shown, marker, colour, size, label in (
        (stopped, "x", FAINT, 34, STOPPED),
        (others, "o", PLAIN, 46, ENDED),
        (front, "o", BEST, 60, "Pareto front"),
    ):
        xs, ys = places(attempt.scores for attempt in shown)
        axes.scatter(xs, ys, c=colour, marker=marker, s=size, label=label if shown else None)
    if joined:
        axes.plot(*places(attempt.scores for attempt in front), color=BEST, linewidth=1.4)
    for attempt in scored if len(scored) <= MOST_NAMES else front:
        name_point(axes, attempt.row or str(attempt.number), attempt.scores[first], attempt.scores[second])
    drawn = {row: values for row, values in published.items() if first in values and second in values}
    axes.scatter(*places(drawn.values()), c=PAPER, marker="D", s=34, label="published" if drawn else None)
    for row, values in drawn.items():
        name_point(axes, row, values[first], values[second], PAPER)
    dress(axes, axis_title(goals[0]), axis_title(goals[1]))
    groups = [
        list(zip(*places(rows), strict=True)) for rows in ((attempt.scores for attempt in scored), drawn.values())
    ]
    _show(axes, groups, [(attempt.scores[first], attempt.scores[second]) for attempt in front])


def _draw_scores(
    axes: Axes, attempts: Sequence[TrialRecord], front: Sequence[TrialRecord], goal: Goal, published: Published
) -> None:
    scored = [a for a in attempts if math.isfinite(a.scores.get(goal.name, math.nan)) and a not in front]
    for shown, marker, colour, label in (
        ([a for a in scored if a.state == "stopped"], "x", FAINT, STOPPED),
        ([a for a in scored if a.state == "complete"], "o", PLAIN, ENDED),
        (front, "o", BEST, "the best"),
    ):
        heights = [attempt.scores[goal.name] for attempt in shown]
        axes.scatter([a.number for a in shown], heights, c=colour, marker=marker, s=46, label=label if shown else None)
        for attempt in shown if len(attempts) <= MOST_NAMES else []:
            name_point(axes, attempt.row, attempt.number, attempt.scores[goal.name])
    drawn = {row: values for row, values in published.items() if goal.name in values}
    for row, values in drawn.items():
        axes.axhline(values[goal.name], color=PAPER, linewidth=1, linestyle="--")
        axes.annotate(
            worded(f"{row} (published)"),
            (1, values[goal.name]),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=PAPER,
        )
    dress(axes, "trial", axis_title(goal))
    count_trials(axes, attempts)
    rows = [attempt.scores for attempt in [*scored, *front]], list(drawn.values())
    _show(
        axes, [[(0.0, row[goal.name]) for row in group] for group in rows], [(0.0, a.scores[goal.name]) for a in front]
    )


def _show(axes: Axes, groups: Sequence[Sequence[tuple[float, float]]], kept: Sequence[tuple[float, float]]) -> None:
    if any(groups):
        cut_off(axes, groups, kept)
        return
    axes.text(0.5, 0.5, "no trial has a score", ha="center", va="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])
