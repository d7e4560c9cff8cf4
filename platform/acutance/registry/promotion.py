"""Promotion and rollback: a version gets an alias only if it is not worse on pictures nobody trained on.

What is decided goes into the model's decision log in one write that two processes cannot both do; that write is the
decision. A promotion is decided against the holder of the alias at that place of the log: where another decision was
faster and changed the holder, it is judged anew. The alias follows in one write, by `reconcile`: after a kill in
between, by the next command. Who had the alias before, and what was rolled back, is read from the log.
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

Judge = Callable[[Path, Path | None], Measurements]
"""Measures two model files on the held-out pictures: the candidate's, and the champion's or None."""


def promote(
    client: MlflowClient, reference: str, *, judge: Judge, who: str, to: str = CHAMPION, force: str = ""
) -> Decision:
    """Give a version an alias if the judge's numbers pass the gate; record the decision either way.

    Args:
        reference: `NAME` (its candidate), `NAME@ALIAS` or `NAME/VERSION`.
        judge: measures the version and the alias's holder; it is asked again where the holder changes meanwhile, and
            not at all where the version has the alias already or was rolled back.
        who: is deciding, for the record.
        to: the alias that is won.
        force: a reason to give the alias whatever the judge says, even if it fails.

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
        judged: dict[str, tuple[GateResult, Measurements | None]] = {}
        while True:
            decisions = reconcile(client, name, run_id, to)
            rival = holder(decisions, to)
            decision = Decision(
                "", name, to, number, rival, rival, "", who, decision_log.now(), number=len(decisions) + 1
            )
            if number == rival:
                return replace(decision, outcome=NOT_RECORDED, reason=f"version {number} is the {to} already", number=0)
            undone = rollback_of(decisions, to, number)
            if undone and not force:
                decision = replace(decision, outcome=REFUSED, reason=_was_rolled_back(undone))
            else:
                if rival not in judged:
                    judged[rival] = _judged(client, version, rival, judge=judge, scratch=Path(scratch), force=force)
                decision = _ruled(decision, *judged[rival], force=force)
            if decision_log.append(client, run_id, decision):
                reconcile(client, name, run_id, to, mine=decision.number)
                return decision


def rollback(
    client: MlflowClient, name: str, *, who: str, why: str = "rolled back by hand", of: str = CHAMPION
) -> Decision:
    """Give an alias back to the version that had it before; the one that loses it stays recorded as rolled back.

    Raises:
        ModelError: when there is no such model, nothing to go back to, its files are gone, or the alias was moved at
            the same time.
        UnreachableError: when the registry does not answer.
    """
    with answers(client.tracking_uri):
        asked = held(client, name, of)
        run_id = decision_log.open_log(client, registered(client, name))
        while True:
            decisions = reconcile(client, name, run_id, of)
            present, before = holder(decisions, of), _before(client, name, decisions, of)
            if present != asked:
                raise ModelError(
                    f"meanwhile the {of} of {name!r} is version {present or 'none'} instead of {asked or 'none'}",
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
            place = len(decisions) + 1
            decision = Decision(
                ROLLED_BACK, name, of, present, present, before, why, who, decision_log.now(), number=place
            )
            if decision_log.append(client, run_id, decision):
                reconcile(client, name, run_id, of, mine=decision.number)
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


def _judged(
    client: MlflowClient, version: ModelVersion, rival: str, *, judge: Judge, scratch: Path, force: str
) -> tuple[GateResult, Measurements | None]:
    """Let the judge measure; what prevents it is no obstacle to force, but for weights that are not there."""
    new = weights_of(client, version, scratch / str(version.version))
    try:
        champion = find_subject(client, f"{version.name}/{rival}") if rival else None
        verdict = judge(new, weights_of(client, champion, scratch / rival) if champion else None)
    except AcutanceError as error:
        if not force:
            raise
        return GateResult(False, f"not measured: {error.what}"), None
    ruling = decide(verdict.candidate, verdict.champion if rival else None, verdict.gate, verdict.truth)
    if verdict.overlap:  # what it gained there may be what it remembers
        ruling = replace(ruling, accepted=False, reason=f"{verdict.overlap} (else: {ruling.reason})")
    return ruling, verdict


def _ruled(decision: Decision, ruling: GateResult, verdict: Measurements | None, *, force: str) -> Decision:
    accepted = ruling.accepted or bool(force)
    outcome = FORCED if force else ACCEPTED if ruling.accepted else REFUSED
    return replace(
        decision,
        outcome=outcome,
        after=decision.version if accepted else decision.before,
        reason=f"{force} (without force: {ruling.reason})" if force else ruling.reason,
        numbers=ruling.numbers,
        exam=dict(verdict.exam) if verdict else {},
        evidence=verdict.evidence if verdict else "",
    )


def _was_rolled_back(undone: Decision) -> str:
    return (
        f"it was rolled back on {undone.when} by {undone.who} ({undone.reason}); "
        "--force --reason TEXT promotes it all the same"
    )


def _before(client: MlflowClient, name: str, decisions: list[Decision], alias: str) -> str:
    """Return the version that had an alias before the present one and still exists, empty where there is none."""
    *earlier, present = holders(decisions, alias) or [""]
    there = {str(version.version) for version in versions_of(client, name)} - {present}
    return next((number for number in reversed(earlier) if number in there), "")


def _check_alias(alias: str) -> None:
    if not ALIAS.fullmatch(alias):
        raise UserError(
            "this cannot be an alias",
            where=alias,
            fix="letters, digits, - and _; MLflow keeps `latest` and names such as v2 for itself",
        )
