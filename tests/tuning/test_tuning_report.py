from __future__ import annotations

import io

import numpy as np
from PIL import Image

from acutance.campaign import Goal
from acutance.tuning.report import pareto_front, pareto_picture
from acutance.tuning.search import TrialResult

GOALS = [Goal(metric="psnr_y", on="a", goal="maximize"), Goal(metric="niqe", on="a", goal="minimize")]


def trial(number: int, psnr: float, niqe: float, stopped: bool = False) -> TrialResult:
    return TrialResult(number, {}, {"psnr_y on a": psnr, "niqe on a": niqe}, 10, stopped, "")


def test_the_front_holds_those_that_nobody_beats_in_everything() -> None:
    results = [trial(0, 30, 6), trial(1, 28, 4), trial(2, 27, 5), trial(3, 28, 4), trial(4, 29, 7)]
    assert [result.number for result in pareto_front(results, GOALS)] == [0, 1, 3]


def test_one_objective_has_a_front_of_the_best() -> None:
    results = [trial(0, 30, 6), trial(1, 31, 9)]
    assert [result.number for result in pareto_front(results, GOALS[:1])] == [1]


def test_the_picture_is_drawn() -> None:
    picture = pareto_picture([trial(0, 30, 6), trial(1, 28, 4, stopped=True)], GOALS, "A search")
    assert np.asarray(Image.open(io.BytesIO(picture))).std() > 1
