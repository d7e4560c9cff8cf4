from __future__ import annotations

import numpy as np
import pytest

from acutance.evaluation.compare import difference, differences
from acutance.evaluation.results import GROUND_TRUTH, Evaluation, Row


def evaluation(a: list[float | None], b: list[float], truth: list[float] | None = None) -> Evaluation:
    metric = "psnr_y" if truth is None else "high_frequency"
    rows = []
    for index, values in enumerate(zip(a, b, truth or b, strict=True)):
        for name, value in zip(("a", "b", GROUND_TRUTH), values, strict=True):
            if name != GROUND_TRUTH or truth is not None:
                rows.append(Row("set", f"{index}", name, {metric: value}))
    return Evaluation("y_crop4", 4, (metric,), tuple(rows))


def test_a_constant_difference_has_no_width() -> None:
    (found,) = differences(evaluation([30, 32, 35], [29, 31, 34]), "a", "b", "set")
    assert (found.mean, found.low, found.high, found.pictures) == (1, 1, 1, 3)
    assert found.resolved


def test_the_interval_is_that_of_the_normal_theory_where_there_are_many_pictures() -> None:
    apart = np.random.default_rng(1).normal(0.3, 2.0, 400)
    base = np.random.default_rng(2).normal(28, 5, 400)  # what pictures share does not widen the interval
    (found,) = differences(evaluation(list(base + apart), list(base)), "a", "b", "set")
    error = apart.std(ddof=1) / 20
    assert found.mean == pytest.approx(apart.mean())
    assert found.low == pytest.approx(apart.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(apart.mean() + 1.96 * error, abs=0.15 * error)


def test_a_metric_that_aims_at_the_truth_is_compared_by_its_distance() -> None:
    (found,) = differences(evaluation([8, 9], [2, 3], truth=[7, 8]), "a", "b", "set")
    assert found.mean == -4  # one away instead of five


def test_what_is_missing_is_left_out_and_one_picture_is_no_comparison() -> None:
    assert differences(evaluation([30, None], [29, 31]), "a", "b", "set") == []


def test_pairs_alone_can_be_compared_and_the_order_of_two_models_only_turns_the_sign() -> None:
    pairs = [(30.0, 29.0), (25.0, 26.5), (33.0, 31.0)]
    forth, back = difference("psnr_y", pairs), difference("psnr_y", [(b, a) for a, b in pairs])
    assert forth is not None
    assert back is not None
    assert (back.mean, back.low, back.high) == pytest.approx((-forth.mean, -forth.high, -forth.low))
    assert difference("psnr_y", pairs[:1]) is None
