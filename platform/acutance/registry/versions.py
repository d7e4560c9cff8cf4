"""Registered models and their versions as they are listed and shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from acutance.registry import decision_log
from acutance.registry.address import answers
from acutance.registry.decision_log import Decision
from acutance.registry.resolve import ABSENT, all_models, all_versions, registered, versions_of
from acutance.registry.runs import FINGERPRINT


@dataclass(frozen=True)
class VersionRecord:
    """A version, and the last decision about it."""

    version: str
    aliases: list[str]
    created: str
    fingerprint: str
    run_id: str
    decision: str = ""
    reason: str = ""
    who: str = ""
    when: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelRecord:
    """A registered model in a line: its number of versions, and alias -> version."""

    name: str
    versions: int
    aliases: dict[str, str]


def listing(client: MlflowClient) -> list[ModelRecord]:
    """Return the registered models by name."""
    with answers(client.tracking_uri):
        counts = Counter(version.name for version in all_versions(client))
        return [ModelRecord(model.name, counts[model.name], _aliases(model)) for model in all_models(client)]


def version_records(client: MlflowClient, name: str) -> list[VersionRecord]:
    """Return a model's versions, newest first.

    Raises:
        ModelError: when there is no such model.
    """
    with answers(client.tracking_uri):
        model = registered(client, name)
        decisions = decision_log.recorded(client, model)
        return [
            _record(model, version, decision_log.last_about(decisions, str(version.version)))
            for version in reversed(versions_of(client, name))
        ]


def is_recorded(client: MlflowClient, run_id: str, version: tuple[str, str] | None) -> bool:
    """Return whether a run, and a version (name, number) where one is given, are still there."""
    try:
        with answers(client.tracking_uri):
            there = client.get_run(run_id).info.lifecycle_stage == "active"
            if version:
                client.get_model_version(*version)
            return there
    except MlflowException as error:
        if error.error_code != ABSENT:
            raise
        return False


def _record(model: RegisteredModel, version: ModelVersion, last: Decision | None) -> VersionRecord:
    number = str(version.version)
    decided = {"reason": last.reason, "who": last.who, "when": last.when} if last else {}
    return VersionRecord(
        version=number,
        aliases=[alias for alias, at in _aliases(model).items() if at == number],
        created=decision_log.instant(version.creation_timestamp / 1000),
        fingerprint=version.tags.get(FINGERPRINT, ""),
        run_id=version.run_id or "",
        tags=dict(version.tags),
        decision=decision_log.outcome_for(last, number) if last else "",
        **decided,
    )


def _aliases(model: RegisteredModel) -> dict[str, str]:
    return {alias: str(number) for alias, number in sorted(model.aliases.items())}
