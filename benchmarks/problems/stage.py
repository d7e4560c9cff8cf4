"""Quickstart's fidelity stage, made very small: a real training, measured on real pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from problems.problem import PSNR, PSNR_NAME, STEPS, Problem, Training

from acutance.config import pipeline as pipelines
from acutance.config.pipeline import Pipeline, resolve
from acutance.data.columns import Contents
from acutance.data.datasets import Catalogue, Source, load_catalogue
from acutance.data.inputs import contents
from acutance.data.pictures import read_picture, write_picture
from acutance.data.prepare import prepare
from acutance.evaluation.evaluate import evaluate_one
from acutance.training.loop import Report, training_reports
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan
from acutance.tuning.ask_tell import Assignment
from acutance.tuning.study import TrialRecord

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
QUICKSTART = PIPELINES / "quickstart.yaml"
STAGE = "fidelity"

SMALL: dict[str, Any] = {
    "data.subimages": {"size": 64, "stride": 64},
    "stages.fidelity.steps": STEPS,
    "stages.fidelity.validation": None,
    "stages.fidelity.network": {"type": "rrdbnet", "blocks": 1, "growth": 4},
    "stages.fidelity.patch": 32,
    "stages.fidelity.ema": 0.95,
    "stages.fidelity.checkpoint_every": STEPS,
    "stages.fidelity.report_every": STEPS,
}
"""The network starts from nothing: in so few steps one that starts from the bicubic enlargement stays there."""

RATE = "optimiser.learning_rate"
NUMBERS: dict[str, Any] = {
    RATE: {"float": [3e-4, 3e-2], "log": True},
    "optimiser.schedule.milestones": {"choice": [[], [162], [81, 162]]},
    "batch": {"choice": [2, 4, 8]},
    "network.channels": {"choice": [4, 8]},
}
PLACES_A_DECADE = 8
CROP = 64

Curve = tuple[StagePlan, Iterator[Report], dict[int, dict[str, float]]]


@dataclass
class Spent:
    """Seconds that went into steps, or into measurements."""

    seconds: float = 0.0
    count: int = 0

    def add(self, seconds: float, count: int) -> None:
        """Count some more."""
        self.seconds, self.count = self.seconds + seconds, self.count + count

    @property
    def each(self) -> float:
        """Seconds of one."""
        return self.seconds / self.count


@dataclass
class Stage:
    """The stage at every point asked for. Equal values give equal weights, so a point is trained once, as far as asked.

    So that campaigns meet, learning rates are rounded to eighths of a decade. They pay for their steps all the same.
    """

    pipeline: Pipeline
    contents: Contents
    measured_on: dict[str, list[Source]]
    root: str
    measured_at: list[int]
    curves: dict[str, Curve] = field(default_factory=dict)
    training: Spent = field(default_factory=Spent)
    measuring: Spent = field(default_factory=Spent)

    def __post_init__(self) -> None:
        self.settings = self.pipeline.model_dump(mode="json", by_alias=True)

    def train(self, assignment: Assignment, seed: int) -> Training:
        """Yield the scores at an assignment's looks; a point is trained on from where an earlier campaign left it."""
        curve = self._curve(assignment.values)
        for step in assignment.measured_at:
            while step not in curve[2]:
                self._advance(*curve)
            yield step, curve[2][step]

    def _curve(self, values: dict[str, Any]) -> Curve:
        path = f"stages.{STAGE}.{RATE}"
        exponent = round(math.log10(values[path]) * PLACES_A_DECADE) / PLACES_A_DECADE
        pipeline = resolve(self.settings, {**values, path: float(f"{10**exponent:.3g}")}, "a trial")
        plan = plan_stages(pipeline, self.contents, self.root, only=STAGE)[-1]
        if plan.fingerprint not in self.curves:
            self.curves[plan.fingerprint] = plan, training_reports(plan, also_at=self.measured_at), {}
        return self.curves[plan.fingerprint]

    def _advance(self, plan: StagePlan, reports: Iterator[Report], scores: dict[int, dict[str, float]]) -> None:
        started = time.perf_counter()
        report = next(reports)
        trained = time.perf_counter()
        self.training.add(trained - started, report.step - max(scores, default=0))
        evaluation = evaluate_one(
            report.learner.final_network,
            plan.model_description(),
            self.measured_on,
            scale=plan.scale,
            protocol=self.pipeline.evaluate.protocol,
            metrics=["psnr_y"],
        )
        scores[report.step] = {PSNR_NAME: evaluation.mean("candidate", "psnr_y", "test") or math.nan}
        self.measuring.add(time.perf_counter() - trained, 1)


def stage_in(folder: Path, measured_at: list[int]) -> Stage:
    """Make the shards of the packaged photographs, and two crops of each held-out one."""
    catalogue, pipeline = load_catalogue(PIPELINES / "datasets.yaml"), pipelines.load(QUICKSTART, values=SMALL)
    prepare(pipeline.data, pipeline.scale, catalogue, str(folder), in_process=True)
    consists_of = contents([pipeline.data], pipeline.scale, catalogue, str(folder))
    return Stage(pipeline, consists_of, {"test": _crops(catalogue, folder / "crops")}, str(folder), measured_at)


def real_stage(title: str, stage: Stage, ways: tuple[str, ...]) -> Problem:
    """Return the problem of finding the highest PSNR."""

    def loss(trials: list[TrialRecord]) -> float:
        return -max(trial.scores[PSNR_NAME] for trial in trials)

    return Problem(title, STAGE, NUMBERS, [PSNR], stage.train, loss, "PSNR-Y in dB", False, ways)


def _crops(catalogue: Catalogue, folder: Path) -> list[Source]:
    for source in catalogue.find("photographs_heldout"):
        picture = read_picture(source.path)
        height, width = picture.shape[:2]
        for number, (top, left) in enumerate([(height // 4, width // 4), (height // 2, width // 2)]):
            write_picture(folder / f"{source.name}-{number}.png", picture[top : top + CROP, left : left + CROP])
    return catalogue.find(str(folder))
