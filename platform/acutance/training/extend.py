"""A longer training starts from a checkpoint of a shorter one, if both are the same up to there.

The weights after step s depend on the stage's settings and on the learning rates up to s. Two trainings that differ
only in their length and in later learning rates have the same weights until then: the second one need not repeat them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from acutance import storage
from acutance.config.pipeline import Stage
from acutance.errors import DamagedError
from acutance.training import checkpoint
from acutance.training.stage_plan import StagePlan, lease_of

BEGINNINGS = "beginnings"
"""The folder, below the storage root, that lists trainings by the fingerprint of their beginning."""


def going_on(plan: StagePlan, root: str) -> StagePlan:
    """Return the plan, with `begins_at` if an earlier training has a checkpoint for it; list it for later trainings.

    Args:
        root: URI of the storage root.
    """
    folder = storage.join(root, BEGINNINGS, plan.beginning)
    found = None if storage.names(plan.checkpoints) else max(_checkpoints(plan, root, folder), default=None)
    note = {"stage": plan.stage.model_dump(mode="json"), "folder": plan.folder.removeprefix(f"{root}/")}
    storage.write_json(storage.join(folder, f"{plan.fingerprint}.json"), note)
    return replace(plan, begins_at=found[1]) if found else plan


def _checkpoints(plan: StagePlan, root: str, folder: str) -> Iterator[tuple[int, str]]:
    """Yield step and URI of the checkpoints of other trainings that are also checkpoints of this one.

    Trainings that are still running are left out: they delete all but their newest checkpoints.
    """
    stage = plan.stage
    for name in storage.names(folder):
        mark = name.removesuffix(".json")
        try:
            note = storage.read_json(storage.join(folder, name))
            others, other = (
                Stage.model_validate(note["stage"]),
                replace(plan, folder=storage.join(root, note["folder"])),
            )
        except (DamagedError, KeyError, ValueError):  # another version wrote it, with other settings
            continue
        steps = {checkpoint.step_of(file): file for file in storage.names(other.checkpoints)}
        running = mark != plan.fingerprint and storage.exists(lease_of(root, mark))
        if other.folder == plan.folder or not steps or running:
            continue
        for step, file in steps.items():
            if step < stage.steps and _same_rates(stage, others, step):
                yield step, storage.join(other.checkpoints, file)


def _same_rates(one: Stage, other: Stage, steps: int) -> bool:
    """Return whether all learning rates of two trainings are the same in each of the first steps."""
    pairs = zip(one.optimisers().values(), other.optimisers().values(), strict=True)
    return all(
        (a == b and one.steps == other.steps)
        or all(a.rate(step, one.steps) == b.rate(step, other.steps) for step in range(steps))
        for a, b in pairs
    )
