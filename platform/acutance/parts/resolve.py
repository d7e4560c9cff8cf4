"""Finds a part by its name, and the package that it comes from."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from acutance.errors import ConfigError, ModelError, nearest
from acutance.parts.names import PARTS, group
from acutance.parts.sources import CONSENT, all_is_allowed, allowed_packages, is_source_part, load_part

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

NAMED_ONLY = {"measure", "amount", "protocol"}
"""Kinds that no file names as `module:Name`: such a name among quantities is a metric."""


def names(kind: str) -> list[str]:
    """Return the names of a kind of part, ours first; nothing is imported for it."""
    return list(dict.fromkeys([*PARTS[kind], *(entry.name for entry in _installed(kind))]))


def find(kind: str, name: str) -> Any:
    """Return the class, function or record with this name.

    Raises:
        ConfigError: when there is none, when two packages offer it, or when its package is not installed.
    """
    return _loaded(kind, name, _place(kind, name))


class Registry(Mapping[str, Any]):
    """The parts of one kind, or of several kinds without common names, by name; each is imported when it is used."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = kinds

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        kind = next((kind for kind in self.kinds if name in names(kind)), self.kinds[0])
        try:
            return find(kind, name)
        except ConfigError as error:
            if ":" in name:
                raise
            raise KeyError(name) from error

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(exists(kind, name) for kind in self.kinds)

    def __iter__(self) -> Iterator[str]:
        return (name for kind in self.kinds for name in names(kind))

    def __len__(self) -> int:
        return sum(len(names(kind)) for kind in self.kinds)


def exists(kind: str, name: str) -> bool:
    """Return whether a name is known; one with a colon is checked when it is loaded."""
    return name in names(kind) or (":" in name and kind not in NAMED_ONLY)


def origin(kind: str, name: str) -> str:
    """Return the distribution of a part as `name==version`; empty for our own parts and for a user's file."""
    from importlib.metadata import packages_distributions, version

    place = _place(kind, name)
    package = place.partition(":")[0].partition(".")[0]
    if is_source_part(place) or package == "acutance":
        return ""
    offered = next((entry.dist for entry in _installed(kind) if entry.name == name), None)
    found = offered.name if offered else next(iter(packages_distributions().get(package, [])), "")
    return f"{found}=={version(found)}" if found else package


def require_allowed(content: Any, where: str) -> None:
    """Refuse a model's settings that name modules which neither Acutance nor a package of parts has.

    A package of parts is one whose distribution offers entry points `acutance.*`. Any other module is allowed only
    where the user's own files name its package, or where all code is allowed.

    Args:
        content: mappings and lists, in which `type` names parts.
        where: the model file, for messages.

    Raises:
        ModelError: naming the part.
    """
    if isinstance(content, Mapping):
        if isinstance(name := content.get("type"), str) and ":" in name and not is_source_part(name):
            _require_allowed_module(name, where)
        for value in content.values():
            require_allowed(value, where)
    elif isinstance(content, list):
        for value in content:
            require_allowed(value, where)


def _require_allowed_module(name: str, where: str) -> None:
    package = name.partition(":")[0].partition(".")[0]
    if package in {"acutance", *allowed_packages(), *_packages_of_parts()} or all_is_allowed():
        return
    raise ModelError(
        f"this model names code of the package {package!r}, which offers no parts of Acutance: {name}",
        where=where,
        fix=f"if you trust the model, give --allow-code or set {CONSENT}=1",
    )


@cache
def _packages_of_parts() -> frozenset[str]:
    """Return the top-level packages of the installed distributions that offer parts."""
    from importlib.metadata import distributions, packages_distributions

    offering = {
        distribution.metadata["Name"]
        for distribution in distributions()
        if any(entry.group.startswith("acutance.") for entry in distribution.entry_points)
    }
    return frozenset(package for package, owners in packages_distributions().items() if not offering.isdisjoint(owners))


@cache
def _loaded(kind: str, name: str, place: str) -> Any:
    if is_source_part(place):
        return load_part(place)
    module, _, attribute = place.partition(":")
    try:
        part: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        raise ConfigError(
            f"the {kind.replace('_', ' ')} {name!r} needs the package {missing!r}, which is not installed here",
            fix="install it on every machine that uses this part",
        ) from None
    for step in attribute.split("."):
        if not hasattr(part, step):
            raise ConfigError(f"{module} has no {attribute!r}{nearest(attribute, vars(sys.modules[module]))}")
        part = getattr(part, step)
    return part


def _place(kind: str, name: str) -> str:
    """Return `module:attribute` of a name, or the name itself where it is one of a user's file."""
    title = kind.replace("_", " ")
    if ":" in name:
        if name.partition(":")[0].endswith(".py"):
            fix = "give it in a pipeline, a search space or an option"
            raise ConfigError(f"the file of {name!r} was not read", fix=fix)
        if name.partition(":")[0].partition(".")[0] in sys.stdlib_module_names:
            raise ConfigError(
                f"{name!r} is of Python's standard library, which has no parts", fix="name your own module"
            )
        return name
    own = [(PARTS[kind][name], "Acutance")] if name in PARTS[kind] else []
    offers = own + [(e.value, e.dist.name if e.dist else "?") for e in _installed(kind) if e.name == name]
    if len(offers) > 1:
        packages, places = zip(*((package, place) for place, package in offers), strict=True)
        what = f"several packages offer the {title} {name!r}: {', '.join(packages)}"
        raise ConfigError(what, fix=f"write one of {', '.join(places)}")
    if not offers:
        raise ConfigError(f"unknown type {name!r}{nearest(name, names(kind))}")
    return offers[0][0]


@cache
def _installed(kind: str) -> tuple[EntryPoint, ...]:
    return tuple(_entry_points().select(group=group(kind)))


@cache
def _entry_points() -> Any:
    """Return those of all installed packages: read once for all kinds (EntryPoints from Python 3.12 on)."""
    from importlib.metadata import entry_points  # no small part of the time that `--help` takes

    return entry_points()
