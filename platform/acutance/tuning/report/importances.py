"""How much each parameter had to do with the scores of the trials that were trained to their end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from acutance.config.search_space import Campaign, Goal
from acutance.config.search_space.parameters import Choices, FloatRange
from acutance.tuning.report.front import labels, whole
from acutance.tuning.study import TrialRecord

FEW = 20
"""Complete trials below which shares are a rough guess."""


def importances(attempts: Sequence[TrialRecord], campaign: Campaign) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return objective -> parameter -> share of the score's variance, and what a reader must know about it.

    fANOVA over the trials' own values (Hutter et al., ICML 2014), so a grid and a population have importances as well
    as what a sampler proposed. Shares of an objective add up to 1; an objective without any is told in the sentences.
    """
    ended = whole(attempts, campaign.objectives)
    if len(ended) < 2:
        return {}, [f"Importances need two trials trained to their end; there {_are(len(ended))}."]
    paths = {campaign.path_of(name): parameter for name, parameter in campaign.parameters.items()}
    everywhere = [path for path in paths if all(path in attempt.values for attempt in ended)]
    varied = [path for path in everywhere if len({json.dumps(attempt.values[path]) for attempt in ended}) > 1]
    titles = labels(paths)
    notes = [f"Not weighed, since not every trial has it: {titles[path]}." for path in paths if path not in everywhere]
    if not varied:
        return {}, [*notes, "No parameter differs between the trials trained to their end: there is nothing to weigh."]
    if len(ended) < FEW:
        notes.append(f"From {len(ended)} trials these shares are a rough guess.")
    shares: dict[str, dict[str, float]] = {}
    for goal in campaign.objectives:
        found = _shares(ended, goal, {path: paths[path] for path in varied})
        if found is None:
            notes.append(f"{goal.name} hardly varies: no share of it can be told.")
        else:
            shares[goal.name] = {titles[path]: share for path, share in found.items()}
    return shares, notes


def _shares(ended: Sequence[TrialRecord], goal: Goal, parameters: dict[str, Any]) -> dict[str, float] | None:
    if len({attempt.scores[goal.name] for attempt in ended}) == 1:
        return None
    distributions = {path: _distribution(parameter) for path, parameter in parameters.items()}
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.create_trial(
                params={path: _held(parameters[path], attempt.values[path]) for path in parameters},
                distributions=distributions,
                value=attempt.scores[goal.name],
            )
            for attempt in ended
        ]
    )
    try:
        return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), params=list(parameters))
    except RuntimeError:  # no tree of the forest found a split
        return None


def _distribution(parameter: Any) -> BaseDistribution:
    if isinstance(parameter, Choices):
        return CategoricalDistribution([json.dumps(value) for value in parameter.choice])
    if isinstance(parameter, FloatRange):
        return FloatDistribution(*parameter.float_, log=parameter.log)
    low, high = parameter.int_
    return IntDistribution(low, high, log=parameter.log)


def _held(parameter: Any, value: Any) -> Any:
    return json.dumps(value) if isinstance(parameter, Choices) else value


def _are(count: int) -> str:
    return "is one" if count == 1 else "are none"
