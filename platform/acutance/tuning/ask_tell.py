"""Proposes the trials of a campaign, records their scores and decides which are stopped. Does not need Ray.

Everything is written to the study at once. After a kill, an `AskTell` over the same study first proposes the
interrupted trials again, then new ones.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import optuna
from optuna import Study, Trial
from optuna.trial import TrialState

from acutance.config.search_space import Asha, Median, Pbt, Search
from acutance.config.search_space.parameters import suggest
from acutance.config.search_space.settings import Sampler
from acutance.tuning.cmaes import CmaEs
from acutance.tuning.pbt import member
from acutance.tuning.pruners import measurement_steps, prune_reason
from acutance.tuning.study import SCORES, TrialRecord, trial_records

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Assignment:
    """The settings of a trial.

    Attributes:
        values: dotted path inside the pipeline -> value.
        measured_at: the steps at which it is measured; the last is its end.
        history: step -> scores measured before it was interrupted.
        parent: the model file, below the storage root, of the trial from whose last checkpoint it continues.
    """

    number: int
    values: dict[str, Any]
    measured_at: list[int]
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    parent: str | None = None

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Assignment:
        """Read what `to_json` wrote."""
        content = json.loads(text)
        history = {int(step): scores for step, scores in content["history"].items()}
        return cls(**{**content, "history": history})


class AskTell:
    """Asks Optuna, tells Optuna, and stops trials.

    Args:
        steps: of a trial that is not stopped.
        give_up_at: time (as `time.time()`) after which nothing is proposed and every trial is interrupted.
    """

    def __init__(self, study: Study, search: Search, steps: int, deadline: float = math.inf) -> None:
        self.study, self.campaign, self.points = study, search.campaign, search.points
        self.steps, self.deadline = steps, deadline
        earlier = study.get_trials(deepcopy=False)
        study.sampler = sampler_of(self.campaign.sampler, trials=len(earlier))
        self.interrupted = [trial.number for trial in earlier if trial.state == TrialState.RUNNING]
        self.live: dict[int, Trial] = {}
        self.scores_by_step: dict[int, dict[int, Scores]] = {}
        for known in trial_records(study):
            for step, scores in known.history.items():
                self.scores_by_step.setdefault(step, {})[known.number] = scores

    def ask(self) -> Assignment | Literal["wait", "done"]:
        """Propose the next trial: an interrupted one first."""
        if self.time_is_up():
            return "done"
        if self.interrupted:
            number = self.interrupted.pop(0)
            return self._assign(Trial(self.study, self._trial_id(number)))
        count = len(self.study.get_trials(deepcopy=False))
        if count >= self._wanted():
            return "done"
        if isinstance(self.campaign.scheduler, Pbt) and member(self.campaign, trial_records(self.study), count) is None:
            return "wait"
        return self._assign(self.study.ask())

    def time_is_up(self) -> bool:
        """Return whether the campaign's hours are over."""
        return time.time() >= self.deadline

    def report(self, number: int, step: int, scores: Scores, spread: Scores | None = None) -> str | None:
        """Note what a trial scored at a step; return why it is stopped, None where it goes on."""
        trial, goals = self.live[number], self.campaign.objectives
        plain = {name: value if math.isfinite(value) else None for name, value in scores.items()}
        trial.set_user_attr(f"{SCORES}{step}", plain)
        if spread:
            trial.set_user_attr("spread", dict(spread))
        if len(goals) == 1 and step not in trial._cached_frozen_trial.intermediate_values:
            trial.report(scores[goals[0].name], step)
        self.scores_by_step.setdefault(step, {})[number] = scores
        scheduler = self.campaign.scheduler
        if not isinstance(scheduler, Asha | Median) or step >= self.steps or step not in self._measured_at(0):
            return None
        return prune_reason(scheduler, self.campaign.primary_objective, goals, self.scores_by_step, step, number)

    def end(self, number: int, reason: str | None = None) -> TrialRecord:
        """Tell Optuna how a trial ended: complete, or stopped for a reason."""
        trial = self.live.pop(number)
        history = {step: scores[number] for step, scores in self.scores_by_step.items() if number in scores}
        values = [history[max(history)].get(goal.name, math.nan) for goal in self.campaign.objectives]
        if reason is not None:
            trial.set_user_attr("reason", reason)
            self.study.tell(number, state=TrialState.PRUNED)
        elif all(map(math.isfinite, values)):
            self.study.tell(number, values)
        else:
            trial.set_user_attr("reason", "a score is not finite")
            self.study.tell(number, state=TrialState.FAIL)
        return self._record(number)

    def fail(self, number: int, reason: str) -> TrialRecord:
        """Tell Optuna that a trial came to nothing."""
        self.live.pop(number).set_user_attr("reason", reason)
        self.study.tell(number, state=TrialState.FAIL)
        return self._record(number)

    def set_attributes(self, number: int, **facts: Any) -> None:
        """Keep facts about a live trial in the study."""
        for name, value in facts.items():
            self.live[number].set_user_attr(name, value)

    def _assign(self, trial: Trial) -> Assignment:
        number = trial.number
        self.live[number] = trial
        values, parent = self._values(trial)
        self.set_attributes(number, values=values, **({} if parent is None else {"parent": parent}))
        known = trial_records(self.study)
        weights = None if parent is None else known[parent].model
        return Assignment(number, values, self._measured_at(number), known[number].history, weights)

    def _values(self, trial: Trial) -> tuple[dict[str, Any], int | None]:
        """What Optuna was asked for before, it answers again; so this serves interrupted trials as well."""
        if self.points is not None:
            point = self.points[trial.number]
            trial.set_user_attr("row", point.row)
            trial.set_user_attr("seed", point.seed)
            return point.values, None
        if isinstance(self.campaign.scheduler, Pbt):
            proposal = member(self.campaign, trial_records(self.study), trial.number)
            if proposal and proposal.values is not None:
                return self.campaign.placed(proposal.values), proposal.parent
        return self.campaign.placed(suggest(self.campaign.parameters, trial)), None

    def _measured_at(self, number: int) -> list[int]:
        scheduler = self.campaign.scheduler
        if isinstance(scheduler, Pbt):
            return [scheduler.every * (number // scheduler.population + 1)]
        return measurement_steps(scheduler, self.steps)

    def _wanted(self) -> int:
        return len(self.points) if self.points is not None else self.campaign.budget.trials

    def _trial_id(self, number: int) -> int:
        return self.study.get_trials(deepcopy=False)[number]._trial_id

    def _record(self, number: int) -> TrialRecord:
        return trial_records(self.study)[number]


def sampler_of(sampler: Sampler, trials: int = 0) -> optuna.samplers.BaseSampler:
    """Return Optuna's sampler. One that goes on draws other numbers than it drew before.

    Args:
        before: trials that the study holds.
    """
    seed, startup = sampler.seed + trials, sampler.startup
    match sampler.type:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
        case "cmaes":
            return CmaEs(seed=seed, n_startup_trials=startup)
        case "nsgaii":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=startup)
        case _:
            return optuna.samplers.RandomSampler(seed=seed)
