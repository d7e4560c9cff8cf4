"""What commands import before they have anything to do: seconds that everybody waits for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from command_line import REPOSITORY

HEAVY = (
    "alembic",
    "importlib.metadata",
    "lpips",
    "matplotlib",
    "mlflow",
    "numba",
    "numpy",
    "optuna",
    "pandas",
    "pyarrow",
    "pydantic",
    "ray",
    "requests",
    "scipy",
    "skimage",
    "sklearn",
    "sqlalchemy",
    "torch",
    "torch._dynamo",
    "torchvision",
)

IN_TURN = """
import json, os, sys
from acutance.cli import main

heavy, commands = json.loads(sys.argv[1])
printed = os.dup(1)
os.dup2(2, 1)
for words in commands:
    sys.argv = ["acutance", *words]
    try:
        main()
    except SystemExit as ended:
        found = [name for name in heavy if name in sys.modules]
        os.write(printed, json.dumps([ended.code, found]).encode() + b"\\n")
"""


def imported(folder: Path, *commands: str) -> Iterator[tuple[int, set[str]]]:
    """Run commands one after the other in one process; yield their exit codes and what is imported after each."""
    told = json.dumps([HEAVY, [command.split() for command in commands]])
    process = [sys.executable, "-c", IN_TURN, told]
    ended = subprocess.run(process, cwd=folder, capture_output=True, text=True, check=True)
    for line in ended.stdout.splitlines():
        code, found = json.loads(line)
        yield code, set(found)


def test_each_command_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    file, space = REPOSITORY / "pipelines" / "dsrgan.yaml", REPOSITORY / "search_spaces" / "dsrgan.yaml"
    hfa, nima = REPOSITORY / "pipelines" / "hfa_deblur.yaml", REPOSITORY / "pipelines" / "nima_ava.yaml"
    checked = {"pydantic", "importlib.metadata"}  # Typer imports them, too
    listed = {*checked, "numpy", "pyarrow"}
    expected: Sequence[tuple[str, int, set[str]]] = [
        ("--help", 0, set()),
        ("run --help", 0, checked),
        ("run nothing.yaml --dry-run", 2, checked),
        (f"run {file} stages.gan.batchh=3 --dry-run", 2, checked),
        ("data list", 0, listed),
        (f"run {file} --dry-run", 0, {*listed, "torch"}),
        (f"run {hfa} --dry-run", 0, {*listed, "torch"}),
        (f"run {nima} --dry-run", 0, {*listed, "torch"}),
        (f"tune {space} --table table_1 --dry-run", 0, {*listed, "torch"}),
    ]
    ended = list(imported(tmp_path, *(command for command, _, _ in expected)))
    assert len(ended) == len(expected)
    for (command, code, allowed), (ended_with, found) in zip(expected, ended, strict=True):
        assert ended_with == code, command
        assert found <= allowed, command


def test_a_list_of_models_imports_mlflow_but_neither_torch_nor_ray(tmp_path: Path) -> None:
    ((code, found),) = imported(tmp_path, "models list")
    assert code == 0
    assert "mlflow" in found
    assert not found & {"torch", "torchvision", "ray", "optuna", "matplotlib", "numba", "sklearn"}
