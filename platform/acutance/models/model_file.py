"""Model files: weights and how to build the network for them, in one .safetensors.

The header's metadata holds `acutance`: a JSON description with `format`, `network` ({"type": ...,
**arguments}), `scale`, `derive` (how the columns are made that the network reads besides the picture), `context` (the
pixels around a part of a picture that the network needs), `stage`, `fingerprint`, `title`, `notes` and the checksum of
the file. A model with parts of a user's file holds the text of that file in `code`, which is executed only where the
user allows it; one with parts of an installed package names that in `requires`.

A checkpoint of a training is a model file, too: `weights_below` is the prefix of those of its tensors that are the
model's, and `training` holds what only the training needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from acutance import storage
from acutance.config.data import DerivedColumn
from acutance.config.mistakes import validate
from acutance.config.pipeline.stage import NetworkChoice
from acutance.errors import ConfigError, DamagedError, ModelError
from acutance.parts.resolve import require_allowed
from acutance.parts.sources import unpacked
from acutance.storage.checksum import metadata_with_checksum, verified_metadata, with_file_checksum

FORMAT = 3
REMEDY = "give a .safetensors file that this software wrote"


def build_network(settings: Mapping[str, Any]) -> nn.Module:
    """Build a network from {"type": ..., **arguments}.

    Raises:
        ConfigError: for an unknown type, an argument that is unknown or of the wrong type, or one it refuses.
    """
    choice = validate(NetworkChoice, dict(settings), "network")
    if not (isinstance(choice.part, type) and issubclass(choice.part, nn.Module)):
        raise ConfigError(f"{choice.type!r} is no network, which is a subclass of nn.Module", where="network.type")
    network: nn.Module = choice.part(**choice.arguments())
    return network


def save_model(uri: str, network: nn.Module, description: Mapping[str, Any]) -> None:
    """Write a network's weights and buffers with its description, whole or not at all.

    Args:
        uri: a path or s3:// URI.
        network: on any device.
        description: JSON-like; `network` must build this network. `format` is filled in.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = metadata_with_checksum({**description, "format": FORMAT})
    storage.write_bytes(uri, with_file_checksum(safetensors.torch.save(tensors, metadata=metadata)))


def describe_model(uri: str) -> dict[str, Any]:
    """Return the description of a model file, without building its network.

    Raises:
        ModelError: when the file is missing, damaged or of another origin.
    """
    return _description(_read(uri), uri)


def load_model(uri: str) -> tuple[nn.Module, dict[str, Any]]:
    """Read a model file.

    Returns:
        The network on the CPU, in eval mode and frozen, and its description.

    Raises:
        ModelError: when the file is missing, damaged, of another origin, does not fit its own description, or holds
            or names code that the user did not allow. A description that asks for a network larger than the file is
            refused before that network takes memory or time.
    """
    content = _read(uri)
    description = _description(content, uri)
    unpacked(description.get("code") or [], uri)
    require_allowed([description["network"], *(description.get("derive") or {}).values()], uri)
    try:
        tensors = _weights(safetensors.torch.load(content), description.get("weights_below", ""))
        # Initial values are overwritten at once; drawing them must not move the caller's random numbers.
        with torch.random.fork_rng(devices=[]), _NoLargerThan(tensors) as bounds:
            bounds.check(description["network"])
            network = build_network(description["network"])
        network.load_state_dict(tensors)
        for column, made in (description.get("derive") or {}).items():
            validate(DerivedColumn, made, f"derive.{column}")
    except (safetensors.SafetensorError, RuntimeError, ConfigError, KeyError, ValueError) as error:
        raise ModelError(
            f"this model file is damaged or does not fit its description: {str(error)[:300]}",
            where=uri,
            fix=REMEDY,
        ) from None
    return network.eval().requires_grad_(False), description


def _weights(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _read(uri: str) -> bytes:
    try:
        return storage.read_bytes(uri)
    except OSError:
        raise ModelError("there is no readable model file here", where=uri, fix="check the path") from None


class _Description(BaseModel):
    """What a description must say, and of which types; it may say more. `load_model` returns it as it is."""

    model_config = ConfigDict(extra="allow", strict=True)

    format: int
    network: dict[str, Any]
    scale: PositiveInt
    derive: dict[str, dict[str, Any]] = Field(default_factory=dict)
    code: list[dict[str, str]] = Field(default_factory=list)
    requires: list[str] = Field(default_factory=list)
    stage: str = ""
    fingerprint: str = ""
    title: str = ""
    notes: list[str] = Field(default_factory=list)
    context: NonNegativeInt | None = None
    weights_below: str = ""


def _description(content: bytes, uri: str) -> dict[str, Any]:
    try:
        description = verified_metadata(content, uri)
        version = description["format"]
    except DamagedError as error:
        raise ModelError(error.what, where=uri, fix="train or fetch it again") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        what = "this file is not a model of ours, or it is damaged or older than its checksum"
        raise ModelError(what, where=uri, fix=REMEDY) from None
    if version != FORMAT:
        raise ModelError(
            f"this model file has format {version!r}; this software reads {FORMAT}",
            where=uri,
            fix="update the software",
        )
    try:
        validate(_Description, description, uri)
    except ConfigError as error:
        raise ModelError(f"this model file describes itself wrongly: {error.what}", where=uri, fix=REMEDY) from None
    description.pop("training", None)
    return description


class _NoLargerThan(TorchFunctionMode):
    """While it is on, no network is built that needs clearly more tensors or values than a file holds.

    A description is a few bytes that can ask for any size; layers reserve their weights by `torch.empty`. Twice what
    is there leaves room for layers that a constructor makes and drops.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.tensors = 2 * len(tensors) + 64
        self.values = 2 * sum(tensor.numel() for tensor in tensors.values()) + 2**16

    def check(self, settings: Any) -> None:
        """Raise ConfigError for a whole number in settings that is larger than all that the file holds."""
        if isinstance(settings, (dict, list)):
            for part in settings.values() if isinstance(settings, dict) else settings:
                self.check(part)
        elif isinstance(settings, int) and settings > self.values:
            raise ConfigError(f"{settings:.3g} of anything is more than the file holds weights for")

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.empty:
            sizes = args[0] if args and not isinstance(args[0], int) else args
            self.tensors -= 1
            self.values -= math.prod(sizes)
            if min(self.tensors, self.values) < 0:
                raise ConfigError("the network is larger than the file's weights")
        return function(*args, **(kwargs or {}))
