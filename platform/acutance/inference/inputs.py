"""Makes the inputs of a network from one picture: the picture itself, and the derived columns of the model file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from acutance.config.data import DerivedColumn, closure
from acutance.errors import ConfigError, ModelError
from acutance.imaging.derivations import derive_columns

PICTURE = ("lr", "hr")
"""The columns that are the picture itself."""


def derived_inputs(description: Mapping[str, Any]) -> dict[str, DerivedColumn]:
    """Return the derived inputs of a model, by column.

    Raises:
        ConfigError: when the description names an unknown derivation, or unknown settings of one.
    """
    try:
        return {name: DerivedColumn.chosen(made) for name, made in (description.get("derive") or {}).items()}
    except ValueError as error:
        raise ConfigError(str(error).splitlines()[-1].strip(), where="derive") from None


def network_inputs(network: nn.Module, description: Mapping[str, Any], picture: Tensor) -> dict[str, Tensor]:
    """Return the columns that a network reads. Derived ones are made of the whole picture, so that tiles have no seams.

    Args:
        description: of the model file; `derive` says how derived columns are made.
        picture: (N, 3, H, W) in 0..1.

    Raises:
        ModelError: when the network needs more than a picture.
    """
    names: tuple[str, ...] = network.inputs  # type: ignore[assignment]
    try:
        derived = derived_inputs(description)
    except ConfigError as error:
        raise ModelError(f"this model's derived inputs cannot be made: {error.what}", where=error.where) from None
    needed = closure(names, derived)
    if unknown := sorted(needed - derived.keys() - set(PICTURE)):
        raise ModelError(f"a picture alone cannot feed this network's {', '.join(unknown)}")
    made = {name: column for name, column in derived.items() if name in needed}
    columns = derive_columns(dict.fromkeys(PICTURE, picture), made)
    return {name: columns[name] for name in names}
