"""A registry of models that are nothing but a number, how good they are; and what must be true of its decision_log."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from acutance.registry.decision_log import Decision, holder, last_about, outcome_for
from acutance.registry.gate import Measurements
from acutance.registry.promotion import history
from acutance.registry.resolve import SHA256

NAME = "sr-x2-test"
GATE: Mapping[str, Any] = {"psnr_y": 0.1}


def version(client: MlflowClient, run_id: str, db: float, name: str = NAME) -> str:
    """Register a model that is `db` good, as the candidate; return its version."""
    if name not in {model.name for model in client.search_registered_models()}:
        client.create_registered_model(name)
    folder, text = f"{name}-{db}", str(db)
    client.log_text(run_id, text, f"{folder}/artifacts/model.safetensors")
    source = f"{client.get_run(run_id).info.artifact_uri}/{folder}"
    tags = {SHA256: hashlib.sha256(text.encode()).hexdigest()}
    number = str(client.create_model_version(name, source, run_id, tags=tags).version)
    client.set_registered_model_alias(name, "candidate", number)
    return number


def measure(new: Path, old: Path | None) -> Measurements:
    """Find on two pictures what the files say."""
    return Measurements(
        scores(new), scores(old) if old else None, GATE, evaluation_spec={"protocol": "y_crop4"}, evidence="there"
    )


def scores(path: Path) -> dict[str, dict[str, float | None]]:
    db = float(path.read_text())
    return {"coffee": {"psnr_y": db}, "rocket": {"psnr_y": db + 2}}


def never(*_: object) -> Measurements:
    raise AssertionError("judged")


def held(client: MlflowClient, alias: str = "champion", name: str = NAME) -> str:
    return str(client.get_registered_model(name).aliases.get(alias, ""))


def told(client: MlflowClient, name: str = NAME) -> list[tuple[str, str, str, str]]:
    """Return (outcome, version, before, after) of each decision."""
    return [(d.outcome, d.version, d.before, d.after) for d in history(client, name)]


def one_story(client: MlflowClient, name: str = NAME) -> list[Decision]:
    """Check that a log fits together and that the registry says the same; return it."""
    decisions = history(client, name)
    assert [decision.number for decision in decisions] == list(range(1, len(decisions) + 1))
    for known, decision in zip(itertools.accumulate([[d] for d in decisions]), decisions, strict=True):
        assert decision.before == holder(known[:-1], decision.alias), decision
        assert decision.after == (decision.version if decision.accepted else holder(known, decision.alias)), decision
        assert decision.carried_out
    for alias in {decision.alias for decision in decisions}:
        assert held(client, alias, name) == holder(decisions, alias)
    for number in {decision.version for decision in decisions} - {""}:
        last = last_about(decisions, number)
        assert last is not None
        tags = client.get_model_version(name, number).tags
        assert (tags["acutance.decision"], tags["acutance.decision.who"]) == (outcome_for(last, number), last.who)
    return decisions


class Killed(BaseException):
    """What a test's process dies of."""


class Mortal:
    """A client whose process is killed before it writes once more than it may."""

    WRITES = ("create_", "set_", "log_", "delete_", "update_")

    def __init__(self, client: MlflowClient, writes: int) -> None:
        self.client, self.left = client, writes

    def __getattr__(self, name: str) -> Any:
        if name.startswith(self.WRITES):
            if self.left == 0:
                raise Killed(name)
            self.left -= 1
        return getattr(self.client, name)
