"""A network on pictures that it does not learn from: one upright patch of each, all of them measured together.

What was measured is kept beside the model, and decides whether the stage is accepted.
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
from acutance.training.plan import StagePlan

VALIDATION = "validation.json"
"""The file, beside the model, of what it was measured to be; by step."""

Values = dict[str, float]


def validated(job: StagePlan) -> dict[int, Values]:
    """Return what the stage was measured to be so far, by step.

    Raises:
        TrainingError: when the note of it is damaged.
    """
    noted = storage.join(job.folder, VALIDATION)
    try:
        known = storage.read_json(noted) if storage.exists(noted) else {}
    except DamagedError as error:
        fix = f"delete {job.folder}: the stage is then trained and measured again"
        raise TrainingError(error.what, where=noted, fix=fix) from None
    return {int(step): {name: math.nan if v is None else v for name, v in row.items()} for step, row in known.items()}


def require_accepted(job: StagePlan) -> None:
    """Refuse a finished stage that is worse than its setting `accept`; the same settings would end there again.

    Raises:
        TrainingError: saying what was measured, and what was asked for.
    """
    accepted = job.stage.accept
    last = max(validated(job).items(), default=(0, {}))[1] if accepted else {}
    for name, worst in accepted.items():
        found, most = last.get(name, math.nan), MEASURES[name].goal == "maximize"
        if not (found >= worst if most else found <= worst):
            asked = f"{worst:g} or {'more' if most else 'less'} was asked for"
            raise TrainingError(
                f"{job.name} is not accepted: its {name} is {found:.{MEASURES[name].digits}f}, {asked}",
                where=f"stages.{job.name}.accept",
                fix="train it longer or otherwise, or accept less; what needs it was not trained",
            )


@torch.no_grad()
def validate(job: StagePlan, network: nn.Module, device: str) -> Values:
    """Return the measures that a stage asks for; the network's mode and weights stay as they are.

    Args:
        network: on `device`.

    Raises:
        ConfigError: for a measure of an output that the network does not have.
    """
    stage = job.stage
    assert stage.validation is not None
    assert job.measured_on is not None
    measures = {name: MEASURES[name] for name in stage.validation.metrics}
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in measures}
    training = network.training
    network.eval()
    try:
        for batch in _batches(job.measured_on.folder, job, device):
            outputs = network(*(batch[name] for name in network.inputs))  # type: ignore[union-attr]
            for name, measure in measures.items():
                if measure.output not in outputs:
                    what = f"{name} measures {measure.output!r}; the network gives {', '.join(outputs)}"
                    raise ConfigError(what, where=f"stages.{job.name}.validation.metrics")
                pairs[name].append((outputs[measure.output].float().cpu().numpy(), batch[measure.target].cpu().numpy()))
    finally:
        network.train(training)
    return {name: measures[name].of(*map(np.concatenate, zip(*seen, strict=True))) for name, seen in pairs.items()}


def device_of(network: nn.Module) -> str:
    """Return where a network's weights are."""
    return str(next(network.parameters()).device)


def _batches(shards: str, job: StagePlan, device: str) -> Iterator[Batch]:
    """Yield all rows in their order, as many at a time as a step sees."""
    stage = job.stage
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
        yield with_derived(stage, job.margin, {name: tensor.to(device) for name, tensor in seen.items()})
