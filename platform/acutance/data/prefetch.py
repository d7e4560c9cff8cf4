"""A stream that makes the next step's batch while a device is busy with this one: noise and blur take their time."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch

from acutance.data.multi_scale_stream import MultiScaleStream
from acutance.data.stream import Stream

Batch = dict[str, torch.Tensor]
Call = tuple[int, int, int]


class Prefetcher:
    """What `stream` gives, one step ahead in a thread; batches are a function of the step, so they are the same."""

    def __init__(self, stream: Stream | MultiScaleStream) -> None:
        self.stream = stream
        self._thread = ThreadPoolExecutor(1, "batches")
        self._next: tuple[Call, Future[Batch]] | None = None

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """Return what the stream's own `batch` returns, and begin the one of the following step."""
        known, self._next = self._next, None
        ready = known[1] if known and known[0] == (step, rank, world) else self._begun(step, rank, world)
        found = ready.result()
        self._next = ((step + 1, rank, world), self._begun(step + 1, rank, world))
        return found

    def samples(self, step: int, rank: int = 0, world: int = 1) -> list[int]:
        """Return what the stream's own `samples` returns."""
        return self._thread.submit(self.stream.samples, step, rank, world).result()

    def _begun(self, *call: int) -> Future[Batch]:
        return self._thread.submit(self.stream.batch, *call)
