"""Model files: weights and how to build the network for them, in one .safetensors.

The header's metadata holds `acutance`: a JSON description with `format`, `network` ({"type": ...,
**arguments}), `scale`, `detail` (the extractor's settings or null), `stage`, `fingerprint`, `title` and
`notes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from acutance import storage
from acutance.errors import ConfigError, ModelError
from acutance.models import NETWORKS
from acutance.schema import choice_of, nearest, validate

FORMAT = 1
KEY = "acutance"
REMEDY = "give a .safetensors file that this software wrote"


def build_network(settings: Mapping[str, Any]) -> nn.Module:
    """Build a network from {"type": ..., **arguments}.

    Raises:
        ConfigError: for an unknown type, an argument that is unknown or of the wrong type, or one it refuses.
    """
    kind = settings.get("type")
    if kind not in NETWORKS:
        raise ConfigError(f"unknown network type {kind!r}{nearest(str(kind), NETWORKS)}", where="network.type")
    choice = validate(choice_of({kind: NETWORKS[kind]}), dict(settings), "network")
    return NETWORKS[kind](**choice.arguments())


def save_model(uri: str, network: nn.Module, description: Mapping[str, Any]) -> None:
    """Write a network's weights and buffers with its description, whole or not at all.

    Args:
        uri: a path or s3:// URI.
        network: on any device.
        description: JSON-like; `network` must build this network. `format` is filled in.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    text = json.dumps({**description, "format": FORMAT}, sort_keys=True)
    storage.write_bytes(uri, safetensors.torch.save(tensors, metadata={KEY: text}))


def load_model(uri: str) -> tuple[nn.Module, dict[str, Any]]:
    """Read a model file.

    Returns:
        The network on the CPU, in eval mode and frozen, and its description.

    Raises:
        ModelError: when the file is missing, damaged, of another origin, or does not fit its own description.
    """
    content = _read(uri)
    description = _description(content, uri)
    try:
        tensors = safetensors.torch.load(content)
        # Initial values are overwritten at once; drawing them must not move the caller's random numbers.
        with torch.random.fork_rng(devices=[]):
            network = build_network(description["network"])
        network.load_state_dict(tensors)
    except (safetensors.SafetensorError, RuntimeError, ConfigError) as error:
        raise ModelError(
            f"this model file is damaged or does not fit its description: {str(error)[:300]}",
            where=uri,
            fix=REMEDY,
        ) from None
    return network.eval().requires_grad_(False), description


def _read(uri: str) -> bytes:
    try:
        return storage.read_bytes(uri)
    except OSError:
        raise ModelError("there is no readable model file here", where=uri, fix="check the path") from None


def _description(content: bytes, uri: str) -> dict[str, Any]:
    try:
        size = int.from_bytes(content[:8], "little")
        description = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][KEY])
        version, network = description["format"], description["network"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelError("this file is not a model of ours, or it is damaged", where=uri, fix=REMEDY) from None
    if version != FORMAT or not isinstance(network, dict):
        raise ModelError(
            f"this model file has format {version!r}; this software reads {FORMAT}",
            where=uri,
            fix="update the software",
        )
    return description
