"""Stages under Ray Train: groups of workers train them, and start again when one of them dies."""

from __future__ import annotations

import contextlib
import queue
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.torch.config import _TorchBackend

from acutance import storage
from acutance.console import say
from acutance.errors import AcutanceError, TrainingError
from acutance.pipeline import Compute
from acutance.training.interface import choose_interface
from acutance.training.learner import Learner
from acutance.training.loop import Losses, Tracker, train_stage
from acutance.training.plan import StageJob

RESTARTS = 5
"""How many times a run starts again after a worker or a node was lost."""

POLL_SECONDS = 0.5

OnProgress = Callable[[str, int, Losses], None]


class _Backend(_TorchBackend):
    """Ray's own, but workers on several machines find one another."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(choose_interface)
        super().on_start(worker_group, backend_config)


class _Distributed(TorchConfig):
    @property
    def backend_cls(self) -> type[_Backend]:
        return _Backend


@ray.remote(num_cpus=0)
class _Board:
    """Where worker 0 posts what the driver shows."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, int, Losses]] = []
        self.notes: list[str] = []
        self.failure: AcutanceError | None = None

    def post(self, stage: str, step: int, losses: Losses) -> None:
        self.posts.append((stage, step, losses))

    def fail(self, error: AcutanceError) -> None:
        self.failure = self.failure or error

    def note(self, text: str) -> None:
        self.notes.append(text)

    def take(self) -> tuple[list[tuple[str, int, Losses]], list[str]]:
        taken = self.posts, self.notes
        self.posts, self.notes = [], []
        return taken

    def why(self) -> AcutanceError | None:
        return self.failure


def train(
    jobs: list[StageJob],
    compute: Compute,
    root: str,
    *,
    trackers: Mapping[str, Tracker] | None = None,
    on_progress: OnProgress | None = None,
) -> None:
    """Train stages on groups of Ray Train workers; finished ones are passed over.

    The caller has connected to Ray. Where the cluster has room for several groups, stages that do not wait for one
    another train at the same time; otherwise they are trained in order, by one group where it is as large for all. A
    worker that is killed makes its group start again, and the stage goes on from its newest checkpoint with the very
    batches it would have seen.

    Args:
        root: URI of the storage root, the same on every node.
        trackers: stage name -> where its losses go.
        on_progress: called in this process with (stage, step, newest losses).

    Raises:
        AcutanceError: the error of a worker, as it was raised there.
        TrainingError: when workers keep dying.
    """
    jobs = [job for job in jobs if not job.done()]
    if not jobs:
        return
    largest = _of(compute, max(job.workers for job in jobs))
    _warn_of_waiting(largest)

    def together(group: list[StageJob]) -> None:
        for workers, alike in groupby(group, key=lambda job: job.workers):
            _train_together(list(alike), _of(compute, workers), root, trackers or {}, on_progress)

    at_once = _groups(largest)
    if at_once > 1 and any(not upstream_of(job, jobs) for job in jobs[1:]):
        _side_by_side(jobs, at_once, lambda job: together([job]))
    else:
        together(jobs)


def _of(compute: Compute, workers: int) -> Compute:
    return compute.model_copy(update={"workers": workers})


def upstream_of(job: StageJob, jobs: Iterable[StageJob]) -> set[str]:
    """Return which of the jobs a stage waits for."""
    needed = {other.name for other in jobs if other.model in job.sources.values()}
    return needed | {other.name for other in jobs if other.name in job.settings["needs"]}


def _side_by_side(jobs: list[StageJob], at_once: int, train_one: Callable[[StageJob], None]) -> None:
    """Train each stage in a thread as soon as those it waits for are done; the first error ends it all.

    The threads end with the connection to Ray, so that neither an error nor Ctrl-C waits for the others.
    """
    ended: queue.SimpleQueue[tuple[StageJob, BaseException | None]] = queue.SimpleQueue()

    def work(job: StageJob) -> None:
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
    jobs: list[StageJob], compute: Compute, root: str, trackers: Mapping[str, Tracker], on_progress: OnProgress | None
) -> None:
    """Train stages in order on one group of workers."""
    board = _Board.remote()  # type: ignore[attr-defined]
    gpu = _gpus() >= compute.workers
    resources = {"CPU": compute.cpus_per_worker, **({"GPU": 1} if gpu else {})}
    scratch = storage.join(root, "ray")
    name = f"train-{uuid.uuid4().hex[:8]}"
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "jobs": jobs,
            "trackers": dict(trackers),
            "board": board,
            "threads": compute.cpus_per_worker,
        },
        torch_config=_Distributed(backend="nccl" if gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=compute.workers, use_gpu=gpu, resources_per_worker=resources
        ),
        # Checkpoints are ours: Ray would count one only some time after it was reported. The run's name is new each
        # time, because Ray takes up an old run of the same name by itself.
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=scratch if storage.is_remote(scratch) else str(Path(scratch).absolute()),
            failure_config=ray.train.FailureConfig(max_failures=RESTARTS),
        ),
    )
    with _relayed(board, on_progress):
        try:
            trainer.fit()
        except Exception as error:
            raise _reason(board, error) from error
        finally:
            storage.delete(storage.join(scratch, name))
    failure = ray.get(board.why.remote())
    if failure is not None:
        raise failure


def _work(config: dict[str, Any]) -> None:
    """What each worker does."""
    torch.set_num_threads(config["threads"])
    board, context = config["board"], ray.train.get_context()
    if ray.get(board.why.remote()) is not None:
        return  # the group was started again after an error that would come again
    for job in config["jobs"]:

        def report(step: int, losses: Losses, _: Learner, name: str = job.name) -> None:
            if context.get_world_rank() == 0:
                board.post.remote(name, step, losses)

        try:
            train_stage(job, tracker=config["trackers"].get(job.name), on_report=report, on_skip=board.note.remote)
        except AcutanceError as error:
            # Raised as well as posted: the other workers wait for this one and must be ended.
            ray.get(board.fail.remote(error))
            raise


@contextlib.contextmanager
def _relayed(board: Any, on_progress: OnProgress | None) -> Iterator[None]:
    """Hand what is on the board to `on_progress` while the block runs."""
    ended = threading.Event()

    def relay() -> None:
        posts, notes = ray.get(board.take.remote())
        for note in notes:
            say(note)
        for post in posts:
            if on_progress:
                on_progress(*post)

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            with contextlib.suppress(Exception):
                relay()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
        relay()
    finally:
        ended.set()
        thread.join()


def _reason(board: Any, error: Exception) -> AcutanceError:
    with contextlib.suppress(Exception):
        failure = ray.get(board.why.remote(), timeout=5)
        if failure is not None:
            return failure
    text = str(error).strip().splitlines()
    return TrainingError(
        f"training stopped: {text[-1] if text else type(error).__name__}",
        fix="run the same command again to go on from the last checkpoint; ACUTANCE_DEBUG=1 shows Ray's logs",
    )


def _warn_of_waiting(compute: Compute) -> None:
    """Ray waits for nodes that may never come: say so."""
    wanted, there = compute.workers * compute.cpus_per_worker, ray.cluster_resources().get("CPU", 0)
    if there < wanted:
        say(f"training waits for {wanted} CPUs, Ray has {there:g}; compute.workers=1 asks for less")


def _groups(compute: Compute) -> int:
    """Return how many groups of workers the cluster has room for."""
    if _gpus() >= compute.workers:
        return _gpus() // compute.workers
    return max(1, int(ray.cluster_resources().get("CPU", 0)) // (compute.workers * compute.cpus_per_worker))


def _gpus() -> int:
    return int(ray.cluster_resources().get("GPU", 0))
