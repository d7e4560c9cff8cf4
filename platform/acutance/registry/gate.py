"""The gate: whether a candidate is good enough to follow the champion, from numbers picture by picture.

A metric of the gate either must not become worse by more than a number, or must improve. The first compares means
alone; an improvement must also exceed chance: the 95 % interval of the paired bootstrap excludes 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from acutance.config.metrics import CLOSEST, METRICS, compared
from acutance.evaluation.compare import difference

Scores = Mapping[str, Mapping[str, float | None]]
"""Picture -> metric -> value, None where it could not be measured."""

Rule = float | Mapping[str, float]
"""How much worse the mean may be, or `{"improve_by": least}`."""

NO_CHAMPION = "no champion yet"
IMPROVE = "improve_by"
ROUNDING = 1e-9
"""Tolerance for rounding: a mean that is worse by exactly the allowed amount passes."""


@dataclass(frozen=True)
class Measurements:
    """The values on the held-out pictures.

    Attributes:
        candidate: the candidate's scores.
        champion: the champion's on the same pictures; None where there is no champion.
        gate: metric -> its rule.
        truth: the ground truth's own scores, for metrics whose goal is to be close to them.
        evaluation_spec: data sets, protocol and scale, for the record.
        evidence: folder of the evaluation, with every picture's values.
        overlap: sentences about held-out pictures that the candidate was trained on, empty where there are none.
    """

    candidate: Scores
    champion: Scores | None
    gate: Mapping[str, Rule]
    truth: Scores | None = None
    evaluation_spec: Mapping[str, Any] = field(default_factory=dict)
    evidence: str = ""
    overlap: str = ""


@dataclass(frozen=True)
class GateResult:
    """Whether the gate opens, why, and on which numbers.

    Attributes:
        numbers: `compared(metric)` -> means of `candidate` and `champion`; their `difference` with `low` and `high` of
            its 95 % interval (from two pictures on); `worse_by` (negative: better); `allowed` or `improve_by`, the
            gate's rule; number of `pictures`.
    """

    accepted: bool
    reason: str
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)


def decide(
    candidate: Scores, champion: Scores | None, gate: Mapping[str, Rule], truth: Scores | None = None
) -> GateResult:
    """Compare two models on the same pictures, metric by metric of the gate.

    A metric is compared on the pictures where the champion has a value; the candidate must have one there.
    """
    if champion is None:
        return GateResult(
            True, NO_CHAMPION, {compared(metric): _without_champion(candidate, truth, metric) for metric in gate}
        )
    if not gate:
        return GateResult(False, "the gate names no metric, so nothing shows that the candidate is not worse")
    numbers: dict[str, dict[str, float]] = {}
    sentences: list[str] = []
    faults: list[str] = []
    for metric, rule in gate.items():
        pairs = _pairs(candidate, champion, truth, metric)
        missing = [picture for picture, (new, _) in pairs.items() if new is None]
        if missing or not pairs:
            faults.append(f"{metric} could not be measured{' on ' + ', '.join(missing) if missing else ''}")
            continue
        found = _compared(metric, [(new, old) for new, old in pairs.values() if new is not None], rule)
        numbers[compared(metric)] = found
        sentences.append(_sentence(metric, found))
        if not _passes(metric, found):
            faults.append(sentences[-1])
    reason = "; ".join(faults) or f"the gate opens: {'; '.join(sentences)}"
    return GateResult(not faults, reason, numbers)


def _pairs(
    candidate: Scores, champion: Scores, truth: Scores | None, metric: str
) -> dict[str, tuple[float | None, float]]:
    """Return picture -> (candidate, champion) for the pictures on which the champion has a value."""
    pairs = {}
    for picture in champion:
        old = _score(champion, truth, picture, metric)
        if old is not None:
            pairs[picture] = (_score(candidate, truth, picture, metric), old)
    return pairs


def _score(scores: Scores, truth: Scores | None, picture: str, metric: str) -> float | None:
    """Return a finite value or None; for a metric that aims at the truth, the distance to it."""
    value = scores.get(picture, {}).get(metric)
    if METRICS[metric].goal == CLOSEST:
        aim = (truth or {}).get(picture, {}).get(metric)
        value = None if value is None or aim is None else abs(value - aim)
    return value if value is not None and math.isfinite(value) else None


def _compared(metric: str, pairs: list[tuple[float, float]], rule: Rule) -> dict[str, float]:
    new, old = fmean(pair[0] for pair in pairs), fmean(pair[1] for pair in pairs)
    found = difference(metric, pairs)
    interval = {"low": found.low, "high": found.high} if found else {}
    worse = old - new if METRICS[metric].goal == "maximize" else new - old
    asked = {IMPROVE: rule[IMPROVE]} if isinstance(rule, Mapping) else {"allowed": rule}
    change = {"difference": new - old, **interval, "worse_by": worse}
    return {"candidate": new, "champion": old, **change, **asked, "pictures": len(pairs)}


def _passes(metric: str, numbers: Mapping[str, float]) -> bool:
    if IMPROVE in numbers:
        return _shown_better(metric, numbers) and -numbers["worse_by"] >= numbers[IMPROVE] - ROUNDING
    return numbers["worse_by"] <= numbers["allowed"] + ROUNDING


def _shown_better(metric: str, numbers: Mapping[str, float]) -> bool:
    """Return whether the whole interval lies on the better side of 0."""
    if METRICS[metric].goal == "maximize":
        return numbers.get("low", 0.0) > 0
    return numbers.get("high", 0.0) < 0


def _without_champion(candidate: Scores, truth: Scores | None, metric: str) -> dict[str, float]:
    scores = [_score(candidate, truth, picture, metric) for picture in candidate]
    values = [score for score in scores if score is not None]
    return {"candidate": fmean(values), "pictures": len(values)} if values else {"pictures": 0}


def _sentence(metric: str, numbers: Mapping[str, float]) -> str:
    digits = METRICS[metric].digits + 1
    subject = f"{metric}'s distance to the truth" if METRICS[metric].goal == CLOSEST else metric
    worse = numbers["worse_by"]
    verb = "is worse" if worse > 0 else "is better" if worse < 0 else "is the same"
    change = f"{numbers['champion']:.{digits}f} -> {numbers['candidate']:.{digits}f}"
    if IMPROVE not in numbers:
        return f"{subject} {verb}: {change} ({numbers['allowed']:g} worse is allowed)"
    asked = f"{numbers[IMPROVE]:g} better" if numbers[IMPROVE] else "better"
    if "low" not in numbers:
        return f"{subject} {verb}: {change} (must be {asked}; one picture cannot show it)"
    interval = f"{numbers['low']:+.{digits}f} .. {numbers['high']:+.{digits}f}"
    return f"{subject} {verb}: {change} (must be {asked}; 95 % interval of the difference {interval})"
