from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from acutance.errors import ModelError
from acutance.models.model_file import load_model
from acutance.registry import Verdict, history, listing, log_model, promote, rollback

NAME = "sr-x2-test"

ModelFile = Callable[[int], Path]
Register = Callable[[int], str]


@pytest.fixture
def register(client: MlflowClient, run_id: str, model_file: ModelFile, picture: np.ndarray) -> Register:
    return lambda seed: str(log_model(client, run_id, model_file(seed), NAME, picture).version)


def quality(db: dict[int, float]) -> Callable[[Path, Path | None], Verdict]:
    """A judge that reads the files it is given, and knows by fingerprint how good each model is."""

    def score(path: Path) -> dict[str, dict[str, float | None]]:
        seed = int(load_model(str(path))[1]["fingerprint"], 16)
        return {"coffee": {"psnr_y": db[seed]}, "rocket": {"psnr_y": db[seed] + 2}}

    return lambda new, old: Verdict(score(new), score(old) if old else None, {"psnr_y": 0.1})


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias(NAME, "champion").version)


JUDGE = quality({1: 27.0, 2: 27.5, 3: 26.0, 4: 28.0})


def test_first_better_and_worse(client: MlflowClient, register: Register) -> None:
    register(1)
    first = promote(client, NAME, judge=JUDGE, who="ada")
    assert (first.accepted, first.reason, first.version, first.previous) == (True, "no champion yet", "1", "")
    register(2)
    better = promote(client, NAME, judge=JUDGE, who="ada")
    assert (better.accepted, better.version, better.previous) == (True, "2", "1")
    assert better.numbers["psnr_y"] == {
        "candidate": 28.5,
        "champion": 28.0,
        "worse_by": -0.5,
        "allowed": 0.1,
        "pictures": 2,
    }
    register(3)
    worse = promote(client, NAME, judge=JUDGE, who="bob")
    assert (worse.accepted, worse.version, worse.previous) == (False, "3", "2")
    assert "psnr_y is worse: 28.500 -> 27.000" in worse.reason
    assert champion(client) == "2"


@pytest.mark.parametrize(("seed", "outcome"), [(2, "accepted"), (3, "refused")])
def test_decision_is_kept_either_way(client: MlflowClient, register: Register, seed: int, outcome: str) -> None:
    register(1)
    promote(client, NAME, judge=JUDGE, who="ada")
    number = register(seed)
    decision = promote(client, NAME, judge=JUDGE, who="bob")
    tags = client.get_model_version(NAME, number).tags
    assert tags["acutance.decision"] == outcome
    assert tags["acutance.decision.reason"] == decision.reason
    assert (tags["acutance.decision.who"], tags["acutance.decision.previous"]) == ("bob", "1")
    assert json.loads(tags["acutance.decision.numbers"]) == decision.numbers
    run = client.get_model_version(NAME, number).run_id
    files = [file.path for file in client.list_artifacts(run, "decisions")]
    (file,) = [path for path in files if f"-v{number}-" in path]
    kept = json.loads(Path(client.download_artifacts(run, file)).read_text())
    assert (kept["outcome"], kept["who"], kept["version"]) == (outcome, "bob", number)


def test_present_champion_changes_nothing_and_is_not_judged(client: MlflowClient, register: Register) -> None:
    register(1)
    promote(client, NAME, judge=JUDGE, who="ada")
    before = history(client, NAME)

    def never(*_: object) -> Verdict:
        raise AssertionError("judged")

    again = promote(client, NAME, judge=never, who="bob")
    assert (again.accepted, again.reason) == (True, "version 1 is the champion already")
    assert history(client, NAME) == before
    with pytest.raises(ModelError, match="nothing to roll back to"):
        rollback(client, NAME, who="bob")


def test_judge_that_fails_changes_nothing(client: MlflowClient, register: Register) -> None:
    register(1)
    promote(client, NAME, judge=JUDGE, who="ada")
    register(2)
    with pytest.raises(KeyError):
        promote(client, NAME, judge=quality({1: 1.0}), who="ada")
    assert champion(client) == "1"
    assert "acutance.decision" not in client.get_model_version(NAME, "2").tags


def test_each_rollback_goes_one_back(client: MlflowClient, register: Register) -> None:
    for seed in (1, 2, 4):
        register(seed)
        promote(client, NAME, judge=JUDGE, who="ada")
    first = rollback(client, NAME, who="bob", why="halos on text")
    assert (first.version, first.previous, champion(client)) == ("2", "3", "2")
    tags = client.get_model_version(NAME, "3").tags
    assert (tags["acutance.decision"], tags["acutance.decision.reason"]) == ("rolled back", "halos on text")
    assert rollback(client, NAME, who="bob").version == "1"
    with pytest.raises(ModelError, match="nothing to roll back to"):
        rollback(client, NAME, who="bob")
    assert champion(client) == "1"


def test_rolled_back_version_can_be_promoted_and_rolled_back_again(client: MlflowClient, register: Register) -> None:
    for seed in (1, 2):
        register(seed)
        promote(client, NAME, judge=JUDGE, who="ada")
    for _ in range(2):
        assert rollback(client, NAME, who="bob").version == "1"
        assert promote(client, NAME, judge=JUDGE, who="bob").version == "2"


def test_rollback_passes_over_a_deleted_version(client: MlflowClient, register: Register) -> None:
    for seed in (1, 2, 4):
        register(seed)
        promote(client, NAME, judge=JUDGE, who="ada")
    client.delete_model_version(NAME, "2")
    assert rollback(client, NAME, who="bob").version == "1"


def test_kill_between_remembering_and_promoting_does_no_harm(
    client: MlflowClient, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (1, 2):
        register(seed)
        promote(client, NAME, judge=JUDGE, who="ada")
    register(4)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            promote(client, NAME, judge=JUDGE, who="ada")
    assert champion(client) == "2"
    assert rollback(client, NAME, who="bob").version == "1"


def test_nothing_to_promote_says_what_to_do(client: MlflowClient) -> None:
    with pytest.raises(ModelError, match="acutance run PIPELINE"):
        promote(client, NAME, judge=JUDGE, who="ada")
    client.create_registered_model(NAME)
    with pytest.raises(ModelError, match="has no candidate") as caught:
        promote(client, NAME, judge=JUDGE, who="ada")
    assert "acutance run PIPELINE" in str(caught.value)
    with pytest.raises(ModelError, match="nothing to roll back to"):
        rollback(client, NAME, who="ada")
    with pytest.raises(ModelError, match="no registered model"):
        history(client, "other")


def test_listing_and_history(client: MlflowClient, register: Register) -> None:
    assert listing(client) == []
    for seed in (1, 2):
        register(seed)
        promote(client, NAME, judge=JUDGE, who="ada")
    register(3)
    (model,) = listing(client)
    assert (model.name, model.versions, model.aliases) == (NAME, 3, {"candidate": "3", "champion": "2"})
    records = history(client, NAME)
    assert [record.version for record in records] == ["3", "2", "1"]
    assert [record.aliases for record in records] == [["candidate"], ["champion"], []]
    assert (records[0].decision, records[1].decision, records[1].who) == ("", "accepted", "ada")
    assert records[2].fingerprint == f"{1:016x}"
