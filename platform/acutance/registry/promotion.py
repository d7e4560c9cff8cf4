"""Promotion and rollback: a version gets an alias only if it is not worse on held-out pictures.

A decision is one write into the model's decision log, which two processes cannot both do for the same number. A
promotion compares with the version that holds the alias at that number of the log: where another decision was faster
and changed the holder, the comparison is made again. Then `reconcile` sets the alias; after a kill in between, the next
command does. Earlier holders of the alias, and rollbacks, are read from the log.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from acutance.errors import AcutanceError, ModelError, UserError
from acutance.registry import decision_log
from acutance.registry.address import answers, waited_for
from acutance.registry.decision_log import (
    ACCEPTED,
    FORCED,
    REFUSED,
    ROLLED_BACK,
    Decision,
    holder,
    holders,
    rollback_of,
)
from acutance.registry.gate import GateResult, Measurements, decide
from acutance.registry.reconcile import held, reconcile
from acutance.registry.resolve import CANDIDATE, CHAMPION, find_version, registered, versions_of, weights_of

NOT_RECORDED = "unchanged"
"""The outcome where a version has the alias already: nothing was decided."""

ALIAS = re.compile(r"(?!latest$|v\d+$)[\w-]+", re.IGNORECASE)

Measure = Callable[[Path, Path | None], Measurements]
"""Measures two model files on the held-out pictures: the candidate's, and the alias holder's or None."""


def promote(
    client: MlflowClient, reference: str, *, measure: Measure, who: str, to: str = CHAMPION, force: str = ""
) -> Decision:
    """Measure a version; give it an alias if it passes the gate; record the decision either way.

    Args:
        reference: `NAME` (its candidate), `NAME@ALIAS` or `NAME/VERSION`.
        measure: measures the version and the alias's holder; called again where the holder changes meanwhile, and not
            at all where the version has the alias already or was rolled back.
        who: name of the deciding user, for the record.
        to: the alias.
        force: a reason to give it the alias whatever was measured, also where measuring fails.

    Raises:
        ModelError: when there is no such model or version, or its files are gone.
        UserError: when the alias is one that MLflow does not take.
        UnreachableError: when the registry does not answer.
    """
    with answers(client.tracking_uri), tempfile.TemporaryDirectory() as scratch:
        _check_alias(to)
        version = find_subject(client, reference)
        name, number = str(version.name), str(version.version)
        run_id = decision_log.open_log(client, registered(client, name))
        results: dict[str, tuple[GateResult, Measurements | None]] = {}
        while True:
            decisions = reconcile(client, name, run_id, to)
            current = holder(decisions, to)
            decision = Decision(
                "", name, to, number, current, current, "", who, decision_log.now(), number=len(decisions) + 1
            )
            if number == current:
                return replace(decision, outcome=NOT_RECORDED, reason=f"version {number} is the {to} already", number=0)
            rolled_back = rollback_of(decisions, to, number)
            if rolled_back and not force:
                decision = replace(decision, outcome=REFUSED, reason=_was_rolled_back(rolled_back))
            else:
                if current not in results:
                    results[current] = _gate_result(
                        client, version, current, measure=measure, scratch=Path(scratch), force=force
                    )
                decision = _decided(decision, *results[current], force=force)
            if decision_log.append(client, run_id, decision):
                reconcile(client, name, run_id, to, own_decision=decision.number)
                return decision


def rollback(
    client: MlflowClient, name: str, *, who: str, why: str = "rolled back by hand", of: str = CHAMPION
) -> Decision:
    """Give an alias back to the version that had it before; the one that loses it is recorded as rolled back.

    Raises:
        ModelError: when there is no such model, nothing to go back to, its files are gone, or the alias was moved at
            the same time.
        UnreachableError: when the registry does not answer.
    """
    with answers(client.tracking_uri):
        expected = held(client, name, of)
        run_id = decision_log.open_log(client, registered(client, name))
        while True:
            decisions = reconcile(client, name, run_id, of)
            present, before = holder(decisions, of), _before(client, name, decisions, of)
            if present != expected:
                raise ModelError(
                    f"meanwhile the {of} of {name!r} is version {present or 'none'} instead of {expected or 'none'}",
                    fix=f"look at `acutance models history {name}` and roll back again if that is meant",
                )
            if not before:
                raise ModelError(
                    f"there is nothing to roll back to: no version of {name!r} was the {of} before"
                    f"{' version ' + present if present else ''}",
                    fix=f"`acutance models history {name}` lists what was decided",
                )
            with tempfile.TemporaryDirectory() as scratch:
                weights_of(client, find_subject(client, f"{name}/{before}"), Path(scratch))
            number = len(decisions) + 1
            decision = Decision(
                ROLLED_BACK, name, of, present, present, before, why, who, decision_log.now(), number=number
            )
            if decision_log.append(client, run_id, decision):
                reconcile(client, name, run_id, of, own_decision=decision.number)
                return decision


def history(client: MlflowClient, name: str) -> list[Decision]:
    """Return every decision about a model, in order.

    Raises:
        ModelError: when there is no such model.
    """
    with answers(client.tracking_uri):
        return decision_log.recorded(client, registered(client, name))


@waited_for
def find_subject(client: MlflowClient, reference: str) -> ModelVersion:
    """Return the version that `NAME`, `NAME@ALIAS` or `NAME/VERSION` names; of a bare name, the candidate.

    Raises:
        ModelError: naming what there is.
    """
    named = reference.removeprefix("models:/")
    if "@" in named or "/" in named:
        return find_version(client, f"models:/{named}")
    number = registered(client, named).aliases.get(CANDIDATE)
    if number is None:
        raise ModelError(
            f"the model {named!r} has no {CANDIDATE}",
            fix="register one with `acutance run PIPELINE`, which makes its model the candidate",
        )
    return client.get_model_version(named, str(number))


def _gate_result(
    client: MlflowClient, version: ModelVersion, current: str, *, measure: Measure, scratch: Path, force: str
) -> tuple[GateResult, Measurements | None]:
    """Measure and compare. With `force`, an error is recorded in place of numbers, unless weights are missing."""
    new = weights_of(client, version, scratch / str(version.version))
    try:
        champion = find_subject(client, f"{version.name}/{current}") if current else None
        measurements = measure(new, weights_of(client, champion, scratch / current) if champion else None)
    except AcutanceError as error:
        if not force:
            raise
        return GateResult(False, f"not measured: {error.what}"), None
    result = decide(
        measurements.candidate, measurements.champion if current else None, measurements.gate, measurements.truth
    )
    if measurements.overlap:  # better numbers may come from pictures it was trained on
        result = replace(result, accepted=False, reason=f"{measurements.overlap} (else: {result.reason})")
    return result, measurements


def _decided(decision: Decision, result: GateResult, measurements: Measurements | None, *, force: str) -> Decision:
    accepted = result.accepted or bool(force)
    outcome = FORCED if force else ACCEPTED if result.accepted else REFUSED
    return replace(
        decision,
        outcome=outcome,
        after=decision.version if accepted else decision.before,
        reason=f"{force} (without force: {result.reason})" if force else result.reason,
        numbers=result.numbers,
        evaluation_spec=dict(measurements.evaluation_spec) if measurements else {},
        evidence=measurements.evidence if measurements else "",
    )


def _was_rolled_back(rolled_back: Decision) -> str:
    return (
        f"it was rolled back on {rolled_back.when} by {rolled_back.who} ({rolled_back.reason}); "
        "--force --reason TEXT promotes it all the same"
    )


def _before(client: MlflowClient, name: str, decisions: list[Decision], alias: str) -> str:
    """Return the version that had an alias before the present one and still exists; empty if there is none."""
    *earlier, present = holders(decisions, alias) or [""]
    existing = {str(version.version) for version in versions_of(client, name)} - {present}
    return next((number for number in reversed(earlier) if number in existing), "")


def _check_alias(alias: str) -> None:
    if not ALIAS.fullmatch(alias):
        raise UserError(
            "this cannot be an alias",
            where=alias,
            fix="letters, digits, - and _; MLflow keeps `latest` and names such as v2 for itself",
        )
