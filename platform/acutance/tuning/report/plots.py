"""Figures of a campaign: the best so far, learning curves, importances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from acutance.config.search_space import Goal
from acutance.evaluation.validation import QUANTITIES
from acutance.tuning.report.drawing import BEST, FAINT, PLAIN, axis_title, count_trials, cut_off, dress, png, worded
from acutance.tuning.report.front import spent, whole
from acutance.tuning.study import TrialRecord

MOST_GOALS = 4


def history_picture(attempts: Sequence[TrialRecord], goals: Sequence[Goal], seeds: int = 1) -> bytes | None:
    """Draw the best score so far of trials trained to their end, against trials and against steps spent.

    Stopped trials' steps count; what they scored does not. None where no trial has all scores.
    """
    if not whole(attempts, goals):
        return None
    shown = goals[:MOST_GOALS]
    figure = Figure(figsize=(10, 2.9 * len(shown)), layout="constrained")
    costs = spent(attempts, seeds)
    steps = list(accumulate(costs[attempt.number] for attempt in attempts))
    for row, goal in zip(figure.subplots(len(shown), 2, squeeze=False, sharey="row"), shown, strict=True):
        ended = whole(attempts, [goal])
        so_far = _so_far(attempts, ended, goal)
        for axes, places, name in ((row[0], [a.number for a in attempts], "trial"), (row[1], steps, "steps spent")):
            at = dict(zip((a.number for a in attempts), places, strict=True))
            axes.scatter([at[a.number] for a in ended], [a.scores[goal.name] for a in ended], c=PLAIN, s=22, alpha=0.7)
            marked = "o" if len(ended) == 1 else None
            axes.plot(places, so_far, color=BEST, drawstyle="steps-post", marker=marked, label="best so far")
            dress(axes, name, axis_title(goal) if axes is row[0] else "")
        heights = [(0.0, attempt.scores[goal.name]) for attempt in ended]
        cut_off(row[0], [heights], [(0.0, height) for height in so_far if math.isfinite(height)])
        count_trials(row[0], attempts)
        row[1].set_xlim(left=0)
    return png(figure)


def _so_far(attempts: Sequence[TrialRecord], ended: Sequence[TrialRecord], goal: Goal) -> list[float]:
    losses = [goal.loss(a.scores[goal.name]) if a in ended else math.inf for a in attempts]
    return [math.nan if math.isinf(loss) else goal.loss(loss) for loss in accumulate(losses, min)]


def curves_picture(attempts: Sequence[TrialRecord], goals: Sequence[Goal], best: TrialRecord | None) -> bytes | None:
    """Draw what every trial scored on its way. None where no trial was measured twice.

    A trial that went on from another one's weights begins where that one ended.
    """
    courses = {attempt.number: _course(attempt, attempts) for attempt in attempts}
    if all(len(course) < 2 for course in courses.values()):
        return None
    shown = goals[:MOST_GOALS]
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(10 if columns == 2 else 7.5, 3.6 * rows), layout="constrained")
    panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axes, goal in zip(panels, shown, strict=False):
        drawn = {number: _of(goal, course) for number, course in courses.items()}
        for attempt in sorted(attempts, key=lambda a: (a is best, a.state == "complete")):
            _draw_course(axes, drawn[attempt.number], attempt, attempt is best)
        dress(axes, "step", axis_title(goal))
        heights = [(0.0, score) for course in drawn.values() for _, score in course]
        cut_off(axes, [heights], [(0.0, score) for _, score in drawn[best.number]] if best else [])
    for axes in panels[len(shown) :]:
        axes.remove()
    return png(figure)


def _course(attempt: TrialRecord, attempts: Sequence[TrialRecord]) -> list[tuple[int, dict[str, float]]]:
    own = list(attempt.history.items())
    before = next((a for a in attempts if a.number == attempt.parent), None)
    return [(before.step, before.scores), *own] if before is not None and before.history else own


def _of(goal: Goal, course: list[tuple[int, dict[str, float]]]) -> list[tuple[int, float]]:
    return [(step, scores[goal.name]) for step, scores in course if math.isfinite(scores.get(goal.name, math.nan))]


def _draw_course(axes: Axes, course: list[tuple[int, float]], attempt: TrialRecord, is_best: bool) -> None:
    if not course:
        return
    steps, values = zip(*course, strict=True)
    ended = attempt.state == "complete"
    colour, width = (BEST, 2.2) if is_best else (PLAIN, 1.2) if ended else (FAINT, 0.9)
    label = f"trial {attempt.number}, the best" if is_best else None
    axes.plot(steps, values, color=colour, linewidth=width, alpha=1 if is_best else 0.75, label=label)
    axes.plot(steps[-1:], values[-1:], "o" if ended else "x", color=colour, markersize=4 if ended else 6)


def importance_picture(shares: Mapping[str, Mapping[str, float]], goals: Sequence[Goal]) -> bytes | None:
    """Draw objective -> parameter -> share as bars. None where there is nothing to draw."""
    shown = [goal for goal in goals[:MOST_GOALS] if shares.get(goal.name)]
    if not shown:
        return None
    names = list(dict.fromkeys(name for goal in shown for name in shares[goal.name]))
    names.sort(key=lambda name: sum(shares[goal.name].get(name, 0) for goal in shown))
    figure = Figure(figsize=(7.5 if len(shown) == 1 else 10, 1.1 + 0.36 * len(names)), layout="constrained")
    for axes, goal in zip(np.ravel(figure.subplots(1, len(shown), sharey=True)), shown, strict=True):
        values = [shares[goal.name].get(name, 0) for name in names]
        bars = axes.barh([worded(name) for name in names], values, color=PLAIN, height=0.62)
        axes.bar_label(bars, [f"{value:.0%}" for value in values], padding=3, fontsize=8)
        axes.set_xlim(0, 1.15)
        axes.set_xticks([])
        axes.tick_params(labelsize=8.5)
        axes.set_title(worded(f"{QUANTITIES[goal.metric].title}, {goal.on}"), fontsize=9, loc="left")
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    return png(figure)
