"""Checkpoints: one safetensors file with everything a run needs to go on exactly; nothing is pickled.

Names are `step-00000100.safetensors`. A file is written whole or not at all, with the checksum of its bytes, so the
newest one is always good. A damaged one (a disk's fault) is an error, not a silent return to an older state.
"""

from __future__ import annotations

from safetensors import SafetensorError
from safetensors.torch import load, save

from acutance import storage
from acutance.errors import DamagedError, TrainingError
from acutance.storage.checksum import metadata_with_checksum, verified_metadata, with_file_checksum
from acutance.training.learner import Learner
from acutance.training.stage_plan import StagePlan
from acutance.training.state import State, load_state, state_of

NEWEST = 2
"""How many of the newest checkpoints are kept."""


def write(folder: str, learner: Learner, fingerprint: str) -> None:
    """Write a checkpoint, and delete all but the newest."""
    tensors, values = state_of(learner)
    content = save(
        {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()},
        metadata=metadata_with_checksum({"fingerprint": fingerprint, **values}),
    )
    uri = storage.join(folder, f"step-{learner.steps_done:08d}.safetensors")
    storage.write_bytes(uri, with_file_checksum(content))
    keep_newest(folder, NEWEST)


def keep_newest(folder: str, count: int) -> None:
    """Delete all checkpoints but the newest `count`."""
    for name in storage.names(folder)[:-count]:
        storage.delete(storage.join(folder, name))


def step_of(name: str) -> int:
    """Return how many steps had been taken when a checkpoint was written, from its file's name."""
    return int(name.removeprefix("step-").removesuffix(".safetensors"))


def load_newest(folder: str, learner: Learner, fingerprint: str, device: str) -> bool:
    """Load the newest checkpoint of a folder; return whether there is one.

    Raises:
        TrainingError: when it is damaged or belongs to other settings.
    """
    names = storage.names(folder)
    if not names:
        return False
    uri = storage.join(folder, names[-1])
    state = _read(uri, device)
    if state[1]["fingerprint"] != fingerprint:
        raise TrainingError("this checkpoint belongs to other settings", where=uri, fix="delete its folder")
    load_state(learner, state)
    return True


def load_origin(plan: StagePlan, learner: Learner, device: str) -> None:
    """Load the checkpoint of another training into a fresh learner, if the plan says that it goes on from one.

    Raises:
        TrainingError: when that checkpoint is missing or damaged.
    """
    if plan.begins_at:
        load_state(learner, _read(plan.begins_at, device))
    elif plan.continues:
        load_with_own_settings(plan.continues, learner, device)


def load_with_own_settings(folder: str, learner: Learner, device: str) -> None:
    """Load the newest checkpoint of another training of the same networks; optimisers keep their own settings.

    An optimiser that was of another type there starts without a state.

    Raises:
        TrainingError: when there is none, or it is damaged.
    """
    names = storage.names(folder)
    if not names:
        raise TrainingError("there is no checkpoint to go on from", where=folder, fix="train that one again")
    groups = {
        name: trained.optimiser.state_dict()["param_groups"] for name, trained in learner.trained_modules().items()
    }
    tensors, values = _read(storage.join(folder, names[-1]), device)
    for name, (group, *_) in groups.items():
        if group.keys() != values["optimisers"][name][0].keys():
            tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{name}/optimiser/")}
    load_state(learner, (tensors, {**values, "optimisers": groups, "consecutive_skips": 0, "rollbacks": 0}))


def _read(uri: str, device: str) -> State:
    content = storage.read_bytes(uri)
    try:
        values = verified_metadata(content, uri)
        return {name: tensor.to(device) for name, tensor in load(content).items()}, values
    except (DamagedError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            "this checkpoint is damaged", where=uri, fix="delete it; training goes on from the one before"
        ) from error
