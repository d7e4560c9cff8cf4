from __future__ import annotations

import math
import random
from typing import Any

import optuna
import pytest

from acutance.config.search_space import Asha, Goal, Median
from acutance.tuning.pruners import measurement_steps, prune_reason, ranking_losses

PSNR = Goal(metric="psnr_y", on="a", goal="maximize")
NIQE = Goal(metric="niqe", on="a", goal="minimize")
ASHA = Asha(type="asha", first_rung=10, reduction_factor=3)
MEDIAN = Median(type="median", every=10, after=2)


def scores(*psnr: float) -> dict[int, dict[str, float]]:
    return {number: {PSNR.name: value} for number, value in enumerate(psnr)}


def test_rungs_grow_by_the_reduction_factor() -> None:
    assert measurement_steps(ASHA, 100) == [10, 30, 90, 100]
    assert measurement_steps(ASHA, 90) == [10, 30, 90]
    assert measurement_steps(ASHA, 5) == [5]
    assert measurement_steps(Asha(type="asha", first_rung=10, reduction_factor=1.5), 40) == [10, 15, 22, 34, 40]
    assert measurement_steps(MEDIAN, 35) == [10, 20, 30, 35]
    assert measurement_steps(None, 35) == [35]


@pytest.mark.parametrize(
    ("values", "goes_on"),
    [((20,), True), ((20, 21), True), ((21, 20), False), ((5, 9, 8, 1, 2, 8.5), True), ((5, 9, 8, 1, 2, 7), False)],
)
def test_asha_keeps_the_best_third_of_those_at_the_rung(values: tuple[float, ...], goes_on: bool) -> None:
    reason = prune_reason(ASHA, PSNR.name, [PSNR], {10: scores(*values)}, 10, len(values) - 1)
    assert (reason is None) == goes_on


@pytest.mark.parametrize("seed", range(5))
def test_asha_decides_as_optunas_pruner(seed: int) -> None:
    draw = random.Random(seed)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3, min_early_stopping_rate=0)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    rule, seeds_sentence = Asha(type="asha", first_rung=1, reduction_factor=3), dict[int, Any]()
    for _ in range(30):
        trial = study.ask()
        for step in (1, 3, 9):
            value = draw.random()
            seeds_sentence.setdefault(step, {})[trial.number] = {PSNR.name: value}
            trial.report(value, step)
            ours = prune_reason(rule, PSNR.name, [PSNR], seeds_sentence, step, trial.number) is not None
            assert ours == trial.should_prune()
            if ours:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, value)


def test_the_median_rule_waits_for_others_and_looks_at_the_best_so_far() -> None:
    def stopped(*psnr: float, before: float = 0.0) -> bool:
        last = len(psnr) - 1
        seeds_sentence = {10: {last: {PSNR.name: before}}, 20: scores(*psnr)}
        return prune_reason(MEDIAN, PSNR.name, [PSNR], seeds_sentence, 20, last) is not None

    assert not stopped(9, 1)
    assert stopped(9, 5, 6)
    assert not stopped(9, 5, 7.5)
    assert not stopped(9, 5, 6, before=8)


def test_dominance_counts_those_that_are_better_in_all() -> None:
    points = {0: (30, 6), 1: (28, 4), 2: (27, 5), 3: (26, 7)}
    there = {number: {PSNR.name: psnr, NIQE.name: niqe} for number, (psnr, niqe) in points.items()}
    assert ranking_losses("dominance", [PSNR, NIQE], there) == {0: 0, 1: 0, 2: 1, 3: 3}
    assert ranking_losses(NIQE.name, [PSNR, NIQE], there) == {0: 6, 1: 4, 2: 5, 3: 7}


def test_a_score_that_is_not_finite_is_worst() -> None:
    assert ranking_losses(PSNR.name, [PSNR], scores(math.nan, -math.inf, 1)) == {0: math.inf, 1: math.inf, 2: -1}
    assert prune_reason(ASHA, PSNR.name, [PSNR], {10: scores(1, math.nan)}, 10, 1)
