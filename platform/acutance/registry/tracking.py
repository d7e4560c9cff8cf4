"""Runs: one for a pipeline, one below it for each stage; work that is resumed continues its own run."""

from __future__ import annotations

import fcntl
import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from acutance.errors import UserError
from acutance.registry.address import answers, client_of, connect, shown, sqlite_path, tracking_uri
from acutance.registry.flatten import flatten
from acutance.registry.provenance import git_commit, user

__all__ = [
    "StageTracker",
    "connect",
    "finish",
    "finish_children",
    "flatten",
    "git_commit",
    "last_steps",
    "log_file",
    "log_json",
    "log_table",
    "pipeline_run",
    "stage_run",
    "tracking_uri",
    "user",
]

FINGERPRINT = "acutance.fingerprint"
KIND = "acutance.kind"
GIT_COMMIT = "acutance.git_commit"
PARENT = "mlflow.parentRunId"
TABLES = "mlflow.loggedArtifacts"

METRICS_A_CALL = 1000
PARAMS_A_CALL = 100
KEY_LENGTH = 250
VALUE_LENGTH = 6000

NON_FINITE = "non_finite"
"""The metric that counts a step's NaN and infinite values, which stores do not keep as they are."""

Status = Literal["FINISHED", "FAILED", "KILLED"]


def pipeline_run(
    client: MlflowClient, experiment: str, name: str, fingerprint: str, tags: Mapping[str, str] | None = None
) -> str:
    """Return the id of a pipeline's run, RUNNING: the one with this fingerprint continued, or a new one.

    Args:
        experiment: the experiment's name; it is created where it is not there, and its files go where the
            server puts them, or into `mlartifacts` beside an SQLite file.
        fingerprint: of all that the pipeline does.
        tags: of the run; `acutance.kind` tells it from runs of another kind with this fingerprint.

    Raises:
        UserError: when the experiment was deleted.
        UnreachableError: when the store does not answer.
    """
    with answers(client.tracking_uri):
        place = _experiment(client, experiment)
        kind = (tags or {}).get(KIND, "pipeline")
        return _continued(client, place, name, {KIND: kind, FINGERPRINT: fingerprint}, tags or {})


def stage_run(
    client: MlflowClient,
    parent_run_id: str,
    name: str,
    fingerprint: str,
    params: Mapping[str, Any] | None = None,
    *,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Return the id of a run below another one, RUNNING: continued by its fingerprint, or new.

    Args:
        params: nested settings; they become dotted keys. A parameter that is recorded already is left alone.

    Raises:
        UnreachableError: when the store does not answer.
    """
    with answers(client.tracking_uri):
        place = client.get_run(parent_run_id).info.experiment_id
        marks = {KIND: "stage", PARENT: parent_run_id, FINGERPRINT: fingerprint}
        run_id = _continued(client, place, name, marks, tags or {})
        _log_params(client, run_id, params or {})
        return run_id


def finish(client: MlflowClient, run_id: str, status: Status = "FINISHED") -> None:
    """End a run."""
    with answers(client.tracking_uri):
        client.set_terminated(run_id, status)


def finish_children(client: MlflowClient, parent_run_id: str) -> None:
    """End the runs below a run that are still RUNNING: their processes were stopped by a scheduler, not by a fault."""
    with answers(client.tracking_uri):
        place = client.get_run(parent_run_id).info.experiment_id
        below = f"tags.`{PARENT}` = '{parent_run_id}' and attributes.status = 'RUNNING'"
        for run in client.search_runs([place], below):
            client.set_terminated(run.info.run_id, "FINISHED")


def log_json(client: MlflowClient, run_id: str, name: str, content: Any) -> None:
    """Keep a value as the file `name` of a run; a file of that name is replaced."""
    with answers(client.tracking_uri):
        client.log_text(run_id, json.dumps(content, indent=2, sort_keys=True, default=str) + "\n", name)


def log_file(client: MlflowClient, run_id: str, path: str | Path, folder: str | None = None) -> None:
    """Keep a local file with a run, in a folder of the run's files."""
    with answers(client.tracking_uri):
        client.log_artifact(run_id, str(path), folder)


def log_table(client: MlflowClient, run_id: str, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Keep rows as a table that MLflow's pages show; unlike MLflow's own, a second call replaces the first.

    Args:
        name: of the file, ending in `.json`.
        rows: mappings of column to value; a value that is missing, NaN or infinite is left empty.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    data = [[_cell(row.get(column)) for column in columns] for row in rows]
    with answers(client.tracking_uri):
        client.log_text(run_id, json.dumps({"columns": columns, "data": data}), name)
        tables = json.loads(client.get_run(run_id).data.tags.get(TABLES, "[]"))
        entry = {"path": name, "type": "table"}
        if entry not in tables:
            client.set_tag(run_id, TABLES, json.dumps([*tables, entry]))


@dataclass(frozen=True)
class StageTracker:
    """Records a stage's metrics from wherever it trains: plain data that travels to a worker.

    It only adds to a run that is there; it neither creates, starts nor ends one.
    """

    uri: str = field(repr=False)  # it may hold a password
    run_id: str
    _last: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # What is recorded is asked anew in each process: after a kill it is more than this one knew.
        return StageTracker, (self.uri, self.run_id)

    def metrics(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        """Record (step, name -> value) rows, steps ascending.

        A step that a metric has reached already is left out, so a resumed training that repeats some steps
        leaves no second values. Values that are not finite are counted in `non_finite` instead of recorded.

        Raises:
            UnreachableError: when the store does not answer, after MLflow's own retries (minutes).
        """
        with answers(self.uri):
            client = client_of(self.uri)
            if not self._last:
                self._last.update(last_steps(client, self.run_id))
            now = time.time_ns() // 1_000_000
            fresh = [
                Metric(key, value, now, step)
                for step, values in rows
                for key, value in finite(values).items()
                if step > self._last.get(key, -1)
            ]
            for start in range(0, len(fresh), METRICS_A_CALL):
                part = fresh[start : start + METRICS_A_CALL]
                client.log_batch(self.run_id, metrics=part)
                self._last.update({metric.key: metric.step for metric in part})


def last_steps(client: MlflowClient, run_id: str) -> dict[str, int]:
    """Return the last step of each metric of a run."""
    return {metric.key: metric.step for metric in client.get_run(run_id).data.to_proto().metrics}


def _experiment(client: MlflowClient, name: str) -> str:
    """Return an experiment's id; create it where it is not there."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=_artifacts(client.tracking_uri))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was faster
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"the experiment {name!r} was deleted",
            where=shown(client.tracking_uri),
            fix=f"bring it back with: mlflow experiments restore --experiment-id {found.experiment_id}",
        )
    return found.experiment_id


def _artifacts(uri: str) -> str | None:
    """Return where a new experiment's files go; a server decides for itself."""
    path = sqlite_path(uri)
    if path:
        return str(path.parent / "mlartifacts")
    if uri.startswith(("http://", "https://", "databricks")):
        return None
    raise UserError(
        "a database alone has no place for files",
        where=shown(uri),
        fix="start `mlflow server` over it and set MLFLOW_TRACKING_URI to the server",
    )


def _continued(
    client: MlflowClient, experiment: str, name: str, marks: Mapping[str, str], tags: Mapping[str, str]
) -> str:
    """Return the oldest run with all `marks`, set RUNNING; create it where there is none."""
    tags = {**tags, **({GIT_COMMIT: commit} if (commit := git_commit()) else {}), **marks}
    with _alone(client.tracking_uri):
        found = _oldest(client, experiment, marks)
        if found is None:
            created = client.create_run(experiment, run_name=name, tags={"mlflow.user": user(), **tags}).info.run_id
            found = _oldest(client, experiment, marks)
            if found in (None, created):
                return created
            client.delete_run(created)  # a process on another machine was faster
    client.update_run(found, status="RUNNING")
    client.log_batch(found, tags=[RunTag(key, value) for key, value in tags.items()])
    return found


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Keep the other processes of this machine from looking and creating at the same time, over an SQLite file."""
    path = sqlite_path(uri)
    if path is None:
        yield
        return
    with open(path.with_name(f"{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _oldest(client: MlflowClient, experiment: str, marks: Mapping[str, str]) -> str | None:
    wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in marks.items())
    runs = client.search_runs([experiment], wanted, max_results=1, order_by=["attributes.start_time ASC"])
    return runs[0].info.run_id if runs else None


def _log_params(client: MlflowClient, run_id: str, settings: Mapping[str, Any]) -> None:
    recorded = client.get_run(run_id).data.params
    flat = {
        re.sub(r"[^\w.\- :]", "_", key)[:KEY_LENGTH]: value[:VALUE_LENGTH] for key, value in flatten(settings).items()
    }
    fresh = [Param(key, value) for key, value in flat.items() if key not in recorded]
    for start in range(0, len(fresh), PARAMS_A_CALL):
        client.log_batch(run_id, params=fresh[start : start + PARAMS_A_CALL])


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values that are finite, with the number of others as `non_finite` where there are any."""
    finite = {key: float(value) for key, value in values.items() if math.isfinite(value)}
    lost = len(values) - len(finite)
    return {**finite, NON_FINITE: float(lost)} if lost else finite


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
