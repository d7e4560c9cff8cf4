"""Workers that train a trial together: the error of one of them is told at once, and the next trial gets others."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray import cloudpickle
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

pytestmark = [pytest.mark.e2e, pytest.mark.long]


@pytest.fixture(scope="module")
def bundles() -> Iterator[Any]:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield placement_group([{"CPU": 1}, {"CPU": 1}])
    ray.shutdown()


def trials(kinds: list[str]) -> list[tuple[str, str, bool]]:
    """Be worker 0 of two in one training after another: the kind says who fails when both should meet."""
    import torch.distributed as dist

    from acutance.errors import DataError
    from acutance.tuning import workers

    class Peer(workers.Peer):
        def begin(self, jobs: Any, at: Any) -> None:
            pass

        def advance(self, index: int) -> None:
            if kinds[index] == "raises":
                raise DataError("needs 99.0 GB of local disk")
            if kinds[index] == "dies":
                os._exit(1)
            dist.barrier()

    def training(kind: str) -> Iterator[Any]:
        if kind == "worker 0":
            raise DataError("a picture is missing")
        dist.barrier()
        yield "met"

    workers.Peer = Peer  # type: ignore[misc]
    together = workers.Workers(2, {"CPU": 1})
    told = []
    for index, kind in enumerate(kinds):
        together.begin([], [])
        together.trainings = [training(kind)] * len(kinds)
        began = time.monotonic()
        try:
            said: Any = ("none", str(together.advance(index)))
        except Exception as error:
            said = (type(error).__name__, str(error))
        told.append((*said, time.monotonic() - began < 15))
    return told


def test_a_failing_worker_ends_all_at_once_and_the_next_trial_gets_others(bundles: Any) -> None:
    first = PlacementGroupSchedulingStrategy(
        bundles, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
    )
    task = ray.remote(num_cpus=1, max_retries=0)(trials).options(scheduling_strategy=first)
    raised, own, died, well = ray.get(task.remote(["raises", "worker 0", "dies", "well"]))
    assert "DataError" in raised[0]
    assert "needs 99.0 GB of local disk" in raised[1]
    assert own[:2] == ("DataError", "a picture is missing")
    assert died[0] == "LostError"
    assert "a worker was lost" in died[1]
    assert well[:2] == ("none", "met")
    assert [one[2] for one in (raised, own, died)] == [True] * 3, "somebody waited"
