"""From YAML to validated settings: signatures become schemas, mistakes become messages.

A choice such as `{type: rrdbnet, blocks: 23}` names an entry of a dict of typed callables; its other keys are the
callable's own parameters. Nothing is described twice: the constructor's signature is the schema.
"""

from __future__ import annotations

import collections.abc
import copy
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union

import pydantic
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError, core_schema

from acutance import parts
from acutance.config.yaml_text import parse_yaml, read_yaml
from acutance.errors import ConfigError, nearest
from acutance.parts.sources import sources_named, with_sources

OVERRIDES = "overrides"
"""The key of a search space below which the keys are dotted paths."""


LARGEST = 2**31 - 1
"""The largest whole number that a file may give: sizes, counts and seeds beyond it are mistakes."""

Seed = Annotated[int, Field(ge=0, le=LARGEST)]
"""A seed in the range that every generator takes."""


class Strict(BaseModel):
    """Settings in which an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), ser_json_inf_nan="constants")


WITHOUT_PARTS = "without parts"
"""The context of a validation that imports no part: it looks at keys, values and names alone."""

NEEDS_PART = "needs_part"
"""The kind of a mistake that is none: a check that needs a part was left out."""


class _Unread:
    """Stands for a choice in a validation without parts. Whatever looks into it is left out."""

    def __getattr__(self, name: str) -> Any:
        raise PydanticCustomError(NEEDS_PART, "this needs the part")


class _Resolved:
    """Marks the settings that were made of a part's signature."""


class Choice(Strict):
    """A part that a file chooses by `type`, with its arguments; each kind of part has a subclass.

    The other keys are the part's own keyword-only parameters: its signature is the schema. A field of this type
    accepts a mapping, and holds an instance of a subclass that is made of that signature.
    """

    type: str

    kind: ClassVar[str] = ""
    """The kind of part, of `parts.names.PARTS`."""
    given: ClassVar[tuple[str, ...]] = ()
    """Parameters that the caller of the part gives, not the file."""
    positional: ClassVar[bool] = False
    """Whether parameters that are not keyword-only are settings as well; in torch's classes they are."""
    usual: ClassVar[str] = ""
    """The part that is meant where a file gives no `type`, empty where it must."""
    module: ClassVar[Any] = str
    """The type, in a file, of a parameter of type `nn.Module`."""
    parameters: ClassVar[tuple[str, ...]] = ()

    @property
    def part(self) -> Any:
        """The class or function that is chosen."""
        return parts.find(self.kind, self.type)

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for it."""
        return {name: getattr(self, name) for name in self.parameters}

    @classmethod
    def settings_of(cls, name: str) -> Any:
        """Return the settings of a part by its name.

        Raises:
            ConfigError: when there is none of this name, or it says no types of its parameters.
        """
        return _settings_of(cls, name, parts.find(cls.kind, name))

    @classmethod
    def chosen(cls, content: Any) -> Self:
        """Return the choice that a mapping makes.

        Raises:
            ValueError, ValidationError: for what is no choice of this kind.
        """
        if isinstance(content, cls):
            return content
        content = cls._with_type(content)
        try:
            settings = cls.settings_of(content["type"])
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.fix}" if error.fix else error.what) from None
        try:
            chosen: Self = settings.model_validate(content)
            return chosen
        except pydantic.ValidationError as error:
            raise _with_nearest_keys(error, settings) from None

    @classmethod
    def require_known(cls, content: Any) -> None:
        """Raise ValueError for what names no part of this kind; the part is not imported."""
        named = cls._with_type(content)["type"]
        if not parts.exists(cls.kind, named):
            raise ValueError(f"unknown type {named!r}{nearest(named, parts.names(cls.kind))}")

    @classmethod
    def _unread(cls, content: Any) -> Any:
        """Return what stands for a choice whose part is not imported yet; raises as `chosen` for what has no name."""
        if isinstance(content, cls):
            return content
        cls.require_known(content)
        return _Unread()

    @classmethod
    def _with_type(cls, content: Any) -> Mapping[str, Any]:
        """Return a mapping that names a part; raises ValueError for anything else."""
        if not isinstance(content, Mapping):
            example = f", such as {{type: {content}}}" if isinstance(content, str) else " with the key type"
            raise ValueError(f"this must be a mapping{example}")
        named = {"type": cls.usual, **content} if cls.usual else content
        if not isinstance(named.get("type"), str):
            raise ValueError(f"give the key type{nearest('', parts.names(cls.kind))}")
        return named

    def __reduce__(self) -> tuple[Any, ...]:
        base = next(one for one in type(self).__mro__ if not issubclass(one, _Resolved))
        return _unpickled, (base, self.model_dump(), sources_named(self.type))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        if issubclass(cls, _Resolved) or not cls.kind:
            return handler(source)
        as_plain = core_schema.plain_serializer_function_ser_schema(
            lambda value, info: value.model_dump(mode=info.mode), info_arg=True
        )

        def validated(content: Any, info: core_schema.ValidationInfo) -> Any:
            return cls._unread(content) if info.context == WITHOUT_PARTS else cls.chosen(content)

        return core_schema.with_info_plain_validator_function(validated, serialization=as_plain)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        if issubclass(cls, _Resolved) or not cls.kind:
            return handler(schema)
        return {"oneOf": [handler(cls.settings_of(name).__pydantic_core_schema__) for name in parts.names(cls.kind)]}


SettingsT = TypeVar("SettingsT", bound=BaseModel)


def _unpickled(base: type[Choice], content: Any, _: tuple[Any, ...]) -> Choice:
    """Sources of parts are unpickled first, which registers them."""
    return base.chosen(content)


@cache
def _settings_of(base: type[Choice], name: str, part: Any) -> Any:
    function = part.__init__ if inspect.isclass(part) else part
    # Torch imports the names of some types for type checkers alone.
    known = vars(collections.abc) | getattr(inspect.unwrap(function), "__globals__", {})
    hints = typing.get_type_hints(function, known, include_extras=True)
    taken_kinds = {inspect.Parameter.KEYWORD_ONLY} | (
        {inspect.Parameter.POSITIONAL_OR_KEYWORD} if base.positional else set()
    )
    parameters = [
        p for p in inspect.signature(part).parameters.values() if p.kind in taken_kinds and p.name not in base.given
    ]
    if untyped := [p.name for p in parameters if p.name not in hints]:
        raise ConfigError(
            f"{name}: its parameter {untyped[0]!r} has no type", fix="annotate it, such as `width: int = 64`"
        )
    if taken := [p.name for p in parameters if p.name in {*base.model_fields, *dir(base)}]:
        raise ConfigError(f"{name}: its parameter {taken[0]!r} has a name that its settings need", fix="rename it")
    fields: dict[str, Any] = {
        p.name: (_settings_type(hints[p.name], base.module), ... if p.default is p.empty else p.default)
        for p in parameters
    }
    fields["type"] = (Literal[name], ...)
    settings: Any = create_model(f"{name}_settings", __base__=(_Resolved, base), **fields)
    settings.parameters = tuple(p.name for p in parameters)
    return settings


def _settings_type(hint: Any, module: Any) -> Any:
    """Return the type of a setting: `module` for networks; only numbers where a tensor is allowed as well."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if inspect.isclass(hint) and "torch.nn.modules.module" in (one.__module__ for one in hint.__mro__):
        return module
    if origin in (Union, types.UnionType):
        kept = [_settings_type(part, module) for part in inside if getattr(part, "__module__", "") != "torch"]
        return Union[tuple(kept)]  # noqa: UP007
    if origin is tuple and Ellipsis not in inside:
        return tuple[tuple(_settings_type(part, module) for part in inside)]  # type: ignore[misc]
    return list[inside[0]] if origin is collections.abc.Iterable else hint  # type: ignore[valid-type]


def _with_nearest_keys(error: pydantic.ValidationError, settings: type[BaseModel]) -> pydantic.ValidationError:
    """Return an error whose unknown keys are named with the nearest known ones."""
    mistakes: list[Any] = []
    for mistake in error.errors():
        kind: Any = mistake["type"]
        if kind == "extra_forbidden" and len(mistake["loc"]) == 1:
            kind = PydanticCustomError(
                "unknown_key", "unknown key" + nearest(str(mistake["loc"][0]), _keys_of(settings))
            )
        elif mistake["type"] in ("value_error", "unknown_key"):
            kind = PydanticCustomError(mistake["type"], "{text}", {"text": mistake["msg"]})
        mistakes.append({"type": kind, "loc": mistake["loc"], "input": mistake["input"], "ctx": mistake.get("ctx", {})})
    return pydantic.ValidationError.from_exception_data(error.title, mistakes)


def _keys_of(settings: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in settings.model_fields.items()}


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
        for name in _names(_node(content, before.split("."))):
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


def _names(node: Any) -> dict[str, Any]:
    """Return the items of a mapping by key, or of a list by name."""
    if isinstance(node, list):
        return {str(item.get("name", item.get("type"))): item for item in node if isinstance(item, dict)}
    return dict(node) if isinstance(node, dict) else {}


def _child(node: Any, key: str, path: str, create: bool = False) -> Any:
    if isinstance(node, list):
        names = _names(node)
        if key not in names:
            raise ConfigError(f"nothing here is named {key!r}{nearest(key, names)}", where=path)
        return names[key]
    if not isinstance(node, dict):
        raise ConfigError("this path leads through a value that has no keys", where=path, fix="shorten the path")
    if node.get(key) is None and create:
        node[key] = {}
    return node[key]


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
        named = isinstance(node, list) and len(_names(node)) == len(node)
        inside = node if isinstance(node, dict) else _names(node) if named else dict(enumerate(node))
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
    message = _worded(mistake)
    if mistake["type"] == "extra_forbidden":
        message = f"unknown key{nearest(str(mistake['loc'][-1]), _keys_at(model, mistake['loc'][:-1]))}"
    elif mistake["type"] == "union_tag_invalid":
        tag, expected = mistake["ctx"]["tag"], mistake["ctx"]["expected_tags"].replace("'", "").split(", ")
        message = f"unknown type {tag!r}{nearest(tag, expected)}"
    elif mistake["type"] == "missing":
        message = "this key is missing"
    elif mistake["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = _mapping_asked(mistake["input"], model, mistake["loc"])
    return f"{'.'.join(path)}: {message}" if path else message


ASKED = {
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


def _worded(mistake: Any) -> str:
    """Return the fault of a value, with an example of a valid one."""
    given, kind = mistake["input"], mistake["type"]
    if kind == "literal_error":
        return f"{given!r} is not taken; give {mistake['ctx']['expected']}"
    if kind in ("list_type", "tuple_type"):
        example = f"[{given}]" if isinstance(given, str | int | float) else "[a, b]"
        return f"this must be a list, such as {example}"
    if kind in ASKED:
        return f"{given!r} is not {ASKED[kind]}"
    return str(mistake["msg"].removeprefix("Value error, "))


def _mapping_asked(given: Any, model: type[BaseModel], location: tuple[Any, ...]) -> str:
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
