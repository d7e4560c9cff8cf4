"""Campaigns that were never trained: a made-up law gives the scores, `AskTell` runs as it does over real trials."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from made_for_tuning import PIPELINE, ask_tell_of
from optuna import Study
from optuna.storages import BaseStorage

from acutance.config import pipeline as pipelines
from acutance.config.pipeline import Pipeline
from acutance.config.search_space import Campaign, Point, Search
from acutance.tuning.ask_tell import AskTell, Assignment

PSNR = {"metric": "psnr_y", "on": "Set5", "goal": "maximize"}
LPIPS = {"metric": "lpips_squeeze", "on": "Set5", "goal": "minimize"}
WEIGHT, RATE = "objective.adversarial.weight", "optimiser.learning_rate"
TWO = {WEIGHT: {"float": [0.001, 0.1], "log": True}, RATE: {"float": [1e-5, 1e-2], "log": True}}
ASHA = {"type": "asha", "first_rung": 20, "reduction_factor": 3, "objective": "dominance"}

Law = Callable[[Assignment, int], dict[str, float]]
"""Of a trial and a step: its scores."""


def tradeoff(assignment: Assignment, step: int) -> dict[str, float]:
    """More adversary: less PSNR, better LPIPS; the learning rate has an optimum; steps help."""
    draw = random.Random(assignment.number)
    weight, rate = (assignment.values.get(f"stages.gan.{name}", 1e-2) for name in (WEIGHT, RATE))
    missed = abs(math.log10(rate) + 3.4) + 0.1 * draw.gauss(0, 1)
    psnr = 28.6 - 0.9 * missed - 0.8 * math.log10(weight / 0.001) - 14 / (step + 4) + 0.05 * draw.gauss(0, 1)
    lpips = 0.11 + 0.03 * missed - 0.02 * math.log10(weight / 0.001) + 0.6 / (step + 4)
    return {"psnr_y on Set5": psnr, "lpips_squeeze on Set5": lpips}


def played(
    campaign: Campaign,
    law: Law = tradeoff,
    *,
    steps: int = 180,
    model: str = "",
    storage: BaseStorage | None = None,
    failing: Callable[[int], bool] = lambda number: False,
    points: list[Point] | None = None,
    table: str | None = None,
) -> tuple[Study, Search]:
    """Run a campaign to its end, four trials at a time; return its study, and the search."""
    ask_tell, study = ask_tell_of(campaign, steps, storage, points=points)
    running: list[tuple[Assignment, list[int]]] = []
    while True:
        while len(running) < 4 and isinstance(found := ask_tell.ask(), Assignment):
            running.append((found, list(found.measured_at)))
        if not running:
            return study, Search(campaign, PIPELINE, _base(steps), points, table)
        for trial, measured_at in list(running):
            if _advanced(ask_tell, trial, measured_at, law, model, failing):
                running.remove((trial, measured_at))


def _advanced(
    ask_tell: AskTell, trial: Assignment, measured_at: list[int], law: Law, model: str, failing: Callable[[int], bool]
) -> bool:
    """Take a trial to its next look; tell whether it has ended."""
    if failing(trial.number):
        ask_tell.fail(trial.number, "the loss is not finite at step 12: adversarial")
        return True
    step = measured_at.pop(0)
    ask_tell.set_attributes(trial.number, model=model)
    goals = [goal.name for goal in ask_tell.campaign.objectives]
    scores = law(trial, step)
    reason = ask_tell.report(trial.number, step, {name: scores[name] for name in goals})
    if reason or not measured_at:
        ask_tell.end(trial.number, reason)
        return True
    return False


def _base(steps: int) -> Pipeline:
    return pipelines.load(PIPELINE, values={"stages.gan.steps": steps})
