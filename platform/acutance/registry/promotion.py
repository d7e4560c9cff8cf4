"""Promotion and rollback: a candidate becomes champion only if it is not worse on pictures nobody trained on.

The registry keeps who decided what, when and on which numbers: tags of the version, and a file of its run.
The champions before the present one are a list in a tag of the registered model: each rollback goes one back.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from acutance.errors import ModelError
from acutance.registry.address import answers
from acutance.registry.gate import Decision, Verdict, decide
from acutance.registry.resolve import CANDIDATE, CHAMPION, alias_version, registered, versions_of, weights_of
from acutance.registry.tracking import FINGERPRINT, log_json

BEFORE = "acutance.before."
DECISION = "acutance.decision"
OUTCOMES = {True: "accepted", False: "refused"}

Judge = Callable[[Path, Path | None], Verdict]
"""Measures two model files on the held-out pictures: the candidate's, and the champion's or None."""


def promote(client: MlflowClient, name: str, *, judge: Judge, who: str, to: str = CHAMPION) -> Decision:
    """Make the candidate the champion if the judge's numbers pass the gate; keep the decision either way.

    Args:
        judge: measures both models; it is not asked where the candidate is the champion already.
        who: is deciding, for the record.
        to: the alias that is won.

    Raises:
        ModelError: when there is no such model, no candidate, or its files are gone.
        UnreachableError: when the registry does not answer.
    """
    with answers(client.tracking_uri):
        model = registered(client, name)
        candidate, champion = alias_version(client, model, CANDIDATE), alias_version(client, model, to)
        if candidate is None:
            raise ModelError(
                f"the model {name!r} has no {CANDIDATE}",
                fix="register one with `acutance run PIPELINE`, which makes its model the candidate",
            )
        number, previous = str(candidate.version), str(champion.version) if champion else ""
        if number == previous:
            return Decision(True, f"version {number} is the {to} already", {}, name, number, number, who, _now())
        with tempfile.TemporaryDirectory() as scratch:
            new = weights_of(client, candidate, Path(scratch) / number)
            old = weights_of(client, champion, Path(scratch) / previous) if champion else None
            verdict = judge(new, old)
        decision = decide(verdict.candidate, verdict.champion if champion else None, verdict.gate, verdict.truth)
        decision = replace(decision, name=name, version=number, previous=previous, who=who, when=_now())
        _record(client, candidate, decision, OUTCOMES[decision.accepted])
        if decision.accepted:
            # A kill between these two leaves an entry that equals the champion; rollback passes over it.
            _remember(client, name, to, [*_before(model, to), *([previous] if previous else [])])
            client.set_registered_model_alias(name, to, number)
        return decision


def rollback(
    client: MlflowClient, name: str, *, who: str, why: str = "rolled back by hand", of: str = CHAMPION
) -> Decision:
    """Give the champion's alias back to the one before it.

    Raises:
        ModelError: when there is no such model, or no champion to go back to.
        UnreachableError: when the registry does not answer.
    """
    with answers(client.tracking_uri):
        model = registered(client, name)
        champion = alias_version(client, model, of)
        present = str(champion.version) if champion else ""
        there = {str(version.version) for version in versions_of(client, name)} - {present}
        before = _before(model, of)
        while before and before[-1] not in there:
            before.pop()
        if champion is None or not before:
            raise ModelError(
                f"there is nothing to roll back to: no version of {name!r} was the {of} before"
                f"{' version ' + present if present else ''}",
                fix="`acutance models show` lists what was decided",
            )
        decision = Decision(True, why, {}, name, before[-1], present, who, _now())
        _record(client, champion, decision, "rolled back")
        client.set_registered_model_alias(name, of, before[-1])
        _remember(client, name, of, before[:-1])
        return decision


@dataclass(frozen=True)
class VersionRecord:
    """A version, and what was decided about it last."""

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


def history(client: MlflowClient, name: str) -> list[VersionRecord]:
    """Return a model's versions, newest first.

    Raises:
        ModelError: when there is no such model.
    """
    with answers(client.tracking_uri):
        model = registered(client, name)
        return [_version_record(model, version) for version in reversed(versions_of(client, name))]


def listing(client: MlflowClient) -> list[ModelRecord]:
    """Return the registered models by name."""
    with answers(client.tracking_uri):
        return [
            ModelRecord(model.name, len(versions_of(client, model.name)), _aliases(model))
            for model in client.search_registered_models(order_by=["name ASC"])
        ]


def _version_record(model: RegisteredModel, version: ModelVersion) -> VersionRecord:
    number, tags = str(version.version), version.tags
    parts = {part: tags.get(f"{DECISION}.{part}", "") for part in ("reason", "who", "when")}
    return VersionRecord(
        version=number,
        aliases=sorted(alias for alias, at in _aliases(model).items() if at == number),
        created=_instant(version.creation_timestamp / 1000),
        fingerprint=tags.get(FINGERPRINT, ""),
        run_id=version.run_id or "",
        decision=tags.get(DECISION, ""),
        tags=dict(tags),
        **parts,
    )


def _record(client: MlflowClient, version: ModelVersion, decision: Decision, outcome: str) -> None:
    """Write a decision into the version's tags and, for good, beside its run's files."""
    number = str(version.version)
    tags = {
        "": outcome,
        ".reason": decision.reason,
        ".who": decision.who,
        ".when": decision.when,
        ".numbers": json.dumps(decision.numbers, sort_keys=True),
        ".previous": decision.previous,
    }
    if version.run_id:
        file = f"decisions/{version.name}-v{number}-{decision.when.replace(':', '')}.json"
        log_json(client, version.run_id, file, {"outcome": outcome, **asdict(decision)})
    for part, value in tags.items():
        client.set_model_version_tag(version.name, number, f"{DECISION}{part}", value)


def _before(model: RegisteredModel, alias: str) -> list[str]:
    """Return the versions that had an alias before the present one, the last of them last."""
    return [number for number in model.tags.get(BEFORE + alias, "").split(",") if number]


def _remember(client: MlflowClient, name: str, alias: str, numbers: list[str]) -> None:
    client.set_registered_model_tag(name, BEFORE + alias, ",".join(numbers))


def _aliases(model: RegisteredModel) -> dict[str, str]:
    return {alias: str(number) for alias, number in sorted(model.aliases.items())}


def _now() -> str:
    return _instant(datetime.now(UTC).timestamp())


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
