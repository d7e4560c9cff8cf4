"""Trains stages under Ray Train: groups of workers, which start again when one of them dies."""

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
from acutance.cluster.hardware import Capacity, alive, capacity, gpus_for, requested_gpus
from acutance.config.pipeline import Compute
from acutance.console import say, say_through
from acutance.errors import AcutanceError, TrainingError
from acutance.evaluation.evaluate import GPU_SHARE
from acutance.silence import silence_libraries
from acutance.storage.disk import complaint_of
from acutance.storage.leftovers import free_folders, owned_name
from acutance.training import process_group
from acutance.training.dashboard import show_report
from acutance.training.interruption import Interruption, run_interruptibly, stop_requested
from acutance.training.loop import Report, train_stage
from acutance.training.messages import OnProgress, open_messages, shown
from acutance.training.stage_plan import StagePlan
from acutance.training.tracker import Tracker

RESTARTS = 5
"""How often in a row workers may start again without reaching another checkpoint."""

VALIDATION_TASKS = 4
"""The most Ray tasks that share the pictures of a validation."""


class StageRun(Tracker, Protocol):
    """Records a stage's losses from the start of its training to its end."""

    def begin(self) -> None:
        """Record that the training starts."""


class _Backend(_TorchBackend):
    """Ray's backend, but workers join their process group as those of trials do: by `process_group.enter`."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Do nothing: `_work` joins the group, and its errors reach the user."""


class _Distributed(TorchConfig):
    @property
    def backend_cls(self) -> type[_Backend]:
        return _Backend


def train(
    plans: list[StagePlan],
    compute: Compute,
    root: str,
    *,
    trackers: Mapping[str, StageRun] | None = None,
    on_progress: OnProgress | None = None,
) -> None:
    """Train stages on groups of Ray Train workers; finished stages are skipped.

    The caller has connected to Ray. If the cluster has room for several groups, stages that do not depend on each other
    are trained at the same time. Otherwise they are trained in order; stages with equally many workers in a row share
    one group. When a worker is killed, its group starts again, and the stage goes on from its newest checkpoint with
    exactly the batches that it would have seen. At Ctrl-C and SIGTERM the workers write a checkpoint first.

    Args:
        root: URI of the storage root, the same on every node.
        trackers: stage name -> records its losses; worker 0 uses it.
        on_progress: called in this process with (stage, step, newest losses, figures).

    Raises:
        AcutanceError: the error of a worker, as it was raised there.
        ConfigError: when the cluster has no room for the workers and their GPUs, and cannot grow.
        TrainingError: when workers keep dying.
    """
    plans = [plan for plan in plans if not plan.done()]
    if not plans:
        return
    plans, gpus = _placed(plans, compute)
    groups = _groups(_with_workers(compute, max(plan.workers for plan in plans)), gpus)
    side_by_side = groups > 1 and any(not upstream_of(plan, plans) for plan in plans[1:])
    together = min(groups, len(plans)) if side_by_side else 1
    plans = [_validated_beside(plan, compute, gpus, together) for plan in plans]

    interruption = Interruption()

    def train_in_order(group: list[StagePlan]) -> None:
        for workers, same_size in groupby(group, key=lambda plan: plan.workers):
            placed = _with_workers(compute, workers)
            _train_on_one_group(list(same_size), placed, gpus, root, trackers or {}, on_progress, interruption)

    def train_all() -> None:
        if side_by_side:
            _side_by_side(plans, groups, lambda plan: train_in_order([plan]), interruption)
        else:
            train_in_order(plans)

    run_interruptibly(train_all, interruption, compute.grace_seconds)


def _placed(plans: list[StagePlan], compute: Compute) -> tuple[list[StagePlan], float]:
    """Return the plans with as many workers as the cluster has, or can get, room for; and the GPUs of each worker.

    `compute.workers` is the largest number of workers. With `gpus: auto` a stage without a number of its own gets fewer
    workers when the cluster has fewer GPUs or CPUs; a message says so.

    Raises:
        ConfigError: when there is no room for the workers.
    """
    cluster = capacity()
    room = cluster.room({"CPU": compute.cpus_per_worker, "GPU": requested_gpus(compute.gpus, cluster)})
    if compute.gpus == "auto" and room:
        plans = [_within(plan, room) for plan in plans]
    gpus = gpus_for(
        compute.gpus,
        workers=max(plan.workers for plan in plans),
        cpus=compute.cpus_per_worker,
        setting="compute.gpus",
        what="training",
        cluster=cluster,
    )
    return plans, gpus


def _within(plan: StagePlan, room: int) -> StagePlan:
    if plan.workers <= room or plan.stage.workers:
        return plan
    workers = max(n for n in plan.stage.shares() if n <= room)
    say(f"{plan.name} is trained by {workers} of {plan.workers} workers: the cluster has no room for more")
    return replace(plan, workers=workers)


def _validated_beside(plan: StagePlan, compute: Compute, gpus: float, trainings: int) -> StagePlan:
    """Return a plan whose validation runs beside the training, as far as the nodes that are alive have room for it.

    Where workers train on GPUs, only a free share of a GPU counts: on a CPU it would fall behind.

    Args:
        trainings: how many of them run at the same time.
    """
    if not plan.pictures:
        return plan
    workers = trainings * plan.workers
    cpus = Capacity(alive()).room_now({"CPU": 1}) - workers * compute.cpus_per_worker
    share = GPU_SHARE if gpus else 0.0
    free_gpus = Capacity(alive()).room_now({"GPU": 1}) - workers * gpus
    room = min(cpus, int(free_gpus / share)) if gpus else cpus
    tasks = min(room // trainings, VALIDATION_TASKS, sum(map(len, plan.pictures.values())))
    return replace(plan, validation_tasks=max(0, tasks), validation_gpus=share)


def _with_workers(compute: Compute, workers: int) -> Compute:
    return compute.model_copy(update={"workers": workers})


def upstream_of(plan: StagePlan, plans: Iterable[StagePlan]) -> set[str]:
    """Return the names of the stages that must be finished before this one."""
    read = set(plan.sources.values())
    needed = {other.name for other in plans if {other.model, other.best_model} & read}
    return needed | {other.name for other in plans if other.name in plan.stage.needs}


def _side_by_side(
    plans: list[StagePlan], groups: int, train_one: Callable[[StagePlan], None], interruption: Interruption
) -> None:
    """Train each stage in a thread as soon as the stages that it depends on are done; the first error ends all.

    The threads end with the connection to Ray, so neither an error nor Ctrl-C waits for the other stages.
    """
    ended: queue.SimpleQueue[tuple[StagePlan, BaseException | None]] = queue.SimpleQueue()

    def work(plan: StagePlan) -> None:
        try:
            train_one(plan)
        except BaseException as error:
            ended.put((plan, error))
        else:
            ended.put((plan, None))

    waiting, running = list(plans), 0
    while running or (waiting and not interruption.asked):
        unfinished = [*waiting, *(plan for plan in plans if plan not in waiting and not plan.done())]
        ready = [plan for plan in waiting if not upstream_of(plan, unfinished)][: groups - running]
        for plan in ready if not interruption.asked else []:
            waiting.remove(plan)
            running += 1
            threading.Thread(target=work, args=(plan,), name=f"train {plan.name}", daemon=True).start()
        _, error = ended.get()
        running -= 1
        if error:
            raise error


def _train_on_one_group(
    plans: list[StagePlan],
    compute: Compute,
    gpus: float,
    root: str,
    trackers: Mapping[str, StageRun],
    on_progress: OnProgress | None,
    interruption: Interruption,
) -> None:
    """Train stages in order on one group of workers; if Ray loses its controller process, start another one."""
    if interruption.asked:
        return
    messages = open_messages()
    interruption.tell(messages)
    threads = compute.cpus_per_worker
    settings = {"plans": plans, "trackers": dict(trackers), "messages": messages, "gpus": gpus, "threads": threads}
    with shown(messages, on_progress):
        for lost in range(RESTARTS + 1):
            try:
                _fit(settings, compute, gpus, root)
                break
            except RayActorError as error:
                if lost == RESTARTS:
                    raise _reason(messages, error) from error
                reason = process_group.last_line(error)
                say(f"Ray lost the process that controls the training; another one goes on: {reason}")
            except Exception as error:
                raise _reason(messages, error) from error
    failure = ray.get(messages.get_error.remote())
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
        # Checkpoints are ours: Ray counts one only some time after it was reported. The run's name is new each time,
        # because Ray resumes an old run of the same name by itself. `Messages` counts the starts.
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
    """Runs in each worker."""
    torch.set_num_threads(config["threads"])
    messages = config["messages"]
    say_through(messages.add_text.remote)
    if ray.get(messages.get_error.remote()) is not None:
        return  # the group was started again after an error that a restart does not cure
    try:
        _train_all(config, messages)
    except Exception as error:
        known = complaint_of(error) if isinstance(error, OSError) else error
        if isinstance(known, AcutanceError):
            # Raised as well as sent: the other workers wait for this one, and Ray must end them.
            ray.get(messages.set_error.remote(known))
            raise known from error
        if not process_group.is_loss(error):
            ray.get(messages.set_restart_reason.remote(process_group.last_line(error)))
        raise


def _train_all(config: dict[str, Any], messages: Any) -> None:
    silence_libraries()
    context, gpus = ray.train.get_context(), config["gpus"]
    rank, world = context.get_world_rank(), context.get_world_size()
    if rank == 0:
        _count_starts(config["plans"], messages)
    address = broadcast_from_rank_zero(process_group.open_address() if rank == 0 else None)
    device = process_group.enter(address, rank, world, gpus)
    devices = process_group.device_names(gpus, world)
    if rank == 0:
        messages.add_text.remote(f"training: {process_group.described(devices, gpus)}")
    stop = stop_requested(messages) if rank == 0 else _never
    for plan in config["plans"]:

        def report(found: Report, name: str = plan.name) -> None:
            show_report(name, rank, found)
            if rank == 0:
                messages.add_progress.remote(name, found.step, found.losses, found.figures)

        tracker = config["trackers"].get(plan.name) if rank == 0 and not plan.done() else None
        if tracker:
            tracker.begin()
        text = messages.add_text.remote
        train_stage(plan, tracker=tracker, device=device, on_report=report, on_message=text, stop=stop)
        if tracker:
            tracker.close()
        if not plan.done():
            return  # it was asked to stop


def _never() -> bool:
    return False


def _count_starts(plans: list[StagePlan], messages: Any) -> None:
    """Give up when workers start again and again without reaching another checkpoint.

    Raises:
        TrainingError: with the reason of the last restart.
    """
    reached = [("done" if plan.done() else "".join(storage.names(plan.checkpoints)[-1:])) for plan in plans]
    starts, reason = ray.get(messages.count_start.remote("/".join(reached)))
    if starts > RESTARTS:
        raise TrainingError(
            f"workers failed {starts} times in a row before the next checkpoint: {reason or 'they were lost'}",
            fix="run the same command again to go on from the last checkpoint; ACUTANCE_DEBUG=1 shows Ray's logs",
        )


def _reason(messages: Any, error: Exception) -> AcutanceError:
    """Return the error for the user: the first error of a worker, or which process Ray lost."""
    with contextlib.suppress(Exception):
        failure = ray.get(messages.get_error.remote(), timeout=5)
        if failure is not None:
            return failure
    found = process_group.cause(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else error
    if isinstance(found, AcutanceError):
        return found
    what = f"training stopped: {process_group.last_line(found)}"
    if isinstance(found, RayActorError):
        what = f"training stopped: Ray lost the process that controlled it: {process_group.last_line(found)}"
    return TrainingError(
        what, fix="run the same command again to go on from the last checkpoint; ACUTANCE_DEBUG=1 shows Ray's logs"
    )


def _groups(compute: Compute, gpus: float) -> int:
    """Return how many groups of workers fit on the nodes that are alive; at least 1, since Ray waits for room."""
    bundle = {"CPU": compute.cpus_per_worker, "GPU": gpus}
    return max(1, Capacity(alive()).room_now(bundle) // compute.workers)
