"""Counts the parameters of a network without allocating them; refuses a network that is far too large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from acutance.errors import ConfigError

DRAWS = {"normal_", "uniform_", "trunc_normal_"}
MAX_PARAMETERS = 5_000_000_000
MAX_LAYERS = 8_000
"""A larger network is taken for a mistake: the largest of the papers has 21 million parameters in 1,100 layers."""


class _NoDraws(TorchFunctionMode):
    """While it is on, no weights are drawn: on the meta device that would import torch's compiler for seconds."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in DRAWS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def parameter_count(build: Callable[..., nn.Module], arguments: dict[str, Any], where: str) -> int:
    """Return the number of parameters of the network that `build(**arguments)` makes.

    Args:
        where: the key that asks for it, for messages.

    Raises:
        ConfigError: for a network that no machine could hold.
    """
    layers = parameters = 0
    names = [f"{name}={value}" for name, value in arguments.items() if isinstance(value, int) and value > 1]
    fix = f"make it smaller ({', '.join(names)})" if names else "make it smaller"

    def on_layer(*_: object) -> None:
        nonlocal layers
        layers += 1
        if layers > MAX_LAYERS:
            raise ConfigError(f"this network has more than {MAX_LAYERS:,} layers", where=where, fix=fix)

    def on_parameter(_: nn.Module, __: str, parameter: nn.Parameter | None) -> None:
        nonlocal parameters
        parameters += parameter.numel() if parameter is not None else 0
        on_layer()
        if parameters > MAX_PARAMETERS:
            raise ConfigError(f"this network has more than {MAX_PARAMETERS:,} parameters", where=where, fix=fix)

    hooks = [
        register_module_module_registration_hook(on_layer),
        register_module_parameter_registration_hook(on_parameter),
    ]
    try:
        with torch.device("meta"), _NoDraws():
            return sum(parameter.numel() for parameter in build(**arguments).parameters())
    except (RuntimeError, OverflowError, MemoryError) as error:
        what = f"this network cannot be built: {str(error).splitlines()[0][:200]}"
        raise ConfigError(what, where=where, fix=fix) from None
    finally:
        for hook in hooks:
            hook.remove()
