"""The best trials, and the names of objectives in tables and on axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from acutance.config.metrics import QUANTITIES
from acutance.config.search_space import Goal
from acutance.tuning.pruners import dominates, ranking_losses

if TYPE_CHECKING:  # with it comes Optuna, which a plan does without
    from acutance.tuning.study import TrialRecord


def completed(trials: Sequence[TrialRecord], goals: Sequence[Goal]) -> list[TrialRecord]:
    """Return the trials that were trained to their end and have all scores; stopped ones are not compared with them."""
    finite = [a for a in trials if all(math.isfinite(a.scores.get(goal.name, math.nan)) for goal in goals)]
    return [trial for trial in finite if trial.state == "complete"]


def pareto_front(trials: Sequence[TrialRecord], goals: Sequence[Goal]) -> list[TrialRecord]:
    """Return the trials that no other one beats in every objective, best in the first objective first."""
    points = {a.number: tuple(goal.loss(a.scores[goal.name]) for goal in goals) for a in completed(trials, goals)}
    front = [a for a in trials if a.number in points and not _beaten(points[a.number], points)]
    return sorted(front, key=lambda trial: points[trial.number])


def _beaten(point: tuple[float, ...], points: dict[int, tuple[float, ...]]) -> bool:
    return any(dominates(other, point) for other in points.values())


def ranked(trials: Sequence[TrialRecord], goals: Sequence[Goal], objective: str) -> list[TrialRecord]:
    """Return the whole trials, best first by the objective that decides; among equals the one with the lower number."""
    candidates = completed(trials, goals)
    losses = ranking_losses(objective, goals, {trial.number: trial.scores for trial in candidates})
    return sorted(candidates, key=lambda trial: (losses[trial.number], trial.number))


def best(trials: Sequence[TrialRecord], goals: Sequence[Goal], objective: str) -> TrialRecord | None:
    """Return the best trial by the objective that decides; None where none was trained to its end."""
    return next(iter(ranked(trials, goals, objective)), None)


def steps_trained(trials: Sequence[TrialRecord], seeds: int = 1) -> dict[int, int]:
    """Return trial -> the steps it trained, of all its seeds; one that went on from another began at that one's."""
    at = {trial.number: trial.step for trial in trials}
    return {a.number: seeds * max(0, a.step - (0 if a.parent is None else at.get(a.parent, 0))) for a in trials}


def heading(goal: Goal) -> str:
    """Return how a table or an axis calls an objective."""
    return f"{quantity(goal)} ({'larger' if goal.goal == 'maximize' else 'smaller'} is better)"


def quantity(goal: Goal) -> str:
    """Return what an objective is, in a few words."""
    metric = QUANTITIES[goal.metric]
    return f"{metric.title}{', distance from the truth' if metric.goal == 'closest to the truth' else ''}"


def decimals(metric: str) -> int:
    """Return how many digits after the point tell trials apart; one more than tell pictures."""
    return QUANTITIES[metric].digits + 1


def score_text(goal: Goal, trial: TrialRecord) -> str:
    """Return what a trial scored as it is printed, with its deviation over seeds; empty where it has no score."""
    value, deviation = trial.scores.get(goal.name), trial.spread.get(goal.name)
    texts = [f"{number:.{decimals(goal.metric)}f}" for number in (value, deviation) if number is not None]
    return "" if value is None else " ± ".join(texts)


def labels(paths: Iterable[str]) -> dict[str, str]:
    """Return short names for dotted paths: as many of the last parts as tell them apart, two at least."""
    split = {path: path.split(".") for path in dict.fromkeys(paths)}
    length = 2
    while True:
        short = {path: ".".join(parts[-length:]) for path, parts in split.items()}
        clash = len(set(short.values())) < len(short)
        if not clash or length > max(map(len, split.values())):
            return short
        length += 1
