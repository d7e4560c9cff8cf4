from __future__ import annotations

import io

import numpy as np
from PIL import Image

from acutance.campaign import Goal
from acutance.tuning.report import best, pareto_front, pareto_picture
from acutance.tuning.study import Attempt

GOALS = [Goal(metric="psnr_y", on="a", goal="maximize"), Goal(metric="niqe", on="a", goal="minimize")]


def trial(number: int, psnr: float, niqe: float, state: str = "complete") -> Attempt:
    return Attempt(number, state, {}, history={10: {"psnr_y on a": psnr, "niqe on a": niqe}})


def test_the_front_holds_those_that_nobody_beats_in_everything() -> None:
    results = [trial(0, 30, 6), trial(1, 28, 4), trial(2, 27, 5), trial(3, 28, 4), trial(4, 29, 7)]
    assert [result.number for result in pareto_front(results, GOALS)] == [0, 1, 3]


def test_what_was_stopped_early_is_not_compared_with_what_was_trained_to_the_end() -> None:
    results = [trial(0, 30, 6), trial(1, 31, 5, "stopped"), trial(2, float("nan"), 1)]
    assert [result.number for result in pareto_front(results, GOALS)] == [0]


def test_one_objective_has_a_front_of_the_best() -> None:
    results = [trial(0, 30, 6), trial(1, 31, 9)]
    assert [result.number for result in pareto_front(results, GOALS[:1])] == [1]


def test_the_winner_is_the_judges() -> None:
    results = [trial(0, 30, 6), trial(1, 31, 9), trial(2, 29, 5), trial(3, 32, 1, "stopped")]
    chosen = {judge: best(results, GOALS, judge) for judge in ("psnr_y on a", "niqe on a", "dominance")}
    assert {judge: found.number for judge, found in chosen.items() if found} == {
        "psnr_y on a": 1,
        "niqe on a": 2,
        "dominance": 0,
    }
    assert best([], GOALS, "dominance") is None


def test_the_picture_is_drawn() -> None:
    picture = pareto_picture([trial(0, 30, 6), trial(1, 28, 4, "stopped")], GOALS, "A search")
    assert np.asarray(Image.open(io.BytesIO(picture))).std() > 1
