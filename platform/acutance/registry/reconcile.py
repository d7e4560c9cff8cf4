"""Brings aliases and tags in line with the log, whoever was killed or slow in between.

A decision stands once the log has it. What follows from it, first a file and tags, then the alias, is written by who
decided, or after a while by whoever comes by, and may be written twice. Who has written looks into the log again, and
writes again where it has grown: so the last one to write an alias wrote what the whole log says, however many wrote
at the same time.
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

LOOKS, LOOK_SECONDS = 4, 0.5
"""How long a process that is on its way is waited for: to carry out what it decided, or to mend an alias."""

TRIES = 5
"""Databases refuse the second of two rows that are inserted at the same moment; at the next try it is an update."""


@waited_for
def reconcile(client: MlflowClient, name: str, run_id: str, alias: str, mine: int = 0) -> list[Decision]:
    """Carry out what was decided and not carried out yet; take `alias` as it is found where it was moved by hand.

    Args:
        run_id: of the model's decision_log.
        mine: the number of the decision that this process has made.

    Returns:
        The decisions in order; aliases and tags say the same.
    """
    open_ones: dict[int, Decision] = {}
    while True:
        decisions = _patiently_read(client, run_id, mine)
        open_ones |= {decision.number: decision for decision in decisions if not decision.carried_out}
        for version in {version for decision in open_ones.values() for version in _concerned(decision)} - {""}:
            made = [decision for decision in open_ones.values() if decision.version == version]
            if newest := last_about(decisions, version):
                _tell(client, version, made, newest)
        for each in {decision.alias for decision in open_ones.values()}:
            _point(client, name, each, holder(decisions, each))
        if open_ones and len(decision_log.read(client, run_id)) != len(decisions):
            continue
        for decision in open_ones.values():
            decision_log.mark_carried_out(client, run_id, decision)
        open_ones.clear()
        stray = _stray(client, name, alias, decisions)
        if stray is None:
            return decisions
        decision_log.append(client, run_id, stray)  # or somebody else was faster: look again either way


def _patiently_read(client: MlflowClient, run_id: str, mine: int) -> list[Decision]:
    """Read the log; give those who have decided something a while to carry it out themselves."""
    for _ in range(LOOKS):
        decisions = decision_log.read(client, run_id)
        if all(decision.carried_out or decision.number == mine for decision in decisions):
            return decisions
        time.sleep(LOOK_SECONDS)
    return decision_log.read(client, run_id)


def _concerned(decision: Decision) -> set[str]:
    """Return the versions of which a decision says something."""
    return {decision.version, decision.after if decision.outcome == ROLLED_BACK else decision.version}


def _tell(client: MlflowClient, number: str, made: list[Decision], newest: Decision) -> None:
    """Keep decisions about a version as files of the run that made it, and the newest one in the version's tags."""
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

    _where_it_is_there(write)


def _point(client: MlflowClient, name: str, alias: str, version: str) -> None:
    def write() -> None:
        if version and held(client, name, alias) != version:
            client.set_registered_model_alias(name, alias, version)

    _where_it_is_there(write)


@waited_for
def held(client: MlflowClient, name: str, alias: str) -> str:
    """Return the version that MLflow has under an alias, empty where there is none."""
    return str(registered(client, name).aliases.get(alias, ""))


def _where_it_is_there(write: Callable[[], None]) -> None:
    """Write about a version, unless it was deleted; write again where another process wrote at the same moment."""
    for attempt in range(1, TRIES + 1):
        try:
            write()
            return
        except MlflowException as error:
            if error.error_code == ABSENT:
                return
            if error.error_code != "BAD_REQUEST" or attempt == TRIES:
                raise


def _stray(client: MlflowClient, name: str, alias: str, decisions: list[Decision]) -> Decision | None:
    """Return what to record where an alias is not where the log has it; None where it is."""
    expected, looks = holder(decisions, alias), 0
    while (present := held(client, name, alias)) != expected:
        decided = any(decision.alias == alias for decision in decisions)
        if not decided or looks == LOOKS:
            why = f"the alias was moved from {expected or 'no version'} to {present or 'none'} outside this log"
            number = len(decisions) + 1
            return Decision(MOVED, name, alias, present, expected, present, why, "", decision_log.now(), number=number)
        time.sleep(LOOK_SECONDS)
        looks += 1
    return None
