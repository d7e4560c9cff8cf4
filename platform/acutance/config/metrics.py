"""What can be measured, by name, and how tables and studies call it.

Metrics judge restored pictures one by one. Measures judge the outputs of stages that restore none, over all pictures of
a data set at once. Amounts say how much there is of a data set.
"""

from __future__ import annotations

from typing import Literal

from acutance.parts import Registry

METRICS = Registry("metric")
MEASURES = Registry("measure")
AMOUNTS = Registry("amount")
QUANTITIES = Registry("metric", "measure", "amount")
"""What tables and objectives may name."""
PROTOCOLS = Registry("protocol")
"""How a picture is prepared before it is measured."""

Goal = Literal["maximize", "minimize", "closest to the truth"]
CLOSEST: Goal = "closest to the truth"

DISTANCE = "_distance"
"""What follows on the name of a metric where its distance to the truth's own value is meant."""

PARTS = ("training", "validation")
"""What, besides an evaluated data set, an amount may be of: the data that a stage trains on, or is validated on."""


def compared(metric: str) -> str:
    """Return what models are compared by: a metric, or its distance to the truth where that is what counts."""
    return f"{metric}{DISTANCE}" if metric in METRICS and METRICS[metric].goal == CLOSEST else metric


def score_name(metric: str, on: str) -> str:
    """Return the name of a quantity of a data set in tables and studies."""
    return f"{compared(metric)} on {on}"


def scored_by(name: str) -> tuple[str, str]:
    """Return the quantity and the data set of a `score_name`."""
    quantity, _, on = name.partition(" on ")
    return quantity.removesuffix(DISTANCE), on
