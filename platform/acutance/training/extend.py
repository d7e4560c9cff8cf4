"""A training that is to be longer than one before it, or to end otherwise, goes on from where their ways part.

What step s does to the weights follows from settings that are the same for all steps and from the learning rates up to
s. So a training whose settings differ in its length and in later rates alone ends with the same weights from a
checkpoint of the other one as from its own first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from acutance import storage
from acutance.config.pipeline import Stage
from acutance.errors import DamagedError
from acutance.training import checkpoint
from acutance.training.plan import StagePlan, lease_of

BEGINNINGS = "beginnings"
"""The folder, below the storage root, that names trainings by what they begin with."""


def going_on(job: StagePlan, root: str) -> StagePlan:
    """Note a training for those that come later; return it as going on from one before it, where there is such a one.

    Args:
        root: URI of the storage root.
    """
    folder = storage.join(root, BEGINNINGS, job.beginning)
    found = None if storage.names(job.checkpoints) else max(_checkpoints(job, root, folder), default=None)
    note = {"stage": job.stage.model_dump(mode="json"), "folder": job.folder.removeprefix(f"{root}/")}
    storage.write_json(storage.join(folder, f"{job.fingerprint}.json"), note)
    return replace(job, begins_at=found[1]) if found else job


def _checkpoints(job: StagePlan, root: str, folder: str) -> Iterator[tuple[int, str]]:
    """Yield step and URI of those checkpoints of other trainings that lie on this one's way.

    Those of a training that is under way are left alone: it deletes all but its newest ones.
    """
    mine = job.stage
    for name in storage.names(folder):
        mark = name.removesuffix(".json")
        try:
            note = storage.read_json(storage.join(folder, name))
            theirs, other = Stage.model_validate(note["stage"]), replace(job, folder=storage.join(root, note["folder"]))
        except (DamagedError, KeyError, ValueError):  # it was written by a program that knew other settings
            continue
        steps = {checkpoint.step_of(file): file for file in storage.names(other.checkpoints)}
        under_way = mark != job.fingerprint and storage.exists(lease_of(root, mark))
        if other.folder == job.folder or not steps or under_way:
            continue
        for step, file in steps.items():
            if step < mine.steps and _same_rates(mine, theirs, step):
                yield step, storage.join(other.checkpoints, file)


def _same_rates(one: Stage, other: Stage, steps: int) -> bool:
    """Return whether all learning rates of two trainings are the same in each of the first steps."""
    pairs = zip(one.optimisers().values(), other.optimisers().values(), strict=True)
    return all(
        (a == b and one.steps == other.steps)
        or all(a.rate(step, one.steps) == b.rate(step, other.steps) for step in range(steps))
        for a, b in pairs
    )
