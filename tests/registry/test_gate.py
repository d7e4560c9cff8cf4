from __future__ import annotations

import math
from typing import Any

import pytest

from acutance.registry.gate import NO_CHAMPION, GateResult, decide

OLD = {"coffee": {"psnr_y": 27.0, "niqe": 6.0}, "rocket": {"psnr_y": 29.0, "niqe": 4.0}}


def changed(psnr: float, niqe: float = 0.0) -> dict[str, dict[str, float | None]]:
    return {name: {"psnr_y": s["psnr_y"] + psnr, "niqe": s["niqe"] + niqe} for name, s in OLD.items()}


def test_first_champion_needs_no_gate() -> None:
    decision = decide(OLD, None, {"psnr_y": 0.1})
    assert decision.accepted
    assert decision.reason == NO_CHAMPION
    assert decision.numbers == {"psnr_y": {"candidate": 28.0, "pictures": 2}}


@pytest.mark.parametrize(("change", "accepted"), [(0.5, True), (0.0, True), (-0.1, True), (-0.11, False)])
def test_higher_is_better(change: float, accepted: bool) -> None:
    decision = decide(changed(psnr=change), OLD, {"psnr_y": 0.1})
    assert decision.accepted is accepted
    assert decision.numbers["psnr_y"]["worse_by"] == pytest.approx(-change)
    assert decision.numbers["psnr_y"]["champion"] == 28.0


@pytest.mark.parametrize(("change", "accepted"), [(-0.5, True), (0.2, True), (0.3, False)])
def test_lower_is_better(change: float, accepted: bool) -> None:
    assert decide(changed(psnr=0, niqe=change), OLD, {"niqe": 0.2}).accepted is accepted


def test_one_bad_metric_is_enough_and_is_named() -> None:
    decision = decide(changed(psnr=1.0, niqe=1.0), OLD, {"psnr_y": 0.1, "niqe": 0.2})
    assert not decision.accepted
    assert decision.reason == "niqe is worse: 5.000 -> 6.000 (0.2 worse is allowed)"
    assert set(decision.numbers) == {"psnr_y", "niqe"}


def test_means_are_compared_so_one_picture_may_lose() -> None:
    candidate = {"coffee": {"psnr_y": 26.0}, "rocket": {"psnr_y": 30.5}}
    assert decide(candidate, OLD, {"psnr_y": 0.0}).accepted


@pytest.mark.parametrize("value", [None, math.nan, -math.inf])
def test_picture_that_only_the_champion_can_be_measured_on_refuses(value: float | None) -> None:
    candidate = {"coffee": {"psnr_y": value}, "rocket": {"psnr_y": 99.0}}
    decision = decide(candidate, OLD, {"psnr_y": 0.1})
    assert not decision.accepted
    assert decision.reason == "psnr_y could not be measured on coffee"


def test_missing_picture_refuses() -> None:
    assert not decide({"rocket": {"psnr_y": 99.0}}, OLD, {"psnr_y": 0.1}).accepted


def test_picture_on_which_the_champion_has_no_value_does_not_count() -> None:
    champion = {"coffee": {"psnr_y": None}, "rocket": {"psnr_y": 29.0}}
    decision = decide({"coffee": {"psnr_y": 1.0}, "rocket": {"psnr_y": 29.0}}, champion, {"psnr_y": 0.1})
    assert decision.accepted
    assert decision.numbers["psnr_y"]["pictures"] == 1


def test_metric_measured_nowhere_refuses() -> None:
    decision = decide(OLD, OLD, {"lpips_squeeze": 0.1})
    assert (decision.accepted, decision.reason) == (False, "lpips_squeeze could not be measured")


def test_empty_gate_refuses() -> None:
    assert not decide(OLD, OLD, {}).accepted


def test_metric_that_aims_at_the_truth_is_judged_by_its_distance() -> None:
    champion, truth = {"a": {"high_frequency": 3.0}}, {"a": {"high_frequency": 5.0}}
    gate = {"high_frequency": 0.1}
    found = decide({"a": {"high_frequency": 6.0}}, champion, gate, truth)
    assert found.accepted
    numbers = found.numbers["high_frequency_distance"]
    assert (numbers["candidate"], numbers["champion"]) == (1.0, 2.0)
    assert decide(champion, None, gate, truth).numbers == {"high_frequency_distance": {"candidate": 2.0, "pictures": 1}}
    assert not decide({"a": {"high_frequency": 8.0}}, champion, gate, truth).accepted
    assert not decide({"a": {"high_frequency": 4.9}}, champion, gate).accepted, "without the truth: not measured"


SCENES = [f"scene {number}" for number in range(8)]


def scored(values: list[float], metric: str = "psnr_y") -> dict[str, dict[str, float | None]]:
    return {scene: {metric: value} for scene, value in zip(SCENES, values, strict=True)}


BASE = [24.0, 25.0, 26.0, 27.0, 28.0, 29.0, 30.0, 31.0]
STEADY = [0.2, 0.3, 0.2, 0.3, 0.2, 0.3, 0.2, 0.3]
ERRATIC = [2.0, -1.5, 2.0, -1.5, 2.0, -1.5, 2.0, -1.5]  # the same mean


def better(by: list[float], gate: dict[str, Any]) -> GateResult:
    return decide(scored([a + b for a, b in zip(BASE, by, strict=True)]), scored(BASE), gate)


@pytest.mark.parametrize(("asked", "accepted"), [(0, True), (0.25, True), (0.26, False)])
def test_an_improvement_must_be_as_large_as_is_asked(asked: float, accepted: bool) -> None:
    ruling = better(STEADY, {"psnr_y": {"improve_by": asked}})
    assert ruling.accepted is accepted
    numbers = ruling.numbers["psnr_y"]
    assert (numbers["difference"], numbers["improve_by"]) == (pytest.approx(0.25), asked)
    assert 0.2 <= numbers["low"] < 0.25 < numbers["high"] <= 0.3


def test_an_improvement_must_be_more_than_chance_and_a_loss_that_is_allowed_need_not() -> None:
    refused = better(ERRATIC, {"psnr_y": {"improve_by": 0}})
    assert not refused.accepted
    assert refused.numbers["psnr_y"]["difference"] == pytest.approx(0.25)
    assert refused.reason.startswith("psnr_y is better: 27.500 -> 27.750 (must be better; 95 % interval")
    assert refused.numbers["psnr_y"]["low"] < 0 < refused.numbers["psnr_y"]["high"]
    assert better(ERRATIC, {"psnr_y": 0.0}).accepted


@pytest.mark.parametrize(("change", "accepted"), [(-0.5, True), (0.5, False), (0.0, False)])
def test_an_improvement_of_a_metric_that_is_better_when_lower(change: float, accepted: bool) -> None:
    assert decide(changed(psnr=0, niqe=change), OLD, {"niqe": {"improve_by": 0}}).accepted is accepted


def test_one_metric_must_improve_while_another_may_lose_a_little() -> None:
    gate = {"niqe": {"improve_by": 0.2}, "psnr_y": 0.1}
    assert decide(changed(psnr=-0.1, niqe=-0.2), OLD, gate).accepted
    assert not decide(changed(psnr=-0.2, niqe=-0.2), OLD, gate).accepted
    assert not decide(changed(psnr=-0.1, niqe=-0.1), OLD, gate).accepted


def test_one_picture_shows_no_improvement() -> None:
    ruling = decide({"a": {"psnr_y": 30.0}}, {"a": {"psnr_y": 20.0}}, {"psnr_y": {"improve_by": 0.5}})
    assert not ruling.accepted
    assert "must be 0.5 better; one picture cannot show it" in ruling.reason
    assert "low" not in ruling.numbers["psnr_y"]


def test_the_first_champion_need_not_improve_on_anything() -> None:
    assert decide(OLD, None, {"psnr_y": {"improve_by": 0.1}}).accepted
