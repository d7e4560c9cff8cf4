"""Stages under Ray Train: groups of workers train them, and start again when one of them dies."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import ray
import ray.train
import torch
from ray.exceptions import RayActorError
from ray.train import WorkerGroupError
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.torch.config import _TorchBackend

from acutance import storage
from acutance.cluster.hardware import Capacity, alive, capacity, gpus_for, wanted
from acutance.config.pipeline import Compute
from acutance.console import say, say_through
from acutance.errors import AcutanceError, TrainingError
from acutance.silence import silence_libraries
from acutance.storage.disk import complaint_of
from acutance.storage.leftovers import free_folders, owned_name
from acutance.training import process_group
from acutance.training.learner import Learner
from acutance.training.loop import Losses, Tracker, train_stage
from acutance.training.messages import OnProgress, open_board, relayed
from acutance.training.plan import StagePlan

RESTARTS = 5
"""How many times in a row workers may start again without having reached another checkpoint."""


class StageRun(Tracker, Protocol):
    """Where a stage's losses go, from the beginning of its training to its end."""

    def begin(self) -> None:
        """Take note that the training begins."""


class _Backend(_TorchBackend):
    """Ray's own, but workers enter their process group as those of trials do: by `process_group.enter`."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Leave it to `_work`, whose errors reach the user."""


class _Distributed(TorchConfig):
    @property
    def backend_cls(self) -> type[_Backend]:
        return _Backend


def train(
    jobs: list[StagePlan],
    compute: Compute,
    root: str,
    *,
    trackers: Mapping[str, StageRun] | None = None,
    on_progress: OnProgress | None = None,
) -> None:
    """Train stages on groups of Ray Train workers; finished ones are passed over.

    The caller has connected to Ray. Where the cluster has room for several groups, stages that do not wait for one
    another train at the same time; otherwise they are trained in order, by one group where it is as large for all. A
    worker that is killed makes its group start again, and the stage goes on from its newest checkpoint with the very
    batches it would have seen.

    Args:
        root: URI of the storage root, the same on every node.
        trackers: stage name -> where its losses go, of worker 0 alone.
        on_progress: called in this process with (stage, step, newest losses).

    Raises:
        AcutanceError: the error of a worker, as it was raised there.
        ConfigError: when the cluster has no room for the workers and their GPUs, and cannot get it.
        TrainingError: when workers keep dying.
    """
    jobs = [job for job in jobs if not job.done()]
    if not jobs:
        return
    jobs, gpus = _placed(jobs, compute)

    def together(group: list[StagePlan]) -> None:
        for workers, alike in groupby(group, key=lambda job: job.workers):
            _train_together(list(alike), _of(compute, workers), gpus, root, trackers or {}, on_progress)

    at_once = _groups(_of(compute, max(job.workers for job in jobs)), gpus)
    if at_once > 1 and any(not upstream_of(job, jobs) for job in jobs[1:]):
        _side_by_side(jobs, at_once, lambda job: together([job]))
    else:
        together(jobs)


def _placed(jobs: list[StagePlan], compute: Compute) -> tuple[list[StagePlan], float]:
    """Return the jobs with as many workers as the cluster can come to have room for, and the GPUs of each worker.

    `compute.workers` is the most that train a stage. With `gpus: auto` a stage that does not say its own number takes
    fewer where there are fewer GPUs, or CPUs; that is said.

    Raises:
        ConfigError: when there is no room for what was asked for.
    """
    there = capacity()
    room = there.room({"CPU": compute.cpus_per_worker, "GPU": wanted(compute.gpus, there)})
    if compute.gpus == "auto" and room:
        jobs = [_within(job, room) for job in jobs]
    gpus = gpus_for(
        compute.gpus,
        workers=max(job.workers for job in jobs),
        cpus=compute.cpus_per_worker,
        setting="compute.gpus",
        what="training",
        there=there,
    )
    return jobs, gpus


def _within(job: StagePlan, room: int) -> StagePlan:
    if job.workers <= room or job.stage.workers:
        return job
    workers = max(n for n in job.stage.shares() if n <= room)
    say(f"{job.name} is trained by {workers} of {job.workers} workers: the cluster has no room for more")
    return replace(job, workers=workers)


def _of(compute: Compute, workers: int) -> Compute:
    return compute.model_copy(update={"workers": workers})


def upstream_of(job: StagePlan, jobs: Iterable[StagePlan]) -> set[str]:
    """Return which of the jobs a stage waits for."""
    needed = {other.name for other in jobs if other.model in job.sources.values()}
    return needed | {other.name for other in jobs if other.name in job.stage.needs}


def _side_by_side(jobs: list[StagePlan], at_once: int, train_one: Callable[[StagePlan], None]) -> None:
    """Train each stage in a thread as soon as those it waits for are done; the first error ends it all.

    The threads end with the connection to Ray, so that neither an error nor Ctrl-C waits for the others.
    """
    ended: queue.SimpleQueue[tuple[StagePlan, BaseException | None]] = queue.SimpleQueue()

    def work(job: StagePlan) -> None:
        try:
            train_one(job)
        except BaseException as error:
            ended.put((job, error))
        else:
            ended.put((job, None))

    waiting, running = list(jobs), 0
    while waiting or running:
        left = [*waiting, *(job for job in jobs if job not in waiting and not job.done())]
        for job in [job for job in waiting if not upstream_of(job, left)][: at_once - running]:
            waiting.remove(job)
            running += 1
            threading.Thread(target=work, args=(job,), name=f"train {job.name}", daemon=True).start()
        _, error = ended.get()
        running -= 1
        if error:
            raise error


def _train_together(
    jobs: list[StagePlan],
    compute: Compute,
    gpus: float,
    root: str,
    trackers: Mapping[str, StageRun],
    on_progress: OnProgress | None,
) -> None:
    """Train stages in order on one group of workers; where Ray loses the process that leads them, it gets another."""
    board = open_board()
    threads = compute.cpus_per_worker
    settings = {"jobs": jobs, "trackers": dict(trackers), "board": board, "gpus": gpus, "threads": threads}
    with relayed(board, on_progress):
        for lost in range(RESTARTS + 1):
            try:
                _fit(settings, compute, gpus, root)
                break
            except RayActorError as error:
                if lost == RESTARTS:
                    raise _reason(board, error) from error
                reason = process_group.last_words(error)
                say(f"Ray lost the process that leads the training; another one goes on: {reason}")
            except Exception as error:
                raise _reason(board, error) from error
    failure = ray.get(board.why.remote())
    if failure is not None:
        raise failure


def _fit(settings: dict[str, Any], compute: Compute, gpus: float, root: str) -> None:
    """Have Ray Train run `_work` with the settings on a group of workers."""
    resources = {"CPU": compute.cpus_per_worker, **({"GPU": gpus} if gpus else {})}
    scratch = storage.join(root, "ray")
    free_folders(scratch, "train")
    name = owned_name("train")
    trainer = TorchTrainer(
        _work,
        train_loop_config=settings,
        torch_config=_Distributed(),
        scaling_config=ray.train.ScalingConfig(
            num_workers=compute.workers, use_gpu=bool(gpus), resources_per_worker=resources
        ),
        # Checkpoints are ours: Ray would count one only some time after it was reported. The run's name is new each
        # time, because Ray takes up an old run of the same name by itself. Starts are counted by the board.
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=scratch if storage.is_remote(scratch) else str(Path(scratch).absolute()),
            failure_config=ray.train.FailureConfig(max_failures=-1),
        ),
    )
    try:
        trainer.fit()
    finally:
        storage.delete(storage.join(scratch, name))


def _work(config: dict[str, Any]) -> None:
    """What each worker does."""
    torch.set_num_threads(config["threads"])
    board = config["board"]
    say_through(board.note.remote)
    if ray.get(board.why.remote()) is not None:
        return  # the group was started again after an error that would come again
    try:
        _train_all(config, board)
    except Exception as error:
        known = complaint_of(error) if isinstance(error, OSError) else error
        if isinstance(known, AcutanceError):
            # Raised as well as posted: the other workers wait for this one and must be ended.
            ray.get(board.fail.remote(known))
            raise known from error
        if not process_group.is_loss(error):
            ray.get(board.stumbled.remote(process_group.last_words(error)))
        raise


def _train_all(config: dict[str, Any], board: Any) -> None:
    silence_libraries()
    context, gpus = ray.train.get_context(), config["gpus"]
    rank, world = context.get_world_rank(), context.get_world_size()
    if rank == 0:
        _count_starts(config["jobs"], board)
    address = broadcast_from_rank_zero(process_group.open_address() if rank == 0 else None)
    device = process_group.enter(address, rank, world, gpus)
    devices = process_group.device_names(gpus, world)
    if rank == 0:
        board.note.remote(f"training: {process_group.described(devices, gpus)}")
    for job in config["jobs"]:

        def report(step: int, losses: Losses, _: Learner, name: str = job.name) -> None:
            if rank == 0:
                board.post.remote(name, step, losses)

        tracker = config["trackers"].get(job.name) if rank == 0 and not job.done() else None
        if tracker:
            tracker.begin()
        train_stage(job, tracker=tracker, device=device, on_report=report, on_skip=board.note.remote)
        if tracker:
            tracker.close()


def _count_starts(jobs: list[StagePlan], board: Any) -> None:
    """Give up where workers start again and again and reach no checkpoint; what is reached in between is not counted.

    Raises:
        TrainingError: saying why they started again the last time.
    """
    kept = [("done" if job.done() else "".join(storage.names(job.checkpoints)[-1:])) for job in jobs]
    starts, why = ray.get(board.begun.remote("/".join(kept)))
    if starts > RESTARTS:
        raise TrainingError(
            f"workers failed {starts} times in a row before the next checkpoint: {why or 'they were lost'}",
            fix="run the same command again to go on from the last checkpoint; ACUTANCE_DEBUG=1 shows Ray's logs",
        )


def _reason(board: Any, error: Exception) -> AcutanceError:
    """Return what ended a training in our words: the first error of a worker, or what of Ray was lost."""
    with contextlib.suppress(Exception):
        failure = ray.get(board.why.remote(), timeout=5)
        if failure is not None:
            return failure
    found = process_group.cause(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else error
    if isinstance(found, AcutanceError):
        return found
    what = f"training stopped: {process_group.last_words(found)}"
    if isinstance(found, RayActorError):
        what = f"training stopped: Ray lost the process that led it: {process_group.last_words(found)}"
    return TrainingError(
        what, fix="run the same command again to go on from the last checkpoint; ACUTANCE_DEBUG=1 shows Ray's logs"
    )


def _groups(compute: Compute, gpus: float) -> int:
    """Return how many groups of workers the nodes that are alive have room for; at least one, which is waited for."""
    bundle = {"CPU": compute.cpus_per_worker, "GPU": gpus}
    return max(1, Capacity(alive()).room_now(bundle) // compute.workers)
