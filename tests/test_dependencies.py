"""What the package imports is what it asks for: nothing is there only because another package brings it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from command_line import REPOSITORY

OPTIONAL = {"triton"}
"""Comes with torch where there are GPUs; what lacks it says so."""


def imported(folder: Path) -> set[str]:
    """Return the top-level modules that the files of a folder import, at the top or inside functions."""
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


def test_everything_that_is_imported_is_declared() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["export"]]
    declared = {re.match(r"[\w.-]+", one)[0].lower().replace("_", "-") for one in asked}  # type: ignore[index]
    distributions = packages_distributions()
    undeclared = {
        module
        for module in imported(REPOSITORY / "platform" / "acutance") - {"acutance"} - OPTIONAL
        if not {name.lower().replace("_", "-") for name in distributions.get(module, [module])} & declared
    }
    assert not undeclared
