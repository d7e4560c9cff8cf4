"""Compiles inner loops with numba, and caches the machine code if there is a folder for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

# All fast-math flags but those that assume NaN and infinity away. Division is as in NumPy: Python's check for zero
# forbids SIMD.
_HOW: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"nsz", "arcp", "contract", "reassoc"}}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function on its first call, for the functions that call it."""
    return njit(**_HOW)(function)


def cached(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile likewise, and cache the machine code for the next process if there is a folder for it."""
    try:
        return njit(cache=True, **_HOW)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache is writable
        return compiled(function)
