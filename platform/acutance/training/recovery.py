"""Steps that were skipped: what the log says of them, and the way back when there were too many in a row."""

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
from acutance.training.plan import StagePlan

RETURNS = 1
"""How often a run goes back before it gives up."""


def told(job: StagePlan, stream: Stream | MultiScaleStream | Prefetcher, learner: Learner, world: int) -> str:
    """Return what there is to say of the step that was skipped just now: what was not finite, and for which samples."""
    manifest = read_manifest(job.shards)
    lines = [f"{job.name}: step {learner.taken} was skipped, {learner.in_a_row} in a row, {learner.skipped} in all"]
    for rank, names in learner.blamed.items():
        rows = stream.samples(learner.taken - 1, rank, world)
        samples = ", ".join(_name(manifest, row) for row in rows)
        lines.append(f"  worker {rank}: not finite: {', '.join(names)}; samples: {samples}")
    return "\n".join(lines)


def go_back(job: StagePlan, learner: Learner, device: str, said: str) -> None:
    """Bring the learner to its newest checkpoint, or to its start, with a lower learning rate from there on.

    Args:
        said: what was told of the step that was skipped last.

    Raises:
        TrainingError: when it had gone back before.
    """
    if learner.returns == RETURNS:
        raise TrainingError(
            f"{learner.in_a_row} steps in a row could not be taken, also after going back to a checkpoint with a "
            f"lower learning rate\n{said}",
            where=f"stages.{job.name}",
            fix="look at these samples; lower the learning rate, set optimiser.clip, or use precision: float32",
        )
    returns, skipped = learner.returns + 1, learner.skipped
    if not checkpoint.resume(job.checkpoints, learner, job.fingerprint, device):
        learner.load_state(*build_learner(job, device).state())
        checkpoint.begin(job, learner, device)
    learner.returns, learner.skipped, learner.in_a_row = returns, skipped, 0
    if rank_and_world_size()[0] == 0:
        checkpoint.write(job.checkpoints, learner, job.fingerprint)  # a run that is killed now keeps the lower rate


def _name(manifest: Manifest, row: int) -> str:
    """Say which sub-image of which picture a row is; pictures lie one after another."""
    ends = list(accumulate(source.rows for source in manifest.sources))
    index = bisect_right(ends, row)
    source = manifest.sources[index]
    return f"{source.name} {row - ends[index] + source.rows + 1}/{source.rows} (row {row})"
