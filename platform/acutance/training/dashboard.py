"""A training's figures for Ray's dashboard and for Prometheus, from which `infra/grafana` draws its board."""

from __future__ import annotations

from functools import cache

from ray.util.metrics import Gauge

from acutance.training.loop import Report

NAMES = {
    "loss": "newest value of a term of the objective, before its weight, and of the discriminators",
    "learning_rate": "of the generator",
    "images_per_second": "of all workers",
    "waiting_for_data": "share of a worker's time, 0 to 1",
    "skipped_steps": "since the training began",
    "step": "steps done",
}
"""Gauge -> what it shows. Ray puts `ray_acutance_` before the name."""


def show_report(stage: str, worker: int, report: Report) -> None:
    """Set the gauges of a worker's process to what it reports."""
    tags = {"Stage": stage, "Worker": str(worker)}
    for term, value in report.losses.items():
        _gauge("loss").set(value, {**tags, "Term": term})
    figures = {**report.figures, "skipped_steps": float(report.learner.skipped_steps), "step": float(report.step)}
    for name in NAMES.keys() & figures.keys():
        _gauge(name).set(figures[name], {**tags, "Term": ""})


@cache
def _gauge(name: str) -> Gauge:
    return Gauge(f"acutance_{name}", NAMES[name], tag_keys=("Stage", "Worker", "Term"))
