"""An outage of the database of studies is waited for, as tests/storage/test_patience.py has it of any store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_for_tuning import ask_tell_of, campaign_of
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from acutance.errors import FullError
from acutance.tuning.ask_tell import Assignment
from acutance.tuning.database import WaitingStorage
from acutance.tuning.study import open_storage


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[tuple[WaitingStorage, Callable[[int, str], None]]]:
    """A storage, and a function that has so many of its next statements fail."""
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    assert isinstance(storage, WaitingStorage)
    failing = {"times": 0, "why": ""}

    def fail(*_: Any) -> None:
        if failing["times"]:
            failing["times"] -= 1
            raise OperationalError("SELECT", {}, Exception(failing["why"]))

    def fails(times: int, why: str = "server closed the connection unexpectedly") -> None:
        failing.update(times=times, why=why)

    event.listen(storage.engine, "before_cursor_execute", fail)
    yield storage, fails
    event.remove(storage.engine, "before_cursor_execute", fail)


Studies = tuple[WaitingStorage, Callable[..., None]]


def test_whatever_is_asked_while_it_is_away_is_asked_again(studies: Studies, said: list[str]) -> None:
    storage, fails = studies
    campaign = campaign_of(budget={"trials": 2})
    ask_tell, study = ask_tell_of(campaign, storage=storage)
    score = campaign.objectives[0].name
    fails(2)
    trial = ask_tell.ask()
    assert isinstance(trial, Assignment)
    fails(2)
    ask_tell.report(trial.number, 90, {score: 30.0})
    fails(2)
    ask_tell.end(trial.number)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]
    assert study.trials[0].values == [30.0]
    assert said[0].startswith("the database of studies does not answer (server closed the connection unexpectedly);")
    assert said[1].startswith("the database of studies answers again")


def test_a_full_disk_is_not_waited_for(studies: Studies, said: list[str], tmp_path: Path) -> None:
    storage, fails = studies
    ask_tell, _ = ask_tell_of(campaign_of(), storage=storage)
    fails(1, "database or disk is full")
    with pytest.raises(FullError) as caught:
        ask_tell.ask()
    assert caught.value.where == str(tmp_path)
    assert said == []
