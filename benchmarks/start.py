"""How quickly do commands start, beside bare Python and the imports of torch and MLflow?

Each command runs in a process of its own, in an empty folder with an empty registry, as a user would call it; the
commands take turns. Medians of seconds; CPU seconds are those of the process and its children. The machine should be
idle: the load before the first command is printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from machine import cpu

REPOSITORY = Path(__file__).parents[1]
PIPELINES = sorted((REPOSITORY / "pipelines").glob("*.yaml"))

COMMANDS: dict[str, list[str]] = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import torch'": ["-c", "import torch"],
    "python -c 'import mlflow'": ["-c", "import mlflow"],
    "acutance --help": ["-m", "acutance", "--help"],
    "a mistake in a YAML": ["-m", "acutance", "run", "quickstart", "stages.gan.stepps=3", "--dry-run"],
    **{
        f"run {path.stem} --dry-run": ["-m", "acutance", "run", str(path), "--dry-run"]
        for path in PIPELINES
        if path.stem != "datasets"
    },
    "tune quickstart --dry-run": ["-m", "acutance", "tune", "quickstart", "--dry-run"],
    "models list": ["-m", "acutance", "models", "list"],
    "data list": ["-m", "acutance", "data", "list"],
    "doctor": ["-m", "acutance", "doctor"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="commands that contain this text")
    arguments = parser.parse_args()
    print(f"$ python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".rstrip())
    print(f"{cpu()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "mlflow", "optuna")))
    print(f"load {os.getloadavg()[0]:.1f}, medians of {arguments.rounds} rounds in turn\n")
    chosen = {name: words for name, words in COMMANDS.items() if arguments.only in name}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds + 1):
            for name, words in chosen.items():
                seconds = timed(words, folder)
                if number:  # the first round fills the caches of files
                    taken[name].append(seconds)
    print(f"{'command':40} {'seconds':>8} {'CPU':>8}")
    for name, pairs in taken.items():
        wall, cpu_seconds = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name:40} {wall:8.2f} {cpu_seconds:8.2f}")


def timed(words: list[str], folder: str) -> tuple[float, float]:
    """Run Python with some arguments in a folder; return seconds, and CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
