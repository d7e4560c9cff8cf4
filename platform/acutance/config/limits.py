"""Limits of one picture file, checked against its header before anything is decoded.

A file of a few kilobytes can stand for gigabytes of pixels, or for a thousand passes over them. The limits are the
same wherever pictures come in: for shards, for evaluation, to be restored, and over HTTP.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields

from acutance.errors import ConfigError

VARIABLE = "ACUTANCE_LIMITS"
"""The environment variable that sets other limits, as `megapixels=400,seconds=120`; it goes to workers and jobs."""


@dataclass(frozen=True)
class Limits:
    """The most that one picture may have.

    Attributes:
        megapixels: width times height, in millions; where Pillow itself takes a header for a bomb.
        megabytes: of its decoded pixels, in millions: more than 16 bits and three channels need at that size.
        scans: of a JPEG, each a pass over all of its pixels; encoders make about ten.
        seconds: that decoding may take.
    """

    megapixels: float = 178.95697
    megabytes: float = 1500.0
    scans: int = 100
    seconds: float = 60.0


def limits() -> Limits:
    """Return the limits of this process: the defaults, and what the environment sets.

    Raises:
        ConfigError: for a name or a number that is none.
    """
    known = {field.name: float if field.name != "scans" else int for field in fields(Limits)}
    chosen = {}
    for part in filter(None, re.split(r"[,\s]+", os.environ.get(VARIABLE, ""))):
        name, _, number = part.partition("=")
        try:
            chosen[name] = known[name](number)
        except (KeyError, ValueError):
            chosen[name] = 0
        if not 0 < chosen[name] < float("inf"):
            fix = f"set some of {', '.join(known)}, such as {VARIABLE}=megapixels=400,seconds=120"
            raise ConfigError(f"{part!r} is no limit on pictures", where=VARIABLE, fix=fix)
    return Limits(**chosen)  # type: ignore[arg-type]


def others() -> dict[str, float]:
    """Return the limits that are not the defaults and decide, on every machine alike, which pictures are read."""
    ours, usual = limits(), Limits()
    names = ("megapixels", "megabytes", "scans")
    return {name: getattr(ours, name) for name in names if getattr(ours, name) != getattr(usual, name)}
