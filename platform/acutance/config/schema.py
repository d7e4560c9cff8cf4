"""Settings of pipelines and parts: the signature of a part is its schema.

A choice such as `{type: rrdbnet, blocks: 23}` names a part, a typed class or function; its other keys are the
parameters of that part. Nothing is described twice: the constructor's signature is the schema.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, Union

import pydantic
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError, core_schema

from acutance import parts
from acutance.errors import ConfigError, nearest
from acutance.parts.sources import sources_named

LARGEST = 2**31 - 1
"""The largest whole number that a file may give: sizes, counts and seeds beyond it are mistakes."""

Seed = Annotated[int, Field(ge=0, le=LARGEST)]
"""A seed in the range that every generator takes."""


class Strict(BaseModel):
    """Settings in which an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), ser_json_inf_nan="constants")


WITHOUT_PARTS = "without parts"
"""The pydantic context of a validation that imports no part: it checks keys, values and names alone."""

NEEDS_PART = "needs_part"
"""The pydantic error type of a check that was skipped because it needs a part; it is no mistake of the user."""


class _Unresolved:
    """Takes the place of a choice whose part is not imported; a check that reads an attribute of it is skipped."""

    def __getattr__(self, name: str) -> Any:
        raise PydanticCustomError(NEEDS_PART, "this needs the part")


class _Resolved:
    """Base of the settings that are made from a part's signature."""


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
            ValueError, ValidationError: when it names no part of this kind, or the part does not take its settings.
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
        """Raise ValueError when the content names no part of this kind; the part is not imported."""
        named = cls._with_type(content)["type"]
        if not parts.exists(cls.kind, named):
            raise ValueError(f"unknown type {named!r}{nearest(named, parts.names(cls.kind))}")

    @classmethod
    def _unresolved(cls, content: Any) -> Any:
        """Return the placeholder of a choice without importing its part; raise as `chosen` for an unknown type."""
        if isinstance(content, cls):
            return content
        cls.require_known(content)
        return _Unresolved()

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
            return cls._unresolved(content) if info.context == WITHOUT_PARTS else cls.chosen(content)

        return core_schema.with_info_plain_validator_function(validated, serialization=as_plain)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        if issubclass(cls, _Resolved) or not cls.kind:
            return handler(schema)
        return {"oneOf": [handler(cls.settings_of(name).__pydantic_core_schema__) for name in parts.names(cls.kind)]}


def _unpickled(base: type[Choice], content: Any, _: tuple[Any, ...]) -> Choice:
    """Sources of parts are unpickled first, which registers them."""
    return base.chosen(content)


@cache
def _settings_of(base: type[Choice], name: str, part: Any) -> Any:
    function = part.__init__ if inspect.isclass(part) else part
    # Torch imports the names of some types for type checkers alone.
    known = vars(collections.abc) | getattr(inspect.unwrap(function), "__globals__", {})
    hints = typing.get_type_hints(function, known, include_extras=True)
    setting_kinds = {inspect.Parameter.KEYWORD_ONLY} | (
        {inspect.Parameter.POSITIONAL_OR_KEYWORD} if base.positional else set()
    )
    parameters = [
        p for p in inspect.signature(part).parameters.values() if p.kind in setting_kinds and p.name not in base.given
    ]
    if untyped := [p.name for p in parameters if p.name not in hints]:
        raise ConfigError(
            f"{name}: its parameter {untyped[0]!r} has no type", fix="annotate it, such as `width: int = 64`"
        )
    if reserved := [p.name for p in parameters if p.name in {*base.model_fields, *dir(base)}]:
        raise ConfigError(f"{name}: its parameter {reserved[0]!r} has a name that its settings need", fix="rename it")
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
