"""The processes that train a trial together. They and their process group stay from one trial to the next."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from acutance.console import say
from acutance.silence import silence_libraries
from acutance.training import process_group
from acutance.training.loop import Report, training_reports
from acutance.training.stage_plan import StagePlan
from acutance.training.tracker import Tracker

NOTICE_SECONDS = 20
"""How long Ray may take to find out that a process died, after its partner has lost the connection to it."""


class Peer:
    """A worker other than worker 0: runs the same trainings when worker 0 says so."""

    def __init__(self, threads: int) -> None:
        silence_libraries()
        torch.set_num_threads(threads)
        self.device = "cpu"
        self.trainings: list[Iterator[Report]] = []

    def join(self, address: str, rank: int, world: int, gpus: float) -> None:
        """Enter the process group."""
        self.device = process_group.enter(address, rank, world, gpus)
        process_group.device_names(gpus, world)

    def begin(self, plans: list[StagePlan], at: list[Collection[int]]) -> None:
        """Take up trainings, and let go of those before."""
        self.trainings = [
            training_reports(plan, also_at=steps, device=self.device) for plan, steps in zip(plans, at, strict=True)
        ]

    def advance(self, index: int) -> None:
        """Train to the next report."""
        next(self.trainings[index], None)


class Workers:
    """Worker 0 is this process; the others are actors in the same placement group, and end with this process.

    Where one of them fails, all but this process are ended, and the error of that one is raised; the next training
    gets new ones.

    Args:
        count: of all workers.
        resources: of each, as Ray counts them.
    """

    def __init__(self, count: int, resources: dict[str, float]) -> None:
        self.count, self.resources = count, resources
        self.threads = max(1, int(resources.get("CPU", 1)))
        torch.set_num_threads(self.threads)
        self.trainings: list[Iterator[Report]] = []
        self.peers: list[Any] = []
        self.device, self.devices = "cpu", list[str]()

    def begin(self, plans: list[StagePlan], at: list[Collection[int]], tracker: Tracker | None = None) -> None:
        """Begin trainings, and drop earlier ones. The tracker gets the losses of the first."""
        self._assemble()
        trackers = [tracker, *[None] * len(plans)]
        self.trainings = [
            training_reports(plan, also_at=a, tracker=t, device=self.device)
            for plan, a, t in zip(plans, at, trackers, strict=False)
        ]
        with self._in_parallel([peer.begin.remote(plans, at) for peer in self.peers]):
            pass

    def advance(self, index: int) -> Report | None:
        """Train to the next report of one of the trainings; return None at its end."""
        with self._in_parallel([peer.advance.remote(index) for peer in self.peers]):
            return next(self.trainings[index], None)

    def train(self, plan: StagePlan) -> None:
        """Train a stage to its end."""
        self.begin([plan], [()])
        while self.advance(0) is not None:
            pass

    def _assemble(self) -> None:
        """Start the other workers if needed, and join the process group with them."""
        if self.devices:
            return
        gpus = self.resources.get("GPU", 0)
        self.peers = [_peer(index, self.resources, self.threads) for index in range(1, self.count)]
        address = process_group.open_address()
        joining = [peer.join.remote(address, rank, self.count, gpus) for rank, peer in enumerate(self.peers, 1)]
        with self._in_parallel(joining):
            self.device = process_group.enter(address, 0, self.count, gpus)
            self.devices = process_group.device_names(gpus, self.count)
        say(f"a trial trains with {process_group.described(self.devices, gpus)}")

    @contextmanager
    def _in_parallel(self, others: list[Any]) -> Iterator[None]:
        """Do worker 0's part in the block while the others do theirs.

        Raises:
            AcutanceError: of the worker that failed first; LostError where one is gone.
            Exception: the same, where it is none of ours.
        """
        failures: list[BaseException] = []
        watch = threading.Thread(target=self._watch, args=(others, failures), daemon=True)
        watch.start()
        try:
            yield
            ray.get(others)
        except Exception as error:
            if process_group.is_loss(error):
                watch.join(NOTICE_SECONDS)  # the worker that failed is reported a moment later
            found = process_group.cause([*failures, error])
            self._end_peers()
            watch.join()
            self.peers, self.devices, self.trainings = [], [], []
            process_group.leave()
            raise process_group.lost(found) if process_group.is_loss(found) else found from None

    def _watch(self, others: Sequence[Any], failures: list[BaseException]) -> None:
        """Note the first of the others to fail, and end them all, so that worker 0 waits for none of them."""
        waiting = list(others)
        while waiting:
            ended, waiting = ray.wait(waiting)
            try:
                ray.get(ended)
            except Exception as error:
                failures.append(error)
                self._end_peers()
                return

    def _end_peers(self) -> None:
        """Worker 0 stops waiting once their connections are gone: gloo notices by itself, NCCL must be aborted."""
        for peer in self.peers:
            ray.kill(peer)
        if dist.is_initialized() and dist.get_backend() == "nccl":
            dist.distributed_c10d._abort_process_group()


def _peer(bundle: int, resources: dict[str, float], threads: int) -> Any:
    placed = get_current_placement_group()
    assert placed is not None, "a trial runs in a placement group"
    strategy = PlacementGroupSchedulingStrategy(placed, placement_group_bundle_index=bundle)
    options = {"num_cpus": resources.get("CPU", 1), "num_gpus": resources.get("GPU", 0)}
    return ray.remote(Peer).options(scheduling_strategy=strategy, **options).remote(threads)
