from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_for_registry import NAME, held, measure, never, one_story, told, version
from mlflow import MlflowClient

from acutance.errors import DataError, ModelError, UserError
from acutance.registry.gate import Measurements
from acutance.registry.promotion import history, promote, rollback
from acutance.registry.versions import listing, version_records

Register = Callable[[float], str]


@pytest.fixture
def client(shared: MlflowClient) -> MlflowClient:
    return shared


@pytest.fixture
def register(client: MlflowClient, shared_run: str) -> Register:
    return lambda db: version(client, shared_run, db)


@pytest.fixture
def promoted(client: MlflowClient, register: Register) -> MlflowClient:
    """A registry whose versions 1, 2 and 3 were the champion one after the other."""
    for db in (27.0, 27.5, 28.0):
        register(db)
        promote(client, NAME, measure=measure, who="ada")
    return client


def test_first_better_and_worse(client: MlflowClient, register: Register) -> None:
    register(27.0)
    first = promote(client, NAME, measure=measure, who="ada")
    assert (first.accepted, first.reason, first.version, first.before) == (True, "no champion yet", "1", "")
    register(27.5)
    better = promote(client, NAME, measure=measure, who="ada")
    assert (better.accepted, better.version, better.before, better.after) == (True, "2", "1", "2")
    assert better.numbers["psnr_y"] == {
        "candidate": 28.5,
        "champion": 28.0,
        "difference": 0.5,
        "low": 0.5,
        "high": 0.5,
        "worse_by": -0.5,
        "allowed": 0.1,
        "pictures": 2,
    }
    register(26.0)
    worse = promote(client, NAME, measure=measure, who="bob")
    assert (worse.accepted, worse.version, worse.before, worse.after) == (False, "3", "2", "2")
    assert "psnr_y is worse: 28.500 -> 27.000" in worse.reason
    assert held(client) == "2"


@pytest.mark.parametrize(("db", "outcome"), [(27.5, "accepted"), (26.0, "refused")])
def test_decision_is_kept_either_way(client: MlflowClient, register: Register, db: float, outcome: str) -> None:
    register(27.0)
    promote(client, NAME, measure=measure, who="ada")
    number = register(db)
    decision = promote(client, NAME, measure=measure, who="bob")
    tags = client.get_model_version(NAME, number).tags
    assert tags["acutance.decision"] == outcome
    assert tags["acutance.decision.reason"] == decision.reason
    assert (tags["acutance.decision.who"], tags["acutance.decision.when"]) == ("bob", decision.when)
    assert json.loads(tags["acutance.decision.numbers"]) == decision.numbers
    run = client.get_model_version(NAME, number).run_id
    (file,) = [file.path for file in client.list_artifacts(run, "decisions") if f"-v{number}-" in file.path]
    kept = json.loads(Path(client.download_artifacts(run, file)).read_text())
    assert (kept["outcome"], kept["who"], kept["version"], kept["from"]) == (outcome, "bob", number, "1")
    assert (kept["evaluation_spec"], kept["evidence"]) == ({"protocol": "y_crop4"}, "there")
    assert kept["numbers"] == decision.numbers


def test_the_trail_tells_everything_in_order(promoted: MlflowClient, register: Register) -> None:
    register(26.0)
    promote(promoted, NAME, measure=measure, who="bob")
    promote(promoted, NAME, measure=measure, who="bob", force="text must stay legible")
    rollback(promoted, NAME, who="eve", why="halos")
    assert told(promoted) == [
        ("accepted", "1", "", "1"),
        ("accepted", "2", "1", "2"),
        ("accepted", "3", "2", "3"),
        ("refused", "4", "3", "3"),
        ("forced", "4", "3", "4"),
        ("rolled back", "4", "4", "3"),
    ]
    decisions = one_story(promoted)
    assert [decision.who for decision in decisions] == ["ada", "ada", "ada", "bob", "bob", "eve"]
    assert decisions[5].reason == "halos"
    assert decisions[4].reason.startswith("text must stay legible (without force: psnr_y is worse")
    assert decisions[4].numbers["psnr_y"]["worse_by"] == 2.0
    assert decisions[4].to_json()["from"] == "3"


def test_who_was_trained_on_the_exam_is_refused_without_force(client: MlflowClient, register: Register) -> None:
    def trained_on_held_out(new: Path, old: Path | None) -> Measurements:
        return replace(measure(new, old), overlap="trained on what it is judged by: 3 of 3 pictures")

    register(27.0)
    refused = promote(client, NAME, measure=trained_on_held_out, who="ada")
    assert (refused.accepted, held(client)) == (False, "")
    assert refused.reason.startswith("trained on what it is judged by: 3 of 3 pictures")
    assert promote(client, NAME, measure=trained_on_held_out, who="ada", force="it is meant").accepted


def test_present_champion_changes_nothing_and_is_not_judged(client: MlflowClient, register: Register) -> None:
    register(27.0)
    promote(client, NAME, measure=measure, who="ada")
    before = history(client, NAME)
    again = promote(client, NAME, measure=never, who="bob")
    assert (again.accepted, again.reason, again.number) == (True, "version 1 is the champion already", 0)
    assert history(client, NAME) == before
    with pytest.raises(ModelError, match="nothing to roll back to"):
        rollback(client, NAME, who="bob")


def test_judge_that_fails_changes_nothing_but_does_not_stop_force(client: MlflowClient, register: Register) -> None:
    register(27.0)
    promote(client, NAME, measure=measure, who="ada")
    register(27.5)

    def blind(*_: object) -> Measurements:
        raise DataError("the pictures are gone", fix="fetch them")

    with pytest.raises(DataError):
        promote(client, NAME, measure=blind, who="ada")
    assert told(client) == [("accepted", "1", "", "1")]
    forced = promote(client, NAME, measure=blind, who="ada", force="the disk broke")
    assert forced.reason == "the disk broke (without force: not measured: the pictures are gone)"
    assert held(client) == "2"


def test_a_version_whose_weights_are_gone_is_not_even_forced(client: MlflowClient, register: Register) -> None:
    (Path(client.get_model_version(NAME, register(26.5)).source) / "artifacts" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="files of this version are gone"):
        promote(client, NAME, measure=measure, who="ada", force="I say so")
    assert told(client) == []


def test_each_rollback_goes_one_back(promoted: MlflowClient) -> None:
    first = rollback(promoted, NAME, who="bob", why="halos on text")
    assert (first.before, first.after, held(promoted)) == ("3", "2", "2")
    tags = promoted.get_model_version(NAME, "3").tags
    assert (tags["acutance.decision"], tags["acutance.decision.reason"]) == ("rolled back", "halos on text")
    assert rollback(promoted, NAME, who="bob").after == "1"
    with pytest.raises(ModelError, match="nothing to roll back to"):
        rollback(promoted, NAME, who="bob")
    assert held(promoted) == "1"
    one_story(promoted)


def test_rolled_back_version_comes_back_by_force_only(promoted: MlflowClient) -> None:
    for _ in range(2):
        assert rollback(promoted, NAME, who="bob", why="halos").after == "2"
        refused = promote(promoted, NAME, measure=never, who="cron")
        assert (refused.outcome, held(promoted)) == ("refused", "2")
        assert "it was rolled back on" in refused.reason
        assert (version_records(promoted, NAME)[0].decision, version_records(promoted, NAME)[0].who) == (
            "rolled back",
            "bob",
        )
        assert "by bob (halos); --force --reason TEXT" in refused.reason
        assert promote(promoted, NAME, measure=measure, who="bob", force="halos mended").outcome == "forced"
        assert held(promoted) == "3"
    one_story(promoted)


def test_rolled_back_from_one_alias_may_still_win_another(promoted: MlflowClient) -> None:
    rollback(promoted, NAME, who="bob")
    assert promote(promoted, f"{NAME}/3", measure=measure, who="bob", to="shadow").accepted
    assert (held(promoted), held(promoted, "shadow")) == ("2", "3")


def test_any_version_or_alias_may_win_any_alias(promoted: MlflowClient, register: Register) -> None:
    register(29.0)
    assert promote(promoted, f"{NAME}/1", measure=measure, who="ada", to="shadow").before == ""
    better = promote(promoted, f"models:/{NAME}@candidate", measure=measure, who="ada", to="shadow")
    assert (better.before, better.numbers["psnr_y"]["champion"]) == ("1", 28.0)
    assert promote(promoted, f"{NAME}@shadow", measure=measure, who="ada").before == "3"
    assert promoted.get_registered_model(NAME).aliases.keys() == {"candidate", "champion", "shadow"}
    assert rollback(promoted, NAME, who="ada", of="shadow").after == "1"
    assert held(promoted) == "4"
    one_story(promoted)


@pytest.mark.parametrize("alias", ["latest", "v2", "two words", ""])
def test_an_alias_that_mlflow_does_not_take_is_refused_before_judging(promoted: MlflowClient, alias: str) -> None:
    with pytest.raises(UserError, match="cannot be an alias"):
        promote(promoted, f"{NAME}/1", measure=never, who="ada", to=alias)


def test_rollback_passes_over_a_deleted_version(promoted: MlflowClient) -> None:
    promoted.delete_model_version(NAME, "2")
    assert rollback(promoted, NAME, who="bob").after == "1"
    assert held(promoted) == "1"


def test_a_version_whose_files_are_gone_is_not_rolled_back_to(promoted: MlflowClient) -> None:
    shutil.rmtree(Path(promoted.get_model_version(NAME, "2").source.removeprefix("file://")))
    with pytest.raises(ModelError, match="the files of this version are gone"):
        rollback(promoted, NAME, who="ada")
    assert held(promoted) == "3"
    assert len(told(promoted)) == 3


def test_an_alias_that_was_deleted_by_hand_comes_back(promoted: MlflowClient) -> None:
    promoted.delete_registered_model_alias(NAME, "champion")
    decision = rollback(promoted, NAME, who="ada")
    assert (decision.before, decision.after, held(promoted)) == ("", "3", "3")
    one_story(promoted)


def test_a_version_that_got_its_alias_back_is_not_called_rolled_back(promoted: MlflowClient) -> None:
    promote(promoted, f"{NAME}/1", measure=measure, who="ada", force="as it was")
    rollback(promoted, NAME, who="ada")
    rollback(promoted, NAME, who="ada")
    rollback(promoted, NAME, who="ada")
    assert held(promoted) == "1"
    shown = {record.version: (record.aliases, record.decision) for record in version_records(promoted, NAME)}
    assert shown["1"] == (["champion"], "restored")
    assert shown["2"][1] == shown["3"][1] == "rolled back"
    one_story(promoted)


def test_an_alias_that_was_moved_by_hand_is_taken_as_it_is(promoted: MlflowClient, register: Register) -> None:
    promoted.set_registered_model_alias(NAME, "champion", "1")
    register(27.2)
    assert promote(promoted, NAME, measure=measure, who="ada").before == "1"
    assert told(promoted)[3:] == [("moved outside", "1", "3", "1"), ("accepted", "4", "1", "4")]
    one_story(promoted)
    assert [rollback(promoted, NAME, who="ada").after for _ in range(2)] == ["1", "3"]
    promoted.delete_registered_model_alias(NAME, "champion")
    assert promote(promoted, f"{NAME}/2", measure=measure, who="ada").reason == "no champion yet"


def test_a_champion_from_before_the_trail_is_the_one_to_beat(client: MlflowClient, register: Register) -> None:
    for db in (27.0, 27.5):
        register(db)
    client.set_registered_model_alias(NAME, "champion", "1")
    assert promote(client, NAME, measure=measure, who="ada").before == "1"
    assert rollback(client, NAME, who="ada").after == "1"
    one_story(client)


def test_a_model_made_anew_has_no_past(promoted: MlflowClient, register: Register) -> None:
    rollback(promoted, NAME, who="ada")
    promoted.delete_registered_model(NAME)
    for db in (27.0, 27.5, 28.0):
        register(db)
    assert history(promoted, NAME) == []
    assert promote(promoted, NAME, measure=measure, who="ada").reason == "no champion yet"


def test_nothing_to_promote_says_what_to_do(client: MlflowClient) -> None:
    with pytest.raises(ModelError, match="acutance run PIPELINE"):
        promote(client, NAME, measure=measure, who="ada")
    client.create_registered_model(NAME)
    with pytest.raises(ModelError, match="has no candidate") as caught:
        promote(client, NAME, measure=measure, who="ada")
    assert "acutance run PIPELINE" in str(caught.value)
    with pytest.raises(ModelError, match="no such version"):
        promote(client, f"{NAME}/7", measure=measure, who="ada")
    with pytest.raises(ModelError, match="nothing to roll back to"):
        rollback(client, NAME, who="ada")
    with pytest.raises(ModelError, match="no registered model"):
        history(client, "other")
    assert history(client, NAME) == []


def test_listing_and_versions(client: MlflowClient, register: Register) -> None:
    assert listing(client) == []
    for db in (27.0, 27.5):
        register(db)
        promote(client, NAME, measure=measure, who="ada")
    register(26.0)
    (model,) = listing(client)
    assert (model.name, model.versions, model.aliases) == (NAME, 3, {"candidate": "3", "champion": "2"})
    records = version_records(client, NAME)
    assert [record.version for record in records] == ["3", "2", "1"]
    assert [record.aliases for record in records] == [["candidate"], ["champion"], []]
    assert (records[0].decision, records[1].decision, records[1].who) == ("", "accepted", "ada")
