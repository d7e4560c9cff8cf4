"""Validates a stage while it is trained: when, by which processes, and what becomes of the values.

A stage that restores pictures is measured before its first step, every so many steps, and at its end. Where the cluster
has room beside the training, Ray tasks measure the checkpoint of that step while the training goes on. Elsewhere all
workers measure together what is in their memory, each a share of the pictures, before they take the next step.

What decides by the values counts those of earlier validations alone, so that it does not depend on where they are made:
worker 0 waits for the validation before when the next one is due. A checkpoint is kept until its validation has values.
A validation that fails, since its pictures are away, is tried again with the next one; before the first step and after
the last one it is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
import torch.distributed as dist
from ray.exceptions import RayError
from rich.markup import escape

from acutance.cluster.hardware import device_of, in_full_precision
from acutance.errors import AcutanceError, LostError
from acutance.models.model_file import load_model
from acutance.silence import silence_libraries
from acutance.training import checkpoint
from acutance.training.checkpoint_writer import CheckpointWriter
from acutance.training.distributed import rank_and_world_size
from acutance.training.learner import Learner
from acutance.training.scores import Scores, Values, best_steps, read_scores, stop_reason, write_scores
from acutance.training.stage_plan import StagePlan
from acutance.training.tracker import Tracker
from acutance.training.validate import Measured, measure_outputs, measure_share, measure_together, merged, values_of
from acutance.training.validation_pictures import show_change


class Validator:
    """The validations of one training. Every worker has one, and calls its methods at the same steps.

    Attributes:
        scores: step -> values; the same on every worker.
        unmeasured: step -> why its checkpoint could not be measured yet.
    """

    def __init__(
        self,
        plan: StagePlan,
        device: str,
        tracker: Tracker | None,
        on_message: Callable[[str], None],
        writer: CheckpointWriter,
    ) -> None:
        self.plan, self.device, self.tracker = plan, device, tracker
        self.on_message, self.writer = on_message, writer
        self.rank = rank_and_world_size()[0]
        self.scores: Scores = {}
        self.unmeasured: dict[int, AcutanceError] = {}
        self.running: dict[int, list[Any]] = {}

    def begin(self, learner: Learner) -> str:
        """Read the values of an earlier run and measure what it left unmeasured, at step 0 the untrained network.

        Returns:
            Why the training has stopped already, or nothing.

        Raises:
            AcutanceError: when the untrained network cannot be measured.
        """
        if self.plan.stage.validation is None:
            return ""
        self.scores = _from_worker_0(_earlier_scores(self.plan) if self.rank == 0 else {})
        if self.plan.stage.validation.of_pictures:
            step = learner.steps_done
            if step == 0 and 0 not in self.scores:
                self._take(0, measure_together(self.plan, learner.final_network))
                self._require_all_measured()
            for left in _from_worker_0(self._left_unmeasured()):
                self._measure(left, learner)
        return self._stop_reason(learner.steps_done)

    def is_due(self, step: int) -> bool:
        """Return whether the stage is measured after a step."""
        validation = self.plan.stage.validation
        if validation is None:
            return False
        return step == self.plan.stage.steps or bool(validation.every and step % validation.every == 0)

    def validate(self, learner: Learner) -> str:
        """Measure the stage, or have it measured; return why the training stops here, or nothing.

        The checkpoint of this step is being written.
        """
        validation, step = self.plan.stage.validation, learner.steps_done
        assert validation is not None
        if validation.of_pictures:
            self._collect()
            for left in [*self.unmeasured, step]:
                if left not in self.scores:
                    self._measure(left, learner)
        elif step not in self.scores:
            own = measure_outputs(self.plan, learner.final_network, self.device) if self.rank == 0 else {}
            self._record(step, _from_worker_0(own))
        return self._stop_reason(step)

    def best_steps(self) -> list[int]:
        """Return the steps with a value of what the stage keeps the best of, best first."""
        validation, best = self.plan.stage.validation, self.plan.stage.keep.best
        return best_steps(self.scores, validation, best) if validation and best else []

    def waiting(self) -> list[int]:
        """Return the steps whose checkpoints have no values yet."""
        return [*self.unmeasured, *self.running]

    def end(self, learner: Learner) -> None:
        """Wait for all values.

        Raises:
            AcutanceError: when a checkpoint cannot be measured.
        """
        self._collect()
        for left in list(self.unmeasured):
            self._measure(left, learner, here=True)
        self._require_all_measured()

    def _measure(self, step: int, learner: Learner, *, here: bool = False) -> None:
        """Measure a checkpoint by Ray tasks beside the training, or by all workers here."""
        tasks = 0 if here or step == self.plan.stage.steps else self.plan.validation_tasks
        if not tasks:
            network = learner.final_network
            if step != learner.steps_done:
                network = in_full_precision(load_model(checkpoint.file_of(self.plan.checkpoints, step))[0], self.device)
            self._take(step, measure_together(self.plan, network))
        elif self.rank == 0:
            self.writer.wait()
            remote = ray.remote(num_cpus=1, num_gpus=self.plan.validation_gpus)(_measure_checkpoint)
            placed = remote.options(scheduling_strategy="DEFAULT")  # not among the resources of the workers
            gpus = self.plan.validation_gpus
            self.running[step] = [placed.remote(self.plan, step, index, tasks, gpus) for index in range(tasks)]

    def _collect(self) -> None:
        """Wait for the tasks that run, and take their values on all workers."""
        for step in _from_worker_0(list(self.running)):
            self._take(step, _from_worker_0(_result(self.running.pop(step)) if self.rank == 0 else Measured()))

    def _take(self, step: int, measured: Measured) -> None:
        if measured.error is not None:
            self.unmeasured[step] = measured.error
            if self.rank == 0:
                what = f"{self.plan.name}: no validation at step {step}: {measured.error}; it is tried again"
                self.on_message(escape(what))
            return
        self.unmeasured.pop(step, None)
        self._record(step, values_of(self.plan, measured))
        if self.rank == 0 and measured.crops:
            picture = show_change(self.plan, self.scores, step, measured.crops)
            if self.tracker:
                self.tracker.picture("validation.png", picture)

    def _record(self, step: int, values: Values) -> None:
        self.scores[step] = values
        if self.rank == 0:
            write_scores(self.plan.folder, self.scores)
            text = ", ".join(f"{name} {value:.5g}" for name, value in values.items())
            self.on_message(escape(f"{self.plan.name}: validation at step {step}: {text}"))
            if self.tracker:
                self.tracker.metrics([(step, {f"validation.{name}": value for name, value in values.items()})])

    def _left_unmeasured(self) -> list[int]:
        """Return the steps of checkpoints whose validation a killed process did not finish."""
        steps = checkpoint.steps(self.plan.checkpoints)
        return [step for step in steps if self.is_due(step) and step not in self.scores]

    def _stop_reason(self, step: int) -> str:
        return stop_reason(self.plan, self.scores, step) if self.is_due(step) else ""

    def _require_all_measured(self) -> None:
        if self.unmeasured:
            step, error = next(iter(self.unmeasured.items()))
            error.where = error.where or f"stages.{self.plan.name}.validation, step {step}"
            raise error


def _earlier_scores(plan: StagePlan) -> Scores:
    """Return the values of an earlier run, or of the training from whose checkpoint this one begins, up to there."""
    own = read_scores(plan.folder)
    if own or not plan.begins_at:
        return own
    folder, _, file = plan.begins_at.rpartition("/checkpoints/")
    return {step: values for step, values in read_scores(folder).items() if step <= checkpoint.step_of(file)}


def _measure_checkpoint(plan: StagePlan, step: int, index: int, count: int, gpus: float) -> Measured:
    """Measure a share of the pictures in a Ray task."""
    silence_libraries()
    try:
        network, _ = load_model(checkpoint.file_of(plan.checkpoints, step))
        return measure_share(plan, in_full_precision(network, device_of(gpus)), index, count)
    except AcutanceError as error:
        return Measured(error=error)


def _result(tasks: list[Any]) -> Measured:
    try:
        return merged(ray.get(tasks))
    except RayError as error:
        return Measured(error=LostError(f"a task that measures was lost: {str(error).splitlines()[0]}"))


def _from_worker_0(value: Any) -> Any:
    """Return worker 0's value on every worker."""
    if not dist.is_initialized():
        return value
    shared = [value]
    dist.broadcast_object_list(shared, src=0)
    return shared[0]
