"""Studies of one objective each, derived from a campaign: Optuna's figures know no stopped trials of several ones."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from acutance.config.search_space import Campaign, Goal
from acutance.config.search_space.parameters import Choices, FloatRange
from acutance.tuning.report.front import completed, labels
from acutance.tuning.report.study_link import yaml_text
from acutance.tuning.study import TrialRecord

FEW = 20
"""Complete trials below which importances are a rough guess."""


def study_of(trials: Sequence[TrialRecord], goals: Sequence[Goal], campaign: Campaign | None = None) -> optuna.Study:
    """Return an in-memory study with the same trials and numbers: complete, pruned or failed.

    A trial that went on from another one's weights begins where that one ended.

    Args:
        goals: the study's objectives; a trial is complete when it has all of them.
        campaign: whose parameters the trials have, by their short names; none where left out.
    """
    study = optuna.create_study(directions=[goal.goal for goal in goals])
    paths = {campaign.path_of(name): parameter for name, parameter in campaign.parameters.items()} if campaign else {}
    distributions = {path: _distribution(parameter) for path, parameter in paths.items()}
    complete = {trial.number for trial in completed(trials, goals)}
    for trial in trials:
        known = [path for path in paths if path in trial.values]
        ended = trial.number in complete
        study.add_trial(
            optuna.create_trial(
                state=TrialState.COMPLETE if ended else TrialState.PRUNED if trial.history else TrialState.FAIL,
                values=[trial.scores[goal.name] for goal in goals] if ended else None,
                params={labels(paths)[path]: _categorical(paths[path], trial.values[path]) for path in known},
                distributions={labels(paths)[path]: distributions[path] for path in known},
                intermediate_values=dict(_scores_by_step(trial, trials, goals[0])) if len(goals) == 1 else None,
            )
        )
    return study


def _scores_by_step(trial: TrialRecord, trials: Sequence[TrialRecord], goal: Goal) -> list[tuple[int, float]]:
    parent = next((a for a in trials if a.number == trial.parent), None)
    start = {parent.step: parent.scores} if parent is not None and parent.history else {}
    scores = [(step, found.get(goal.name, math.nan)) for step, found in {**start, **trial.history}.items()]
    return [(step, score) for step, score in scores if math.isfinite(score)]


def _distribution(parameter: Any) -> BaseDistribution:
    if isinstance(parameter, Choices):
        return CategoricalDistribution([_categorical(parameter, value) for value in parameter.choice])
    if isinstance(parameter, FloatRange):
        return FloatDistribution(*parameter.float_, log=parameter.log)
    low, high = parameter.int_
    return IntDistribution(low, high, log=parameter.log)


def _categorical(parameter: Any, value: Any) -> Any:
    return yaml_text(value, inline=True) if isinstance(parameter, Choices) else value


def importance_parameters(trials: Sequence[TrialRecord], campaign: Campaign) -> tuple[list[str], list[str]]:
    """Return the parameters, by short name, whose importance can be computed, and the reasons for the others."""
    ended = completed(trials, campaign.objectives)
    if len(ended) < 2:
        are = "is one" if len(ended) == 1 else "are none"
        return [], [f"Importances need two trials trained to their end; there {are}."]
    names = labels(map(campaign.path_of, campaign.parameters))
    everywhere = [path for path in names if all(path in trial.values for trial in ended)]
    varied = [path for path in everywhere if len({json.dumps(trial.values[path]) for trial in ended}) > 1]
    notes = [f"Not weighed, since not every trial has it: {names[path]}." for path in names if path not in everywhere]
    if not varied:
        return [], [*notes, "No parameter differs between the trials trained to their end: there is nothing to weigh."]
    if len(ended) < FEW:
        notes.append(f"From {len(ended)} trials these shares are a rough guess.")
    return [names[path] for path in varied], notes


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that were trained to their end."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
