"""Failures of what trials run on are no failures of trials: those stay in the study, for a campaign that is resumed."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_for_tuning import ask_tell_of, campaign_of
from optuna import Study
from optuna.trial import TrialState
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError

from acutance.errors import ConfigError, FullError, LostError, RefusedError, UnreachableError, UserError
from acutance.tuning import search
from acutance.tuning.search import RETRIES, Listener, Searcher, _Coordinator, _Scheduler
from acutance.tuning.trial import _failure

PBT = {"type": "pbt", "population": 4, "every": 10}
SPLIT = {"optimiser.learning_rate": {"float": [0.001, 1]}}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> tuple[_Coordinator, Study, list[str]]:
    """A campaign whose first trial runs, as `a`; who has ended, and how."""
    ask_tell, study = ask_tell_of(campaign_of(budget={"trials": 3}))
    ended: list[str] = []
    monkeypatch.setattr(search, "upstream_of", lambda *_: set())
    monkeypatch.setattr(search, "say", lambda _: None)
    listener = Listener(lambda *_: None, lambda record, _: ended.append(f"{record.state}: {record.reason}"))
    coordinator = _Coordinator(ask_tell, SimpleNamespace(), listener)  # type: ignore[arg-type]
    assert coordinator.propose("a")
    return coordinator, study, ended


def told(**content: Any) -> dict[str, Any]:
    return {
        "report": json.dumps(
            {"model": "m", "run": "r", "losses": {}, "scores": {}, "spread": {}, "checkpoints": [], **content}
        )
    }


def states(study: Study) -> list[TrialState]:
    return [trial.state for trial in study.get_trials(deepcopy=False)]


def test_a_store_that_stays_away_interrupts_the_campaign(begun: tuple[_Coordinator, Study, list[str]]) -> None:
    coordinator, study, ended = begun
    away = ["UnreachableError", "the storage does not answer", "s3://b", None]
    assert coordinator.on_result("a", {"report": json.dumps({"stop": away})}) is False
    coordinator.on_complete("a", error=False)
    assert coordinator.propose("b") == Searcher.FINISHED
    assert (states(study), ended) == ([TrialState.RUNNING], [])
    assert isinstance(coordinator.interruption, UnreachableError)
    assert "go on with --resume" in str(coordinator.interruption)


@pytest.mark.parametrize(
    "error",
    [
        FullError("there is no room for 627.0 MB: its disk has 1.0 MB free", where="/out", fix="free some"),
        RefusedError("the storage refuses: ExpiredToken", where="s3://b", fix="get another"),
    ],
)
def test_what_no_trial_could_do_without_stops_the_campaign_and_fails_no_trial(
    begun: tuple[_Coordinator, Study, list[str]], error: UserError
) -> None:
    coordinator, study, ended = begun
    assert coordinator.on_result("a", {"report": json.dumps(_failure(error))}) is False
    coordinator.on_complete("a", error=False)
    assert coordinator.propose("b") == Searcher.FINISHED
    assert (states(study), ended) == ([TrialState.RUNNING], [])
    found = coordinator.interruption
    assert type(found) is type(error)
    assert (found.what, found.where) == (error.what, error.where)
    assert found.fix == f"{error.fix}; then go on with --resume"


def test_a_full_disk_is_known_whoever_wrote_to_it(tmp_path: Path) -> None:
    told = _failure(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "file")))
    assert (told["stop"][0], told["stop"][2]) == ("FullError", str(tmp_path))
    with pytest.raises(OSError, match="stale"):
        _failure(OSError(errno.ESTALE, "stale file handle"))
    assert list(_failure(ConfigError("a mistake"))) == ["failed"]


def test_the_controller_does_not_raise_for_a_store(
    begun: tuple[_Coordinator, Study, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator, study, _ = begun

    def away(*_: Any) -> set[str]:
        raise UnreachableError("the storage does not answer")

    monkeypatch.setattr(search, "upstream_of", away)
    assert coordinator.propose("b") == Searcher.FINISHED
    assert states(study) == [TrialState.RUNNING] * 2
    assert isinstance(coordinator.interruption, UnreachableError)


def test_a_trial_that_loses_workers_goes_on_as_long_as_it_comes_further(
    begun: tuple[_Coordinator, Study, list[str]],
) -> None:
    coordinator, study, ended = begun
    lost = {"report": json.dumps({"lost": "a worker was lost"})}
    for step in range(1, 4):
        assert all(coordinator.on_result("a", lost) for _ in range(RETRIES))
        assert coordinator.on_result("a", told(step=step))
    assert [coordinator.on_result("a", lost) for _ in range(RETRIES + 1)] == [True] * RETRIES + [False]
    assert (states(study), ended) == ([TrialState.RUNNING], [])
    assert isinstance(coordinator.interruption, LostError)


def test_who_kills_its_process_again_and_again_fails_and_a_lost_node_is_nobodys_fault(
    begun: tuple[_Coordinator, Study, list[str]],
) -> None:
    coordinator, study, ended = begun
    coordinator.on_failure("a", RuntimeError("trace\nCUDA out of memory"))
    coordinator.on_complete("a", error=True)
    assert states(study) == [TrialState.FAIL]
    assert ended == ["failed: it failed 4 times in a row without coming further: CUDA out of memory"]
    assert coordinator.propose("b")
    how = ActorDiedErrorContext(
        error_message="The actor died because its node has died. Node Id: 5", actor_id=b"1" * 16
    )
    coordinator.on_failure("b", ActorDiedError(how))
    coordinator.on_complete("b", error=True)
    assert states(study) == [TrialState.FAIL, TrialState.RUNNING]
    assert isinstance(coordinator.interruption, LostError)


@pytest.mark.parametrize(("scheduler", "left"), [({"type": "asha", "first_rung": 10}, False), (PBT, True)])
def test_a_trial_that_has_ended_leaves_no_checkpoints_but_to_those_that_go_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: dict[str, Any], left: bool
) -> None:
    ask_tell, _ = ask_tell_of(campaign_of(scheduler=scheduler, parameters=SPLIT))
    monkeypatch.setattr(search, "upstream_of", lambda *_: set())
    coordinator = _Coordinator(ask_tell, SimpleNamespace(), Listener(lambda *_: None, lambda *_: None))  # type: ignore[arg-type]
    coordinator.propose("a")
    (tmp_path / "checkpoints").mkdir()
    scores, checkpoints = {"psnr_y on a": 30.0}, [str(tmp_path / "checkpoints")]
    assert coordinator.on_result("a", told(step=90, scores=scores, checkpoints=checkpoints))
    assert (tmp_path / "checkpoints").exists()
    coordinator.on_complete("a", error=False)
    assert (tmp_path / "checkpoints").exists() == left


def test_restarts_count_from_where_a_trial_came_furthest(begun: tuple[_Coordinator, Study, list[str]]) -> None:
    scheduler = _Scheduler(begun[0])
    trial = SimpleNamespace(trial_id="a", num_failures=3, max_failures=RETRIES)
    scheduler.on_trial_result(None, trial, told(step=10))
    assert trial.max_failures == 3 + RETRIES
    trial.num_failures = 5
    scheduler.on_trial_result(None, trial, told(step=10))
    assert trial.max_failures == 3 + RETRIES, "the same step again is no progress"


def test_a_campaign_that_another_process_has_taken_over_is_left_to_it(
    begun: tuple[_Coordinator, Study, list[str]],
) -> None:
    coordinator, study, ended = begun
    coordinator.lease = SimpleNamespace(held=lambda: False)  # type: ignore[assignment]
    score = next(iter(coordinator.ask_tell.campaign.objectives)).name
    assert coordinator.on_result("a", told(step=90, scores={score: 1.0})) is False
    coordinator.on_complete("a", error=False)
    assert coordinator.propose("b") == Searcher.FINISHED
    assert (states(study), ended) == ([TrialState.RUNNING], [])
    assert not study.trials[0].user_attrs.get("model")
