"""The processes that train a trial together. They and their process group stay from one trial to the next."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.util import get_node_ip_address
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from acutance.quiet import hush
from acutance.training.loop import Report, Tracker, reports_of
from acutance.training.plan import StageJob

PATIENCE = timedelta(minutes=10)
"""How long workers wait for one another; longer than an evaluation by worker 0."""


class Peer:
    """A worker other than worker 0: iterates over the same trainings when it is told to."""

    def __init__(self, threads: int) -> None:
        hush()
        torch.set_num_threads(threads)
        self.trainings: list[Iterator[Report]] = []

    def join(self, address: str, rank: int, world: int, backend: str) -> None:
        """Enter the process group."""
        _join(address, rank, world, backend)

    def begin(self, jobs: list[StageJob], at: list[Collection[int]]) -> None:
        """Take up trainings, and let go of those before."""
        self.trainings = [reports_of(job, at=steps) for job, steps in zip(jobs, at, strict=True)]

    def advance(self, index: int) -> None:
        """Train to the next report."""
        next(self.trainings[index], None)


class Workers:
    """Worker 0 is this process; the others are actors in the same placement group, and end with this process.

    Args:
        count: of all workers.
        resources: of each, as Ray counts them.
    """

    def __init__(self, count: int, resources: dict[str, float]) -> None:
        threads = max(1, int(resources.get("CPU", 1)))
        torch.set_num_threads(threads)
        self.trainings: list[Iterator[Report]] = []
        self.peers: list[Any] = []
        if count > 1:
            self.peers = [_peer(index, resources, threads) for index in range(1, count)]
            address = f"{get_node_ip_address()}:{_free_port()}"
            backend = "nccl" if resources.get("GPU") else "gloo"
            joining = [peer.join.remote(address, rank, count, backend) for rank, peer in enumerate(self.peers, 1)]
            _join(address, 0, count, backend)
            ray.get(joining)

    def begin(self, jobs: list[StageJob], at: list[Collection[int]], tracker: Tracker | None = None) -> None:
        """Take up trainings, and let go of those before. The tracker hears of the first one's losses."""
        trackers = [tracker, *[None] * len(jobs)]
        self.trainings = [reports_of(j, at=a, tracker=t) for j, a, t in zip(jobs, at, trackers, strict=False)]
        ray.get([peer.begin.remote(jobs, at) for peer in self.peers])

    def advance(self, index: int) -> Report | None:
        """Train to the next report of one of the trainings; None when it has come to its end."""
        others = [peer.advance.remote(index) for peer in self.peers]
        report = next(self.trainings[index], None)
        ray.get(others)
        return report

    def train(self, job: StageJob) -> None:
        """Train a stage to its end."""
        self.begin([job], [()])
        while self.advance(0) is not None:
            pass


def _peer(bundle: int, resources: dict[str, float], threads: int) -> Any:
    group = get_current_placement_group()
    assert group is not None, "a trial runs in a placement group"
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle)
    options = {"num_cpus": resources.get("CPU", 1), "num_gpus": resources.get("GPU", 0)}
    return ray.remote(Peer).options(scheduling_strategy=strategy, **options).remote(threads)


def _join(address: str, rank: int, world: int, backend: str) -> None:
    dist.init_process_group(backend, init_method=f"tcp://{address}", rank=rank, world_size=world, timeout=PATIENCE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
