"""What a PNG was made from and with, noted in the file itself: there is no list that a kill could leave behind.

A file is written whole or not at all, so one that carries the right mark is done; one made by another model, from
another version of the source, or by hand is not.
"""

from __future__ import annotations

import hashlib
import json

from acutance import storage
from acutance.data.png import END, SIGNATURE

VERSION = 2
"""Counts changes of the code after which the same model and source give other pixels."""

KEYWORD = b"acutance\0"
CHUNK = b"tEXt"
START = len(SIGNATURE) + 25
"""Where the mark's chunk starts: after the signature and the header."""

READ = 512


def mark_of(model_sha256: str, source: bytes, *, strip: bool = False) -> bytes:
    """Return the mark of a picture file (its bytes) restored by a model file (its SHA-256), with EXIF or without."""
    made = {"model": model_sha256, "source": hashlib.sha256(source).hexdigest(), "strip": strip, "version": VERSION}
    return json.dumps(made, sort_keys=True).encode("ascii")


def chunk_of(mark: bytes) -> tuple[bytes, bytes]:
    """Return the PNG chunk that holds a mark; it must be the first after the header."""
    return CHUNK, KEYWORD + mark


def is_marked(uri: str, mark: bytes) -> bool:
    """Return whether a PNG is there, with this mark and its end; a few hundred bytes of it are read."""
    fs, path = storage.filesystem(uri)
    try:
        with fs.open_input_file(path) as file:
            size = file.size()
            start, end = file.read_at(READ, 0), file.read_at(len(END), max(0, size - len(END)))
    except OSError:
        return False
    length, content = start[START : START + 4], KEYWORD + mark
    found = start[START + 4 : START + 8 + len(content)]
    return found == CHUNK + content and int.from_bytes(length) == len(content) and end == END
