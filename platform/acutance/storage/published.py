"""Checksums of published files, in the forms in which publishers give them."""

from __future__ import annotations

import hashlib
from pathlib import Path

CHECKSUMS = {"sha256": "SHA-256", "md5": "MD5", "git": "git object name"}
"""Kind of checksum -> its name; `git` is that of `git hash-object`."""


def checksum_of(file: Path, kind: str) -> str:
    """Return a file's checksum in hexadecimal; `kind` is one of `CHECKSUMS`."""
    digest = hashlib.new("sha1" if kind == "git" else kind, usedforsecurity=False)
    if kind == "git":
        digest.update(f"blob {file.stat().st_size}\0".encode())
    with open(file, "rb") as content:
        return hashlib.file_digest(content, lambda: digest).hexdigest()
