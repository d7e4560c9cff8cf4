"""One trial: a stage trained with suggested values, measured where it may be stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean, pstdev
from typing import Any, Protocol

from ray import tune
from torch import nn

from acutance import storage
from acutance.config.metrics import AMOUNTS
from acutance.config.pipeline import Pipeline, with_values
from acutance.config.search_space import Campaign, Goal
from acutance.console import say_through
from acutance.data.columns import Contents
from acutance.data.datasets import Catalogue, Source
from acutance.errors import AcutanceError, FullError, LostError, RefusedError, UnreachableError
from acutance.evaluation.evaluate import evaluate_one
from acutance.evaluation.results import Evaluation
from acutance.models.model_file import load_model
from acutance.silence import silence_libraries
from acutance.storage.disk import complaint_of
from acutance.storage.outputs import stage_folder
from acutance.training.plan import going_on_from, plan_stages, trial_name, validation_pictures
from acutance.training.shards import make_shards, shard_sets
from acutance.training.stage_plan import StagePlan
from acutance.training.tracker import Tracker
from acutance.training.validate import device_of, measure_outputs
from acutance.tuning.ask_tell import Assignment
from acutance.tuning.workers import Workers


class TrialTracker(Tracker, Protocol):
    """Where a trial's losses and scores go."""

    @property
    def run(self) -> str:
        """Return the id of its MLflow run."""

    def close(self, seconds: float | None = None) -> None:
        """Wait until all is recorded, for so many seconds or `patience.limit`."""


OpenTracker = Callable[[int, dict[str, Any], str], TrialTracker]
"""Called in the trial's process with its number, its values and the URI of its stage's folder."""

CLOSE_SECONDS = 20.0
"""How long a trial that is stopped waits for its metrics to be recorded; Ray Tune waits for it meanwhile."""


@dataclass(frozen=True)
class TrialSetup:
    """What all trials of a campaign share; it travels to their processes as plain data.

    Attributes:
        campaign: as `Campaign.model_validate` takes it.
        pipeline: the pipeline's settings without any suggestion, at full length.
        contents: what the training sets consist of.
        root: URI of the storage root.
        group: the folder below it in which trials keep what they train.
        measured_on: data set -> the pictures that objectives are measured on.
        resources: of each worker.
        messages: the actor from `open_messages`, which shows the trials' messages.
    """

    campaign: dict[str, Any]
    pipeline: dict[str, Any]
    catalogue: Catalogue
    contents: Contents
    root: str
    group: str
    measured_on: dict[str, list[Source]]
    resources: dict[str, float]
    open_tracker: OpenTracker
    messages: Any = None


CAMPAIGN_ERRORS = (FullError, RefusedError, UnreachableError)
"""Errors of what all trials need, which are no fault of one: they stop the campaign, and --resume tries again."""


class StageTrial(tune.Trainable):
    """Ray Tune's trial: each `step` trains to the next report. The process serves one trial after another."""

    def setup(self, config: dict[str, Any], setup: TrialSetup) -> None:  # type: ignore[override]
        """Bring up the workers."""
        silence_libraries()
        say_through(setup.messages.add_text.remote)
        self.shared, self.campaign = setup, Campaign.model_validate(setup.campaign)
        self.workers = Workers(self.campaign.resources.workers, setup.resources)
        self.tracker: TrialTracker | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial."""
        self.cleanup()
        self.assignment = Assignment.from_json(new_config["assignment"])
        self.plans: list[StagePlan] = []
        return True

    def step(self) -> dict[str, Any]:
        """Train every seed to the next report; return that report as JSON.

        A mistake that would come again is told as `failed`, a lost worker as `lost`, what no trial could do without as
        `stop`. Others are raised, and Ray tries again. The result that is `done` tells nothing: Ray does not show it to
        its scheduler.
        """
        try:
            if not self.plans:
                self._begin()
            report, ended = self._advance()
        except (AcutanceError, OSError) as error:
            report, ended, self.plans = _failure(error), False, []
        return {"report": json.dumps(report), "done": ended}

    def cleanup(self) -> None:
        """Let go of a trial."""
        if self.tracker is not None:
            self.tracker.close(CLOSE_SECONDS)
            self.tracker = None

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: a stage keeps its own checkpoints."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: a stage goes on from its own checkpoints."""

    def _begin(self) -> None:
        pipelines = [pipeline_of(self.shared, self.assignment, seed) for seed in range(self.campaign.seeds)]
        for plan in (plan for pipeline in pipelines for plan in _plans(self.shared, pipeline, self.assignment)):
            for shards in shard_sets([plan]):
                gpus = self.shared.resources.get("GPU", 0)
                make_shards(shards, self.shared.catalogue, self.shared.root, gpus=gpus, in_process=True)
            if plan.name != self.campaign.stage:
                self.workers.train(plan)  # at its end at once where it is done
        plans = [_stage_plan(self.shared, pipeline, self.assignment) for pipeline in pipelines]
        self.cleanup()  # of an attempt before, which lost a worker
        self.tracker = self.shared.open_tracker(self.assignment.number, self.assignment.values, plans[0].folder)
        self.workers.begin(plans, [self.assignment.measured_at] * len(plans), self.tracker)
        self.plans = plans

    def _advance(self) -> tuple[dict[str, Any], bool]:
        assert self.tracker is not None  # every trial begins with one
        reports = [self.workers.advance(index) for index in range(len(self.plans))]
        step = reports[0].step if reports[0] else self.assignment.measured_at[-1]
        model = self.plans[0].model.removeprefix(f"{self.shared.root}/")  # the root may be moved
        report: dict[str, Any] = {"step": step, "model": model, "run": self.tracker.run}
        report |= {"checkpoints": [plan.checkpoints for plan in self.plans]}
        report |= {"losses": reports[0].losses if reports[0] else {}, "scores": {}, "spread": {}}
        if step in self.assignment.measured_at and step not in self.assignment.history:
            # Without a report the stage was trained to its end before this trial began.
            learners = zip(reports, self.plans, strict=True)
            report |= self._measured(
                step, [r.learner.final_network if r else load_model(plan.model)[0] for r, plan in learners]
            )
        ended = reports[0] is None and not report["scores"]
        if ended:
            self.tracker.close()
        return report, ended

    def _measured(self, step: int, networks: list[nn.Module]) -> dict[str, dict[str, float]]:
        each = [self._measure(network, plan) for network, plan in zip(networks, self.plans, strict=True)]
        scores = {name: fmean(one[name] for one in each) for name in each[0]}
        spread = {name: pstdev(one[name] for one in each) for name in each[0]} if len(each) > 1 else {}
        self.assignment.history[step] = scores
        if self.tracker is not None:
            self.tracker.metrics([(step, scores)])
        return {"scores": scores, "spread": spread}

    def _measure(self, network: nn.Module, plan: StagePlan) -> dict[str, float]:
        goals = self.campaign.objectives
        restored = [goal for goal in goals if goal.picture_metric]
        found = {goal.name: _amount(goal, plan) for goal in goals if goal.metric in AMOUNTS and not goal.picture_metric}
        if len(restored) + len(found) < len(goals):
            values = measure_outputs(plan, network, device_of(network))
            found |= {goal.name: values[goal.metric] for goal in goals if goal.metric in values}
        if restored:
            evaluation = evaluate_one(
                network,
                plan.model_description(),
                self.shared.measured_on,
                scale=plan.scale,
                protocol=self.shared.pipeline["evaluate"]["protocol"],
                metrics=sorted({goal.picture_metric for goal in restored}),
            )
            found |= {goal.name: objective(evaluation, goal) for goal in restored}
        return {goal.name: found[goal.name] for goal in goals}


def _failure(error: AcutanceError | OSError) -> dict[str, Any]:
    known = error if isinstance(error, AcutanceError) else complaint_of(error)
    if known is None:
        raise error
    if isinstance(known, CAMPAIGN_ERRORS):
        return {"stop": [type(known).__name__, known.what, known.where, known.fix]}
    return {"lost" if isinstance(known, LostError) else "failed": str(known)}


def pipeline_of(shared: TrialSetup, assignment: Assignment, seed: int = 0) -> Pipeline:
    """Return the pipeline of a trial: the suggested values, its length, and the n-th seed of those it trains with.

    Further seeds are those of the stage and of all that it comes from. Values are those of a training at full length.
    """
    stage = shared.campaign["stage"]
    pipeline = with_values(shared.pipeline, stage, assignment.values, seed, f"trial {assignment.number}")
    has_own_length = pipeline.stages[stage].steps != shared.pipeline["stages"][stage]["steps"]
    short = pipeline.shortened()
    if has_own_length:
        return short
    stages = {**short.stages, stage: short.stages[stage].model_copy(update={"steps": assignment.measured_at[-1]})}
    return short.model_copy(update={"stages": stages})


def upstream_of(shared: TrialSetup, assignment: Assignment) -> set[str]:
    """Return the fingerprints of the stages that a trial would have to train first, with each of its seeds."""
    pipelines = [pipeline_of(shared, assignment, seed) for seed in range(shared.campaign["seeds"])]
    plans = [plan for pipeline in pipelines for plan in _plans(shared, pipeline, assignment)]
    return {plan.fingerprint for plan in plans if plan.name != shared.campaign["stage"] and not plan.done()}


def _plans(shared: TrialSetup, pipeline: Pipeline, assignment: Assignment) -> list[StagePlan]:
    only, trial = shared.campaign["stage"], assignment.number
    pictures = {name: validation_pictures(pipeline, shared.catalogue, name) for name in pipeline.order(only)}
    return plan_stages(
        pipeline, shared.contents, shared.root, group=shared.group, only=only, trial=trial, pictures=pictures
    )


def _stage_plan(shared: TrialSetup, pipeline: Pipeline, assignment: Assignment) -> StagePlan:
    plan = next(plan for plan in _plans(shared, pipeline, assignment) if plan.name == shared.campaign["stage"])
    if assignment.parent is None:
        return plan
    folder_of_stage = partial(stage_folder, shared.root, shared.group, trial_name(assignment.number))
    return going_on_from(plan, storage.join(shared.root, assignment.parent), folder_of_stage)


def _amount(goal: Goal, plan: StagePlan) -> float:
    shards = plan.measured_on if goal.on == "validation" else plan.trained_on
    assert shards is not None  # every campaign is checked for it
    return AMOUNTS[goal.metric].of(shards.folder, shards.settings)


def objective(evaluation: Evaluation, goal: Goal, candidate: str = "candidate") -> float:
    """Return an objective's value on restored pictures: a metric's mean, an amount's sum over the pictures.

    Of a metric that should come close to the truth's own value, it is the distance.
    """
    amount = AMOUNTS.get(goal.metric)
    value = (evaluation.mean if amount else evaluation.compared)(candidate, goal.picture_metric, goal.on)
    if value is None:
        return float("nan")
    return value * len(evaluation.common_pictures(goal.picture_metric, goal.on)) / amount.per if amount else value
