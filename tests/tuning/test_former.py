"""A search space that was edited between a kill and `--resume`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_for_tuning import campaign_of, search_of
from mlflow.exceptions import MlflowException
from optuna.trial import TrialState

from acutance.commands.tune import former_campaign
from acutance.commands.tune.context import CampaignContext
from acutance.commands.tune.former_campaign import RUN, close_former, note_settings
from acutance.tuning import live_table
from acutance.tuning.study import TrialRecord, open_storage, open_study, trial_records
from acutance.tuning.study_lock import exclusive_driver

RATES = "optimiser.learning_rate"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(former_campaign, "say", told.append)
    return told


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """MLflow runs that are ended, and how."""
    ended: list[tuple[str, str]] = []
    monkeypatch.setattr(
        former_campaign.tracking, "finish_children", lambda _, run, how: ended.append((f"below {run}", how))
    )
    monkeypatch.setattr(former_campaign.tracking, "finish", lambda _, run, how: ended.append((run, how)))
    return ended


def running(run: str) -> Any:
    if run != "r1":
        raise MlflowException("no such run")
    return SimpleNamespace(info=SimpleNamespace(status="RUNNING"))


CLIENT: Any = SimpleNamespace(get_run=running)


def work_of(mark: str, **changes: Any) -> CampaignContext:
    """Return a campaign of a name that follows from no data."""
    search = search_of(campaign_of(**changes))
    work: Any = SimpleNamespace(search=search, campaign=search.campaign, name=f"space-{mark * 8}")
    return work


def test_it_says_what_differs_and_closes_the_interrupted_study(
    tmp_path: Path, said: list[str], runs: list[tuple[str, str]]
) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    old, new = work_of("a"), work_of("b", parameters={RATES: {"float": [0.01, 1]}}, budget={"trials": 7})
    first = open_study(storage, old.name, old.campaign.objectives)
    note_settings(old, first)
    first.set_user_attr(RUN, "r1")
    first.ask()
    first.tell(first.ask(), 30.0)
    second = open_study(storage, new.name, new.campaign.objectives)
    close_former(new, second, CLIENT)
    assert said == [
        "space-aaaaaaaa is not gone on with, since its settings differ; space-bbbbbbbb begins anew:\n"
        f"  parameters.{RATES}.float: [0.001, 1.0] -> [0.01, 1.0]"
    ]
    assert [trial.state for trial in first.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert trial_records(first)[0].reason == "given up: its search space was changed, space-bbbbbbbb goes on"
    assert runs == [("below r1", "KILLED"), ("r1", "KILLED")]
    close_former(new, second, CLIENT)
    assert len(said) == 1, "what was closed is not found again"


def test_one_that_runs_and_other_search_spaces_are_left_alone(
    tmp_path: Path, said: list[str], runs: list[tuple[str, str]]
) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    new = work_of("b")
    studies = [open_study(storage, name, new.campaign.objectives) for name in ("space-aaaaaaaa", "space-t-aaaaaaaa")]
    for study in studies:
        study.ask()
    with exclusive_driver(studies[0]):
        close_former(new, open_study(storage, new.name, new.campaign.objectives), CLIENT)
    assert {trial.state for study in studies for trial in study.trials} == {TrialState.RUNNING}
    assert len(said) == 1
    assert "is not touched: this campaign is running already" in said[0]


def test_fewer_trials_than_there_are_is_no_number_to_count_to(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(live_table, "say", told.append)
    known = [TrialRecord(number, "complete", {}) for number in range(2)] + [TrialRecord(2, "running", {})]
    shown = live_table.LiveTable([], "", known, 1, 90, 2)
    shown.on_end(TrialRecord(2, "complete", {}))
    assert told == ["trial 2 (3 of 3): no score"]
