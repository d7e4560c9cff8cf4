"""Ray Tune runs the trials, Optuna proposes them, ASHA stops the worse ones early."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from acutance import storage
from acutance.campaign import Asha, Campaign, Sampler
from acutance.errors import TrainingError
from acutance.tuning.trial import TrialSetup, run_trial

OnTrial = Callable[["TrialResult"], None]


@dataclass(frozen=True)
class TrialResult:
    """What a trial came to.

    Attributes:
        values: dotted path inside the stage -> value tried.
        scores: objective -> value at `step`.
        stopped: whether the scheduler stopped it before its last step.
    """

    number: int
    values: dict[str, Any]
    scores: dict[str, float]
    step: int
    stopped: bool
    model: str


def search(campaign: Campaign, setup: TrialSetup, name: str, *, on_trial: OnTrial | None = None) -> list[TrialResult]:
    """Run a campaign's trials; the caller has connected to Ray.

    Args:
        name: of the campaign's folder below `<root>/campaigns`.
        on_trial: called as each trial ends.

    Returns:
        The trials in the order in which they were proposed.

    Raises:
        TrainingError: when no trial ended well.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = storage.join(setup.root, "campaigns", name)
    results: dict[str, TrialResult] = {}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, setup=setup), {"CPU": campaign.cpus_per_trial, **_gpu()}),
        tune_config=tune.TuneConfig(
            search_alg=ConcurrencyLimiter(_searcher(campaign), max_concurrent=campaign.concurrency),
            scheduler=_scheduler(campaign, setup.steps),
            num_samples=campaign.trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=folder if storage.is_remote(folder) else str(Path(folder).absolute()),
            verbose=0,
            callbacks=[_Watch(campaign, setup.steps, results, on_trial)],
        ),
    )
    with contextlib.redirect_stdout(None):
        grid = tuner.fit()
    if not results:
        first = next((str(error) for error in grid.errors), "")
        raise TrainingError(
            f"no trial ended well: {first.strip().splitlines()[-1] if first.strip() else 'none reported a score'}",
            where=folder,
            fix="run the stage once by itself: acutance train",
        )
    return sorted(results.values(), key=lambda result: result.number)


def _searcher(campaign: Campaign) -> OptunaSearch:
    return OptunaSearch(
        space={name: parameter.distribution() for name, parameter in campaign.parameters.items()},
        metric=[goal.name for goal in campaign.objectives],
        mode=["max" if goal.goal == "maximize" else "min" for goal in campaign.objectives],
        sampler=_sampler(campaign.sampler),
    )


def _sampler(sampler: Sampler) -> optuna.samplers.BaseSampler:
    match sampler.type:
        case "tpe":
            return optuna.samplers.TPESampler(seed=sampler.seed, n_startup_trials=4)
        case "nsgaii":
            return optuna.samplers.NSGAIISampler(seed=sampler.seed)
        case "random":
            return optuna.samplers.RandomSampler(seed=sampler.seed)


def _scheduler(campaign: Campaign, steps: int) -> TrialScheduler:
    if not isinstance(campaign.scheduler, Asha):
        return FIFOScheduler()
    first = campaign.objectives[0]
    return AsyncHyperBandScheduler(
        time_attr="step",
        metric=first.name,
        mode="max" if first.goal == "maximize" else "min",
        max_t=steps,
        grace_period=min(campaign.scheduler.first_rung, steps),
        reduction_factor=campaign.scheduler.reduction_factor,
    )


class _Watch(tune.Callback):
    """Collects trials as they end."""

    def __init__(
        self, campaign: Campaign, steps: int, results: dict[str, TrialResult], on_trial: OnTrial | None
    ) -> None:
        self.campaign, self.steps, self.results, self.on_trial = campaign, steps, results, on_trial
        self.numbers: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its callbacks for a restart; whoever is told of trials lives in this process alone."""
        return {**self.__dict__, "on_trial": None}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.numbers.setdefault(trial.trial_id, len(self.numbers))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        last = trial.last_result
        scores = {goal.name: float(last.get(goal.name, math.nan)) for goal in self.campaign.objectives}
        if not all(math.isfinite(score) for score in scores.values()):
            return
        values = self.campaign.decode({name: trial.config[name] for name in self.campaign.parameters})
        short = len(self.campaign.path_of(""))
        result = TrialResult(
            number=self.numbers[trial.trial_id],
            values={path[short:]: value for path, value in values.items()},
            scores=scores,
            step=int(last["step"]),
            stopped=int(last["step"]) < self.steps,
            model=str(last["model"]),
        )
        self.results[trial.trial_id] = result
        if self.on_trial:
            self.on_trial(result)


def _gpu() -> dict[str, int]:
    return {"GPU": 1} if ray.cluster_resources().get("GPU", 0) >= 1 else {}
