"""Fingerprints: hashes of all that determines the result of a piece of work."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

LENGTH = 16


def fingerprint(content: Any) -> str:
    """Return 16 hexadecimal digits that depend on `content` alone.

    Args:
        content: JSON-like values (dict, list, tuple, str, int, float, bool, None); key order does not matter.

    Raises:
        TypeError: for a value JSON cannot hold, so that no object is hashed by its address.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:LENGTH]


def short_name(text: str) -> str:
    """Return a file name for a text: ASCII, at most 49 characters, different for different texts.

    It begins with a readable part of the text and ends with a fingerprint.
    """
    called = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[-40:]
    return f"{called}-{fingerprint(text)[:8]}"


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
