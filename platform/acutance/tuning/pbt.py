"""Population based training in generations, from what the study holds.

A generation's members have all ended before the next is drawn, and what is drawn depends on the seed, the generation
and the member alone. So a campaign that was killed goes on as one that was not.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acutance.config.search_space import Campaign, Pbt
from acutance.config.search_space.parameters import Choices, FloatRange, IntRange
from acutance.tuning.pruners import ranking_losses
from acutance.tuning.study import TrialRecord

NUDGES = (0.8, 1.2)
"""Factors of Jaderberg et al., section 4.1."""


@dataclass(frozen=True)
class Member:
    """What a member of a generation goes on from: a trial and its weights, or nothing at first; and its values."""

    parent: int | None
    values: dict[str, Any] | None


def member(campaign: Campaign, trials: Sequence[TrialRecord], index: int) -> Member | None:
    """Return member `index`, counted over all generations; None while the generation before has not ended.

    Args:
        campaign: one whose scheduler is `pbt`.
        before: all trials so far; a trial's number is the member's index.

    Returns:
        With values by parameter; None as values where the sampler draws them (the first generation).
    """
    pbt = campaign.scheduler
    assert isinstance(pbt, Pbt)
    generation, position = divmod(index, pbt.population)
    if generation == 0:
        return Member(None, None)
    parents = trials[(generation - 1) * pbt.population : generation * pbt.population]
    if any(trial.state == "running" for trial in parents):
        return None
    losses = ranking_losses(
        campaign.primary_objective, campaign.objectives, {a.number: a.scores for a in parents if a.state == "complete"}
    )
    ranked = sorted(losses, key=lambda number: (losses[number], number))
    if not ranked:
        return Member(None, None)
    share, own_number = max(1, int(pbt.quantile * len(parents))), parents[position].number
    if own_number in ranked and (len(ranked) == 1 or own_number not in ranked[-share:]):
        return Member(own_number, _chosen(campaign, trials[own_number]))
    draw = random.Random(f"{campaign.sampler.seed}/{generation}/{position}")
    parent = draw.choice(ranked[:share])
    return Member(parent, explore(pbt, campaign.parameters, _chosen(campaign, trials[parent]), draw))


def _chosen(campaign: Campaign, trial: TrialRecord) -> dict[str, Any]:
    """Return parameter -> value of a trial."""
    paths = {name: campaign.path_of(name) for name in campaign.parameters}
    return {name: trial.values[path] for name, path in paths.items() if path in trial.values}


def explore(pbt: Pbt, parameters: Mapping[str, Any], values: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
    """Change each value: a fresh one now and then, else a nudge by a factor, or to a neighbouring choice."""
    return {name: _changed(pbt, parameters[name], value, draw) for name, value in values.items()}


def _changed(pbt: Pbt, parameter: Any, value: Any, draw: random.Random) -> Any:
    fresh, nudge = draw.random() < pbt.resample, draw.choice(NUDGES)
    match parameter:
        case Choices():
            if fresh:
                return draw.choice(parameter.choice)
            position = parameter.choice.index(value) + (1 if nudge > 1 else -1)
            return parameter.choice[min(max(position, 0), len(parameter.choice) - 1)]
        case FloatRange():
            low, high = parameter.float_
            changed = _drawn(draw, low, high, parameter.log) if fresh else value * nudge
            if parameter.step is not None:
                changed = low + round((changed - low) / parameter.step) * parameter.step
            return min(max(changed, low), high)
        case IntRange():
            low, high = parameter.int_
            changed = _drawn(draw, low, high, parameter.log) if fresh else value * nudge
            if not fresh and round(changed) == value:
                changed = value + (1 if nudge > 1 else -1)
            stepped = low + round((changed - low) / parameter.step) * parameter.step
            return min(max(stepped, low), high)


def _drawn(draw: random.Random, low: float, high: float, log: bool) -> float:
    return math.exp(draw.uniform(math.log(low), math.log(high))) if log else draw.uniform(low, high)
