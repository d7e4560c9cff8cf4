"""What a module of ours needs to run, read from the import statements of its source; nothing is imported for it.

Imports inside functions count as well, so what is loaded late, or on some machines alone, is not forgotten.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import acutance

HOME = Path(acutance.__file__).resolve().parent


def needs(start: Path) -> tuple[list[Path], list[str]]:
    """Return what a file of ours imports, directly or through others.

    Returns:
        The files of this package, relative to the folder that holds it (`acutance/...`), sorted; and the
        distributions of others with their versions, `name==1.2.3`, sorted. Of local builds (`torch 2.8+cpu`) the
        release counts, and an import that is not installed here is left out.
    """
    ours: set[Path] = set()
    others: set[str] = set()
    todo = [start]
    while todo:
        for name in _imported(todo.pop()):
            if name.partition(".")[0] != HOME.name:
                others.add(name.partition(".")[0])
            elif (path := _file(name)) and path not in ours:
                ours.add(path)
                todo.append(path)
    return sorted(path.relative_to(HOME.parent) for path in ours), _pinned(others)


def _imported(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports, and the packages around them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: depth + 1]) for depth in range(len(parts)))


def _file(name: str) -> Path | None:
    """Return the source of a module of ours; None for a name inside a module."""
    place = HOME.joinpath(*name.split(".")[1:])
    return next((p for p in (place / "__init__.py", place.with_name(f"{place.name}.py")) if p.is_file()), None)


def _pinned(names: set[str]) -> list[str]:
    known = packages_distributions()
    found: set[str] = set()
    for name in names - sys.stdlib_module_names:
        offered = known.get(name, [])
        found.update([name] if name in offered else offered)  # mlflow comes in three parts, pinned by the whole
    return sorted((f"{name}=={version(name).split('+')[0]}" for name in found), key=str.lower)
