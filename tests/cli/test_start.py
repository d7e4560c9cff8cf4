"""What a command imports before it has anything to do: seconds that everybody waits for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from command_line import REPOSITORY

LISTED = (
    "import sys, atexit; from acutance.cli import main\n"
    "atexit.register(lambda: print('imported', *sorted(name for name in HEAVY if name in sys.modules)))\n"
    "main()"
)
HEAVY = (
    "torch",
    "torchvision",
    "scipy",
    "pandas",
    "torch._dynamo",
    "scipy.stats",
    "skimage",
    "numba",
    "ray",
    "mlflow",
    "optuna",
    "matplotlib",
)


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--help"], set()),
        (["run", "--help"], set()),
        (["run", "pipelines/dsrgan.yaml", "--dry-run"], {"torch", "scipy"}),
        (["run", "pipelines/nothing.yaml", "--dry-run"], set()),
        (["run", "pipelines/dsrgan.yaml", "stages.gan.batchh=3", "--dry-run"], set()),
    ],
)
def test_nothing_is_imported_that_is_not_needed(words: list[str], allowed: set[str]) -> None:
    code = f"HEAVY = {HEAVY!r}\n{LISTED}"
    command = [sys.executable, "-c", code, *words]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    imported = set(ended.stdout.splitlines()[-1].split()[1:])
    assert imported <= allowed
