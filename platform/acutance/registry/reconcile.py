"""Sets aliases and tags as the decision log says, also after processes that were killed or slow in between.

A decision is final once the log has it. The process that decided then writes a file and tags, then the alias; after a
while any other process does, so they may be written twice. After writing, a process reads the log again, and writes
again where it has grown. So the last process to write an alias wrote what the whole log says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from acutance.registry import decision_log
from acutance.registry.address import waited_for
from acutance.registry.decision_log import MOVED, ROLLED_BACK, Decision, holder, last_about, outcome_for
from acutance.registry.resolve import ABSENT, registered
from acutance.registry.run_files import log_json

DECISION = "acutance.decision"

POLLS, POLL_SECONDS = 4, 0.5
"""How often and how long another process is waited for: to carry out its decision, or to set an alias."""

ATTEMPTS = 5
"""Databases refuse the second of two rows that are inserted at the same moment; the next attempt is an update."""


@waited_for
def reconcile(client: MlflowClient, name: str, run_id: str, alias: str, own_decision: int = 0) -> list[Decision]:
    """Carry out the decisions that are not carried out yet; record it where `alias` was moved by hand.

    Args:
        run_id: of the run that is the model's decision log.
        mine: number of the decision that this process has made, 0 for none.

    Returns:
        The decisions in order; aliases and tags are set accordingly.
    """
    pending: dict[int, Decision] = {}
    while True:
        decisions = _read_when_applied(client, run_id, own_decision)
        pending |= {decision.number: decision for decision in decisions if not decision.carried_out}
        for version in {version for decision in pending.values() for version in _versions_of(decision)} - {""}:
            made = [decision for decision in pending.values() if decision.version == version]
            if newest := last_about(decisions, version):
                _record(client, version, made, newest)
        for each in {decision.alias for decision in pending.values()}:
            _set_alias(client, name, each, holder(decisions, each))
        if pending and len(decision_log.read(client, run_id)) != len(decisions):
            continue
        for decision in pending.values():
            decision_log.mark_carried_out(client, run_id, decision)
        pending.clear()
        moved = _moved_outside(client, name, alias, decisions)
        if moved is None:
            return decisions
        decision_log.append(client, run_id, moved)  # another process may have been faster: read again either way


def _read_when_applied(client: MlflowClient, run_id: str, own_decision: int) -> list[Decision]:
    """Read the log; wait a while for other processes to carry out their decisions."""
    for _ in range(POLLS):
        decisions = decision_log.read(client, run_id)
        if all(decision.carried_out or decision.number == own_decision for decision in decisions):
            return decisions
        time.sleep(POLL_SECONDS)
    return decision_log.read(client, run_id)


def _versions_of(decision: Decision) -> set[str]:
    """Return the versions that a decision is about."""
    return {decision.version, decision.after if decision.outcome == ROLLED_BACK else decision.version}


def _record(client: MlflowClient, number: str, made: list[Decision], newest: Decision) -> None:
    """Write decisions about a version as files of the run that made it, and the newest one as the version's tags."""
    tags = {
        "": outcome_for(newest, number),
        ".reason": newest.reason,
        ".who": newest.who,
        ".when": newest.when,
        ".numbers": json.dumps(newest.numbers, sort_keys=True),
    }

    def write() -> None:
        version = client.get_model_version(newest.name, number)
        if run := version.run_id:
            for decision in made:
                file = f"decisions/{decision.name}-v{decision.version}-{decision.number:06d}.json"
                content = {key: value for key, value in decision.to_json().items() if key != "carried_out"}
                log_json(client, run, file, content)
        for part, value in tags.items():
            if version.tags.get(f"{DECISION}{part}") != value:
                client.set_model_version_tag(newest.name, number, f"{DECISION}{part}", value)

    _write_unless_deleted(write)


def _set_alias(client: MlflowClient, name: str, alias: str, version: str) -> None:
    def write() -> None:
        if version and held(client, name, alias) != version:
            client.set_registered_model_alias(name, alias, version)

    _write_unless_deleted(write)


@waited_for
def held(client: MlflowClient, name: str, alias: str) -> str:
    """Return the version that MLflow has under an alias; empty if there is none."""
    return str(registered(client, name).aliases.get(alias, ""))


def _write_unless_deleted(write: Callable[[], None]) -> None:
    """Write unless the version was deleted; write again where another process wrote at the same moment."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            write()
            return
        except MlflowException as error:
            if error.error_code == ABSENT:
                return
            if error.error_code != "BAD_REQUEST" or attempt == ATTEMPTS:
                raise


def _moved_outside(client: MlflowClient, name: str, alias: str, decisions: list[Decision]) -> Decision | None:
    """Return the decision to record where an alias is not on the version that the log says; None where it is."""
    expected, polls = holder(decisions, alias), 0
    while (present := held(client, name, alias)) != expected:
        decided = any(decision.alias == alias for decision in decisions)
        if not decided or polls == POLLS:
            why = f"the alias was moved from {expected or 'no version'} to {present or 'none'} outside this log"
            number = len(decisions) + 1
            return Decision(MOVED, name, alias, present, expected, present, why, "", decision_log.now(), number=number)
        time.sleep(POLL_SECONDS)
        polls += 1
    return None
