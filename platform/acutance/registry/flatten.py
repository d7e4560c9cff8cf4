"""Nested settings as the flat parameters that MLflow keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def flatten(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return nested settings as dotted keys and texts, as an override would address them.

    >>> flatten({"objective": [{"name": "pixel", "weight": 0.2}], "betas": [0.9, 0.999]})
    {'objective.pixel.name': 'pixel', 'objective.pixel.weight': '0.2', 'betas': '[0.9, 0.999]'}
    """
    flat: dict[str, str] = {}
    for key, value in settings.items():
        inside = _named(value)
        if inside:
            flat.update({f"{key}.{rest}": text for rest, text in flatten(inside).items()})
        else:
            flat[str(key)] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat


def _named(value: Any) -> dict[str, Any] | None:
    """Return a mapping, or a list of mappings by their names, as a mapping; None for any other value."""
    if isinstance(value, Mapping):
        return dict(value)
    if not (isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value)):
        return None
    names = [str(item.get("name") or item.get("type") or index) for index, item in enumerate(value)]
    unique = len(set(names)) == len(names)
    return {name if unique else str(index): item for index, (name, item) in enumerate(zip(names, value, strict=True))}
