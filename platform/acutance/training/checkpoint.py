"""Checkpoints: one safetensors file with everything a run needs to go on exactly; nothing is pickled.

Names are `step-00000100.safetensors`. A file is written whole or not at all, with the checksum of its bytes, so the
newest one is always good. A damaged one (a disk's fault) is an error, not a silent return to an older state.
"""

from __future__ import annotations

from collections.abc import Iterable

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from acutance import storage
from acutance.config.pipeline.validation import Keep
from acutance.errors import DamagedError, TrainingError
from acutance.models.model_file import FORMAT
from acutance.storage.checksum import metadata_with_checksum, verified_metadata, with_file_checksum
from acutance.training.learner import Learner
from acutance.training.stage_plan import StagePlan
from acutance.training.state import State, load_state, state_of

Captured = tuple[dict[str, Tensor], dict[str, str]]
"""A checkpoint in this machine's memory: tensors, and the metadata of the file."""


def captured(plan: StagePlan, learner: Learner) -> Captured:
    """Copy all that a checkpoint holds: it is a model file, too, with the network of the stage as it is by now."""
    tensors, values = state_of(learner)
    metadata = {
        **plan.model_description(),
        "format": FORMAT,
        "weights_below": "ema/weights/module." if learner.ema else "generator/weights/",
        "training": {"fingerprint": plan.fingerprint, **values},
    }
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    return copies, metadata_with_checksum(metadata)


def write_captured(folder: str, step: int, content: Captured) -> None:
    """Write a checkpoint, whole or not at all."""
    tensors, metadata = content
    storage.write_bytes(file_of(folder, step), with_file_checksum(save(tensors, metadata=metadata)))


def write(plan: StagePlan, learner: Learner) -> None:
    """Write a checkpoint at once."""
    write_captured(plan.checkpoints, learner.steps_done, captured(plan, learner))


def kept_steps(
    steps: Iterable[int], keep: Keep, *, best: Iterable[int] = (), unmeasured: Iterable[int] = ()
) -> list[int]:
    """Return the steps whose checkpoints are kept, as a stage asks for.

    Args:
        steps: of all checkpoints.
        best: those with a value, best first.
        unmeasured: steps whose validation has no values yet; their checkpoints are needed for it.
    """
    there = sorted(steps)
    kept = {*there[-keep.last :], *unmeasured, *(step for step in there if keep.every and step % keep.every == 0)}
    kept |= set([step for step in best if step in there][: keep.best.count]) if keep.best else set()
    return sorted(kept & set(there))


def delete_others(folder: str, kept: Iterable[int]) -> None:
    """Delete all checkpoints but those of the given steps."""
    for step in set(steps(folder)) - set(kept):
        storage.delete(file_of(folder, step))


def file_of(folder: str, step: int) -> str:
    """Return the URI of the checkpoint of a step."""
    return storage.join(folder, f"step-{step:08d}.safetensors")


def steps(folder: str) -> list[int]:
    """Return the steps of which there are checkpoints, in order."""
    return [step_of(name) for name in storage.names(folder)]


def step_of(name: str) -> int:
    """Return how many steps had been taken when a checkpoint was written, from its file's name."""
    return int(name.removeprefix("step-").partition(".")[0])


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
    if state[1].pop("fingerprint") != fingerprint:
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


def load_with_own_settings(source: str, learner: Learner, device: str) -> None:
    """Load a checkpoint of another training of the same networks; optimisers keep their own settings.

    An optimiser that was of another type there starts without a state.

    Args:
        source: URI of the checkpoint, or of a folder of which the newest is taken.

    Raises:
        TrainingError: when there is none, it is damaged, or other networks were trained.
    """
    uri = source if source.endswith(".safetensors") else _newest(source)
    groups = {
        name: trained.optimiser.state_dict()["param_groups"] for name, trained in learner.trained_modules().items()
    }
    tensors, values = _read(uri, device)
    if values["optimisers"].keys() != groups.keys():
        there, here = (", ".join(names) for names in (values["optimisers"], groups))
        raise TrainingError(f"this checkpoint is of {there}; here are {here}", where=uri, fix="train the same networks")
    for name, (group, *_) in groups.items():
        if group.keys() != values["optimisers"][name][0].keys():
            tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{name}/optimiser/")}
    try:
        load_state(learner, (tensors, {**values, "optimisers": groups, "consecutive_skips": 0, "rollbacks": 0}))
    except (RuntimeError, KeyError) as error:
        what = f"this checkpoint is of other networks: {str(error).splitlines()[-1].strip()}"
        raise TrainingError(what, where=uri, fix="give both the same network and discriminators") from None


def origin_of(uri: str) -> tuple[str, int]:
    """Return the fingerprint of the stage that a checkpoint is of, and its step.

    Raises:
        TrainingError: when it is damaged, or no checkpoint.
    """
    _, values = _read(uri, "cpu")
    return str(values["fingerprint"]), int(values["steps_done"])


def _newest(folder: str) -> str:
    names = storage.names(folder)
    if not names:
        raise TrainingError("there is no checkpoint to go on from", where=folder, fix="train that one again")
    return storage.join(folder, names[-1])


def _read(uri: str, device: str) -> State:
    content = storage.read_bytes(uri)
    try:
        values = verified_metadata(content, uri)["training"]
        return {name: tensor.to(device) for name, tensor in load(content).items()}, values
    except (DamagedError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            "this checkpoint is damaged", where=uri, fix="delete it; training goes on from the one before"
        ) from error
