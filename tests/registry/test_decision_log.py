"""What happens between two writes: another process that was faster, one that was slow, one that was killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from made_for_registry import NAME, Killed, Mortal, held, measure, never, one_story, told, version
from mlflow import MlflowClient

from acutance.errors import ModelError, UserError
from acutance.registry import decision_log
from acutance.registry.decision_log import Decision, holders, last_about, rollback_of
from acutance.registry.gate import Measurements
from acutance.registry.promotion import history, promote, rollback

Register = Callable[..., str]


@pytest.fixture
def client(shared: MlflowClient) -> MlflowClient:
    return shared


@pytest.fixture
def register(client: MlflowClient, shared_run: str) -> Register:
    return lambda db, name=NAME: version(client, shared_run, db, name)


@pytest.fixture
def promoted(client: MlflowClient, register: Register) -> MlflowClient:
    """A registry whose version 1 is the champion; 2 is better, 3 the best."""
    for db in (27.0, 27.5, 28.0):
        register(db)
    promote(client, f"{NAME}/1", measure=measure, who="ada")
    return client


def test_who_was_slower_is_judged_against_the_new_champion(promoted: MlflowClient) -> None:
    rivals: list[float] = []

    def slow(new: Path, old: Path | None) -> Measurements:
        assert old is not None
        rivals.append(float(old.read_text()))
        if len(rivals) == 1:
            promote(promoted, f"{NAME}/3", measure=measure, who="bob")
        return measure(new, old)

    decision = promote(promoted, f"{NAME}/2", measure=slow, who="ada")
    assert rivals == [27.0, 28.0]
    assert (decision.outcome, decision.before) == ("refused", "3")
    assert told(promoted)[1:] == [("accepted", "3", "1", "3"), ("refused", "2", "3", "3")]
    one_story(promoted)


def test_a_decision_that_left_the_champion_in_place_needs_no_second_exam(promoted: MlflowClient) -> None:
    exams: list[Path] = []

    def slow(new: Path, old: Path | None) -> Measurements:
        exams.append(new)
        promote(promoted, f"{NAME}/2", measure=measure, who="bob", to="shadow")
        return measure(new, old)

    assert promote(promoted, f"{NAME}/3", measure=slow, who="ada").number == 3
    assert len(exams) == 1
    one_story(promoted)


class Slow(Mortal):
    """A client that is suspended before it moves an alias, while others go on."""

    def __init__(self, client: MlflowClient, meanwhile: Callable[[], Any]) -> None:
        super().__init__(client, writes=-1)
        self.meanwhile = [meanwhile]

    def set_registered_model_alias(self, *arguments: str) -> None:
        if self.meanwhile:
            self.meanwhile.pop()()
        self.client.set_registered_model_alias(*arguments)


def test_who_moves_an_alias_too_late_moves_it_back(promoted: MlflowClient) -> None:
    slow = Slow(promoted, lambda: promote(promoted, f"{NAME}/3", measure=measure, who="bob"))
    assert promote(slow, f"{NAME}/2", measure=measure, who="ada").outcome == "accepted"
    assert told(promoted)[1:] == [("accepted", "2", "1", "2"), ("accepted", "3", "2", "3")]
    assert held(promoted) == "3"
    one_story(promoted)


def test_a_rollback_that_comes_too_late_says_so(promoted: MlflowClient) -> None:
    promote(promoted, f"{NAME}/2", measure=measure, who="ada")
    slow = Slow(promoted, lambda: None)
    slow.get_run = lambda run_id: (slow.once(), promoted.get_run(run_id))[1]  # type: ignore[attr-defined]
    waiting = [lambda: promote(promoted, f"{NAME}/3", measure=measure, who="bob")]
    slow.once = lambda: waiting and waiting.pop()()  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="meanwhile the champion of 'sr-x2-test' is version 3 instead of 2"):
        rollback(slow, NAME, who="ada")
    assert held(promoted) == "3"
    one_story(promoted)


def lives(command: Callable[[], Any]) -> bool:
    """Run a command; tell whether it came to its end."""
    try:
        command()
    except Killed:
        return False
    return True


def test_a_promotion_killed_before_any_of_its_writes_is_gone_on_with(client: MlflowClient, register: Register) -> None:
    for writes in count():
        number = register(20.0 + 2 * writes)
        before = held(client)
        mortal = Mortal(client, writes)
        if lives(lambda mortal=mortal: promote(mortal, NAME, measure=measure, who="ada")):  # type: ignore[misc]
            break
        assert held(client) in (before, number)
        if writes % 2:  # the same command again
            assert promote(client, NAME, measure=measure, who="ada").accepted
            assert [d.version for d in history(client, NAME)].count(number) == 1
        else:  # a command about another version
            decided = any(decision.version == number for decision in history(client, NAME))
            register(21.0 + 2 * writes)
            assert promote(client, NAME, measure=measure, who="bob").before == (number if decided else before)
        one_story(client)
    assert writes > 3, "it was killed at several places"


def test_a_trail_whose_making_was_killed_is_made_by_the_next_one(client: MlflowClient, register: Register) -> None:
    for writes in range(4):
        name = f"new-{writes}"
        register(27.0, name)
        mortal = Mortal(client, writes)
        assert not lives(lambda mortal=mortal, name=name: promote(mortal, name, measure=measure, who="ada"))  # type: ignore[misc]
        assert promote(client, name, measure=measure, who="ada").accepted
        assert len(one_story(client, name)) == 1
        place = client.get_experiment_by_name("acutance.decisions")
        assert place is not None
        trails = client.search_runs([place.experiment_id], f"attributes.run_name = '{name}'")
        assert [run.info.status for run in trails] == ["FINISHED"]


def test_a_rollback_killed_before_any_of_its_writes_is_gone_on_with(client: MlflowClient, register: Register) -> None:
    register(27.0)
    promote(client, NAME, measure=measure, who="ada")
    for writes in count():
        before = held(client)
        number = register(28.0 + writes)
        promote(client, NAME, measure=measure, who="ada")
        mortal = Mortal(client, writes)
        if lives(lambda mortal=mortal: rollback(mortal, NAME, who="ada")):  # type: ignore[misc]
            break
        decided = history(client, NAME)[-1].outcome == "rolled back"
        again = promote(client, NAME, measure=never, who="cron")
        expected = ("refused", before) if decided else ("unchanged", number)
        assert (again.outcome, held(client)) == expected
        one_story(client)
    assert writes > 3, "it was killed at several places"


def test_what_was_recorded_but_not_carried_out_is_shown_so(promoted: MlflowClient) -> None:
    class NoAlias(Mortal):
        def set_registered_model_alias(self, *_: str) -> None:
            raise Killed

    with pytest.raises(Killed):
        promote(NoAlias(promoted, -1), f"{NAME}/2", measure=measure, who="ada")
    assert [decision.carried_out for decision in history(promoted, NAME)] == [True, False]
    with pytest.raises(ModelError, match="meanwhile the champion"):
        rollback(promoted, NAME, who="ada")  # who saw version 1 may not want to go back from version 2
    assert held(promoted) == "2"


def test_one_place_in_the_trail_is_taken_once(promoted: MlflowClient) -> None:
    run = decision_log.open_log(promoted, promoted.get_registered_model(NAME))
    same = Decision("refused", NAME, "champion", "2", "1", "1", "worse", "ada", decision_log.now(), number=2)
    assert [decision_log.append(promoted, run, same) for _ in range(2)] == [True, False]


def test_a_decision_that_mlflow_would_cut_is_refused(promoted: MlflowClient) -> None:
    run = decision_log.open_log(promoted, promoted.get_registered_model(NAME))
    numbers = {f"metric {number}": {"candidate": 1.0} for number in range(400)}
    long = Decision("refused", NAME, "champion", "2", "1", "1", "w" * 9000, "ada", decision_log.now(), number=2)
    with pytest.raises(UserError, match="too long"):
        decision_log.append(promoted, run, Decision(**{**vars(long), "numbers": numbers}))
    assert decision_log.append(promoted, run, long)
    assert len(history(promoted, NAME)[1].reason) == 1500


def test_the_past_of_an_alias_follows_from_its_decisions() -> None:
    def made(outcome: str, version: str, before: str, after: str, alias: str = "champion") -> Decision:
        return Decision(outcome, NAME, alias, version, before, after, "", "ada", "")

    decisions = [
        made("accepted", "1", "", "1"),
        made("accepted", "9", "", "9", "shadow"),
        made("refused", "2", "1", "1"),
        made("forced", "2", "1", "2"),
        made("accepted", "3", "2", "3"),
        made("rolled back", "3", "3", "1"),  # version 2 was deleted
    ]
    assert holders(decisions, "champion") == ["1"]
    assert holders(decisions[:5], "champion") == ["1", "2", "3"]
    assert holders(decisions, "shadow") == ["9"]
    undone = rollback_of(decisions, "champion", "3")
    assert undone is decisions[5]
    refused = made("refused", "3", "1", "1")
    assert rollback_of([*decisions, refused], "champion", "3") is undone
    assert last_about([*decisions, refused], "3") is undone
    assert last_about([*decisions, refused], "2") is decisions[3]
    assert last_about(decisions[:3], "2") is decisions[2]
    assert last_about(decisions, "7") is None
    assert rollback_of([*decisions, made("forced", "3", "1", "3")], "champion", "3") is None
    assert rollback_of(decisions, "shadow", "3") is None


def test_decisions_survive_as_they_were_made(promoted: MlflowClient) -> None:
    made = promote(promoted, f"{NAME}/2", measure=measure, who="ada")
    kept = history(promoted, NAME)[1]
    assert {**vars(kept), "carried_out": False} == vars(made)
    assert json.loads(json.dumps(kept.to_json()))["evaluation_spec"] == {"protocol": "y_crop4"}
