"""What do checksums cost, as a share of the work that they guard?

A checkpoint of DSRGAN's size is written (to disk, with fsync) and read back into tensors, with its checksum and
without; a decoded column is read as each process reads it when it opens the shards. The ways take turns; medians, one
core. The page cache holds what is read, so that the shares are the largest there can be: a disk or a network is slower.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import torch
from detail import use_one_core
from machine import cpu
from safetensors.torch import load, save

from acutance import storage
from acutance.storage.checksum import (
    checksum,
    file_checksum,
    metadata_with_checksum,
    verified_metadata,
    with_file_checksum,
)

Way = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400, help="of a checkpoint, and of a decoded column")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    use_one_core()
    print(f"$ python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".rstrip())
    print(f"{cpu()}, one core, {platform.system()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in ("safetensors", "torch", "xxhash")))
    print(f"{arguments.megabytes} MB, medians of {arguments.rounds} rounds in turn\n")
    with tempfile.TemporaryDirectory() as folder:
        for title, ways in groups(Path(folder), arguments.megabytes).items():
            report(title, times(ways, arguments.rounds), arguments.megabytes)


def groups(folder: Path, megabytes: int) -> dict[str, dict[str, Way]]:
    """Return the work by title, each the way without a checksum first."""
    tensors = {str(n): torch.randn(megabytes * 2500) for n in range(100)}
    file, column = str(folder / "step.safetensors"), folder / "hr.bin"
    metadata = metadata_with_checksum({"fingerprint": "0123456789abcdef"})
    kept = bytes(with_file_checksum(save(tensors, metadata=metadata)))
    storage.write_bytes(file, kept)
    column.write_bytes(kept)

    def read_and_checked() -> object:
        content = storage.read_bytes(file)
        verified_metadata(content, file)
        return load(content)

    return {
        "a checkpoint is written": {
            "without": lambda: storage.write_bytes(file, save(tensors, metadata=metadata)),
            "with its checksum": lambda: storage.write_bytes(
                file, with_file_checksum(save(tensors, metadata=metadata))
            ),
        },
        "a checkpoint is read": {
            "without": lambda: load(storage.read_bytes(file)),
            "with its checksum": read_and_checked,
        },
        "a decoded column is opened": {
            "read": lambda: read(column),
            "read and checked": lambda: file_checksum(column),
        },
        "bytes in memory": {
            "XXH3, 128 bits": lambda: checksum(kept),
            "BLAKE2b": lambda: hashlib.blake2b(kept).digest(),
            "SHA-256": lambda: hashlib.sha256(kept).digest(),
        },
    }


def read(file: Path) -> None:
    """Read a file in the pieces in which its checksum is taken."""
    with open(file, "rb", buffering=0) as opened:
        while opened.read(1 << 22):
            pass


def times(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """Return the median seconds of each way, all of them in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            found[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in found.items()}


def report(title: str, seconds: dict[str, float], megabytes: int) -> None:
    """Print a group's times, each also as a multiple of the first."""
    print(f"{title:28}{'ms':>9}{'GB/s':>8}{'ratio':>8}")
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"  {name:26}{1000 * value:9.1f}{megabytes / 1000 / value:8.2f}{value / first:8.2f}")
    print()


if __name__ == "__main__":
    main()
