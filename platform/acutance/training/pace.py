"""How fast a training is, and where its time goes, since the report before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from acutance.training.learner import Learner

Figures = dict[str, float]
"""Name -> value: `images_per_second` of all workers, `seconds_per_step`, `waiting_for_data` (share of the time, 0..1),
`learning_rate` of the generator, `gpu_memory_gb`, the most that this worker held (on GPUs), and the learner's
`diagnostics`."""


class Pace:
    """Measures the steps between two reports.

    Args:
        batch: samples a step, over all workers.
    """

    def __init__(self, batch: int, device: str) -> None:
        self.batch, self.device = batch, device
        self.began, self.waited, self.steps = time.perf_counter(), 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of a block as spent on waiting for data."""
        before = time.perf_counter()
        yield
        self.waited += time.perf_counter() - before
        self.steps += 1

    def figures(self, learner: Learner) -> Figures:
        """Return the figures since the call before; none where no step was taken."""
        seconds, waited, steps = time.perf_counter() - self.began, self.waited, self.steps
        self.began, self.waited, self.steps = time.perf_counter(), 0.0, 0
        if not steps:
            return {}
        found = {
            "images_per_second": self.batch * steps / seconds,
            "seconds_per_step": seconds / steps,
            "waiting_for_data": waited / seconds,
            "learning_rate": learner.generator.optimiser.param_groups[0]["lr"],
            **{name: float(value) for name, value in learner.diagnostics.items()},
        }
        if self.device.startswith("cuda"):
            found["gpu_memory_gb"] = torch.cuda.max_memory_allocated() / 2**30
        return found
