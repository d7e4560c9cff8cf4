"""One trial: a stage trained with suggested values in one process, scored at its rungs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from ray import tune

from acutance import storage
from acutance.campaign import Campaign, Goal
from acutance.data import Source
from acutance.evaluation.evaluate import evaluate_one
from acutance.evaluation.metrics import METRICS
from acutance.evaluation.results import Evaluation
from acutance.pipeline import resolve
from acutance.training.learner import Learner
from acutance.training.loop import Losses, Tracker, describe, train_stage
from acutance.training.plan import StageJob, plan_stages

Scores = dict[str, float]

OpenTracker = Callable[[StageJob, dict[str, Any]], Tracker]
"""Called in the trial's process with its job and the values tried; returns where its losses and scores go."""


@dataclass(frozen=True)
class TrialSetup:
    """What all trials of a campaign share; it travels to their processes as plain data.

    Attributes:
        campaign: as `Campaign.model_validate` takes it.
        pipeline: the pipeline's settings without any suggestion.
        dataset: fingerprint of the shard set.
        root: URI of the storage root.
        pictures: data set -> the pictures that objectives are measured on.
        steps: of a trial that is not stopped.
    """

    campaign: dict[str, Any]
    pipeline: dict[str, Any]
    dataset: str
    root: str
    pictures: dict[str, list[Source]]
    steps: int
    open_tracker: OpenTracker


def run_trial(config: dict[str, Any], setup: TrialSetup) -> None:
    """Train one trial and report its objectives to Ray Tune every `report_every` steps.

    What was measured in an earlier run of the same settings is reported first; training goes on behind it.

    Args:
        config: parameter -> suggested value, as Optuna gave it.
    """
    campaign = Campaign.model_validate(setup.campaign)
    torch.set_num_threads(campaign.cpus_per_trial)
    values = campaign.decode(config)
    job = trial_job(campaign, setup, values)
    book = storage.join(job.folder, "scores.json")
    scores: dict[str, Scores] = storage.read_json(book) if storage.exists(book) else {}
    tracker = setup.open_tracker(job, values)

    def report(step: int) -> None:
        tune.report({"step": step, "model": job.model, **scores[str(step)]})

    def score(step: int, _: Losses, learner: Learner) -> None:
        if str(step) in scores:
            return
        scores[str(step)] = measure(learner, job, campaign, setup)
        storage.write_json(book, scores)
        tracker.metrics([(step, scores[str(step)])])
        report(step)

    for step in sorted(scores, key=int):
        report(int(step))
    train_stage(job, tracker=tracker, on_report=score)


def trial_job(campaign: Campaign, setup: TrialSetup, values: dict[str, Any]) -> StageJob:
    """Return the stage job of a trial: the campaign's stage with the suggested values."""
    pipeline = resolve(setup.pipeline, values, f"trial of {campaign.title}")
    return next(
        job
        for job in plan_stages(pipeline, setup.dataset, setup.root, only=campaign.stage)
        if job.name == campaign.stage
    )


def measure(learner: Learner, job: StageJob, campaign: Campaign, setup: TrialSetup) -> Scores:
    """Return the objectives of a network as it is now."""
    evaluation = evaluate_one(
        learner.kept,
        describe(job),
        setup.pictures,
        scale=job.scale,
        protocol=setup.pipeline["evaluate"]["protocol"],
        metrics=sorted({goal.metric for goal in campaign.objectives}),
    )
    return {goal.name: objective(evaluation, goal) for goal in campaign.objectives}


def objective(evaluation: Evaluation, goal: Goal, candidate: str = "candidate") -> float:
    """Return an objective's value; of a metric that should come close to the truth's own value, the distance."""
    gap = METRICS[goal.metric].goal == "closest to the truth"
    value = (evaluation.gap if gap else evaluation.mean)(candidate, goal.metric, goal.on)
    return float("nan") if value is None else value
