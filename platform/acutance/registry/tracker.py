"""A stage's metrics, recorded from wherever it trains."""

from __future__ import annotations

import math
import posixpath
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from acutance.fingerprint import fingerprint
from acutance.registry.address import answers, client_of, few_retries
from acutance.registry.system_metrics import cpu_seconds, usage

METRICS_A_CALL = 1000
NAME_LENGTH = 250

NON_FINITE = "non_finite"
"""The metric that counts a step's NaN and infinite values, which stores do not keep as they are."""


@dataclass(frozen=True)
class Point:
    """Metrics of a step, measured at a time (milliseconds since 1970); values are finite, see `finite`."""

    step: int
    time: int
    values: dict[str, float]


@dataclass(frozen=True)
class StageTracker:
    """Records a stage's metrics from wherever it trains: plain data that travels to a worker.

    It only adds to a run that is there; it neither creates, starts nor ends one.
    """

    uri: str = field(repr=False)  # it may hold a password
    run_id: str
    _last: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _cpu: dict[str, float] = field(default_factory=cpu_seconds, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Each process reads the recorded steps: after a kill these are more than its driver knew.
        return StageTracker, (self.uri, self.run_id)

    def metrics(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        """Record (step, name -> value) rows, steps ascending, and what the machine does at the last of them.

        Raises:
            UnreachableError: when the store does not answer.
        """
        if rows:
            self.record(self.points(rows))

    def points(self, rows: list[tuple[int, dict[str, float]]]) -> list[Point]:
        """Return what `record` takes, as of now."""
        now = time.time_ns() // 1_000_000
        all_rows = [*rows, (rows[-1][0], usage(self._cpu))]
        named = ((step, {metric_name(name): value for name, value in row.items()}) for step, row in all_rows)
        return [Point(step, now, finite(values)) for step, values in named]

    def record(self, points: list[Point]) -> None:
        """Record points.

        A step that a metric has reached already is left out, so a resumed training that repeats some steps, and a
        delivery whose answer was lost, leave no second values.

        Raises:
            UnreachableError: when the store does not answer.
            RefusedError: when it refuses.
        """
        with answers(self.uri), few_retries():
            client = client_of(self.uri)
            if not self._last:
                self._last.update(last_steps(client, self.run_id))
            fresh = [
                Metric(key, value, point.time, point.step)
                for point in points
                for key, value in point.values.items()
                if point.step > self._last.get(key, -1)
            ]
            for start in range(0, len(fresh), METRICS_A_CALL):
                part = fresh[start : start + METRICS_A_CALL]
                try:
                    client.log_batch(self.run_id, metrics=part)
                except Exception:
                    self._last.clear()  # it may have been recorded all the same: ask before the next attempt
                    raise
                self._last.update({metric.key: metric.step for metric in part})


def last_steps(client: MlflowClient, run_id: str) -> dict[str, int]:
    """Return the last step of each metric of a run."""
    return {metric.key: metric.step for metric in client.get_run(run_id).data.to_proto().metrics}


def metric_name(name: str) -> str:
    """Return a metric's name as MLflow takes it, which knows fewer characters than the folder of a data set.

    Where something has to be changed, a checksum at its end keeps it apart from others that become alike.
    """
    plain = re.sub(r"^[./]+", "_", posixpath.normpath(re.sub(r"[^\w.\- /]", "_", name)))
    if plain == name and len(name) <= NAME_LENGTH:
        return name
    return f"{plain[: NAME_LENGTH - 9]}-{fingerprint(name)[:8]}"


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return the finite values, and the number of the others as `non_finite` if there are any."""
    finite = {key: float(value) for key, value in values.items() if math.isfinite(value)}
    lost = len(values) - len(finite)
    return {**finite, NON_FINITE: float(lost)} if lost else finite
