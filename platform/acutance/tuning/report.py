"""Which trials are best, and a picture of it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from acutance.campaign import Goal
from acutance.evaluation.metrics import METRICS
from acutance.tuning.rules import dominates, judged
from acutance.tuning.study import Attempt


def whole(attempts: Sequence[Attempt], goals: Sequence[Goal]) -> list[Attempt]:
    """Return the trials that were trained to their end and have all scores; stopped ones are not compared with them."""
    finite = [a for a in attempts if all(math.isfinite(a.scores.get(goal.name, math.nan)) for goal in goals)]
    return [attempt for attempt in finite if attempt.state == "complete"]


def pareto_front(attempts: Sequence[Attempt], goals: Sequence[Goal]) -> list[Attempt]:
    """Return the trials that no other one beats in every objective, best in the first objective first."""
    points = {a.number: tuple(goal.loss(a.scores[goal.name]) for goal in goals) for a in whole(attempts, goals)}
    front = [a for a in attempts if a.number in points and not _beaten(points[a.number], points)]
    return sorted(front, key=lambda attempt: points[attempt.number])


def _beaten(point: tuple[float, ...], points: dict[int, tuple[float, ...]]) -> bool:
    return any(dominates(other, point) for other in points.values())


def best(attempts: Sequence[Attempt], goals: Sequence[Goal], judge: str) -> Attempt | None:
    """Return the trial that the judge likes best; among equals the one found first."""
    candidates = whole(attempts, goals)
    losses = judged(judge, goals, {attempt.number: attempt.scores for attempt in candidates})
    return min(candidates, key=lambda attempt: (losses[attempt.number], attempt.number), default=None)


def pareto_picture(
    attempts: Sequence[Attempt], goals: Sequence[Goal], title: str, before: dict[str, float] | None = None
) -> bytes:
    """Draw the first two objectives of every trial and their Pareto front; return a PNG.

    Args:
        before: scores to compare with (what the stage starts from).
    """
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    first, second = goals[0], goals[1] if len(goals) > 1 else goals[0]
    front = pareto_front(attempts, goals)
    scored = [attempt for attempt in attempts if all(goal.name in attempt.scores for goal in goals)]
    axes.plot(
        [r.scores[first.name] for r in front],
        [r.scores[second.name] for r in front],
        "-",
        color="tab:red",
        zorder=1,
    )
    for state, marker, label in (("complete", "o", "trial"), ("stopped", "x", "trial stopped early")):
        shown = [attempt for attempt in scored if attempt.state == state]
        xs, ys = [r.scores[first.name] for r in shown], [r.scores[second.name] for r in shown]
        colours = ["tab:red" if r in front else "tab:blue" for r in shown]
        axes.scatter(xs, ys, c=colours, marker=marker, s=55, label=label if shown else None, zorder=2)
    for attempt in scored:
        place = (attempt.scores[first.name], attempt.scores[second.name])
        axes.annotate(f"{attempt.number}", place, xytext=(6, 4), textcoords="offset points", fontsize=9)
    if before:
        axes.scatter([before[first.name]], [before[second.name]], c="grey", marker="s", s=55, label="before the stage")
    axes.set_xlabel(f"{heading(first)}, {first.on}")
    axes.set_ylabel(f"{heading(second)}, {second.on}")
    axes.set_title(f"{title}: the front in red", fontsize=11)
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    return content.getvalue()


def heading(goal: Goal) -> str:
    """Return how a table or an axis calls an objective."""
    metric = METRICS[goal.metric]
    distance = ", distance from the truth" if metric.goal == "closest to the truth" else ""
    return f"{metric.title}{distance} ({'larger' if goal.goal == 'maximize' else 'smaller'} is better)"
