"""What a benchmark of campaigns searches: numbers, goals, and what a trial scores on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from acutance.config.search_space import Goal
from acutance.tuning.ask_tell import Assignment
from acutance.tuning.study import TrialRecord

STEPS = 243
"""Of a trial that is not stopped."""

PSNR = {"metric": "psnr_y", "on": "test", "goal": "maximize"}
NIQE = {"metric": "niqe", "on": "test", "goal": "minimize"}
PSNR_NAME, NIQE_NAME = (Goal(**goal).name for goal in (PSNR, NIQE))

Training = Iterator[tuple[int, dict[str, float]]]


@dataclass(frozen=True)
class Problem:
    """Something to search.

    Attributes:
        stage: the stage of quickstart that is searched, in name or in truth.
        train: yields (step, scores) at each look of an assignment, for a campaign with a seed.
        loss: of the trials that were trained to their end; the smaller the better.
        axis: what the loss is called, or its negative where the optimum is not known.
        known: whether the optimum is known; the loss is the distance to it.
        ways: the kinds of campaign to compare.
        noise: standard deviation of a measurement of the loss, where it is known.
    """

    title: str
    stage: str
    parameters: dict[str, Any]
    goals: list[dict[str, str]]
    train: Callable[[Assignment, int], Training]
    loss: Callable[[list[TrialRecord]], float]
    axis: str
    known: bool
    ways: tuple[str, ...]
    noise: float = 0.0
