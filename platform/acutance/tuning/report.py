"""Which trials are best, and a picture of it."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

from acutance.campaign import Goal
from acutance.evaluation.metrics import METRICS
from acutance.tuning.search import TrialResult


def pareto_front(results: list[TrialResult], goals: list[Goal]) -> list[TrialResult]:
    """Return the trials that no other one beats in every objective, best in the first objective first."""
    points = {result.number: _losses(result, goals) for result in results}

    def beaten(mine: tuple[float, ...]) -> bool:
        return any(other != mine and all(o <= m for o, m in zip(other, mine, strict=True)) for other in points.values())

    front = [result for result in results if not beaten(points[result.number])]
    return sorted(front, key=lambda result: points[result.number])


def pareto_picture(
    results: list[TrialResult], goals: list[Goal], title: str, before: dict[str, float] | None = None
) -> bytes:
    """Draw the first two objectives of every trial and their Pareto front; return a PNG.

    Args:
        before: scores to compare with (what the stage starts from).
    """
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    first, second = goals[0], goals[1] if len(goals) > 1 else goals[0]
    front = pareto_front(results, goals)
    axes.plot(
        [r.scores[first.name] for r in front],
        [r.scores[second.name] for r in front],
        "-",
        color="tab:red",
        zorder=1,
    )
    for stopped, marker, label in ((False, "o", "trial"), (True, "x", "trial stopped early")):
        shown = [r for r in results if r.stopped is stopped]
        xs, ys = [r.scores[first.name] for r in shown], [r.scores[second.name] for r in shown]
        colours = ["tab:red" if r in front else "tab:blue" for r in shown]
        axes.scatter(xs, ys, c=colours, marker=marker, s=55, label=label if shown else None, zorder=2)
    for result in results:
        place = (result.scores[first.name], result.scores[second.name])
        axes.annotate(f"{result.number}", place, xytext=(6, 4), textcoords="offset points", fontsize=9)
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


def _losses(result: TrialResult, goals: list[Goal]) -> tuple[float, ...]:
    return tuple(result.scores[goal.name] if goal.goal == "minimize" else -result.scores[goal.name] for goal in goals)


def heading(goal: Goal) -> str:
    """Return how a table or an axis calls an objective."""
    metric = METRICS[goal.metric]
    distance = ", distance from the truth" if metric.goal == "closest to the truth" else ""
    return f"{metric.title}{distance} ({'larger' if goal.goal == 'maximize' else 'smaller'} is better)"
