"""Validation: measures a network on pictures that it does not learn from, one unturned patch of each.

The values are kept beside the model; they decide whether the stage is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from acutance import storage
from acutance.config.data import plain
from acutance.config.metrics import MEASURES
from acutance.config.pipeline import columns_read
from acutance.data.manifest import read_manifest
from acutance.data.shards import open_columns
from acutance.data.stream import Stream
from acutance.errors import ConfigError, DamagedError, TrainingError
from acutance.training.derived import Batch, with_derived
from acutance.training.stage_plan import StagePlan

VALIDATION = "validation.json"
"""The file, beside the model, with the values by step."""

Values = dict[str, float]


def validated(plan: StagePlan) -> dict[int, Values]:
    """Return the stage's validation values so far, by step.

    Raises:
        TrainingError: when the file is damaged.
    """
    file = storage.join(plan.folder, VALIDATION)
    try:
        content = storage.read_json(file) if storage.exists(file) else {}
    except DamagedError as error:
        fix = f"delete {plan.folder}: the stage is then trained and measured again"
        raise TrainingError(error.what, where=file, fix=fix) from None
    return {int(step): {name: math.nan if v is None else v for name, v in row.items()} for step, row in content.items()}


def require_accepted(plan: StagePlan) -> None:
    """Refuse a finished stage that is worse than its setting `accept`; the same settings would give the same result.

    Raises:
        TrainingError: with the value and the limit.
    """
    accepted = plan.stage.accept
    last = max(validated(plan).items(), default=(0, {}))[1] if accepted else {}
    for name, worst in accepted.items():
        value, more_is_better = last.get(name, math.nan), MEASURES[name].goal == "maximize"
        if not (value >= worst if more_is_better else value <= worst):
            limit = f"{worst:g} or {'more' if more_is_better else 'less'} was asked for"
            raise TrainingError(
                f"{plan.name} is not accepted: its {name} is {value:.{MEASURES[name].digits}f}, {limit}",
                where=f"stages.{plan.name}.accept",
                fix="train it longer or otherwise, or accept less; what needs it was not trained",
            )


@torch.no_grad()
def validate(plan: StagePlan, network: nn.Module, device: str) -> Values:
    """Return the values of the metrics that a stage asks for; the network's mode and weights do not change.

    Args:
        network: on `device`.

    Raises:
        ConfigError: for a metric of an output that the network does not have.
    """
    stage = plan.stage
    assert stage.validation is not None
    assert plan.measured_on is not None
    measures = {name: MEASURES[name] for name in stage.validation.metrics}
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in measures}
    training = network.training
    network.eval()
    try:
        for batch in _batches(plan.measured_on.folder, plan, device):
            outputs = network(*(batch[name] for name in network.inputs))  # type: ignore[union-attr]
            for name, measure in measures.items():
                if measure.output not in outputs:
                    what = f"{name} measures {measure.output!r}; the network gives {', '.join(outputs)}"
                    raise ConfigError(what, where=f"stages.{plan.name}.validation.metrics")
                pairs[name].append((outputs[measure.output].float().cpu().numpy(), batch[measure.target].cpu().numpy()))
    finally:
        network.train(training)
    return {name: measures[name].of(*map(np.concatenate, zip(*seen, strict=True))) for name, seen in pairs.items()}


def device_of(network: nn.Module) -> str:
    """Return where a network's weights are."""
    return str(next(network.parameters()).device)


def _batches(shards: str, plan: StagePlan, device: str) -> Iterator[Batch]:
    """Yield all rows in their order, in batches of the stage's size."""
    stage = plan.stage
    manifest, columns = read_manifest(shards), open_columns(shards, sorted(columns_read(stage)))
    stream = Stream(
        columns,
        divisors={name: manifest.columns[name].divisor for name in columns},
        codings={name: manifest.columns[name].coding for name in columns},
        patch=manifest.columns["hr"].shape[:2],  # type: ignore[arg-type]
        batch=stage.batch,
        key=0,
        augment="none",
        degrade=plain(stage.degrade),
    )
    for start in range(0, manifest.rows, stage.batch):
        seen = stream.upright(range(start, min(start + stage.batch, manifest.rows)))
        yield with_derived(stage, plan.margin, {name: tensor.to(device) for name, tensor in seen.items()})
