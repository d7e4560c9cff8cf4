from __future__ import annotations

import json

import pytest

from acutance.evaluation.results import GROUND_TRUTH, Evaluation, Row


def found(reverse: bool = False) -> Evaluation:
    rows = [
        Row("A", "one", "soft", {"psnr_y": 30.0, "high_frequency": 2.0}),
        Row("A", "one", "sharp", {"psnr_y": 28.0, "high_frequency": 9.0}),
        Row("A", "one", GROUND_TRUTH, {"high_frequency": 10.0}),
        Row("A", "two", "soft", {"psnr_y": None, "high_frequency": 4.0}, {"psnr_y": "infinite"}),
        Row("A", "two", "sharp", {"psnr_y": 20.0, "high_frequency": 9.0}),
        Row("A", "two", GROUND_TRUTH, {"high_frequency": 6.0}),
        Row("B", "one", "soft", {"psnr_y": 26.0, "high_frequency": 3.0}),
        Row("B", "one", "sharp", {"psnr_y": 25.0, "high_frequency": 5.0}),
        Row("B", "one", GROUND_TRUTH, {"high_frequency": 5.0}),
    ]
    metrics = ("psnr_y", "high_frequency")
    return Evaluation("y_crop4", 4, metrics, tuple(rows[::-1] if reverse else rows), {})


def test_means_compare_candidates_on_the_same_pictures() -> None:
    evaluation = found()
    assert evaluation.mean("soft", "psnr_y", "A") == 30.0
    assert evaluation.mean("sharp", "psnr_y", "A") == 28.0  # without the picture on which soft has no value
    assert evaluation.mean("sharp", "psnr_y") == 26.5
    assert evaluation.mean("soft", "high_frequency", "A") == 3.0
    assert evaluation.mean(GROUND_TRUTH, "high_frequency", "A") == 8.0


def test_what_was_not_measured_has_no_mean() -> None:
    evaluation = found()
    assert evaluation.mean(GROUND_TRUTH, "psnr_y") is None
    assert evaluation.mean("soft", "niqe") is None
    assert evaluation.mean("nobody", "psnr_y") is None
    assert evaluation.mean("soft", "psnr_y", "C") is None


def test_the_gap_is_the_mean_distance_not_the_distance_of_means() -> None:
    evaluation = found()
    assert evaluation.gap("sharp", "high_frequency", "A") == 2.0
    assert evaluation.gap("soft", "high_frequency", "A") == 5.0
    assert evaluation.gap("soft", "psnr_y") is None


def test_order_of_names() -> None:
    evaluation = found()
    assert evaluation.candidates == ["soft", "sharp", GROUND_TRUTH]
    assert evaluation.datasets == ["A", "B"]
    assert evaluation.pictures() == [("A", "one"), ("A", "two"), ("B", "one")]
    assert evaluation.pictures("B") == [("B", "one")]


@pytest.mark.parametrize("reverse", [False, True])
def test_json_round_trip(reverse: bool) -> None:
    evaluation = found(reverse)
    text = json.dumps(evaluation.to_json(), allow_nan=False)
    assert Evaluation.from_json(json.loads(text)) == evaluation


def test_json_has_means_as_rows_and_single_values_as_pictures() -> None:
    content = found().to_json()
    assert content["protocol"] == "y_crop4"
    assert content["rows"][0] == {
        "dataset": "A",
        "candidate": "soft",
        "pictures": 2,
        "metrics": {"psnr_y": 30.0, "high_frequency": 3.0},
    }
    assert [row["candidate"] for row in content["rows"]] == ["soft", "soft", "sharp", "sharp"]
    assert [row["metrics"]["psnr_y"] for row in content["truth"]] == [None, None]
    assert content["pictures"][3]["metrics"] == {"psnr_y": None, "high_frequency": 4.0}
    assert content["pictures"][3]["reasons"] == {"psnr_y": "infinite"}
    assert content["unavailable"] == {}
