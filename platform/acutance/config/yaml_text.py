"""Reads YAML 1.2 (`on` is a word, `1e-4` a number) into plain values, within limits that settings never reach.

A text of some hundred bytes can stand for gigabytes, by aliases of aliases, or for a depth at which programs break. So
its nodes are counted, as often as aliases repeat them, before any value is made.
"""

from __future__ import annotations

import io
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from acutance.errors import ConfigError

MAX_BYTES = 64 * 1024
MAX_NODES = 20_000
"""Keys and values; those behind an alias count at each use."""
MAX_DEPTH = 50
MAX_DIGITS = 400
"""Of a number; the longest float has 309 before its point."""

DEEP = re.compile(rf"(?:[\[{{]\s*|[-?:] +){{{4 * MAX_DEPTH}}}")
"""So many openings in a row that a parser would take seconds, and then its whole stack, to come to their end."""

PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge")}


def read_yaml(path: str | Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        ConfigError: when there is no file, it is too large, or it is not plain YAML.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("there is no such file", where=str(path), fix="check the path") from None
    except OSError as error:
        what = f"this file cannot be read: {error.strerror}"
        raise ConfigError(what, where=str(path), fix="give a .yaml file that you may read") from None
    if len(content) > MAX_BYTES:
        what = f"this file has more than {MAX_BYTES // 1024} kB"
        raise ConfigError(what, where=str(path), fix="give a .yaml file of settings")
    try:
        return parse_yaml(content.decode(), str(path))
    except UnicodeDecodeError:
        raise ConfigError("this is not a YAML file", where=str(path), fix="give a .yaml file in UTF-8") from None


def parse_yaml(text: str, where: str) -> Any:
    """Return the content of a text: mappings with words or whole numbers as keys, lists, texts, numbers, booleans,
    None.

    Each place has a copy of its own of what aliases put into several.

    Raises:
        ConfigError: naming the line, for what is no YAML, holds another kind of value, or is out of bounds.
    """
    return _plain(_constructed(text, where), where)


@lru_cache(maxsize=8)
def _constructed(text: str, where: str) -> Any:
    """Return the content of a text, in which aliases share values; a command reads its file more than once."""
    if DEEP.search(text):
        raise _too_deep(where)
    try:
        constructor, _ = YAML(typ="safe", pure=True).get_constructor_parser(io.StringIO(text))
        root = constructor.composer.get_single_node()
        if root is None:
            return None
        _Bounds(where).check(root)
        return constructor.construct_document(root)
    except RecursionError:
        raise _too_deep(where) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", error)).splitlines()[0]
        raise ConfigError(f"this is not valid YAML: {problem}", where=_at(where, mark), fix="mend that line") from None
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:  # of values that no check here foresaw
        raise ConfigError(f"this is not valid YAML: {error}", where=where, fix="mend it") from None


class _Bounds:
    """Visits each node of a text once, and adds up the sizes after aliases are replaced."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.sizes: dict[int, int] = {}
        self.open: set[int] = set()

    def check(self, node: Node, depth: int = 1) -> int:
        """Return the number of nodes of a subtree after aliases are replaced."""
        if id(node) in self.open:
            raise ConfigError("an alias stands for something that it is in", where=_at(self.where, node.start_mark))
        if depth > MAX_DEPTH:
            raise _too_deep(_at(self.where, node.start_mark))
        if id(node) not in self.sizes:
            self.open.add(id(node))
            self.sizes[id(node)] = self._size(node, depth)
            self.open.remove(id(node))
        return self.sizes[id(node)]

    def _size(self, node: Node, depth: int) -> int:
        if node.tag not in PLAIN:
            kind = str(node.tag).rpartition(":")[2]
            self._refuse(node, f"a value of the kind {kind!r} is no setting", "quote it to make it a text")
        if isinstance(node, ScalarNode):
            self._check_value(node)
            return 1
        inside = [part for pair in node.value for part in pair] if isinstance(node, MappingNode) else node.value
        size = 1
        for part in inside:
            size += self.check(part, depth + 1)
            if size > MAX_NODES:
                self._refuse(node, f"with its aliases this stands for more than {MAX_NODES:,} values", "write less")
        return size

    def _check_value(self, node: ScalarNode) -> None:
        kind = str(node.tag).rpartition(":")[2]
        number = kind in {"int", "float"}
        if number and len(node.value) > MAX_DIGITS:
            self._refuse(node, f"this number has more than {MAX_DIGITS} digits", "shorten it")
        try:
            node.value.encode()
            if number:
                _number(kind, node.value.replace("_", "").lower())
        except UnicodeEncodeError:
            self._refuse(node, "this text holds half of a character (a lone surrogate)", "write the character itself")
        except ValueError:
            self._refuse(node, f"{node.value[:40]!r} is no {kind}", "quote it to make it a text")
        if kind == "bool" and node.value.lower() not in {"true", "false"}:
            self._refuse(node, f"{node.value[:40]!r} is no bool", "write true or false")

    def _refuse(self, node: Node, what: str, fix: str) -> None:
        raise ConfigError(what, where=_at(self.where, node.start_mark), fix=fix)


def _number(kind: str, text: str) -> float:
    """Return a number.

    Raises:
        ValueError: when the text is none.
    """
    if kind == "float":
        return math.inf if re.fullmatch(r"[+-]?\.inf|\.nan", text) else float(text)
    return int(text, 0) if re.match(r"[+-]?0[xob]", text) else int(text)


def _plain(value: Any, where: str) -> Any:
    """Return a value in which each place of an alias has its own copy."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise ConfigError(f"{key!r} is no key", where=where, fix="keys are words or whole numbers")
        return {key: _plain(one, where) for key, one in value.items()}
    return [_plain(one, where) for one in value] if isinstance(value, list) else value


def _too_deep(where: str) -> ConfigError:
    return ConfigError(f"settings lie more than {MAX_DEPTH} deep", where=where, fix="nest less")


def _at(where: str, mark: Any) -> str:
    return f"{where}:{mark.line + 1}" if mark else where
