"""Finds missing compilers, which torch and Triton need at run time."""

from __future__ import annotations

import os
import shutil


def missing_compiler(device: str) -> str:
    """Return a message where this machine lacks the compiler of a device's kernels; else ''.

    Triton compiles a launcher in C before its first kernel on a GPU, torch.compile C++ for a CPU.
    """
    variable, names = ("CXX", ("g++", "clang++")) if device == "cpu" else ("CC", ("gcc", "clang"))
    if os.environ.get(variable) or any(map(shutil.which, names)):
        return ""
    return (
        f"there is no {'C++' if device == 'cpu' else 'C'} compiler here ({', '.join(names)}, or what {variable} names)"
    )
