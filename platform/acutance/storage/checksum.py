"""Check sums: what was written is what is read, or it is said.

XXH3 of 128 bits, which costs a fraction of the reading; it guards against faults of disks, memories and networks, not
against people. A safetensors file and a JSON note carry their own, so that each stays one file that appears whole or
not at all, and that any other reader reads.
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
    """Return the check sum of bytes, one part after another: 32 hexadecimal digits."""
    found = Checksum()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def file_checksum(path: Path) -> str:
    """Return the check sum of a local file, read in pieces."""
    found = Checksum()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(AT_ONCE):
            found.update(piece)
    return found.hexdigest()


# JSON notes


def noted(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the content of a JSON note, keys as texts, with its check sum beside them."""
    plain = json.loads(json.dumps(content))
    return {**plain, KEY: _of_values(plain)}


def of_note(text: bytes, where: str) -> dict[str, Any]:
    """Return the content of a JSON note, without its check sum.

    Raises:
        DamagedError: when its values are not those that were written.
    """
    try:
        content = json.loads(text)
        told = content.pop(KEY)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(where) from None
    if told != _of_values(content):
        raise _damaged(where)
    return content


def _of_values(content: Mapping[str, Any]) -> str:
    return checksum(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


# safetensors files


def described(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of a safetensors file that `sealed` is to complete: values, and room for the check sum."""
    return {METADATA: json.dumps({**values, KEY: "0" * DIGITS}, sort_keys=True)}


def sealed(content: bytes) -> bytearray:
    """Return a safetensors file, saved with the metadata of `described`, with the check sum of all its bytes."""
    place = content.index(_text("0" * DIGITS), 8) + _BEFORE
    found = bytearray(content)
    found[place : place + DIGITS] = checksum(content).encode()
    return found


def description_of(content: bytes, where: str) -> dict[str, Any]:
    """Return what a safetensors file of ours was `described` by, without the check sum.

    Raises:
        KeyError, ValueError, TypeError: for a file that holds no such description, or no check sum.
        DamagedError: when its bytes are not those that were written.
    """
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    values = json.loads(json.loads(header)["__metadata__"][METADATA])
    told = values.pop(KEY)
    place = content.find(_text(str(told)), 8) + _BEFORE
    rest = memoryview(content)
    found = checksum(rest[:place], b"0" * DIGITS, rest[place + DIGITS :])
    if place < _BEFORE or told != found:
        raise _damaged(where)
    return values


def _text(digits: str) -> bytes:
    """Return how a header tells a check sum: JSON within JSON, where no other text has its quotes escaped just once."""
    return rb"\"%s\": \"%s\"" % (KEY.encode(), digits.encode())


_BEFORE = len(_text("")) - 2


def _damaged(where: str) -> DamagedError:
    what = "this file is damaged: its check sum is not that of its content"
    return DamagedError(what, where=where, fix="delete it; the same command then makes it again")
