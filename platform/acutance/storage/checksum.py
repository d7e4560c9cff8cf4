"""Checksums: a file whose content changed after it was written is an error.

XXH3 of 128 bits, which takes a fraction of the reading time. It finds faults of disks, memories and networks, not
manipulation. A safetensors file and a JSON note hold their own checksum, so that each stays one file that is written
atomically and that other programs can read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xxhash import xxh3_128 as Checksum

from acutance.errors import DamagedError

KEY = "checksum"
DIGITS = 32
METADATA = "acutance"
"""The entry of a safetensors file's metadata that is ours: a JSON text."""

AT_ONCE = 1 << 22


def checksum(*parts: bytes | bytearray | memoryview) -> str:
    """Return the checksum of bytes, one part after another: 32 hexadecimal digits."""
    found = Checksum()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def file_checksum(path: Path) -> str:
    """Return the checksum of a local file, read in pieces."""
    found = Checksum()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(AT_ONCE):
            found.update(piece)
    return found.hexdigest()


# JSON notes


def with_checksum(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the content of a JSON note with its checksum; keys become texts."""
    plain = json.loads(json.dumps(content))
    return {**plain, KEY: _of_values(plain)}


def verified_note(text: bytes, where: str) -> dict[str, Any]:
    """Return the content of a JSON note, without its checksum.

    Raises:
        DamagedError: when its values are not those that were written.
    """
    try:
        content = json.loads(text)
        expected = content.pop(KEY)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(where) from None
    if expected != _of_values(content):
        raise _damaged(where)
    return content


def _of_values(content: Mapping[str, Any]) -> str:
    return checksum(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


# safetensors files


def metadata_with_checksum(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of a safetensors file: values, and zeros that `with_file_checksum` replaces."""
    return {METADATA: json.dumps({**values, KEY: "0" * DIGITS}, sort_keys=True)}


def with_file_checksum(content: bytes) -> bytearray:
    """Return a safetensors file, saved with `metadata_with_checksum`, with the checksum of all its bytes."""
    place = content.index(_escaped_entry("0" * DIGITS), 8) + _BEFORE
    found = bytearray(content)
    found[place : place + DIGITS] = checksum(content).encode()
    return found


def verified_metadata(content: bytes, where: str) -> dict[str, Any]:
    """Return the values of `metadata_with_checksum` of a safetensors file of ours, after its checksum was verified.

    Raises:
        KeyError, ValueError, TypeError: for a file that holds no such metadata, or no checksum.
        DamagedError: when its bytes are not those that were written.
    """
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    values = json.loads(json.loads(header)["__metadata__"][METADATA])
    expected = values.pop(KEY)
    place = content.find(_escaped_entry(str(expected)), 8) + _BEFORE
    rest = memoryview(content)
    found = checksum(rest[:place], b"0" * DIGITS, rest[place + DIGITS :])
    if place < _BEFORE or expected != found:
        raise _damaged(where)
    return values


def _escaped_entry(digits: str) -> bytes:
    """Return a checksum as a header holds it: JSON within JSON. Only its quotes are escaped exactly once."""
    return rb"\"%s\": \"%s\"" % (KEY.encode(), digits.encode())


_BEFORE = len(_escaped_entry("")) - 2


def _damaged(where: str) -> DamagedError:
    what = "this file is damaged: its checksum is not that of its content"
    return DamagedError(what, where=where, fix="delete it; the same command then makes it again")
