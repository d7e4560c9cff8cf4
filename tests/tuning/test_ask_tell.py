from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from made_for_tuning import NIQE, PSNR, ask_tell_of, campaign_of
from optuna.trial import TrialState

from acutance.config.search_space import Point
from acutance.tuning.ask_tell import AskTell, Assignment
from acutance.tuning.study import open_storage, trial_records

SCORE = "psnr_y on a"
ASHA = {"type": "asha", "first_rung": 10, "reduction_factor": 3}


def asked(ask_tell: AskTell) -> Assignment:
    found = ask_tell.ask()
    assert isinstance(found, Assignment)
    return found


def played(ask_tell: AskTell, assignment: Assignment, score: float) -> str | None:
    """Report the same score at every look until the trial is stopped or over."""
    for step in assignment.measured_at:
        reason = ask_tell.report(assignment.number, step, {SCORE: score})
        if reason:
            ask_tell.end(assignment.number, reason)
            return reason
    ask_tell.end(assignment.number)
    return None


def test_a_stopped_trial_is_pruned_with_what_it_scored_on_the_way() -> None:
    ask_tell, study = ask_tell_of(campaign_of(scheduler=ASHA))
    first, second = asked(ask_tell), asked(ask_tell)
    assert first.measured_at == [10, 30, 90]
    assert played(ask_tell, first, 30) is None
    assert played(ask_tell, second, 20) == "place 2 of 2 at step 10; 1 went on"
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert study.trials[0].intermediate_values == {10: 30, 30: 30, 90: 30}
    assert study.trials[1].intermediate_values == {10: 20}
    known = trial_records(study)
    assert [record.state for record in known] == ["complete", "stopped"]
    assert known[1].history == {10: {SCORE: 20}}
    assert known[1].reason.startswith("place 2 of 2")
    assert known[0].values == {"stages.gan.optimiser.learning_rate": study.trials[0].params["optimiser.learning_rate"]}


def test_two_objectives_are_pruned_without_lying_to_the_sampler() -> None:
    campaign = campaign_of(
        objectives=[PSNR, NIQE],
        scheduler={**ASHA, "objective": "dominance"},
        sampler={"type": "tpe", "startup": 2},
        budget={"trials": 12},
    )
    ask_tell, study = ask_tell_of(campaign)
    for index in range(12):
        trial = asked(ask_tell)
        score = {SCORE: 30.0 - index, "niqe on a": 5.0 + index}
        for step in trial.measured_at:
            if reason := ask_tell.report(trial.number, step, score):
                ask_tell.end(trial.number, reason)
                break
        else:
            ask_tell.end(trial.number)
    states = [trial.state for trial in study.trials]
    assert states[0] == TrialState.COMPLETE
    assert states[1:] == [TrialState.PRUNED] * 11  # each is dominated by the first
    assert trial_records(study)[3].history[10] == {SCORE: 27, "niqe on a": 8}


def test_a_campaign_that_was_killed_hands_out_what_was_interrupted_first(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    campaign = campaign_of(scheduler=ASHA, budget={"trials": 4})
    ask_tell, _ = ask_tell_of(campaign, storage=open_storage(address))
    played(ask_tell, asked(ask_tell), 30)
    lost = asked(ask_tell)
    ask_tell.report(lost.number, 10, {SCORE: 31})
    asked(ask_tell)

    again, study = ask_tell_of(campaign, storage=open_storage(address))
    first, second = asked(again), asked(again)
    assert first.number == 1
    assert first.values == lost.values
    assert first.history == {10: {SCORE: 31}}
    assert second.number == 2
    assert again.report(2, 10, {SCORE: 30.5}) is not None  # judged against both that were at the rung before the kill
    again.end(2, "place 2")
    played(again, first, 31)
    played(again, asked(again), 1)
    assert again.ask() == "done"
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]


def test_a_resumed_campaign_proposes_new_points(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    values = []
    for trials in (3, 6):
        ask_tell, study = ask_tell_of(campaign_of(budget={"trials": trials}), storage=open_storage(address))
        while (assignment := ask_tell.ask()) != "done":
            assert isinstance(assignment, Assignment)
            played(ask_tell, assignment, 1)
        values = [trial.params["optimiser.learning_rate"] for trial in study.trials]
    assert len(set(values)) == 6


def test_fixed_points_are_run_in_order_and_marked_with_row_and_seed() -> None:
    points = [Point("a", 0, {"stages.gan.steps": 5}), Point("b", 1, {"stages.gan.steps": 6})]
    ask_tell, study = ask_tell_of(campaign_of(), points=points)
    assert [asked(ask_tell).values, asked(ask_tell).values] == [{"stages.gan.steps": 5}, {"stages.gan.steps": 6}]
    assert ask_tell.ask() == "done"
    assert [(record.row, record.seed) for record in trial_records(study)] == [("a", 0), ("b", 1)]


def test_scores_that_are_not_finite_fail_a_trial_and_failures_say_why() -> None:
    ask_tell, study = ask_tell_of(campaign_of())
    played(ask_tell, asked(ask_tell), math.nan)
    ask_tell.fail(asked(ask_tell).number, "out of memory")
    known = trial_records(study)
    assert [record.state for record in known] == ["failed", "failed"]
    assert [record.reason for record in known] == ["a score is not finite", "out of memory"]
    assert math.isnan(known[0].scores[SCORE])


def test_after_its_hours_a_campaign_proposes_nothing() -> None:
    ask_tell, _ = ask_tell_of(campaign_of())
    ask_tell.deadline = 0
    assert ask_tell.time_is_up()
    assert ask_tell.ask() == "done"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsgaii", "random"])
def test_every_sampler_serves_two_objectives(sampler: str) -> None:
    campaign = campaign_of(objectives=[PSNR, NIQE], sampler={"type": sampler, "startup": 3}, budget={"trials": 6})
    ask_tell, study = ask_tell_of(campaign)
    for _ in range(6):
        trial = asked(ask_tell)
        rate = trial.values["stages.gan.optimiser.learning_rate"]
        ask_tell.report(trial.number, 90, {SCORE: rate, "niqe on a": rate})
        ask_tell.end(trial.number)
    assert len({trial.params["optimiser.learning_rate"] for trial in study.trials}) == 6


def test_a_journal_file_keeps_a_study_too(tmp_path: Path) -> None:
    path = str(tmp_path / "studies.journal")
    ask_tell, _ = ask_tell_of(campaign_of(), storage=open_storage(path))
    played(ask_tell, asked(ask_tell), 3)
    _, study = ask_tell_of(campaign_of(), storage=open_storage(path))
    assert trial_records(study)[0].scores == {SCORE: 3}


def test_assignments_travel_as_text() -> None:
    assignment = Assignment(
        3, {"a.b": [1, None]}, [10, 30], {10: {"x": 1.5}}, "campaigns/c/trial-1-0/model.safetensors"
    )
    assert Assignment.from_json(assignment.to_json()) == assignment


def population(every: int = 10, **more: Any) -> dict[str, Any]:
    return {"scheduler": {"type": "pbt", "every": every, "population": 4, **more}, "budget": {"trials": 12}}


def generations(storage: optuna.storages.BaseStorage, stop_after: int = 99) -> list[Any]:
    ask_tell, study = ask_tell_of(campaign_of(**population()), storage=storage)
    while stop_after and (assignment := ask_tell.ask()) != "done":
        assert isinstance(assignment, Assignment)
        ask_tell.set_attributes(assignment.number, model=f"campaigns/c/trial-{assignment.number}-0/model.safetensors")
        rate = assignment.values["stages.gan.optimiser.learning_rate"]
        ask_tell.report(assignment.number, assignment.measured_at[-1], {SCORE: -abs(rate - 0.3)})
        ask_tell.end(assignment.number)
        stop_after -= 1
    return [(a.number, a.parent, a.values, a.step) for a in trial_records(study)]


def test_population_based_training_goes_on_from_the_best(tmp_path: Path) -> None:
    known = generations(optuna.storages.InMemoryStorage())
    assert [step for *_, step in known] == [10] * 4 + [20] * 4 + [30] * 4
    first = {number: -abs(values["stages.gan.optimiser.learning_rate"] - 0.3) for number, _, values, _ in known[:4]}
    worst, top = min(first, key=first.__getitem__), max(first, key=first.__getitem__)
    parents = {number - 4: parent for number, parent, *_ in known[4:8]}
    assert parents == {**{number: number for number in range(4)}, worst: top}
    assert known[4 + worst][2] != known[top][2]
    assert all(known[4 + number][2] == known[number][2] for number in range(4) if number != worst)


def test_a_killed_population_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    generations(open_storage(address), stop_after=4)
    first = generations(open_storage(address), stop_after=2)
    assert len(first) == 6
    assert generations(open_storage(address)) == generations(open_storage(address))


def test_a_generation_waits_for_the_one_before() -> None:
    ask_tell, _ = ask_tell_of(campaign_of(**population()))
    for _ in range(4):
        asked(ask_tell)
    assert ask_tell.ask() == "wait"


def test_cma_es_serves_one_objective() -> None:
    campaign = campaign_of(sampler={"type": "cmaes", "startup": 2}, budget={"trials": 6})
    ask_tell, study = ask_tell_of(campaign)
    for _ in range(6):
        trial = asked(ask_tell)
        played(ask_tell, trial, trial.values["stages.gan.optimiser.learning_rate"])
    assert len({trial.params["optimiser.learning_rate"] for trial in study.trials}) == 6
