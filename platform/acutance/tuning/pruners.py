"""When a trial is stopped early: pure functions of what all trials scored at the same step.

Nothing is remembered here. Scores come from the study, so a campaign that was killed continues to prune as if it had
not been.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from acutance.config.search_space import DOMINANCE, Asha, Goal, Median

Scores = Mapping[str, float]
"""Objective -> value."""

ScoresByStep = Mapping[int, Mapping[int, Scores]]
"""Step -> trial -> its scores there."""


def measurement_steps(scheduler: Asha | Median | None, steps: int) -> list[int]:
    """Return the steps at which trials are measured: where they may be stopped, and the last."""
    match scheduler:
        case Asha():
            rungs, rung = [], float(scheduler.first_rung)
            while round(rung) < steps:
                rungs.append(round(rung))
                rung *= scheduler.reduction_factor
            return [*dict.fromkeys(rungs), steps]
        case Median():
            return [*range(scheduler.every, steps, scheduler.every), steps]
        case _:
            return [steps]


def prune_reason(
    scheduler: Asha | Median, objective: str, goals: Sequence[Goal], scores_by_step: ScoresByStep, step: int, trial: int
) -> str | None:
    """Return why a trial is stopped at a step it has just reached, None where it goes on.

    Args:
        objective: the objective that decides, or `dominance`.
        scores_by_step: step -> trial -> scores, of all trials, this one included.
    """
    losses = ranking_losses(objective, goals, scores_by_step[step])
    loss = losses[trial]
    match scheduler:
        case Asha():
            # As Optuna's SuccessiveHalvingPruner: trials do not wait, so with few at the rung only the best goes on.
            allowed = max(1, int(len(losses) // scheduler.reduction_factor))
            rank = sorted(losses.values()).index(loss) + 1
            return None if rank <= allowed else f"place {rank} of {len(losses)} at step {step}; {allowed} went on"
        case Median():
            others = [loss for number, loss in losses.items() if number != trial]
            if len(others) < scheduler.after:
                return None
            best = min([loss, *_earlier_losses(objective, goals, scores_by_step, step, trial)])
            return None if best <= median(others) else f"worse than the median of {len(others)} trials at step {step}"


def ranking_losses(objective: str, goals: Sequence[Goal], scores_of_trials: Mapping[int, Scores]) -> dict[int, float]:
    """Return trial -> what counts, smaller being better: one objective, or how many others are better in all.

    A score that is not finite is worse than any other.
    """
    losses = {number: tuple(_loss(goal, scores) for goal in goals) for number, scores in scores_of_trials.items()}
    if objective != DOMINANCE:
        index = [goal.name for goal in goals].index(objective)
        return {number: loss[index] for number, loss in losses.items()}
    return {number: float(sum(dominates(other, loss) for other in losses.values())) for number, loss in losses.items()}


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether losses are no worse in everything, and better in something."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def _earlier_losses(
    objective: str, goals: Sequence[Goal], scores_by_step: ScoresByStep, step: int, trial: int
) -> list[float]:
    """A trial's earlier losses; for dominance there are none, since ranks at different steps do not compare."""
    if objective == DOMINANCE:
        return []
    return [
        ranking_losses(objective, goals, scores_of_trials)[trial]
        for at, scores_of_trials in scores_by_step.items()
        if at < step and trial in scores_of_trials
    ]


def _loss(goal: Goal, scores: Scores) -> float:
    value = goal.loss(scores.get(goal.name, math.nan))
    return value if math.isfinite(value) else math.inf
