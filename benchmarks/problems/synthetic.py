"""Functions of four numbers whose optimum or front is known, with learning curves and a little noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from problems.problem import NIQE, NIQE_NAME, PSNR, PSNR_NAME, STEPS, Problem, Training

from acutance.tuning.ask_tell import Assignment
from acutance.tuning.study import TrialRecord

RATE, MOMENTUM, KIND, BLOCKS = "optimiser.learning_rate", "optimiser.momentum", "optimiser.type", "network.blocks"
KINDS = {"adam": (0.0, -3.0), "rmsprop": (1.0, -3.5), "sgd": (2.0, -2.0)}
"""Optimiser -> what it costs in dB, and the logarithm of its best learning rate."""

NUMBERS: dict[str, Any] = {
    RATE: {"float": [1e-5, 1e-1], "log": True},
    MOMENTUM: {"float": [0, 1]},
    KIND: {"choice": list(KINDS)},
    BLOCKS: {"int": [1, 8]},
}
BEST = 30.0
NOISE = 0.02
WORST = (24.0, 9.0)
"""The corner of the hypervolume: PSNR below which, and NIQE above which, nothing counts."""

Values = dict[str, Any]


def lost(values: Values) -> float:
    """Return how many dB a training ends below the best: 0 for adam at 1e-3 with momentum 0.7 and 6 blocks."""
    cost, rate = KINDS[values[KIND]]
    far = math.log10(values[RATE]) - rate
    return cost + 1.5 * far**2 + 4 * (values[MOMENTUM] - 0.7) ** 2 + 0.05 * (values[BLOCKS] - 6) ** 2


def curve(step: int, values: Values, start: float, end: float, spread: float) -> float:
    """Return the score at a step: exponentially from start to end, faster with a large rate and with few blocks.

    Args:
        spread: how much faster; 0 for one pace everywhere.
    """
    pace = STEPS / 10 * ((1e-3 / values[RATE]) ** 0.25 * values[BLOCKS] / 6) ** spread
    left = (math.exp(-step / pace) - math.exp(-STEPS / pace)) / (1 - math.exp(-STEPS / pace))
    return end + (start - end) * left


def one_objective(title: str, start: float, spread: float, ways: tuple[str, ...]) -> Problem:
    """Return the problem whose trainings all start at one PSNR. Its loss is that of the trial that measured best."""

    def train(assignment: Assignment, seed: int) -> Training:
        return _noisy(assignment, seed, lambda step, v: {PSNR_NAME: curve(step, v, start, BEST - lost(v), spread)})

    def loss(trials: list[TrialRecord]) -> float:
        return lost(_numbers(max(trials, key=lambda trial: trial.scores[PSNR_NAME]).values))

    return Problem(title, "gan", NUMBERS, [PSNR], train, loss, "dB below the optimum", True, ways, NOISE)


def two_objectives(title: str, spread: float, ways: tuple[str, ...]) -> Problem:
    """Momentum trades PSNR (27 to 30) for NIQE (3 to 6); what the other numbers lose is lost in both."""
    best = {RATE: 1e-3, KIND: "adam", BLOCKS: 6}
    whole = hypervolume([_ends({**best, MOMENTUM: trade}) for trade in np.linspace(0, 1, 10001)])

    def at(step: int, values: Values) -> dict[str, float]:
        psnr, niqe = _ends(values)
        return {PSNR_NAME: curve(step, values, 20, psnr, spread), NIQE_NAME: curve(step, values, 15, niqe, spread)}

    def train(assignment: Assignment, seed: int) -> Training:
        return _noisy(assignment, seed, at)

    def loss(trials: list[TrialRecord]) -> float:
        return 1 - hypervolume([_ends(_numbers(trial.values)) for trial in trials]) / whole

    return Problem(title, "gan", NUMBERS, [PSNR, NIQE], train, loss, "share of hypervolume missing", True, ways)


def hypervolume(points: list[tuple[float, float]]) -> float:
    """Return the area between the WORST corner and points of (PSNR, NIQE), PSNR to be large and NIQE small."""
    area, least = 0.0, WORST[1]
    for psnr, niqe in sorted(points, reverse=True):
        if psnr > WORST[0] and niqe < least:
            area += (psnr - WORST[0]) * (least - niqe)
            least = niqe
    return area


def _ends(values: Values) -> tuple[float, float]:
    trade, rest = values[MOMENTUM], lost({**values, MOMENTUM: 0.7})
    return BEST - 3 * trade**2 - rest, 3 + 3 * (1 - trade) ** 2 + rest


def _noisy(assignment: Assignment, seed: int, at: Callable[[int, Values], dict[str, float]]) -> Training:
    values, draw = _numbers(assignment.values), np.random.default_rng([seed, assignment.number])
    for step in assignment.measured_at:
        yield step, {name: score + NOISE * draw.normal() for name, score in at(step, values).items()}


def _numbers(values: Values) -> Values:
    return {path.removeprefix("stages.gan."): value for path, value in values.items()}
