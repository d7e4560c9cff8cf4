"""Runs: one for a pipeline, one below it for each stage; work that is resumed continues its own run.

A run is found again by its key tags: kind, fingerprint, parent. Two processes that ask at the same moment must not make
two runs: with an SQLite file a lock on this machine prevents it, with a server a parameter that is written only once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunTag
from mlflow.exceptions import MlflowException

from acutance.errors import UserError
from acutance.process import is_gone, this_process
from acutance.redact import redacted
from acutance.registry.address import sqlite_path, waited_for
from acutance.registry.flatten import flatten
from acutance.registry.moved import ARTIFACTS
from acutance.registry.provenance import git_commit, user
from acutance.storage.lock import locked

FINGERPRINT = "acutance.fingerprint"
KIND = "acutance.kind"
GIT_COMMIT = "acutance.git_commit"
OWNER = "acutance.process"
FOLDER = "acutance.folder"
NOTE = "mlflow.note.content"
OUTPUTS = "Outputs: "
PARENT = "mlflow.parentRunId"

CHOSEN = "acutance.chosen"
"""The parameter of runs that were made at once with the same key tags: `yes` for one, `no` for those deleted."""

PARAMS_A_CALL = 100
KEY_LENGTH = 250
VALUE_LENGTH = 6000

Status = Literal["FINISHED", "FAILED", "KILLED"]


@waited_for
def pipeline_run(
    client: MlflowClient, experiment: str, name: str, fingerprint: str, tags: Mapping[str, str] | None = None
) -> str:
    """Return the id of a pipeline's run, RUNNING: the one with this fingerprint continued, or a new one.

    Other runs of the experiment that a killed process of this machine left RUNNING are ended as KILLED.

    Args:
        experiment: the experiment's name; it is created where there is none, and its files go where the
            server puts them, or into `mlartifacts` beside an SQLite file.
        fingerprint: of all that the pipeline does.
        tags: of the run; `acutance.kind` tells it from runs of another kind with this fingerprint.

    Raises:
        UserError: when the experiment was deleted.
        UnreachableError: when the store does not answer.
    """
    experiment_key = experiment_id(client, experiment)
    kind = (tags or {}).get(KIND, "pipeline")
    run = _continued(client, experiment_key, name, {KIND: kind, FINGERPRINT: fingerprint}, tags or {})
    _end_abandoned(client, experiment_key, run)
    return run


@waited_for
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
    experiment_key = client.get_run(parent_run_id).info.experiment_id
    key_tags = {KIND: "stage", PARENT: parent_run_id, FINGERPRINT: fingerprint}
    run_id = _continued(client, experiment_key, name, key_tags, tags or {})
    _log_params(client, run_id, params or {})
    return run_id


@waited_for
def finish(client: MlflowClient, run_id: str, status: Status = "FINISHED") -> None:
    """End a run."""
    client.set_terminated(run_id, status)


@waited_for
def finish_children(client: MlflowClient, parent_run_id: str, status: Status = "FINISHED") -> None:
    """End the runs below a run that are still RUNNING: a scheduler stopped their processes."""
    experiment_key = client.get_run(parent_run_id).info.experiment_id
    below = f"tags.`{PARENT}` = '{parent_run_id}' and attributes.status = 'RUNNING'"
    while running := client.search_runs([experiment_key], below):  # page by page
        for run in running:
            client.set_terminated(run.info.run_id, status)


def experiment_id(client: MlflowClient, name: str) -> str:
    """Return an experiment's id; create it where it is not there.

    Raises:
        UserError: when it was deleted, or its files have no location.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifacts(client.tracking_uri)))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was faster
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"the experiment {name!r} was deleted",
            where=client.tracking_uri,
            fix=f"bring it back with: mlflow experiments restore --experiment-id {found.experiment_id}",
        )
    return str(found.experiment_id)


def runs_with_tags(client: MlflowClient, experiment: str, key_tags: Mapping[str, str]) -> list[Run]:
    """Return the runs that have all key tags, oldest first."""
    wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in key_tags.items())
    return list(client.search_runs([experiment], wanted, order_by=["attributes.start_time ASC"]))


def one_run(
    client: MlflowClient,
    experiment: str,
    name: str,
    key_tags: Mapping[str, str],
    tags: Mapping[str, str] | None = None,
) -> Run:
    """Return the one run that has all key tags; create it if needed. All processes get the same run."""
    with _process_lock(client.tracking_uri) as is_locked:
        while True:
            runs = runs_with_tags(client, experiment, key_tags)
            live = [run for run in runs if run.data.params.get(CHOSEN) != "no"]
            if not live:
                client.create_run(experiment, run_name=name, tags={"mlflow.user": user(), **(tags or {}), **key_tags})
            elif is_locked:
                return live[0]
            elif (chosen := _chosen(client, live)) is not None:
                return chosen


def _chosen(client: MlflowClient, runs: list[Run]) -> Run | None:
    """Choose one of several runs for good; None where another process is choosing as well: then search again.

    A process first writes `no` to all other runs that it found, then `yes` to the chosen one. So two processes never
    choose two runs: the one that searched later found both, and cannot write `no` to the one that is chosen already.
    """
    chosen = next((run for run in runs if run.data.params.get(CHOSEN) == "yes"), runs[0])
    others = [run for run in runs if run is not chosen]
    if any(_write_once(client, run, "no") != "no" for run in others) or _write_once(client, chosen, "yes") != "yes":
        return None
    for run in others:
        client.delete_run(run.info.run_id)
    return chosen


def _write_once(client: MlflowClient, run: Run, value: str) -> str:
    """Write `yes` or `no` as a run's CHOSEN parameter if it has none; return its value."""
    if known := run.data.params.get(CHOSEN):
        return str(known)
    try:
        client.log_param(run.info.run_id, CHOSEN, value, synchronous=True)
    except MlflowException:  # written meanwhile, or the run was deleted
        return str(client.get_run(run.info.run_id).data.params.get(CHOSEN, "no"))
    return value


def linked(folder: str) -> dict[str, str]:
    """Return tags that lead from a run to the folder of its outputs: one for programs, a description for people."""
    where = redacted(folder)
    return {FOLDER: where, NOTE: f"{OUTPUTS}{where}"}


def _continued(
    client: MlflowClient, experiment: str, name: str, key_tags: Mapping[str, str], tags: Mapping[str, str]
) -> str:
    """Return the run that has all key tags, set to RUNNING and owned by this process; create it if needed."""
    tags = {**tags, **({GIT_COMMIT: commit} if (commit := git_commit()) else {}), OWNER: this_process(), **key_tags}
    run = one_run(client, experiment, name, key_tags, tags)
    run_id = str(run.info.run_id)
    if not run.data.tags.get(NOTE, OUTPUTS).startswith(OUTPUTS):
        tags.pop(NOTE, None)  # somebody has written another description
    if run.info.status != "RUNNING" or any(run.data.tags.get(key) != value for key, value in tags.items()):
        client.update_run(run_id, status="RUNNING")
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    return run_id


def _end_abandoned(client: MlflowClient, experiment: str, own_run: str) -> None:
    """End the runs of killed processes of this machine: perhaps nobody continues them."""
    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        if run.info.run_id != own_run and PARENT not in run.data.tags and is_gone(run.data.tags.get(OWNER, "")):
            finish_children(client, run.info.run_id, "KILLED")
            client.set_terminated(run.info.run_id, "KILLED")


def _artifacts(uri: str) -> str | None:
    """Return where a new experiment's files go; None where a server decides."""
    path = sqlite_path(uri)
    if path:
        return str(path.parent / ARTIFACTS)
    if uri.startswith(("http://", "https://", "databricks")):
        return None
    raise UserError(
        "files cannot be stored in a database",
        where=uri,
        fix="start `mlflow server` over it and set MLFLOW_TRACKING_URI to the server",
    )


@contextmanager
def _process_lock(uri: str) -> Iterator[bool]:
    """Hold a lock on this machine where the store is an SQLite file; yield whether it is held."""
    path = sqlite_path(uri)
    if path is None:
        yield False
        return
    with locked(path.with_name(f"{path.name}.lock")):
        yield True


def _log_params(client: MlflowClient, run_id: str, settings: Mapping[str, Any]) -> None:
    flat = {
        re.sub(r"[^\w.\- :]", "_", key)[:KEY_LENGTH]: value[:VALUE_LENGTH] for key, value in flatten(settings).items()
    }
    while True:
        recorded = client.get_run(run_id).data.params
        missing = [Param(key, value) for key, value in flat.items() if key not in recorded][:PARAMS_A_CALL]
        if not missing:
            return
        try:
            client.log_batch(run_id, params=missing)
        except MlflowException:
            recorded_meanwhile = client.get_run(run_id).data.params
            if not any(
                param.key in recorded_meanwhile for param in missing
            ):  # else another process records them as well
                raise
