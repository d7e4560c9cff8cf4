"""Learning-rate schedules: the learning rate as a pure function of the step.

A schedule is called with the step (counted from 0), the optimiser's learning rate and the number of steps of the whole
training, and returns the learning rate of that step. It has no state, so that a resumed run needs none.

Numbers of steps may be given as whole numbers or as shares of the whole training, such as 0.5.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from acutance.config.length import IN_STEPS

Share = Annotated[float, Field(gt=0, lt=1)]

StepCount = Annotated[PositiveInt | Share, IN_STEPS]
"""A number of steps, or a share of all steps."""


def in_steps(count: int | float, steps: int) -> int:
    """Return a number of steps that is given as such or as a share of `steps`; at least 1."""
    return count if isinstance(count, int) else max(1, round(count * steps))


def constant(step: int, learning_rate: float, steps: int) -> float:
    """Keep the learning rate."""
    return learning_rate


def multi_step(
    step: int,
    learning_rate: float,
    steps: int,
    *,
    milestones: list[StepCount],
    gamma: float | list[float] = 0.5,
    floor: NonNegativeFloat = 0.0,
) -> float:
    """Multiply the learning rate by `gamma` at each milestone.

    Args:
        milestones: in increasing order.
        gamma: one factor, or a list with a factor for each milestone.
        floor: the lowest learning rate.
    """
    at = [in_steps(milestone, steps) for milestone in milestones]
    if at != sorted(at):
        raise ValueError("milestones: give them in increasing order")
    if isinstance(gamma, list) and len(gamma) != len(at):
        raise ValueError(f"gamma: {len(gamma)} factors for {len(at)} milestones; give one for each")
    _require_below(floor, learning_rate)
    passed = sum(step >= milestone for milestone in at)
    factor = math.prod(gamma[:passed]) if isinstance(gamma, list) else gamma**passed
    return float(max(floor, learning_rate * factor))


def step_decay(
    step: int,
    learning_rate: float,
    steps: int,
    *,
    every: StepCount,
    gamma: float = 0.5,
    floor: NonNegativeFloat = 0.0,
) -> float:
    """Multiply the learning rate by `gamma` every so many steps, down to `floor`."""
    _require_below(floor, learning_rate)
    return float(max(floor, learning_rate * gamma ** (step // in_steps(every, steps))))


def cosine(step: int, learning_rate: float, steps: int, *, floor: NonNegativeFloat = 0.0) -> float:
    """Follow half a cosine from the learning rate down to `floor` (SGDR, eq. 5, without restarts)."""
    return floor + (learning_rate - floor) * (1 + math.cos(math.pi * min(1.0, step / max(1, steps)))) / 2


def cosine_restarts(
    step: int,
    learning_rate: float,
    steps: int,
    *,
    periods: list[StepCount],
    weights: list[PositiveFloat] | None = None,
    floor: NonNegativeFloat = 0.0,
) -> float:
    """Follow half a cosine in each period, and start each period again from the top (SGDR, eq. 5).

    After the last period the learning rate stays at `floor`.

    Args:
        periods: the length of each period.
        weights: what the learning rate is multiplied by in each period, as BasicSR's `restart_weights`; 1 if left out.
    """
    if weights is not None and len(weights) != len(periods):
        raise ValueError(f"weights: {len(weights)} for {len(periods)} periods; give one for each")
    start = 0
    for number, period in enumerate(in_steps(each, steps) for each in periods):
        if step < start + period:
            weight = weights[number] if weights else 1.0
            return floor + weight * (learning_rate - floor) * (1 + math.cos(math.pi * (step - start) / period)) / 2
        start += period
    return floor


def linear(step: int, learning_rate: float, steps: int, *, end: NonNegativeFloat = 0.0) -> float:
    """Go in a straight line from the learning rate to `end`, which is reached after the last step."""
    return learning_rate + (end - learning_rate) * min(1.0, step / max(1, steps))


def one_cycle(
    step: int,
    learning_rate: float,
    steps: int,
    *,
    rise: StepCount = 0.3,
    start_divisor: PositiveFloat = 25.0,
    end_divisor: PositiveFloat = 1e4,
) -> float:
    """Rise to the learning rate and fall again, each along half a cosine (Smith and Topin; as torch's OneCycleLR).

    Args:
        rise: how long the learning rate rises.
        start_divisor: the training starts at learning_rate / start_divisor.
        end_divisor: the training ends at this start / end_divisor.
    """
    first = learning_rate / start_divisor
    last = first / end_divisor
    top = in_steps(rise, steps) - 1 if isinstance(rise, int) else rise * steps - 1
    if step <= top:
        return _half_cosine(first, learning_rate, step / top if top > 0 else 1.0)
    return _half_cosine(learning_rate, last, min(1.0, (step - top) / max(1e-12, steps - 1 - top)))


def _require_below(floor: float, learning_rate: float) -> None:
    if floor > learning_rate:
        raise ValueError(f"floor: {floor:g} is above the learning rate of {learning_rate:g}")


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def torch_rate(scheduler: Any, arguments: Mapping[str, Any], step: int, learning_rate: float) -> float:
    """Return the learning rate of a step by a class of `torch.optim.lr_scheduler`, or one that is used like these.

    Such a scheduler goes from step to step; it is run once from the first step on, and its rates are kept.

    Raises:
        ValueError: when it needs more than the step, or would change the momentum as well.
    """
    return _rates(scheduler, json.dumps(arguments, sort_keys=True), learning_rate)(step)


@cache
def _rates(scheduler: Any, arguments: str, learning_rate: float) -> Any:
    import torch  # only these schedules need it

    given = json.loads(arguments)
    if given.get("cycle_momentum"):
        raise ValueError("cycle_momentum: only the learning rate follows a schedule; set it to false")
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=learning_rate, momentum=0.9)
    running = scheduler(optimiser, **given)
    rates = [float(optimiser.param_groups[0]["lr"])]

    def rate(step: int) -> float:
        while len(rates) <= step:
            optimiser.step()
            try:
                running.step()
            except TypeError:
                raise ValueError(f"{scheduler.__name__} needs more than the step; choose another schedule") from None
            rates.append(float(optimiser.param_groups[0]["lr"]))
        return rates[step]

    return rate
