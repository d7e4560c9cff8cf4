"""Trains one stage in this process, alone or as one worker of a group, resuming where it was left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist

from acutance import storage
from acutance.cluster.hardware import device_of
from acutance.config.data import plain
from acutance.config.pipeline import Stage, columns_read
from acutance.config.size import grown, sides
from acutance.console import say
from acutance.data.multi_scale_stream import MultiScaleStream
from acutance.data.prefetch import Prefetcher
from acutance.data.shards import open_columns, read_manifest
from acutance.data.stream import Stream
from acutance.errors import ConfigError, ModelError
from acutance.inference.restore import context_of
from acutance.models.model_file import save_model
from acutance.storage import done
from acutance.storage.done import Done
from acutance.training import checkpoint, recovery
from acutance.training.build import build_learner, seed_everything
from acutance.training.distributed import rank_and_world_size
from acutance.training.learner import Learner
from acutance.training.plan import TRAINING_VERSION, StagePlan
from acutance.training.validate import VALIDATION, require_accepted, validate, validated

Losses = dict[str, float]


class Tracker(Protocol):
    """Where per-step losses go."""

    def metrics(self, rows: list[tuple[int, Losses]]) -> None:
        """Record (step, losses) rows, without making training wait."""

    def close(self) -> None:
        """See to it that all is recorded: no more will come."""


@dataclass(frozen=True)
class Report:
    """What a training says of itself now and then: steps taken, the newest losses, and the learner as it is."""

    step: int
    losses: Losses
    learner: Learner


def train_stage(
    job: StagePlan,
    *,
    tracker: Tracker | None = None,
    device: str | None = None,
    on_report: Callable[[int, Losses, Learner], None] | None = None,
    on_skip: Callable[[str], None] = say,
) -> None:
    """Train a stage to its end and write its model file; do nothing when that is done.

    Args:
        tracker: receives each step's losses, averaged over the workers (worker 0 only).
        device: where to train; None is the GPU where there is one.
        on_report: called by every worker every `report_every` steps and at the end.
        on_skip: receives what there is to say of a step that was skipped (worker 0 only).
    """
    for report in reports_of(job, tracker=tracker, device=device, on_skip=on_skip):
        if on_report:
            on_report(report.step, report.losses, report.learner)


def reports_of(
    job: StagePlan,
    *,
    tracker: Tracker | None = None,
    device: str | None = None,
    at: Collection[int] = (),
    on_skip: Callable[[str], None] = say,
) -> Iterator[Report]:
    """Train a stage as it is iterated over: every `report_every` steps, and at the end, it stops for its listener.

    Every worker of a process group iterates over the same job; worker 0 writes. The batches, the random numbers and
    hence the weights of step s are a function of the job and s, so a run that was killed ends as one that was not.
    Who stops listening stops the training. The model file is written after the last report. A step whose losses or
    gradients are not finite is skipped; after `skips` in a row the run goes back to its newest checkpoint, once.

    Args:
        tracker, device, on_skip: as for `train_stage`.
        at: further steps to report at.

    Raises:
        TrainingError: when going back did not help, or the stage is not what it accepts.
    """
    if job.done():
        require_accepted(job)
        return
    rank, world = rank_and_world_size()
    device = device or device_of(float(torch.cuda.is_available()))
    stage = job.stage
    learner = build_learner(job, device)
    if not checkpoint.resume(job.checkpoints, learner, job.fingerprint, device):
        checkpoint.begin(job, learner, device)
    given = _stream(job, stage, device)
    stream = given if device == "cpu" else Prefetcher(given)  # the step itself needs a CPU's cores
    started, losses, reported = time.perf_counter(), _LossLog(rank, tracker), learner.taken
    while learner.taken < stage.steps:
        seed_everything(job.key, learner.taken, rank)
        batch = {name: t.to(device, non_blocking=True) for name, t in stream.batch(learner.taken, rank, world).items()}
        losses.add(learner.step(batch), learner.skipped if learner.in_a_row else 0)
        if learner.in_a_row:
            said = recovery.told(job, stream, learner, world)
            if rank == 0:
                on_skip(said)
            if learner.in_a_row == stage.skips:
                losses.flush(learner.taken)
                recovery.go_back(job, learner, device, said)
                continue
        last = learner.taken == stage.steps
        reports = last or learner.taken % stage.report_every == 0 or learner.taken in at
        # Amid steps that are skipped nothing is kept: a run that goes back is to see other weights when it meets them.
        keeps = last or (learner.taken % stage.checkpoint_every == 0 and not learner.in_a_row)
        if reports or keeps or _is_due(stage, learner.taken):
            newest = losses.flush(learner.taken)  # before a checkpoint: steps behind it are not taken again
        if rank == 0 and job.measured_on and (last or _is_due(stage, learner.taken)):
            _validate(job, learner, device, tracker)
        if reports and learner.taken > reported:  # not again what was reported before going back
            reported = learner.taken
            yield Report(learner.taken, newest, learner)
        if keeps and rank == 0:
            checkpoint.write(job.checkpoints, learner, job.fingerprint)
    if rank == 0:
        _finish(job, learner, time.perf_counter() - started)
    _wait_for_all()
    require_accepted(job)


def _is_due(stage: Stage, step: int) -> bool:
    return bool(stage.validation and stage.validation.every and step % stage.validation.every == 0)


def _validate(job: StagePlan, learner: Learner, device: str, tracker: Tracker | None) -> None:
    values = validate(job, learner.kept, device)
    rows = validated(job) | {learner.taken: values}
    told = {step: {name: None if math.isnan(v) else v for name, v in row.items()} for step, row in rows.items()}
    storage.write_json(storage.join(job.folder, VALIDATION), told)
    if tracker:
        tracker.metrics([(learner.taken, {f"validation.{name}": value for name, value in values.items()})])


def describe(job: StagePlan) -> dict[str, Any]:
    """Return what the stage's model file says of itself."""
    network = job.stage.network.model_dump(mode="json", exclude={"init"})
    scale = job.scale if "lr" in job.stage.network.part.inputs else 1
    return {"network": network, "scale": scale, **job.description}


def _finish(job: StagePlan, learner: Learner, seconds: float) -> None:
    description = describe(job)
    with suppress(ModelError):  # what a picture alone cannot feed restores none, and needs no context
        description["context"] = context_of(learner.kept, description)
    save_model(job.model, learner.kept, description)
    content = {"stage": job.name, "steps": learner.taken, "seconds": round(seconds, 1)}
    done.write(done.note_of("stage", job.folder), Done("stage", job.fingerprint, TRAINING_VERSION, content))
    _keep_last_checkpoint(job)


def _keep_last_checkpoint(job: StagePlan) -> None:
    """Delete the checkpoints of a finished training but the last, from which a longer one goes on."""
    for name in storage.names(job.checkpoints)[:-1]:
        storage.delete(storage.join(job.checkpoints, name))


def _stream(job: StagePlan, stage: Stage, device: str) -> Stream | MultiScaleStream:
    manifest = read_manifest(job.shards)
    columns = open_columns(job.shards, sorted(columns_read(stage)))
    _require_classes(job, stage, columns)

    def stream_of(named: dict[str, str], patch: tuple[int, int]) -> Stream:
        return Stream(
            {name: columns[stored] for name, stored in named.items()},
            divisors={name: manifest.columns[stored].divisor for name, stored in named.items()},
            codings={name: manifest.columns[stored].coding for name, stored in named.items()},
            patch=patch,
            batch=stage.batch,
            key=job.key,
            augment=stage.augment,
            pad=stage.pad,
            degrade=plain(stage.degrade),
        )

    if not stage.scales:
        return stream_of({name: name for name in columns}, grown(stage.patch, job.margin))
    height, width = (side // job.scale for side in sides(stage.patch))
    streams = {s: stream_of({"hr": "hr", "lr": f"lr_x{s}"}, (height * s, width * s)) for s in stage.scales}
    return MultiScaleStream(streams, job.key)


def _require_classes(job: StagePlan, stage: Stage, columns: Mapping[str, np.ndarray]) -> None:
    """Refuse pictures of more classes than the network tells apart; on a GPU the loss itself would end the process."""
    told_apart = getattr(stage.network, "classes", None)
    if told_apart is None or "class" not in columns:
        return
    there = int(columns["class"].max()) + 1
    if there > told_apart:
        what = f"the pictures are of {there} classes, the network tells {told_apart} apart"
        raise ConfigError(what, where=f"stages.{job.name}.network.classes", fix=f"set it to {there}")


class _LossLog:
    """Keeps each step's losses on the device and fetches them together: one synchronisation a report."""

    def __init__(self, rank: int, tracker: Tracker | None) -> None:
        self.rank, self.tracker = rank, tracker
        self.rows: list[dict[str, torch.Tensor]] = []
        self.skipped: list[int] = []
        self.newest: Losses = {}

    def add(self, losses: dict[str, torch.Tensor], skipped: int) -> None:
        """Add a step's losses; or, where it was skipped, how many have been by now."""
        self.rows.append(losses)
        self.skipped.append(skipped)

    def flush(self, taken: int) -> Losses:
        """Hand the rows to the tracker; return the newest of a step that was taken, averaged over the workers."""
        names = list(self.rows[-1])
        table = torch.stack([torch.stack([row[name].float() for name in names]) for row in self.rows])
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(table)
            table /= dist.get_world_size()
        first = taken - len(self.rows) + 1
        values = [dict(zip(names, row, strict=True)) for row in table.tolist()]
        taken_ones = [row for row, skipped in zip(values, self.skipped, strict=True) if not skipped]
        self.newest = taken_ones[-1] if taken_ones else self.newest
        if self.rank == 0 and self.tracker:
            rows = [
                {"skipped": float(skipped)} if skipped else row
                for row, skipped in zip(values, self.skipped, strict=True)
            ]
            self.tracker.metrics([(first + index, row) for index, row in enumerate(rows)])
        self.rows.clear()
        self.skipped.clear()
        return self.newest or values[-1]


def _wait_for_all() -> None:
    if dist.is_initialized():
        dist.barrier()
