"""Checkpoints: one safetensors file with everything a run needs to go on exactly; nothing pickled.

Names are `step-00000100.safetensors`. A file is written whole or not at all, so the newest one is always good; a
damaged one (a disk's fault) is an error, not a silent return to an older state.
"""

from __future__ import annotations

import json

from safetensors import SafetensorError
from safetensors.torch import load, save

from acutance import storage
from acutance.errors import TrainingError
from acutance.training.learner import Learner

KEPT = 2
"""How many of the newest checkpoints stay."""


def write(folder: str, learner: Learner, fingerprint: str) -> str:
    """Write a checkpoint and delete all but the newest; return its URI."""
    tensors, values = learner.state()
    content = save(
        {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()},
        metadata={"acutance": json.dumps({"fingerprint": fingerprint, **values})},
    )
    uri = storage.join(folder, f"step-{learner.taken:08d}.safetensors")
    storage.write_bytes(uri, content)
    for name in storage.names(folder)[:-KEPT]:
        storage.delete(storage.join(folder, name))
    return uri


def resume(folder: str, learner: Learner, fingerprint: str, device: str) -> int:
    """Load the newest checkpoint, where there is one; return the steps taken.

    Raises:
        TrainingError: when it is damaged or belongs to other settings.
    """
    names = storage.names(folder)
    if not names:
        return 0
    uri = storage.join(folder, names[-1])
    content = storage.read_bytes(uri)
    try:
        tensors = {name: tensor.to(device) for name, tensor in load(content).items()}
        length = int.from_bytes(content[:8], "little")
        values = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["acutance"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise TrainingError(
            "this checkpoint is damaged", where=uri, fix="delete it; training goes on from the one before"
        ) from error
    if values["fingerprint"] != fingerprint:
        raise TrainingError("this checkpoint belongs to other settings", where=uri, fix="delete its folder")
    learner.load_state(tensors, values)
    return learner.taken
