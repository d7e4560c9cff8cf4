"""Reads settings from YAML, and sets single values of them by dotted path."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from acutance.config.yaml_text import parse_yaml, read_yaml
from acutance.errors import ConfigError, nearest
from acutance.parts.sources import with_sources

OVERRIDES = "overrides"
"""The key of a search space below which the keys are dotted paths."""


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; a part in a file beside it, `./my_parts.py:Name`, is read with it.

    Raises:
        ConfigError: when the file is missing, is not YAML, or holds something else.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError("the file holds no settings", where=str(path), fix="it must be a mapping of keys to values")
    settings: dict[str, Any] = with_sources(content, Path(path).parent)
    return settings


def parse_override(text: str) -> tuple[str, Any]:
    """Split `a.b.c=value`; the value is read as YAML, a file of parts in it from where the user stands.

    Raises:
        ConfigError: when there is no `=`, or the value is no YAML.
    """
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ConfigError("an override must read key=value", where=text, fix="for example stages.gan.steps=1000")
    try:
        return path, with_sources(parse_yaml(value, text), Path.cwd()) if value else ""
    except ConfigError as error:
        raise ConfigError(error.what, where=text[:200], fix=error.fix) from None


def override(content: dict[str, Any], path: str, value: Any) -> None:
    """Set a value by its dotted path, in place; an item of a list is addressed by its `name` (or `type`).

    A `*` stands for each of what is there: `stages.*.steps`. What follows on `overrides` is one key, a path itself.

    Raises:
        ConfigError: when the path passes through something that is not there.
    """
    before, star, rest = path.partition(".*.")
    if star:
        for name in items_by_name(_node(content, before.split("."))):
            override(content, f"{before}.{name}.{rest}", copy.deepcopy(value))
        return
    *parents, last = path.split(".")
    if OVERRIDES in parents:
        at = parents.index(OVERRIDES) + 1
        parents, last = parents[:at], ".".join([*parents[at:], last])
    node = _node(content, parents)
    if isinstance(node, list):
        node[node.index(_child(node, last, path))] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise ConfigError("this path leads through a value that has no keys", where=path, fix="shorten the path")


def _node(content: Any, keys: list[str]) -> Any:
    """Return what a path leads to, made where it is missing."""
    node = content
    for depth, key in enumerate(keys):
        node = _child(node, key, ".".join(keys[: depth + 1]), create=True)
    return node


def items_by_name(node: Any) -> dict[str, Any]:
    """Return the items of a mapping by key, or of a list by name."""
    if isinstance(node, list):
        return {str(item.get("name", item.get("type"))): item for item in node if isinstance(item, dict)}
    return dict(node) if isinstance(node, dict) else {}


def _child(node: Any, key: str, path: str, create: bool = False) -> Any:
    if isinstance(node, list):
        names = items_by_name(node)
        if key not in names:
            raise ConfigError(f"nothing here is named {key!r}{nearest(key, names)}", where=path)
        return names[key]
    if not isinstance(node, dict):
        raise ConfigError("this path leads through a value that has no keys", where=path, fix="shorten the path")
    if node.get(key) is None and create:
        node[key] = {}
    return node[key]
