"""Trains one stage in this process, alone or as one worker of a group; it resumes where it was left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.distributed as dist

from acutance.cluster.hardware import device_of
from acutance.config.data import plain
from acutance.config.pipeline import columns_read
from acutance.config.size import grown, sides
from acutance.console import say
from acutance.data.multi_scale_stream import MultiScaleStream
from acutance.data.prefetch import Prefetcher
from acutance.data.shards import open_columns, read_manifest
from acutance.data.stream import Stream
from acutance.errors import ConfigError, ModelError
from acutance.inference.restore import context_of
from acutance.models.model_file import load_model, save_model
from acutance.storage import done
from acutance.storage.done import Done
from acutance.training import checkpoint
from acutance.training.build import build_learner, seed_everything
from acutance.training.checkpoint_writer import CheckpointWriter
from acutance.training.distributed import from_worker_0, rank_and_world_size
from acutance.training.learner import Learner
from acutance.training.pace import Figures, Pace
from acutance.training.recovery import roll_back, skip_message
from acutance.training.scores import require_accepted
from acutance.training.stage_plan import TRAINING_VERSION, StagePlan
from acutance.training.tracker import Tracker
from acutance.training.validator import Validator

Losses = dict[str, float]


@dataclass(frozen=True)
class Report:
    """The state of a training at one step: steps done, the newest losses, the learner, and how fast it is."""

    step: int
    losses: Losses
    learner: Learner
    figures: Figures = field(default_factory=dict)


def train_stage(
    plan: StagePlan,
    *,
    tracker: Tracker | None = None,
    device: str | None = None,
    on_report: Callable[[Report], None] | None = None,
    on_message: Callable[[str], None] = say,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train a stage to its end and write its model file; do nothing if that is done.

    Args:
        tracker: records each step's losses, averaged over the workers (worker 0 only).
        device: where to train; None is the GPU if there is one.
        on_report: every worker calls it every `report_every` steps and at the end.
        on_message: receives messages, such as one about each skipped step (worker 0 only).
        stop: asked after each step, by worker 0, whether to write a checkpoint and stop there.
    """
    for report in training_reports(plan, tracker=tracker, device=device, on_message=on_message, stop=stop):
        if on_report:
            on_report(report)


def training_reports(
    plan: StagePlan,
    *,
    tracker: Tracker | None = None,
    device: str | None = None,
    also_at: Collection[int] = (),
    on_message: Callable[[str], None] = say,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Train a stage while the caller iterates: yield a report every `report_every` steps and at the end.

    A caller that stops iterating stops the training. The model file is written after the last report. Every worker of a
    process group iterates over the same plan; worker 0 writes. The batches, random numbers and weights of step s are
    a function of the plan and s, so a run that was killed and resumed ends with the same weights as one that was not.

    A step whose losses or gradients are not finite is skipped. After `skips` in a row the run goes back to its newest
    checkpoint, once.

    Args:
        tracker, device, on_message, stop: as for `train_stage`.
        also_at: further steps to report at.

    Raises:
        TrainingError: when steps are skipped again after the rollback, or when the stage is worse than its `accept`.
    """
    if plan.done():
        require_accepted(plan)
        return
    stage = plan.stage
    rank = rank_and_world_size()[0]
    device = device or device_of(float(torch.cuda.is_available()))
    learner = build_learner(plan, device)
    if not checkpoint.load_newest(plan.checkpoints, learner, plan.fingerprint, device):
        checkpoint.load_origin(plan, learner, device)
    batches = _stream(plan)
    stream = batches if device == "cpu" else Prefetcher(batches)  # on a CPU the step itself needs all cores
    losses, started, reported = _LossLog(rank, tracker), time.perf_counter(), learner.steps_done
    pace = Pace(stage.batch, device)
    with closing(CheckpointWriter(plan)) as writer:
        validator = Validator(plan, device, tracker, on_message, writer)
        stopped = validator.begin(learner)
        if reported in also_at:
            yield Report(reported, {}, learner)  # a killed run may have come as far without telling

        while learner.steps_done < stage.steps and not stopped:
            if not _take_step(plan, learner, stream, losses, pace, writer, device, on_message):
                continue  # it went back to a checkpoint
            step, skips = learner.steps_done, learner.consecutive_skips
            last = step == stage.steps
            interrupted, late = from_worker_0([stop(), writer.is_due()], device)
            report_now = last or step % stage.report_every == 0 or step in also_at
            validate_now = validator.is_due(step) and (last or not skips)
            # No checkpoint between skipped steps: after a rollback, other weights are to meet the same samples.
            due = step % stage.checkpoint_every == 0 or late or interrupted
            save_now = last or validate_now or (due and not skips)
            if report_now or save_now or interrupted:
                newest = losses.flush(step)  # before the checkpoint: the steps before it are not taken again
            if save_now:
                writer.write(learner, best=validator.best_steps(), unmeasured=validator.waiting())
            stopped = validator.validate(learner) if validate_now and (last or not interrupted) else ""
            if (report_now or stopped) and step > reported:  # after a rollback, steps are not reported again
                reported = step
                yield _report(step, newest, learner, pace, tracker)
            if interrupted and not last:
                writer.wait()
                on_message(f"{plan.name} stops at step {step} of {stage.steps}; the same command goes on from there")
                return
        writer.wait()
        validator.end(learner)
    if rank == 0:
        if stopped:
            on_message(f"{plan.name} stops at step {learner.steps_done} of {stage.steps}: {stopped}")
        _finish(plan, learner, validator, time.perf_counter() - started, stopped)
    if dist.is_initialized():
        dist.barrier()  # no worker goes on before the model file is there
    require_accepted(plan)


def _report(step: int, losses: Losses, learner: Learner, pace: Pace, tracker: Tracker | None) -> Report:
    figures = pace.figures(learner)
    if tracker and rank_and_world_size()[0] == 0:
        tracker.metrics([(step, figures)])
    return Report(step, losses, learner, figures)


def _take_step(
    plan: StagePlan,
    learner: Learner,
    stream: Stream | MultiScaleStream | Prefetcher,
    losses: _LossLog,
    pace: Pace,
    writer: CheckpointWriter,
    device: str,
    on_message: Callable[[str], None],
) -> bool:
    """Take the next step; return False where too many in a row were skipped and it went back to a checkpoint."""
    rank, world_size = rank_and_world_size()
    step = learner.steps_done
    seed_everything(plan.key, step, rank)
    with pace.waiting():
        samples = stream.batch(step, rank, world_size)
    batch = {name: tensor.to(device, non_blocking=True) for name, tensor in samples.items()}
    values = learner.train_step(batch)
    skips = learner.consecutive_skips
    losses.add(values, learner.skipped_steps if skips else 0)
    if not skips:
        return True
    message = skip_message(plan, stream, learner)
    if rank == 0:
        on_message(message)
    if skips < plan.stage.skips:
        return True
    losses.flush(learner.steps_done)
    writer.wait()
    roll_back(plan, learner, device, message)
    return False


def _finish(plan: StagePlan, learner: Learner, validator: Validator, seconds: float, stopped: str) -> None:
    description = plan.model_description()
    with suppress(ModelError):  # a network that needs more than a picture restores none, and has no context
        description["context"] = context_of(learner.final_network, description)
    save_model(plan.model, learner.final_network, description)
    steps, keep = checkpoint.steps(plan.checkpoints), plan.stage.keep
    if keep.best:
        best = next((step for step in validator.best_steps() if step in steps), learner.steps_done)
        network, _ = load_model(checkpoint.file_of(plan.checkpoints, best))
        save_model(plan.best_model, network, {**description, "step": best})
    # A longer training goes on from the last one.
    kept = checkpoint.kept_steps(steps, keep.model_copy(update={"last": 1}), best=validator.best_steps())
    content = {"stage": plan.name, "steps": learner.steps_done, "seconds": round(seconds, 1), "kept": kept[:-1]}
    content |= {"stopped": stopped} if stopped else {}
    done.write(done.note_of("stage", plan.folder), Done("stage", plan.fingerprint, TRAINING_VERSION, content))
    checkpoint.delete_others(plan.checkpoints, kept)


def _stream(plan: StagePlan) -> Stream | MultiScaleStream:
    stage, manifest = plan.stage, read_manifest(plan.shards)
    columns = open_columns(plan.shards, sorted(columns_read(stage)))
    _require_classes(plan, columns)

    def stream_of(named: dict[str, str], patch: tuple[int, int]) -> Stream:
        return Stream(
            {name: columns[stored] for name, stored in named.items()},
            divisors={name: manifest.columns[stored].divisor for name, stored in named.items()},
            codings={name: manifest.columns[stored].coding for name, stored in named.items()},
            patch=patch,
            batch=stage.batch,
            key=plan.key,
            augment=stage.augment,
            pad=stage.pad,
            degrade=plain(stage.degrade),
        )

    if not stage.scales:
        return stream_of({name: name for name in columns}, grown(stage.patch, plan.margin))
    height, width = (side // plan.scale for side in sides(stage.patch))
    streams = {s: stream_of({"hr": "hr", "lr": f"lr_x{s}"}, (height * s, width * s)) for s in stage.scales}
    return MultiScaleStream(streams, plan.key)


def _require_classes(plan: StagePlan, columns: Mapping[str, np.ndarray]) -> None:
    """Refuse labels beyond the network's classes; on a GPU the loss itself would end the process without a message."""
    classes = getattr(plan.stage.network, "classes", None)
    if classes is None or "class" not in columns:
        return
    labels = int(columns["class"].max()) + 1
    if labels > classes:
        what = f"the pictures are of {labels} classes, the network tells {classes} apart"
        raise ConfigError(what, where=f"stages.{plan.name}.network.classes", fix=f"set it to {labels}")


class _LossLog:
    """Collects each step's losses on the device and fetches them together: one synchronisation per report."""

    def __init__(self, rank: int, tracker: Tracker | None) -> None:
        self.rank, self.tracker = rank, tracker
        self.rows: list[dict[str, torch.Tensor]] = []
        self.skipped: list[int] = []
        self.newest: Losses = {}

    def add(self, losses: dict[str, torch.Tensor], skipped_steps: int) -> None:
        """Add a step's losses; for a skipped step, how many steps have been skipped so far (else 0)."""
        self.rows.append(losses)
        self.skipped.append(skipped_steps)

    def flush(self, step: int) -> Losses:
        """Give the rows to the tracker; return the losses of the newest good step, averaged over the workers.

        Args:
            step: steps done.
        """
        names = list(self.rows[-1])
        table = torch.stack([torch.stack([row[name].float() for name in names]) for row in self.rows])
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(table)
            table /= dist.get_world_size()
        first = step - len(self.rows) + 1
        values = [dict(zip(names, row, strict=True)) for row in table.tolist()]
        good = [row for row, skipped in zip(values, self.skipped, strict=True) if not skipped]
        self.newest = good[-1] if good else self.newest
        if self.rank == 0 and self.tracker:
            pairs = zip(values, self.skipped, strict=True)
            rows = [{"skipped": float(skipped)} if skipped else row for row, skipped in pairs]
            self.tracker.metrics([(first + index, row) for index, row in enumerate(rows)])
        self.rows.clear()
        self.skipped.clear()
        return self.newest or values[-1]
