"""Validates settings, and turns pydantic's errors into messages: file, dotted path, fault, nearest valid name."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, Union

import pydantic
from pydantic import BaseModel

from acutance.config.overrides import items_by_name
from acutance.config.schema import LARGEST, NEEDS_PART, WITHOUT_PARTS
from acutance.errors import ConfigError, nearest

SettingsT = TypeVar("SettingsT", bound=BaseModel)


def validate(model: type[SettingsT], content: Any, where: str) -> SettingsT:
    """Validate settings; every mistake is named by file, dotted path and nearest valid name.

    Raises:
        ConfigError: listing all mistakes.
    """
    if lines := list(_too_large(content, [])):
        raise ConfigError("\n".join(lines), where=where, fix="mend the keys named above")
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        lines = [_mistake(model, mistake, content) for mistake in error.errors()]
        raise ConfigError("\n".join(lines), where=where, fix="mend the keys named above") from None


def require_keys(model: type[BaseModel], content: Any, where: str) -> None:
    """Validate as far as that is possible before a part is imported, which takes seconds.

    Raises:
        ConfigError: as `validate`, without the mistakes in the settings of parts.
    """
    lines = list(_too_large(content, []))
    try:
        if not lines:
            model.model_validate(content, context=WITHOUT_PARTS)
    except pydantic.ValidationError as error:
        mistakes = [mistake for mistake in error.errors() if mistake["type"] != NEEDS_PART]
        lines = [_mistake(model, mistake, content) for mistake in mistakes]
    if lines:
        raise ConfigError("\n".join(lines), where=where, fix="mend the keys named above")


def _too_large(node: Any, path: list[str]) -> Iterator[str]:
    """Yield a message for each whole number beyond LARGEST."""
    if isinstance(node, dict | list):
        named = isinstance(node, list) and len(items_by_name(node)) == len(node)
        inside = node if isinstance(node, dict) else items_by_name(node) if named else dict(enumerate(node))
        for key, value in inside.items():
            yield from _too_large(value, [*path, str(key)])
    elif isinstance(node, int) and abs(node) > LARGEST:
        yield f"{'.'.join(path)}: this number is out of range; whole numbers go to {LARGEST}"


def _mistake(model: type[BaseModel], mistake: Any, content: Any) -> str:
    path, node = [], content
    for part in mistake["loc"]:
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            path.append(str(node.get("name", node.get("type", part))) if isinstance(node, dict) else str(part))
        elif isinstance(node, dict) and part in node:
            node = node[part]
            path.append(str(part))
        elif part == mistake["loc"][-1] and mistake["type"] == "missing":
            path.append(str(part))
    message = _message(mistake)
    if mistake["type"] == "extra_forbidden":
        message = f"unknown key{nearest(str(mistake['loc'][-1]), _keys_at(model, mistake['loc'][:-1]))}"
    elif mistake["type"] == "union_tag_invalid":
        tag, expected = mistake["ctx"]["tag"], mistake["ctx"]["expected_tags"].replace("'", "").split(", ")
        message = f"unknown type {tag!r}{nearest(tag, expected)}"
    elif mistake["type"] == "missing":
        message = "this key is missing"
    elif mistake["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = _mapping_needed(mistake["input"], model, mistake["loc"])
    return f"{'.'.join(path)}: {message}" if path else message


VALID_TYPES = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text",
}
"""Kind of a pydantic error -> the valid type."""


def _message(mistake: Any) -> str:
    """Return the fault of a value, with an example of a valid one."""
    given, kind = mistake["input"], mistake["type"]
    if kind == "literal_error":
        return f"{given!r} is not taken; give {mistake['ctx']['expected']}"
    if kind in ("list_type", "tuple_type"):
        example = f"[{given}]" if isinstance(given, str | int | float) else "[a, b]"
        return f"this must be a list, such as {example}"
    if kind in VALID_TYPES:
        return f"{given!r} is not {VALID_TYPES[kind]}"
    return str(mistake["msg"].removeprefix("Value error, "))


def _mapping_needed(given: Any, model: type[BaseModel], location: tuple[Any, ...]) -> str:
    """Return the message that a mapping is needed, with an example: of its types, or of its keys."""
    keys = sorted(_keys_at(model, location))
    if isinstance(given, str) and "type" in keys:
        return f"this must be a mapping, such as {{type: {given}}}"
    return f"this must be a mapping of {', '.join(keys)}" if keys else "this must be a mapping, such as {key: value}"


def _keys_at(model: Any, location: tuple[Any, ...]) -> set[str]:
    """Return the valid keys of the settings at a location of a pydantic error."""
    node: Any = model
    for part in location:
        node = _descend(node, part)
    return {field.alias or name for m in _models(node) for name, field in m.model_fields.items()}


def _descend(hint: Any, part: Any) -> Any:
    found = []
    for model in _models(hint):
        if model.__name__ in (f"{part}_settings", part):
            return model
        found += [field.annotation for name, field in model.model_fields.items() if part in (field.alias, name)]
    if found:
        return found[0]
    inside = [a for a in typing.get_args(_bare(hint)) if a is not type(None)]
    return inside[-1] if inside else hint


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _models(hint: Any) -> list[type[BaseModel]]:
    hint = _bare(hint)
    if inspect.isclass(hint) and issubclass(hint, BaseModel):
        return [hint]
    if typing.get_origin(hint) in (Union, types.UnionType):
        return [model for part in typing.get_args(hint) for model in _models(part)]
    return []
