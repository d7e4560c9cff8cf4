"""Measures a network on pictures that it does not learn from: whole restored pictures, or other outputs of patches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from acutance.config.data import plain
from acutance.config.metrics import CLOSEST, MEASURES, METRICS, PROTOCOLS
from acutance.config.pipeline import columns_read
from acutance.data.manifest import read_manifest
from acutance.data.shards import open_columns
from acutance.data.stream import Stream
from acutance.errors import AcutanceError, ConfigError
from acutance.evaluation.evaluate import (
    EvaluationSpec,
    Outputs,
    Task,
    evaluation_from,
    measure_tasks,
    spec_of,
    tasks_of,
)
from acutance.evaluation.pictures import bicubic_for, shown
from acutance.evaluation.results import Row
from acutance.evaluation.sheet import region
from acutance.training.derived import Batch, with_derived
from acutance.training.scores import Values
from acutance.training.stage_plan import StagePlan
from acutance.weights import require_weights

CROP = 96
"""Side, in pixels, of the part of a picture that is shown as it changes."""


class Crops(NamedTuple):
    """The same part of a restored picture, its bicubic enlargement and the truth: uint8, (CROP, CROP, 3) at most."""

    restored: np.ndarray
    plainly: np.ndarray
    truth: np.ndarray


@dataclass
class Measured:
    """Some pictures of a validation.

    Attributes:
        rows: of an evaluation.
        crops: picture -> the part of it that is shown as it changes.
        error: why the pictures could not be measured.
    """

    rows: list[Row] = field(default_factory=list)
    crops: dict[str, Crops] = field(default_factory=dict)
    error: AcutanceError | None = None


def measure_share(plan: StagePlan, network: nn.Module, index: int, count: int) -> Measured:
    """Restore and measure every `count`-th picture of a stage's validation, from the `index`-th on.

    A network's values on a picture do not depend on who measures it; its mode and weights do not change. What cannot be
    read, or is too small, is an error of the result: other processes may wait for this one.
    """
    found, tasks, spec = Measured(), _tasks(plan), _spec(plan)
    shown_ones = _shown(plan, tasks)

    def keep(task: Task, outputs: Outputs | None, lr: np.ndarray, truth: np.ndarray) -> None:
        name = f"{task.dataset}: {task.source.name}"
        if outputs is not None and name in shown_ones:
            found.crops[name] = _crops(plan, outputs["image"], lr, truth)

    training = network.training
    try:
        require_weights(file for name in spec.metrics for file in METRICS[name].requires)
        found.rows = measure_tasks(network.eval(), plan.model_description(), tasks[index::count], spec, keep)
    except AcutanceError as error:
        found.error = error
    finally:
        network.train(training)
    return found


def merged(parts: list[Measured]) -> Measured:
    """Return all pictures of a validation; the first error counts."""
    return Measured(
        rows=[row for part in parts for row in part.rows],
        crops={name: crops for part in parts for name, crops in part.crops.items()},
        error=next((part.error for part in parts if part.error), None),
    )


def measure_together(plan: StagePlan, network: nn.Module) -> Measured:
    """Measure all pictures, each worker a share of them; all get the whole."""
    if not dist.is_initialized():
        return measure_share(plan, network, 0, 1)
    parts = [Measured()] * dist.get_world_size()
    dist.all_gather_object(parts, measure_share(plan, network, dist.get_rank(), dist.get_world_size()))
    return merged(parts)


def values_of(plan: StagePlan, measured: Measured) -> Values:
    """Return the values of a validation by `Validation.names`; NaN where no picture has one."""
    validation = plan.stage.validation
    assert validation is not None
    evaluation = evaluation_from(_spec(plan), measured.rows, {})
    found = {name: evaluation.compared(plan.name, *of) for name, of in validation.names().items()}
    return {name: float("nan") if value is None else value for name, value in found.items()}


def _tasks(plan: StagePlan) -> list[Task]:
    """Return the stage's network on each picture, and the truth itself where metrics are compared with its own."""
    tasks, metrics = tasks_of({plan.name: plan.name}, plan.pictures), _spec(plan).metrics
    with_truth = any(METRICS[name].goal == CLOSEST for name in metrics)
    return [task for task in tasks if with_truth or task.model is not None]


def _spec(plan: StagePlan) -> EvaluationSpec:
    validation = plan.stage.validation
    assert validation is not None
    return spec_of(plan.scale, validation.protocol, validation.metrics)


def _shown(plan: StagePlan, tasks: list[Task]) -> list[str]:
    """Return the names of the pictures that are shown as they change: spread evenly over all."""
    validation = plan.stage.validation
    assert validation is not None
    names = list(dict.fromkeys(f"{task.dataset}: {task.source.name}" for task in tasks))
    count = min(validation.pictures, len(names))
    return [names[index * len(names) // count] for index in range(count)]


def _crops(plan: StagePlan, restored: np.ndarray, lr: np.ndarray, truth: np.ndarray) -> Crops:
    """Return the part of a picture where its LR has edges."""
    row, column = region(shown(lr), truth, CROP)
    top, left = (
        max(0, min(middle - CROP // 2, side - CROP)) for middle, side in zip((row, column), truth.shape, strict=False)
    )
    part = (slice(top, top + CROP), slice(left, left + CROP))
    plainly = bicubic_for(PROTOCOLS[_spec(plan).protocol], lr, truth, plan.scale)
    return Crops(shown(restored)[part], shown(plainly)[part], truth[part])


@torch.no_grad()
def measure_outputs(plan: StagePlan, network: nn.Module, device: str) -> Values:
    """Return the values of the measures that a stage asks for; the network's mode and weights do not change.

    Args:
        network: on `device`.

    Raises:
        ConfigError: for a measure of an output that the network does not have.
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
