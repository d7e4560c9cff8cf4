"""Makes the next step's batch in a thread while the device computes the present step."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch

from acutance.data.multi_scale_stream import MultiScaleStream
from acutance.data.stream import Stream

Batch = dict[str, torch.Tensor]
Call = tuple[int, int, int]


class Prefetcher:
    """A stream that is one step ahead, with the same batches: they are a function of the step."""

    def __init__(self, stream: Stream | MultiScaleStream) -> None:
        self.stream = stream
        self._thread = ThreadPoolExecutor(1, "batches")
        self._next: tuple[Call, Future[Batch]] | None = None

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """Return the stream's batch of a step, and begin that of the next one."""
        begun, self._next = self._next, None
        ready = begun[1] if begun and begun[0] == (step, rank, world) else self._begin(step, rank, world)
        batch = ready.result()
        self._next = ((step + 1, rank, world), self._begin(step + 1, rank, world))
        return batch

    def samples(self, step: int, rank: int = 0, world: int = 1) -> list[int]:
        """Return the stream's samples of a step."""
        return self._thread.submit(self.stream.samples, step, rank, world).result()

    def _begin(self, *call: int) -> Future[Batch]:
        return self._thread.submit(self.stream.batch, *call)
