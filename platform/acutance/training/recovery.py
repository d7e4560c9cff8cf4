"""Skipped steps: the message about one, and the rollback after too many in a row."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from acutance.data.manifest import Manifest, read_manifest
from acutance.data.multi_scale_stream import MultiScaleStream
from acutance.data.prefetch import Prefetcher
from acutance.data.stream import Stream
from acutance.errors import TrainingError
from acutance.training import checkpoint
from acutance.training.build import build_learner
from acutance.training.distributed import rank_and_world_size
from acutance.training.learner import Learner
from acutance.training.stage_plan import StagePlan
from acutance.training.state import load_state, state_of

ROLLBACKS = 1
"""How often a run goes back to a checkpoint before it gives up."""


def skip_message(plan: StagePlan, stream: Stream | MultiScaleStream | Prefetcher, learner: Learner) -> str:
    """Return a message about the newest step, which was skipped: what was not finite, and for which samples."""
    manifest, world_size = read_manifest(plan.shards), rank_and_world_size()[1]
    lines = [
        f"{plan.name}: step {learner.steps_done} was skipped, {learner.consecutive_skips} in a row, "
        f"{learner.skipped_steps} in all"
    ]
    for rank, names in learner.nonfinite.items():
        rows = stream.samples(learner.steps_done - 1, rank, world_size)
        samples = ", ".join(_sample_name(manifest, row) for row in rows)
        lines.append(f"  worker {rank}: not finite: {', '.join(names)}; samples: {samples}")
    return "\n".join(lines)


def roll_back(plan: StagePlan, learner: Learner, device: str, message: str) -> None:
    """Bring the learner back to its newest checkpoint, or to its start, and lower the learning rates from there on.

    Args:
        message: about the step that was skipped last; part of the error.

    Raises:
        TrainingError: when it has already gone back `ROLLBACKS` times.
    """
    if learner.rollbacks == ROLLBACKS:
        raise TrainingError(
            f"{learner.consecutive_skips} steps in a row were skipped, also after going back to a checkpoint with a "
            f"lower learning rate\n{message}",
            where=f"stages.{plan.name}",
            fix="look at these samples; lower the learning rate, set optimiser.clip, or use precision: float32",
        )
    rollbacks, skipped_steps = learner.rollbacks + 1, learner.skipped_steps
    if not checkpoint.load_newest(plan.checkpoints, learner, plan.fingerprint, device):
        load_state(learner, state_of(build_learner(plan, device)))
        checkpoint.load_origin(plan, learner, device)
    learner.rollbacks, learner.skipped_steps, learner.consecutive_skips = rollbacks, skipped_steps, 0
    if rank_and_world_size()[0] == 0:
        # A run that is killed from now on resumes with the lower learning rates.
        checkpoint.write(plan, learner)


def _sample_name(manifest: Manifest, row: int) -> str:
    """Return the picture that a row of the shards comes from, and which of its sub-images it is."""
    ends = list(accumulate(source.rows for source in manifest.sources))  # the rows of a picture are consecutive
    index = bisect_right(ends, row)
    source = manifest.sources[index]
    return f"{source.name} {row - ends[index] + source.rows + 1}/{source.rows} (row {row})"
