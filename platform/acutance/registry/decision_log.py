"""The decision log: every decision about a registered model's aliases, in one order, each written once.

MLflow has no transactions and no compare-and-set of an alias or a tag, but a parameter of a run can be written only
once. So a registered model has one run, in the experiment `acutance.decisions`, and its n-th decision is the parameter
`decision.n`: the process that writes it first has decided; another one gets an error and reads the log again. A
decision names the holder of the alias that it was compared with, and has the number after all decisions that its
process had read. So the holders of an alias follow from the log alone; `reconcile` sets aliases and tags accordingly.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from acutance.errors import UserError
from acutance.fingerprint import fingerprint
from acutance.registry.address import waited_for
from acutance.registry.runs import KIND, experiment_id, one_run, runs_with_tags

EXPERIMENT = "acutance.decisions"
MODEL = "acutance.model"
DECIDED, CARRIED_OUT = "decision.", "carried_out."
LENGTH, REASON_LENGTH = 6000, 1500
"""How many characters a parameter holds, and how many a reason may take; the numbers of 15 metrics fit beside it."""

ACCEPTED, REFUSED, FORCED = "accepted", "refused", "forced"
ROLLED_BACK, RESTORED = "rolled back", "restored"
MOVED = "moved outside"
"""Somebody set the alias by other means than a promotion: it is taken as it is found."""


@dataclass(frozen=True)
class Decision:
    """A decision about an alias.

    Attributes:
        outcome: accepted, refused, forced, rolled back, or moved outside.
        name: the registered model.
        alias: what it was about.
        version: the version that was measured, rolled back, or found under the alias.
        before: the version that had the alias, empty where none had.
        after: the version that has it after the decision; the same as before where it was refused.
        numbers: see `GateResult`.
        evaluation_spec: data sets, protocol and scale of the measurement.
        evidence: folder of the evaluation, with every picture's values.
        number: its place in the log, from 1; 0 where nothing had to be decided, so nothing is recorded.
        carried_out: whether alias and tags are known to be set accordingly.
    """

    outcome: str
    name: str
    alias: str
    version: str
    before: str
    after: str
    reason: str
    who: str
    when: str
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    evaluation_spec: dict[str, Any] = field(default_factory=dict)
    evidence: str = ""
    number: int = 0
    carried_out: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the version got the alias."""
        return self.after == self.version

    def to_json(self) -> dict[str, Any]:
        """Return plain data; `before` and `after` are called `from` and `to`."""
        plain = {**vars(self), "from": self.before, "to": self.after, "accepted": self.accepted}
        return {key: value for key, value in plain.items() if key not in {"before", "after"}}


@waited_for
def open_log(client: MlflowClient, model: RegisteredModel) -> str:
    """Return the id of the run that holds a model's log; create the run if needed."""
    run = one_run(client, experiment_id(client, EXPERIMENT), model.name, _key_tags(model))
    if run.info.status == "RUNNING":  # nothing runs here; parameters can be added all the same
        client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


@waited_for
def recorded(client: MlflowClient, model: RegisteredModel) -> list[Decision]:
    """Return the decisions about a model, in order; do not create a log."""
    place = client.get_experiment_by_name(EXPERIMENT)
    found = runs_with_tags(client, place.experiment_id, _key_tags(model)) if place else []
    return _decisions(found[0]) if found else []


@waited_for
def read(client: MlflowClient, log: str) -> list[Decision]:
    """Return the decisions of a log, in order."""
    return _decisions(client.get_run(log))


@waited_for
def append(client: MlflowClient, log: str, decision: Decision) -> bool:
    """Write a decision under its number; return False where another decision has that number."""
    key, text = f"{DECIDED}{decision.number:06d}", _text(decision)
    try:
        client.log_param(log, key, text, synchronous=True)
    except MlflowException:
        stands = client.get_run(log).data.params.get(key)
        if stands is None:
            raise
        return bool(stands == text)
    return True


@waited_for
def mark_carried_out(client: MlflowClient, log: str, decision: Decision) -> None:
    """Record that alias and tags are set as the decision says."""
    client.log_param(log, f"{CARRIED_OUT}{decision.number:06d}", "yes", synchronous=True)


def holders(decisions: Iterable[Decision], alias: str) -> list[str]:
    """Return the versions that had an alias, the present one last, without those that were rolled back."""
    stack: list[str] = []
    for decision in decisions:
        if decision.alias != alias or decision.before == decision.after:
            continue
        if decision.outcome == ROLLED_BACK:
            while stack and stack[-1] != decision.after:
                stack.pop()
        else:
            stack.append(decision.after)
    return stack


def holder(decisions: Iterable[Decision], alias: str) -> str:
    """Return the version that has an alias, empty where none has."""
    return (holders(decisions, alias) or [""])[-1]


def rollback_of(decisions: Iterable[Decision], alias: str, version: str) -> Decision | None:
    """Return the decision that took an alias from a version, where it was a rollback that nothing followed."""
    standing = None
    for decision in decisions:
        if (
            decision.alias == alias
            and version in (decision.before, decision.after)
            and decision.before != decision.after
        ):
            standing = decision if decision.outcome == ROLLED_BACK and decision.version == version else None
    return standing


def last_about(decisions: Iterable[Decision], version: str) -> Decision | None:
    """Return the newest decision about a version: it was measured, rolled back or found, or a rollback gave it an
    alias.

    Where the newest is a refusal because of a rollback, return the rollback.
    """
    about = [d for d in decisions if version == d.version or (d.outcome == ROLLED_BACK and version == d.after)]
    if not about or about[-1].outcome != REFUSED:
        return about[-1] if about else None
    return rollback_of(about, about[-1].alias, version) or about[-1]


def outcome_for(decision: Decision, version: str) -> str:
    """Return a decision's outcome for one version: a rollback takes an alias from one and restores it to another."""
    return decision.outcome if decision.version == version else RESTORED


def now() -> str:
    """Return the present time in UTC, to the second."""
    return instant(datetime.now(UTC).timestamp())


def instant(seconds: float) -> str:
    """Return seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _key_tags(model: RegisteredModel) -> dict[str, str]:
    """Return the log's key tags; a model that was deleted and created again has another log, as it counts from 1."""
    return {KIND: "decisions", MODEL: fingerprint([model.name, model.creation_timestamp])}


def _decisions(run: Run) -> list[Decision]:
    written = {key.removeprefix(DECIDED): text for key, text in run.data.params.items() if key.startswith(DECIDED)}
    return [
        Decision(
            **{key: value for key, value in json.loads(text).items() if key != "id"},
            number=int(number),
            carried_out=f"{CARRIED_OUT}{number}" in run.data.params,
        )
        for number, text in sorted(written.items())
    ]


def _text(decision: Decision) -> str:
    """Return a decision as JSON; an id distinguishes two decisions of equal content."""
    numbers = {
        metric: {key: float(f"{value:.9g}") for key, value in values.items()}
        for metric, values in decision.numbers.items()
    }
    short = replace(decision, numbers=numbers, reason=decision.reason[:REASON_LENGTH])
    content = {key: value for key, value in vars(short).items() if key not in {"number", "carried_out"}}
    text = json.dumps({**content, "id": uuid.uuid4().hex[:8]}, ensure_ascii=False)
    if len(text) > LENGTH:  # MLflow would cut it
        raise UserError(
            "this decision is too long to be recorded",
            where=f"{decision.name}, version {decision.version}",
            fix="name fewer metrics in the gate",
        )
    return text
