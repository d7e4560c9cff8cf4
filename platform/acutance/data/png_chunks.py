"""Splits a PNG file into chunks, checks their checksums and removes what a decoder does not need.

Decoders refuse files with long texts or large profiles as decompression bombs. Texts are removed, so they may be long.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from acutance.data.png import SIGNATURE

COLOUR = (b"cICP", b"cHRM", b"gAMA", b"sRGB")
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
EXIF_IN_TEXT = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
XMP = b"XML:com.adobe.xmp\0"
MOST = 1 << 26
"""Most bytes of a profile or an XMP packet after decompression."""


@dataclass
class Png:
    """A PNG file taken apart.

    Attributes:
        pixels: a PNG file of the chunks that decoders need.
        profile: the ICC profile.
        xmp: the XMP packet.
        colour: name and content of the other chunks that say what its colours are.
    """

    pixels: bytes = SIGNATURE
    profile: bytes | None = None
    xmp: bytes | None = None
    colour: list[tuple[bytes, bytes]] = field(default_factory=list)


def claimed_pixels(content: bytes) -> int:
    """Return how many pixels the header of a PNG file claims."""
    return int.from_bytes(content[16:20]) * int.from_bytes(content[20:24])


def take_apart(content: bytes) -> Png:
    """Return the parts of a PNG file, after checking their checksums.

    Raises:
        ValueError: for a chunk that is cut off or damaged.
    """
    found, kept, at, kind = Png(), [SIGNATURE], len(SIGNATURE), b""
    while kind != b"IEND":
        size, kind = struct.unpack(">I4s", content[at : at + 8].ljust(8, b"\xff"))
        data, whole = content[at + 8 : at + 8 + size], content[at : at + 12 + size]
        if len(whole) < 12 + size:
            raise ValueError("the file ends within a chunk")
        if whole[-4:] != struct.pack(">I", zlib.crc32(whole[4:-4])):
            raise ValueError(f"broken PNG file (checksum of {kind!r})")
        at += 12 + size
        if kind == b"iCCP":
            found.profile = _decompressed(data.partition(b"\0")[2][1:])
        elif kind == b"iTXt" and data.startswith(XMP):
            found.xmp = _international(data)
        elif kind not in TEXTS or data.startswith(EXIF_IN_TEXT):
            kept.append(whole)
        if kind in COLOUR:
            found.colour.append((kind, data))
    found.pixels = b"".join(kept)
    return found


def _international(data: bytes) -> bytes | None:
    """Return the text of an iTXt chunk: keyword, flag, method, language and translated keyword come before it."""
    compressed = data[len(XMP) : len(XMP) + 1] == b"\1"
    text = data[len(XMP) + 2 :].split(b"\0", 2)[-1]
    return _decompressed(text) if compressed else text


def _decompressed(data: bytes) -> bytes | None:
    """Return what was compressed; None for what is damaged, or a bomb: the pixels do not need it."""
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(data, MOST)
    except zlib.error:
        return None
    return text if unpacking.eof else None
