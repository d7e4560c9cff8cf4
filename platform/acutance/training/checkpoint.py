"""Checkpoints: one safetensors file with everything a run needs to go on exactly; nothing pickled.

Names are `step-00000100.safetensors`. A file is written whole or not at all, with the check sum of its bytes, so the
newest one is always good; a damaged one (a disk's fault) is an error, not a silent return to an older state.
"""

from __future__ import annotations

from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from acutance import storage
from acutance.errors import DamagedError, TrainingError
from acutance.storage.checksum import described, description_of, sealed
from acutance.training.learner import Learner
from acutance.training.plan import StagePlan

KEPT = 2
"""How many of the newest checkpoints stay."""


def write(folder: str, learner: Learner, fingerprint: str) -> str:
    """Write a checkpoint and delete all but the newest; return its URI."""
    tensors, values = learner.state()
    content = save(
        {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()},
        metadata=described({"fingerprint": fingerprint, **values}),
    )
    uri = storage.join(folder, f"step-{learner.taken:08d}.safetensors")
    storage.write_bytes(uri, sealed(content))
    for name in storage.names(folder)[:-KEPT]:
        storage.delete(storage.join(folder, name))
    return uri


def resume(folder: str, learner: Learner, fingerprint: str, device: str) -> bool:
    """Load the newest checkpoint, where there is one; tell whether there was.

    Raises:
        TrainingError: when it is damaged or belongs to other settings.
    """
    names = storage.names(folder)
    if not names:
        return False
    uri = storage.join(folder, names[-1])
    tensors, values = _read(uri, device)
    if values["fingerprint"] != fingerprint:
        raise TrainingError("this checkpoint belongs to other settings", where=uri, fix="delete its folder")
    learner.load_state(tensors, values)
    return True


def begin(job: StagePlan, learner: Learner, device: str) -> None:
    """Bring a fresh learner to where its training begins: to its first step, or to where another one came."""
    if job.begins_at:
        take_up(job.begins_at, learner, device)
    elif job.continues:
        go_on_from(job.continues, learner, device)


def take_up(uri: str, learner: Learner, device: str) -> None:
    """Load a checkpoint of another training whose steps so far were the same.

    Raises:
        TrainingError: when it is damaged.
    """
    learner.load_state(*_read(uri, device))


def step_of(name: str) -> int:
    """Return at which step a checkpoint was written, from its file's name."""
    return int(name.removeprefix("step-").removesuffix(".safetensors"))


def go_on_from(folder: str, learner: Learner, device: str) -> None:
    """Load the newest checkpoint of another job with the same networks; the optimisers keep their own settings.

    One that was of another type there begins afresh.

    Raises:
        TrainingError: when there is none, or it is damaged.
    """
    names = storage.names(folder)
    if not names:
        raise TrainingError("there is no checkpoint to go on from", where=folder, fix="train that one again")
    own = {name: player.optimiser.state_dict()["param_groups"] for name, player in learner.players().items()}
    tensors, values = _read(storage.join(folder, names[-1]), device)
    for name, (group, *_) in own.items():
        if group.keys() != values["optimisers"][name][0].keys():
            tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{name}/optimiser/")}
    learner.load_state(tensors, {**values, "optimisers": own, "in_a_row": 0, "returns": 0})


def _read(uri: str, device: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    content = storage.read_bytes(uri)
    try:
        values = description_of(content, uri)
        return {name: tensor.to(device) for name, tensor in load(content).items()}, values
    except (DamagedError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            "this checkpoint is damaged", where=uri, fix="delete it; training goes on from the one before"
        ) from error
