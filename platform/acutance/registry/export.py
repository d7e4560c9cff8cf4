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
from acutance.config.schema import nearest
from acutance.errors import ConfigError, ModelError, WeightsError
from acutance.imaging.extractors import CODINGS, detail_layer
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
    """A file that was written; `notes` say what its reader must know."""

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
    """An RRDBNet as BasicSR writes it, for what reads ESRGAN files; of other networks the weights alone."""
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
    names: tuple[str, ...] = network.inputs  # type: ignore[assignment]
    notes = [f"inputs {_listed(names)} float32 (batch, channels, height, width), pictures as RGB in 0..1, any size"]
    if any(name.endswith("_detail") for name in names):
        made = description.get("detail") or {}
        meaning = "2^x" if CODINGS.get(made.get("type", "")) == "log2" else "a difference of pictures in 0..1"
        notes.append(f"a detail layer is {meaning}, of the whole picture, as made by {json.dumps(made)}")
    return Written(content, [*notes, "outputs are not clipped", f"largest difference to PyTorch {apart:.1g}"])


def _graph(network: nn.Module, description: Mapping[str, Any]) -> bytes:
    example = _example(network, description, 2, *EXAMPLE_SIZE)
    with torch.no_grad():
        outputs = list(network(*example))
    sides = {0: "batch", 2: "height", 3: "width"}
    program = torch.onnx.export(
        _Listed(network),
        tuple(example),
        input_names=list(network.inputs),  # type: ignore[arg-type]
        output_names=outputs,
        dynamic_shapes=((sides,) * len(example),),
        custom_translation_table={torch.ops.aten.remainder.Scalar: _remainder},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces: paths of this machine, in a file for others
    program.model.metadata_props[METADATA] = json.dumps(dict(description), sort_keys=True)
    return program.model_proto.SerializeToString()


class _Listed(nn.Module):
    """A network whose outputs are a tuple: the exporter names them in order."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(*inputs).values())


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
        inputs = _example(network, description, 1, *size)
        found = session.run(None, {i.name: x.numpy() for i, x in zip(session.get_inputs(), inputs, strict=True)})
        with torch.no_grad():
            expected = [output.numpy() for output in network(*inputs).values()]
        apart += [np.abs(a - b).max() for a, b in zip(found, expected, strict=True)]
    return float(np.max(apart))


def _example(network: nn.Module, description: Mapping[str, Any], count: int, height: int, width: int) -> list[Tensor]:
    """Return what the network reads of so many pictures; one alone the exporter would take for a constant."""
    pictures = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))
    names: tuple[str, ...] = network.inputs  # type: ignore[assignment]
    if unknown := set(names) - {"lr", "hr", "lr_detail", "hr_detail"}:
        raise ModelError(f"a picture alone cannot feed this network's {', '.join(sorted(unknown))}")
    return [_detail(pictures, description.get("detail")) if name.endswith("_detail") else pictures for name in names]


def _detail(pictures: Tensor, settings: Mapping[str, Any] | None) -> Tensor:
    if not settings:
        raise ModelError("the network reads a detail layer and the model does not say how it is made")
    return detail_layer(pictures * 255, settings)


def _require_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"writing ONNX needs packages that are not installed: {', '.join(missing)}",
            fix=f"pip install {' '.join(missing)} (the extra `export`)",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own inner life; what goes wrong is an error."""
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
