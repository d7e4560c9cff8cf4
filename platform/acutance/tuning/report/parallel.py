"""Parallel coordinates: every trial a line through the values of its parameters and what it scored."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure

from acutance.config.search_space import Campaign, Goal
from acutance.config.search_space.parameters import Choices, FloatRange, IntRange
from acutance.tuning.report.drawing import FAINT, in_view, png, worded
from acutance.tuning.report.front import deciding, decimals, labels, quantity, whole
from acutance.tuning.study import TrialRecord

WIDEST = 14.0
"""Inches; more axes stand closer together."""

ABSENT = -0.14
"""Where a line passes the axis of a parameter that its trial does not have."""


@dataclass(frozen=True)
class Scale:
    """One vertical axis: trial -> place in 0..1, and what is written where."""

    title: str
    places: Mapping[int, float]
    ticks: Sequence[tuple[float, str]]


def parallel_picture(attempts: Sequence[TrialRecord], campaign: Campaign) -> bytes | None:
    """Draw parameters and objectives, better up, the colour by the objective that decides.

    Trials that were stopped early are faint and end before the objectives: what they scored was at another step.
    None where fewer than two trials were trained to their end.
    """
    goals, ended = campaign.objectives, whole(attempts, campaign.objectives)
    if len(ended) < 2:
        return None
    parameters = _parameters(attempts, campaign)
    scales = [*parameters, *(_objective(ended, goal) for goal in goals)]
    figure = Figure(figsize=(min(max(7.0, 1.4 * len(scales) + 1), WIDEST), 4.2), layout="constrained")
    axes = figure.subplots()
    for attempt in attempts:
        if attempt not in ended and attempt.values:
            xs, ys = _line(attempt, parameters)
            axes.plot(xs, ys, color=FAINT, linewidth=0.8, alpha=0.6, linestyle=":" if len(xs) > 1 else "")
    heights = _objective(ended, deciding(campaign)).places
    for attempt in sorted(ended, key=lambda a: heights[a.number]):
        colour = colormaps["viridis_r"](0.08 + 0.92 * heights[attempt.number])
        axes.plot(*_line(attempt, scales), color=colour, linewidth=1.4, alpha=0.85)
    for index, scale in enumerate(scales):
        _draw_scale(axes, index, scale)
    axes.set_xticks(range(len(scales)), [_broken(scale.title) for scale in scales], fontsize=8.5)
    axes.set_xlim(-0.35, len(scales) - 0.35)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return png(figure)


def _line(attempt: TrialRecord, scales: Sequence[Scale]) -> tuple[list[int], list[float]]:
    return list(range(len(scales))), [scale.places.get(attempt.number, ABSENT) for scale in scales]


def _parameters(attempts: Sequence[TrialRecord], campaign: Campaign) -> list[Scale]:
    paths = {campaign.path_of(name): parameter for name, parameter in campaign.parameters.items()}
    titles = labels(paths)
    broken = {path: title.replace(".", ".\n") for path, title in titles.items()}
    return [_parameter(broken[path], path, parameter, attempts) for path, parameter in paths.items()]


def _parameter(title: str, path: str, parameter: Any, attempts: Sequence[TrialRecord]) -> Scale:
    values = {a.number: a.values[path] for a in attempts if path in a.values}
    absent = [] if len(values) == len(attempts) else [(ABSENT, "not there")]
    match parameter:
        case Choices():
            names = [json.dumps(value) for value in parameter.choice]
            where = {name: 0.5 if len(names) == 1 else i / (len(names) - 1) for i, name in enumerate(names)}
            shown = [(where[json.dumps(value)], _shown(value)) for value in parameter.choice]
            return Scale(title, {n: where[json.dumps(value)] for n, value in values.items()}, [*absent, *shown])
        case FloatRange() | IntRange():
            low, high = parameter.float_ if isinstance(parameter, FloatRange) else parameter.int_
            place = _placed(float(low), float(high), parameter.log)
            marks = {_at(i / 4, float(low), float(high), parameter.log) for i in range(5)}
            if isinstance(parameter, IntRange):
                marks = {float(round(mark)) for mark in marks}
            ticks = [*absent, *((place(mark), f"{mark:.3g}") for mark in sorted(marks))]
            return Scale(title, {n: place(float(value)) for n, value in values.items()}, ticks)
    raise TypeError(f"no parameter: {parameter!r}")


def _objective(ended: Sequence[TrialRecord], goal: Goal) -> Scale:
    """What is far worse than all others lies at the foot of its axis."""
    scores = {attempt.number: attempt.scores[goal.name] for attempt in ended}
    losses = [goal.loss(score) for score in scores.values()]
    _, worst = in_view(losses, [min(losses)])
    foot, top = goal.loss(worst), goal.loss(min(losses))
    place = _placed(foot, top, log=False)
    texts = [f"{_at(i / 4, foot, top, log=False):.{decimals(goal.metric)}f}" for i in range(5)]
    if worst < max(losses):
        texts[0] += " or worse"
    ticks = [(0.5, texts[0])] if foot == top else [(i / 4, text) for i, text in enumerate(texts)]
    places = {number: max(0.0, place(score)) for number, score in scores.items()}
    return Scale(f"{quantity(goal)}\n{goal.on}", places, ticks)


def _placed(low: float, high: float, log: bool) -> Any:
    """Return a function from low..high to 0..1."""
    if low == high:
        return lambda value: 0.5
    if log:
        return lambda value: math.log(value / low) / math.log(high / low)
    return lambda value: (value - low) / (high - low)


def _at(place: float, low: float, high: float, log: bool) -> float:
    return low * (high / low) ** place if log else low + (high - low) * place


def _draw_scale(axes: Any, index: int, scale: Scale) -> None:
    axes.plot([index, index], [0, 1], color="#444444", linewidth=1)
    for place, text in scale.ticks:
        axes.annotate(
            worded(text, 20),
            (index, place),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=7.5,
            va="center",
            color="#333333",
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )


def _broken(title: str) -> str:
    return "\n".join(fill(worded(line), 20) for line in title.split("\n"))


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
