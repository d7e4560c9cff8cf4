from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from acutance.config.search_space import Goal
from acutance.tuning.report.front import best, labels, pareto_front, ranked, score_text, steps_trained
from acutance.tuning.report.plots import pareto_picture, plot_text, shown_range
from acutance.tuning.study import TrialRecord

GOALS = [Goal(metric="psnr_y", on="a", goal="maximize"), Goal(metric="niqe", on="a", goal="minimize")]


def trial(number: int, psnr: float, niqe: float, state: str = "complete") -> TrialRecord:
    return TrialRecord(number, state, {}, history={10: {"psnr_y on a": psnr, "niqe on a": niqe}})


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


def test_the_best_come_first_and_stopped_ones_not_at_all() -> None:
    results = [trial(0, 30, 6), trial(1, 31, 9), trial(2, 29, 5), trial(3, 32, 1, "stopped")]
    assert [result.number for result in ranked(results, GOALS, "psnr_y on a")] == [1, 0, 2]


def test_steps_are_counted_once_for_each_seed_and_not_again_for_a_child() -> None:
    parent, child = trial(0, 30, 6), TrialRecord(1, "complete", {}, history={25: {}}, parent=0)
    assert steps_trained([parent, child], seeds=3) == {0: 30, 1: 45}


def test_a_score_is_printed_with_its_deviation_over_seeds() -> None:
    one = TrialRecord(0, "complete", {}, history={10: {"psnr_y on a": 27.12345}}, spread={"psnr_y on a": 0.05})
    assert [score_text(goal, one) for goal in GOALS] == ["27.123 ± 0.050", ""]


def test_names_are_short_and_tell_paths_apart() -> None:
    paths = ["stages.gan.optimiser.learning_rate", "stages.gan.objective.pixel.weight"]
    assert list(labels(paths).values()) == ["optimiser.learning_rate", "pixel.weight"]
    both = labels([*paths, "stages.fidelity.optimiser.learning_rate"])
    assert both["stages.fidelity.optimiser.learning_rate"] == "fidelity.optimiser.learning_rate"
    assert len(set(both.values())) == 3
    assert labels([]) == {}


def test_a_collapsed_trial_does_not_squeeze_the_others() -> None:
    assert shown_range([27.0, 27.2, 27.4, 27.6, 7.0]) == (27.0, 27.6)
    assert shown_range([27.0, 27.2, 27.4, 27.6, 7.0], always_shown=[7.0]) == (7.0, 27.6)
    assert shown_range([27.0, 27.0, 27.0, 26.0]) == (26.0, 27.0)
    assert shown_range([5.0]) == (5.0, 5.0)
    assert shown_range([math.inf, 1.0, math.nan, 2.0]) == (1.0, 2.0)
    assert shown_range([math.nan, math.inf]) is None


def test_formulas_are_not_made_of_names() -> None:
    assert plot_text("a $price$ and\nanother") == r"a \$price\$ and another"
    assert len(plot_text("x" * 100)) == 60


def drawn(*trials: TrialRecord, goals: list[Goal] = GOALS, **more: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(pareto_picture(trials, goals, "A $search", **more))).convert("RGB"))


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture.astype(int) - colour).sum(-1) < 12).any())


RED, GREEN = (214, 39, 40), (30, 132, 73)


def test_the_front_is_drawn_in_red_and_published_rows_in_green() -> None:
    picture = drawn(trial(0, 30, 6), trial(1, 28, 4, "stopped"))
    assert has(picture, RED)
    assert not has(picture, GREEN)
    published = {"a paper": {"psnr_y on a": 29.0, "niqe on a": 5.0}, "half a paper": {"psnr_y on a": 31.0}}
    assert has(drawn(trial(0, 30, 6), published=published), GREEN)
    assert not has(drawn(trial(0, 30, 6), published={"half a paper": {"psnr_y on a": 31.0}}), GREEN)
    assert has(drawn(trial(0, 30, 6), goals=GOALS[:1], published={"half a paper": {"psnr_y on a": 31.0}}), GREEN)


def test_published_rows_are_shown_however_far_away() -> None:
    trials = [trial(number, 27 + number / 1000, 5) for number in range(8)]
    assert has(drawn(*trials, published={"a paper": {"psnr_y on a": 45.0, "niqe on a": 5.0}}), GREEN)
    assert has(drawn(*trials, goals=GOALS[:1], published={"a paper": {"psnr_y on a": 45.0}}), GREEN)


def test_without_a_score_the_picture_says_so() -> None:
    assert not has(drawn(TrialRecord(0, "failed", {})), RED)
    assert drawn().std() > 1
