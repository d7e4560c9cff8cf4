from __future__ import annotations

import math

import pytest

from acutance.registry.gate import NO_CHAMPION, decide

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
    assert decide({"a": {"high_frequency": 6.0}}, champion, gate, truth).accepted
    assert not decide({"a": {"high_frequency": 8.0}}, champion, gate, truth).accepted
    assert not decide({"a": {"high_frequency": 4.9}}, champion, gate).accepted, "without the truth: not measured"
