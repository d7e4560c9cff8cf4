"""Restores whole pictures and measures them: in this process, or as Ray tasks over a cluster."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from typing import Any

import numpy as np
from rich.markup import escape
from torch import nn

from acutance.cluster.hardware import GpuRequest, device_of, gpus_for, in_full_precision
from acutance.config.metrics import METRICS, PROTOCOLS
from acutance.console import say
from acutance.data.datasets import Source
from acutance.data.pictures import write_picture
from acutance.errors import AcutanceError, ConfigError, DataError, ModelError, nearest
from acutance.evaluation.metrics import measure, unavailable
from acutance.evaluation.pictures import INPUT, LR, bicubic_for, pair_for, picture_file, shown, shown_detail
from acutance.evaluation.results import GROUND_TRUTH, Evaluation, Row
from acutance.inference.restore import Tiles, restore
from acutance.models.model_file import load_model
from acutance.silence import silence_libraries

BICUBIC = "bicubic"
"""The candidate that needs no model: MATLAB's bicubic enlargement, or at scale 1 the degraded picture itself."""

LEAST_AT_ONCE = 16
"""Tasks submitted ahead on a small cluster; on a large one, two for each of its CPUs."""

GPU_SHARE = 0.25
"""Of a GPU for a task: restoring is the smaller part of one."""

Sources = Mapping[str, Sequence[Source]]
"""Data set -> its pictures."""

Outputs = dict[str, np.ndarray]
"""What `restore` returns: `image` uint8 or float32 (H, W, 3), perhaps `detail` as 2^x."""

OnProgress = Callable[[int, str], None]
"""Called with the number of tasks done, and which one was the last."""


@dataclass(frozen=True)
class EvaluationSpec:
    """What an evaluation measures, and how."""

    scale: int
    protocol: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One candidate on one picture; `model` is a model file's URI, BICUBIC, or None for the truth itself."""

    dataset: str
    source: Source
    candidate: str
    model: str | None

    def __str__(self) -> str:
        return f"{self.source.name}, {self.candidate}"


def unrestored(scale: int) -> str:
    """Return what tables call BICUBIC."""
    return INPUT if scale == 1 else BICUBIC


def tasks_of(candidates: Mapping[str, str], sources: Sources) -> list[Task]:
    """Return what `evaluate` will do, picture by picture; its length is the total for a progress bar.

    Raises:
        ConfigError: when a candidate takes the name of the ground truth or of the LR.
        DataError: when there is no picture.
    """
    for name in (GROUND_TRUTH, LR):
        if name in candidates:
            raise ConfigError(f"no candidate may be called {name!r}", fix="give it another name")
    if not any(sources.values()):
        raise DataError("there is no picture to evaluate on", where=", ".join(sources), fix="name a data set")
    everyone: dict[str, str | None] = {**candidates, GROUND_TRUTH: None}
    return [
        Task(dataset, source, candidate, model)
        for dataset, pictures in sources.items()
        for source in pictures
        for candidate, model in everyone.items()
    ]


def evaluate(
    candidates: Mapping[str, str],
    sources: Sources,
    *,
    scale: int,
    protocol: str,
    metrics: Iterable[str],
    gpus: GpuRequest = "auto",
    on_progress: OnProgress | None = None,
    pictures_to: str | None = None,
) -> Evaluation:
    """Measure candidates and the truth on whole pictures: a Ray task of one CPU for each of them on each.

    Those of models share GPUs, where the cluster has or can start some.

    Ray must be running. Models and pictures must be readable from every node.

    Args:
        candidates: label -> URI of a model file, or `bicubic`.
        sources: data set -> pictures; their own LR at `scale` is used where they have one and the protocol allows.
        scale: how many times the candidates enlarge.
        protocol: a name of PROTOCOLS.
        metrics: names of METRICS.
        gpus: 0 leaves it all to CPUs; see `gpus_for`.
        on_progress: called after each of the `tasks_of(candidates, sources)`.
        pictures_to: folder or s3:// prefix that receives, by `picture_file`, what each candidate made, the
            LR, the ground truth and the detail layers.

    Raises:
        ConfigError: for an unknown metric or protocol.
        DataError: for a picture that cannot be read, or an LR that does not fit it.
        ModelError: for a model that is missing, or made for another scale.
        TrainingError: when a task was promised a GPU and sees none.
    """
    import ray

    spec = spec_of(scale, protocol, metrics)
    tasks = tasks_of(candidates, sources)
    remote, keep, this_call = ray.remote(num_cpus=1)(_perform), pictures_to is not None, uuid.uuid4().hex
    modelled = any(model not in (None, BICUBIC) for model in candidates.values())
    share = min(GPU_SHARE, gpus_for(gpus, setting="compute.gpus", what="evaluate")) if modelled else 0.0

    def submit(i: int) -> Any:
        part = 0.0 if tasks[i].model in (None, BICUBIC) else share
        return remote.options(num_gpus=part).remote(tasks[i], spec, this_call, keep, part)

    rows: dict[int, Row] = {}
    missing: dict[str, str] = {}
    tiled: dict[str, Tiles] = {}
    try:
        for i, reference in _as_completed(submit, len(tasks)):
            row, lacking, pictures, tiles = ray.get(reference)
            rows[i] = row
            if tiles:
                tiled[str(tasks[i])] = tiles
            missing |= lacking
            for name, pixels in pictures.items():
                write_picture(picture_file(str(pictures_to), row.dataset, row.picture, name), pixels)
            if on_progress:
                on_progress(len(rows), str(tasks[i]))
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, AcutanceError) else error from None
    _report_tiled(tiled)
    return evaluation_from(spec, [rows[i] for i in range(len(tasks))], missing)


def _report_tiled(tiled: Mapping[str, Tiles]) -> None:
    """Say which pictures were restored in tiles for lack of memory; their values may differ in the last digit."""
    if tiled:
        (first, tiles), more = next(iter(tiled.items())), f" and {len(tiled) - 1} more" if len(tiled) > 1 else ""
        how = f"tiles of {tiles.tile} pixels that share {tiles.overlap}"
        say(escape(f"restored in {how}, as memory does not hold them whole: {first}{more}"))


def evaluate_one(
    network: nn.Module,
    description: Mapping[str, Any],
    sources: Sources,
    *,
    scale: int,
    protocol: str,
    metrics: Iterable[str],
    candidate: str = "candidate",
) -> Evaluation:
    """Measure a network that is in memory, and the truth beside it, in this process and without Ray.

    The network's mode, device and weights stay as they are. Arguments and errors as for `evaluate`.
    """
    spec = spec_of(scale, protocol, metrics)
    missing = unavailable(spec.metrics)
    tasks = tasks_of({candidate: candidate}, sources)
    rows = measure_tasks(network, description, tasks, _only_available(spec, missing))
    return evaluation_from(spec, rows, missing)


def measure_tasks(
    network: nn.Module,
    description: Mapping[str, Any],
    tasks: Iterable[Task],
    spec: EvaluationSpec,
    on_picture: Callable[[Task, Outputs | None, np.ndarray, np.ndarray], object] | None = None,
) -> list[Row]:
    """Measure a network that is in memory, and the truth, on pictures; see `evaluate_one`.

    Args:
        tasks: those with a model are of this network.
        spec: all of its metrics are available.
        on_picture: called with each task, what the network made (None for the truth), the LR and the truth.
    """
    rows, rounded = [], PROTOCOLS[spec.protocol].eight_bits
    tiled: dict[str, Tiles] = {}
    for task in tasks:
        _require_scale(description, spec.scale, task.candidate)
        lr, truth = _pair(task, spec)
        on_tiles = partial(tiled.__setitem__, str(task))
        outputs = None if task.model is None else restore(network, description, lr, rounded=rounded, on_tiles=on_tiles)
        rows.append(_measured(task, outputs, truth, spec))
        if on_picture:
            on_picture(task, outputs, lr, truth)
    _report_tiled(tiled)
    return rows


def spec_of(scale: int, protocol: str, metrics: Iterable[str]) -> EvaluationSpec:
    """Return what is measured.

    Raises:
        ConfigError: for an unknown metric or protocol.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"there is no protocol {protocol!r}{nearest(protocol, PROTOCOLS)}")
    chosen = tuple(dict.fromkeys(metrics))
    for name in chosen:
        if name not in METRICS:
            raise ConfigError(f"there is no metric {name!r}{nearest(name, METRICS)}")
    return EvaluationSpec(scale, protocol, chosen)


def _only_available(spec: EvaluationSpec, missing: Mapping[str, str]) -> EvaluationSpec:
    return replace(spec, metrics=tuple(name for name in spec.metrics if name not in missing))


def _as_completed(submit: Callable[[int], Any], count: int) -> Iterator[tuple[int, Any]]:
    """Submit tasks 0 to count - 1, a bounded number at a time, and yield each with its reference as it ends.

    Whoever stops listening leaves but a few tasks to run out. They are not cancelled: `ray.cancel` on a task that is
    just ending aborts the driver (Ray 2.60, a failed check in its task manager).
    """
    import ray

    waiting = iter(range(count))
    at_once = max(LEAST_AT_ONCE, 2 * int(ray.cluster_resources().get("CPU", 0)))
    running = {submit(i): i for i in islice(waiting, at_once)}
    while running:
        for reference in ray.wait(list(running))[0]:
            yield running.pop(reference), reference
            running |= {submit(i): i for i in islice(waiting, 1)}


def _perform(
    task: Task, spec: EvaluationSpec, call: str, keep: bool, gpus: float
) -> tuple[Row, dict[str, str], dict[str, np.ndarray], Tiles | None]:
    """Do one task in a worker: its row, the metrics unavailable there, the pictures to keep by name, and its tiles.

    There are none where the picture was restored as a whole.
    """
    silence_libraries()
    missing = unavailable(spec.metrics)
    lr, truth = _pair(task, spec)
    tiles: list[Tiles] = []
    outputs = None
    if task.model is not None:
        outputs = _restored(task.model, spec, lr, truth, call, gpus, tiles.append)
    row = _measured(task, outputs, truth, _only_available(spec, missing))
    return row, missing, _to_keep(task, outputs, lr, truth) if keep else {}, tiles[0] if tiles else None


def _pair(task: Task, spec: EvaluationSpec) -> tuple[np.ndarray, np.ndarray]:
    return pair_for(PROTOCOLS[spec.protocol], task.dataset, task.source, spec.scale)


def _restored(
    model: str,
    spec: EvaluationSpec,
    lr: np.ndarray,
    truth: np.ndarray,
    call: str,
    gpus: float,
    on_tiles: Callable[[Tiles], object],
) -> Outputs:
    protocol = PROTOCOLS[spec.protocol]
    if model == BICUBIC:
        return {"image": bicubic_for(protocol, lr, truth, spec.scale)}
    network, description = _loaded(model, call, device_of(gpus))
    _require_scale(description, spec.scale, model)
    return restore(network, description, lr, rounded=protocol.eight_bits, on_tiles=on_tiles)


@lru_cache(maxsize=4)
def _loaded(uri: str, call: str, device: str) -> tuple[nn.Module, dict[str, Any]]:
    """Load a model once a worker process and evaluation: by the next one its file may be another."""
    network, description = load_model(uri)
    return in_full_precision(network, device), description


def _require_scale(description: Mapping[str, Any], scale: int, where: str) -> None:
    if description["scale"] != scale:
        raise ModelError(
            f"the model enlarges {description['scale']} times, asked for is {scale}",
            where=where,
            fix="choose a model of this scale",
        )


def _measured(task: Task, outputs: Outputs | None, truth: np.ndarray, spec: EvaluationSpec) -> Row:
    restored, against = (truth, None) if outputs is None else (outputs["image"], truth)
    found = measure(restored, against, metrics=spec.metrics, protocol=spec.protocol, scale=spec.scale)
    return Row(task.dataset, task.source.name, task.candidate, found.values, found.reasons)


def _to_keep(task: Task, outputs: Outputs | None, lr: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    if outputs is None:
        return {LR: shown(lr), GROUND_TRUTH: truth}
    detail = {f"{task.candidate}.detail": shown_detail(outputs["detail"])} if "detail" in outputs else {}
    return {task.candidate: shown(outputs["image"]), **detail}


def evaluation_from(spec: EvaluationSpec, rows: Iterable[Row], missing: dict[str, str]) -> Evaluation:
    """Return an evaluation of rows; a metric that was unavailable anywhere has no value anywhere."""
    whole = tuple(_without(row, missing) for row in rows)
    return Evaluation(spec.protocol, spec.scale, spec.metrics, whole, missing)


def _without(row: Row, missing: Mapping[str, str]) -> Row:
    lacking = [name for name in missing if row.candidate != GROUND_TRUTH or not METRICS[name].needs_truth]
    values = {**row.metrics, **dict.fromkeys(lacking)}
    reasons = {name: reason for name, reason in row.reasons.items() if name not in missing}
    return replace(row, metrics=values, reasons=reasons)
