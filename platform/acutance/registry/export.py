"""Models for other software: .safetensors as it is, BasicSR's .pth, ONNX."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from acutance import storage
from acutance.errors import ConfigError, ModelError, WeightsError, nearest
from acutance.inference.inputs import network_inputs
from acutance.models.model_file import load_model
from acutance.models.public_weights import ESRGAN_GROWTH, esrgan_state_dict, public_state_dict
from acutance.models.rrdbnet import RRDBNet
from acutance.storage.checksum import METADATA

TOLERANCE = 1e-4
EXAMPLE_SIZE = (35, 43)
"""Odd sides: a network that folds the picture then shows the exporter how it fills them up."""

CHECKED_SIZES = ((40, 32), (33, 44))


@dataclass(frozen=True)
class Exported:
    """A written file, and notes for its user."""

    uri: str
    format: str
    bytes: int
    notes: tuple[str, ...]


class Written(NamedTuple):
    """A model as another format has it."""

    content: bytes
    notes: list[str]


def export_model(model: str, output: str, format: str | None = None) -> Exported:
    """Write a model for other software.

    Args:
        model: URI of a model file.
        output: path or s3:// URI to write, whole or not at all.
        format: of FORMATS; by the suffix of `output` where left out.

    Raises:
        ConfigError: for a format or a suffix that is none of them.
        ModelError: when the model cannot be read, or not be written in this format.
    """
    chosen = format or output.rpartition(".")[2].lower()
    if chosen not in FORMATS:
        raise ConfigError(
            f"no format is called {chosen!r}{nearest(chosen, FORMATS)}",
            where=output,
            fix=f"end the name in {' or '.join(f'.{name}' for name in FORMATS)}, or give --format",
        )
    network, description = load_model(model)
    try:
        written = FORMATS[chosen](model, network, description)
    except (ModelError, WeightsError) as error:
        raise ModelError(error.what, where=error.where or model, fix=error.fix) from error
    storage.write_bytes(output, written.content)
    return Exported(output, chosen, len(written.content), tuple(written.notes))


def _safetensors(model: str, network: nn.Module, description: Mapping[str, Any]) -> Written:
    """The model file itself: weights, and in the header's metadata how to build the network for them."""
    notes = ["the header's metadata say how to build the network"]
    if isinstance(network, RRDBNet) and (warning := _for_esrgan(network)):
        notes.append(warning)
    return Written(storage.read_bytes(model), notes)


def _for_esrgan(network: RRDBNet) -> str:
    """Return what keeps software that reads ESRGAN files from a model file as it is; empty for nothing."""
    try:
        filled = esrgan_state_dict(network)
    except WeightsError as error:
        return error.what
    same = all(tensor.shape == filled[name].shape for name, tensor in network.state_dict().items())
    return "" if same else f"what reads ESRGAN files expects a growth of {ESRGAN_GROWTH}: give it the .pth"


def _pth(model: str, network: nn.Module, description: Mapping[str, Any]) -> Written:
    """An RRDBNet in BasicSR's format, for programs that read ESRGAN files; of other networks only the weights."""
    if isinstance(network, RRDBNet):
        state, notes = {"params": esrgan_state_dict(network)}, ["weights under `params`, by BasicSR's names"]
        growth = description["network"].get("growth", ESRGAN_GROWTH)
        if growth < ESRGAN_GROWTH:
            notes.append(f"growth {growth} is filled up with zeros to {ESRGAN_GROWTH}, which readers expect")
        if network.fold > 1:
            notes.append("readers fill up sides that are no multiple of 4 in their own way")
    else:
        state = public_state_dict(network)  # type: ignore[assignment]
        kind = description["network"]["type"]
        notes = [f"a plain state dict: tensors by name, for code that has a network like {kind}"]
    file = io.BytesIO()
    torch.save(state, file)
    return Written(file.getvalue(), notes)


def _onnx(model: str, network: nn.Module, description: Mapping[str, Any]) -> Written:
    """A graph for pictures of any size, compared with the network before it is written."""
    _require_packages()
    try:
        with _quiet():
            content = _graph(network, description)
            apart = _apart(content, network, description)
    except Exception as error:  # the exporter and onnxruntime raise almost anything
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        raise ModelError(f"this network cannot be written as ONNX: {cause}", fix="choose another format") from error
    if not apart <= TOLERANCE:
        raise ModelError(
            f"under onnxruntime the network differs by {apart:.2g} from what PyTorch makes of it",
            fix="try other versions of torch, onnxscript and onnxruntime",
        )
    notes = ["input `picture` float32 (batch, 3, height, width), RGB in 0..1, any size"]
    if made := description.get("derive"):
        notes.append(f"the graph itself makes what the network reads besides: {', '.join(made)}")
    return Written(content, [*notes, "outputs are not clipped", f"largest difference to PyTorch {apart:.1g}"])


def _graph(network: nn.Module, description: Mapping[str, Any]) -> bytes:
    alone = _FromPicture(network, description)
    example = _pictures(2, *EXAMPLE_SIZE)  # one picture alone the exporter would take for a constant
    with torch.no_grad():
        outputs = list(network(*network_inputs(network, description, example).values()))
    program = torch.onnx.export(
        alone,
        (example,),
        input_names=["picture"],
        output_names=outputs,
        dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
        custom_translation_table={torch.ops.aten.remainder.Scalar: _remainder},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces: paths of this machine, in a file for others
    program.model.metadata_props[METADATA] = json.dumps(dict(description), sort_keys=True)
    return program.model_proto.SerializeToString()


class _FromPicture(nn.Module):
    """A network that takes a picture alone; its outputs are a tuple, which the exporter names in order."""

    def __init__(self, network: nn.Module, description: Mapping[str, Any]) -> None:
        super().__init__()
        self.network, self.description = network, dict(description)

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        columns = network_inputs(self.network, self.description, picture)
        return tuple(self.network(*columns.values()).values())


def _remainder(value: Any, divisor: Any) -> Any:
    """`tensor % n` where n is a size; the exporter's own version takes n for a number it knows."""
    from onnxscript import opset18

    return opset18.Mod(value, opset18.CastLike(divisor, value))


def _apart(content: bytes, network: nn.Module, description: Mapping[str, Any]) -> float:
    """Return the largest difference between the graph and the network, at sizes other than the exported one."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    apart = []
    for size in CHECKED_SIZES:
        picture = _pictures(1, *size)
        found = session.run(None, {"picture": picture.numpy()})
        with torch.no_grad():
            inputs = network_inputs(network, description, picture)
            expected = [output.numpy() for output in network(*inputs.values()).values()]
        apart += [np.abs(a - b).max() for a, b in zip(found, expected, strict=True)]
    return float(np.max(apart))


def _pictures(count: int, height: int, width: int) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def _require_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"writing ONNX needs packages that are not installed: {', '.join(missing)}",
            fix=f"pip install {' '.join(missing)} (the extra `export`)",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings about its own code; failures are errors."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in names)


FORMATS: dict[str, Callable[[str, nn.Module, Mapping[str, Any]], Written]] = {
    "safetensors": _safetensors,
    "pth": _pth,
    "onnx": _onnx,
}
