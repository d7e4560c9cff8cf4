"""The gate: whether a candidate is good enough to follow the champion, from numbers picture by picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from acutance.evaluation.metrics import METRICS

Scores = Mapping[str, Mapping[str, float | None]]
"""Picture -> metric -> value, None where it could not be measured."""

NO_CHAMPION = "no champion yet"
CLOSEST = "closest to the truth"
ROUNDING = 1e-9
"""A mean that is worse by exactly what is allowed passes, whatever the last bits say."""


@dataclass(frozen=True)
class Verdict:
    """What was measured on the held-out pictures.

    Attributes:
        candidate: the candidate's scores.
        champion: the champion's on the same pictures; None where there is no champion.
        gate: metric -> by how much its mean may be worse.
        truth: the ground truth's own scores, for metrics whose goal is to be close to them.
    """

    candidate: Scores
    champion: Scores | None
    gate: Mapping[str, float]
    truth: Scores | None = None


@dataclass(frozen=True)
class Decision:
    """Whether a version becomes the champion, why, and on which numbers.

    Attributes:
        accepted: whether it is the champion now.
        numbers: metric -> means of both, `worse_by` (negative: better), `allowed`, number of `pictures`.
        name: the registered model.
        version: the version that was judged, or that came back.
        previous: the champion before, empty where there was none.
    """

    accepted: bool
    reason: str
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    name: str = ""
    version: str = ""
    previous: str = ""
    who: str = ""
    when: str = ""


def decide(
    candidate: Scores, champion: Scores | None, gate: Mapping[str, float], truth: Scores | None = None
) -> Decision:
    """Compare two models on the same pictures, metric by metric of the gate.

    A metric is compared on the pictures where the champion has a value; the candidate must have one there.
    """
    if champion is None:
        return Decision(True, NO_CHAMPION, {metric: _alone(candidate, truth, metric) for metric in gate})
    if not gate:
        return Decision(False, "the gate names no metric, so nothing shows that the candidate is not worse")
    numbers: dict[str, dict[str, float]] = {}
    faults: list[str] = []
    for metric, allowed in gate.items():
        pairs = _pairs(candidate, champion, truth, metric)
        missing = [picture for picture, (new, _) in pairs.items() if new is None]
        if missing or not pairs:
            faults.append(f"{metric} could not be measured{' on ' + ', '.join(missing) if missing else ''}")
            continue
        numbers[metric] = _compared(metric, [(new, old) for new, old in pairs.values() if new is not None], allowed)
        if numbers[metric]["worse_by"] > allowed + ROUNDING:
            faults.append(_told(metric, numbers[metric]))
    reason = "; ".join(faults) or "not worse: " + "; ".join(_told(*item) for item in numbers.items())
    return Decision(not faults, reason, numbers)


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


def _compared(metric: str, pairs: list[tuple[float, float]], allowed: float) -> dict[str, float]:
    new, old = fmean(pair[0] for pair in pairs), fmean(pair[1] for pair in pairs)
    worse = old - new if METRICS[metric].goal == "maximize" else new - old
    return {"candidate": new, "champion": old, "worse_by": worse, "allowed": allowed, "pictures": len(pairs)}


def _alone(candidate: Scores, truth: Scores | None, metric: str) -> dict[str, float]:
    scores = [_score(candidate, truth, picture, metric) for picture in candidate]
    values = [score for score in scores if score is not None]
    return {"candidate": fmean(values), "pictures": len(values)} if values else {"pictures": 0}


def _told(metric: str, numbers: Mapping[str, float]) -> str:
    digits = METRICS[metric].digits + 1
    subject = f"{metric}'s distance to the truth" if METRICS[metric].goal == CLOSEST else metric
    worse = numbers["worse_by"]
    verb = "is worse" if worse > 0 else "is better" if worse < 0 else "is the same"
    change = f"{numbers['champion']:.{digits}f} -> {numbers['candidate']:.{digits}f}"
    return f"{subject} {verb}: {change} ({numbers['allowed']:g} worse is allowed)"
