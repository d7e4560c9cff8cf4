"""A user's own parts: Python files, which are read once and sent to all workers, and modules of installed packages.

A YAML file names a part as `./my_parts.py:EdgeSR`. When it is loaded, the path becomes `my_parts.py@CHECKSUM:EdgeSR`:
settings then name one content, and fingerprints change with it. A source registers itself when it is unpickled, so
settings that name its parts work in every worker.

A part is code. What a model file names or holds is executed only where the user allowed it (see `is_allowed`).
"""

from __future__ import annotations

import hashlib
import linecache
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from acutance.errors import ConfigError, ModelError

CONSENT = "ACUTANCE_ALLOW_CODE"
"""`1` allows the code of every model; SHA-256 checksums, or their first 16 digits, separated by commas: these files."""

LARGEST = 1_000_000
DIGITS = 16

_PATH = re.compile(r"(?P<path>.+\.py):(?P<part>[A-Za-z_]\w*)")
_MODULE = re.compile(r"(?P<package>[A-Za-z_]\w*)(?:\.\w+)*:[A-Za-z_]\w*")
_KEY = re.compile(rf"(?P<key>[\w.-]+\.py@[0-9a-f]{{{DIGITS}}}):(?P<part>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class Source:
    """A file of parts: its name without a folder, and its text."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """The checksum of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def key(self) -> str:
        """How settings name it: by its name and the first digits of its checksum."""
        return f"{self.name}@{self.sha256[:DIGITS]}"

    def __reduce__(self) -> tuple[Any, ...]:
        return register, (self.name, self.text)


_registered: dict[str, Source] = {}
_packages: set[str] = set()
"""Top-level packages that the user's own files and options name as `package.module:Name`."""


def register(name: str, text: str) -> Source:
    """Make a source known in this process, and return it. Its code is not executed yet.

    Raises:
        ConfigError: when another text has the same name and the same first digits of its checksum.
    """
    source = Source(name, text)
    if _registered.setdefault(source.key, source) != source:
        raise ConfigError("two files of parts have the same name and checksum", where=source.key)
    return source


def read_source(path: Path) -> Source:
    """Read a file of parts and make it known.

    Raises:
        ConfigError: when it is not there, too large or no text.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"this file of parts is larger than {LARGEST:,} bytes", where=str(path))
        return register(path.name, path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("there is no such file of parts", where=str(path), fix="check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"this file of parts cannot be read: {error}", where=str(path)) from None


def with_sources(content: Any, folder: Path) -> Any:
    """Return the user's settings, in which each `./file.py:Name` becomes `file.py@CHECKSUM:Name`.

    Packages that they name as `package.module:Name` are allowed from then on.

    Args:
        content: mappings, lists and plain values.
        folder: what relative paths start from.

    Raises:
        ConfigError: as `read_source`.
    """
    if isinstance(content, dict):
        return {key: with_sources(value, folder) for key, value in content.items()}
    if isinstance(content, list):
        return [with_sources(value, folder) for value in content]
    if isinstance(content, str) and not is_source_part(content) and (given := _PATH.fullmatch(content)):
        return f"{read_source(folder / Path(given['path']).expanduser()).key}:{given['part']}"
    if isinstance(content, str) and (named := _MODULE.fullmatch(content)):
        allow_package(named["package"])
    return content


def allow_package(package: str) -> None:
    """Let model files name parts of a package in this process: the user named it."""
    _packages.add(package)


def allowed_packages() -> tuple[str, ...]:
    """Return the packages of `allow_package`."""
    return tuple(sorted(_packages))


def is_source_part(name: str) -> bool:
    """Return whether a name is one of a registered file: `my_parts.py@CHECKSUM:EdgeSR`."""
    return _KEY.fullmatch(name) is not None


def sources_named(content: Any) -> tuple[Source, ...]:
    """Return the sources whose parts settings name, each once.

    Raises:
        ConfigError: when one is not known in this process.
    """
    return tuple(source_of(key) for key in dict.fromkeys(_keys(content)))


def _keys(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for value in content.values():
            yield from _keys(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _keys(value)
    elif isinstance(content, str) and (named := _KEY.fullmatch(content)):
        yield named["key"]


def source_of(key: str) -> Source:
    """Return the source of `my_parts.py@CHECKSUM`.

    Raises:
        ConfigError: when it is not known in this process.
    """
    if key not in _registered:
        name = key.partition("@")[0]
        raise ConfigError(
            f"the file {name} with this checksum is not here", where=key, fix=f"name it by its path, ./{name}"
        )
    return _registered[key]


def load_part(name: str) -> Any:
    """Return what `my_parts.py@CHECKSUM:EdgeSR` names; the file is executed the first time.

    Raises:
        ConfigError: when the file fails, or has no such name.
    """
    named = _KEY.fullmatch(name)
    assert named is not None  # `is_source_part` is true
    module = _module_of(source_of(named["key"]))
    try:
        return getattr(module, named["part"])
    except AttributeError:
        defined = ", ".join(
            sorted(n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__)
        )
        fix = f"it defines {defined}" if defined else "check the name"
        raise ConfigError(f"this file defines no {named['part']!r}", where=named["key"], fix=fix) from None


def _module_of(source: Source) -> ModuleType:
    name = f"acutance_parts_{source.sha256}"
    if name in sys.modules:
        return sys.modules[name]
    shown = f"<{source.key}>"
    linecache.cache[shown] = (len(source.text), None, source.text.splitlines(keepends=True), shown)
    module = ModuleType(name)
    module.__file__ = shown
    sys.modules[name] = module  # before it runs: dataclasses and type hints look their module up
    try:
        exec(compile(source.text, shown, "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        line = getattr(error, "lineno", None) or _line_of(error, shown)
        place = f"{source.name}, line {line}" if line else source.name
        raise ConfigError(f"this file of parts fails: {type(error).__name__}: {error}", where=place) from error
    return module


def _line_of(error: BaseException, shown: str) -> int | None:
    line, step = None, error.__traceback__
    while step:
        line = step.tb_lineno if step.tb_frame.f_code.co_filename == shown else line
        step = step.tb_next
    return line


def packed(sources: Iterable[Source]) -> list[dict[str, str]]:
    """Return sources as a model file keeps them."""
    return [{"name": source.name, "sha256": source.sha256, "text": source.text} for source in sources]


def unpacked(content: Iterable[dict[str, str]], where: str) -> list[Source]:
    """Make the sources of a model file known, where they are allowed or known already.

    Args:
        content: as `packed` returns it.
        where: the model file, for messages.

    Raises:
        ConfigError: when a text is not that of its checksum.
        ModelError: when one is not allowed.
    """
    sources = [Source(one["name"], one["text"]) for one in content]
    for source, one in zip(sources, content, strict=True):
        if source.sha256 != one["sha256"]:
            raise ConfigError(f"the code {source.name} in this model is not that of its checksum", where=where)
    refused = [source for source in sources if _registered.get(source.key) != source and not is_allowed(source)]
    if refused:
        named = ", ".join(f"{source.name} (SHA-256 {source.sha256})" for source in refused)
        raise ModelError(
            f"this model runs code that its author wrote: {named}",
            where=where,
            fix=f"read it with `acutance models show --code`; if you trust it, give --allow-code or set {CONSENT}=1",
        )
    return [register(source.name, source.text) for source in sources]


def is_allowed(source: Source) -> bool:
    """Return whether the environment allows to execute this source."""
    return all_is_allowed() or not {source.sha256, source.sha256[:DIGITS]}.isdisjoint(_consent())


def all_is_allowed() -> bool:
    """Return whether the environment allows to execute the code of every model."""
    return "1" in _consent()


def _consent() -> set[str]:
    return {word.strip() for word in os.environ.get(CONSENT, "").split(",")}


def known_sources() -> tuple[Source, ...]:
    """Return the sources that this process knows: its user named them, or allowed them."""
    return tuple(_registered.values())
