"""Public RRDBNet checkpoints: three generations of parameter names, and ours, which are BasicSR's."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance import storage
from acutance.errors import WeightsError
from acutance.models.msrresnet import MSRResNet
from acutance.models.rrdbnet import RRDBNet

Naming = Callable[[str, int], str]
NESTS = ("params_ema", "params")
SHOWN = 5
DENSE_LAYERS = 5
ESRGAN_GROWTH = 32

ESRGAN_REPOSITORY = {
    "conv_body": "trunk_conv",
    "conv_up1": "upconv1",
    "conv_up2": "upconv2",
    "conv_hr": "HRconv",
}
RELEASED_ESRGAN = {
    "conv_first": "model.0",
    "conv_up1": "model.3",
    "conv_up2": "model.6",
    "conv_hr": "model.8",
    "conv_last": "model.10",
}


def load_public_weights(network: RRDBNet | MSRResNet, path: str) -> None:
    """Fill a network from a public checkpoint; all of its tensors must be there and no other.

    Args:
        network: one of the checkpoint's size.
        path: .pth or .safetensors, a path or s3:// URI; names of the released ESRGAN files, of the ESRGAN
            repository or of BasicSR, bare or under `params` or `params_ema`, with or without `module.`.

    Raises:
        WeightsError: when the file is missing or damaged, or when tensors are missing, unexpected or of
            another shape, naming them.
    """
    path = str(path)
    found = {name.removeprefix("module."): tensor for name, tensor in _unnest(_read(path), path).items()}
    ours, blocks = network.state_dict(), len(network.body)
    naming = max((_basicsr, _esrgan, _released), key=lambda naming: sum(naming(n, blocks) in found for n in ours))
    theirs = {name: naming(name, blocks) for name in ours}
    _require_match(found, {theirs[name]: tensor for name, tensor in ours.items()}, path)
    network.load_state_dict({name: found[their] for name, their in theirs.items()})


def public_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights on the CPU by name, which for an RRDBNet are BasicSR's, for other software to read."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def esrgan_state_dict(network: RRDBNet) -> dict[str, Tensor]:
    """Return `public_state_dict`, of a network with a growth below 32 filled up with zeros to 32.

    Readers of ESRGAN files take the growth of 32 for granted. The channels that are added are 0 and weigh nothing, so
    the picture is the same.

    Raises:
        WeightsError: when no ESRGAN file can hold this network: a growth above 32, or a bicubic skip.
    """
    state = public_state_dict(network)
    growth = len(state["body.0.rdb1.conv1.bias"])
    if growth > ESRGAN_GROWTH or network.skip != "none":
        what = f"growth {growth}" if growth > ESRGAN_GROWTH else f"skip {network.skip}"
        raise WeightsError(
            f"no ESRGAN file can hold a network with {what}: what reads it would make another picture",
            fix="write a .safetensors or an .onnx",
        )
    return {name: _widened(name, tensor, growth) for name, tensor in state.items()}


def _widened(name: str, tensor: Tensor, growth: int) -> Tensor:
    """Fill up a dense block's convolution: conv k reads the block's input and k - 1 times `growth` channels."""
    layer = re.search(r"\.rdb\d\.conv(\d)\.", name)
    if not layer:
        return tensor
    number, more = int(layer[1]), ESRGAN_GROWTH - growth
    if tensor.ndim > 1:
        first, *grown = tensor.split([tensor.shape[1] - (number - 1) * growth] + [growth] * (number - 1), dim=1)
        tensor = torch.cat([first, *(F.pad(part, (0, 0, 0, 0, 0, more)) for part in grown)], dim=1)
    return F.pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, more)) if number < DENSE_LAYERS else tensor


def _basicsr(name: str, blocks: int) -> str:
    return name


def _esrgan(name: str, blocks: int) -> str:
    role, leaf = name.rsplit(".", 1)
    role = re.sub(r"^body\.(\d+)\.rdb(\d)\.", r"RRDB_trunk.\1.RDB\2.", role)
    return f"{ESRGAN_REPOSITORY.get(role, role)}.{leaf}"


def _released(name: str, blocks: int) -> str:
    role, leaf = name.rsplit(".", 1)
    role = re.sub(r"^body\.(\d+)\.rdb(\d)\.conv(\d)$", r"model.1.sub.\1.RDB\2.conv\3.0", role)
    return f"{(RELEASED_ESRGAN | {'conv_body': f'model.1.sub.{blocks}'}).get(role, role)}.{leaf}"


def _read(path: str) -> Any:
    try:
        content = storage.read_bytes(path)
    except OSError:
        raise WeightsError("there is no readable weights file here", where=path, fix="check the path") from None
    try:
        if path.endswith(".safetensors"):
            return safetensors.torch.load(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make the unpickler raise almost anything
        raise WeightsError(
            f"this is not a readable weights file ({type(error).__name__})",
            where=path,
            fix="fetch it again; it must be .safetensors, or a .pth that holds tensors alone",
        ) from None


def _unnest(content: Any, path: str) -> dict[str, Tensor]:
    for nest in NESTS:
        if isinstance(content, Mapping) and isinstance(content.get(nest), Mapping):
            content = content[nest]
    if isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values()):
        return dict(content)
    raise WeightsError(
        "this file holds no weights of a network",
        where=path,
        fix=f"tensors by name, bare or under {' or '.join(NESTS)}",
    )


def _require_match(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str) -> None:
    shapes = [
        f"{name} {tuple(found[name].shape)} where the network has {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    wrong = {
        "missing": wanted.keys() - found.keys(),
        "unexpected": found.keys() - wanted.keys(),
        "other shape": shapes,
    }
    lines = [f"{kind}: {_some(names)}" for kind, names in wrong.items() if names]
    if lines:
        raise WeightsError(
            f"the file's {len(found)} tensors do not fit the network's {len(wanted)}; " + "; ".join(lines),
            where=path,
            fix="choose blocks, channels, growth and scale as the checkpoint has them",
        )


def _some(names: Any) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
