"""The JSON note that work is done: one format for shard sets, stages, evaluations, runs and campaigns.

It holds the kind of work, the fingerprint of all that determines it, the version of the code, and a description of the
result. It is written last, atomically and with a checksum: where it exists, the work is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from acutance.errors import UserError
from acutance.storage.objects import join, read_json, write_json

Kind = Literal["shards", "stage", "evaluation", "run", "campaign"]

FILES: dict[Kind, str] = {
    "shards": "manifest.json",
    "stage": "done.json",
    "evaluation": "evaluation.json",
    "campaign": "campaign.json",
}
"""The file of the note in the work's folder. A run has no folder: its note is named by its fingerprint."""


@dataclass(frozen=True)
class Done:
    """A note.

    Attributes:
        kind: of the work.
        fingerprint: of all that determines it.
        version: of the code; counts changes after which the result differs.
        content: JSON, a description of the result.
    """

    kind: Kind
    fingerprint: str
    version: int
    content: Mapping[str, Any]


def note_of(kind: Kind, folder: str) -> str:
    """Return the URI of the note of work that has a folder."""
    return join(folder, FILES[kind])


def is_done(kind: Kind, folder: str, fingerprint: str) -> bool:
    """Return whether some work is complete in a folder.

    Raises:
        UserError: when other work was done there. Folders are named by the first characters of fingerprints alone.
    """
    note = read(note_of(kind, folder), kind)
    if note is not None and note.fingerprint != fingerprint:
        what = f"other work ({note.fingerprint}) lies where this work ({fingerprint}) belongs"
        raise UserError(what, where=folder, fix="move that folder elsewhere, or delete it")
    return note is not None


def write(note: str, done: Done) -> None:
    """Write the note, after all other files of the work.

    Raises:
        ValueError: when the content has another value under a key of the note.
    """
    own = {"kind": done.kind, "fingerprint": done.fingerprint, "version": done.version}
    if taken := [name for name, value in own.items() if done.content.get(name, value) != value]:
        raise ValueError(f"the content of a note may not say another {taken[0]!r} than the note itself")
    write_json(note, {**done.content, **own})


def read(note: str, kind: Kind) -> Done | None:
    """Return a note; None where there is none, or it is of other work.

    Raises:
        DamagedError: when its checksum is wrong.
    """
    try:
        content = read_json(note)
    except FileNotFoundError:
        return None
    own = {name: content.pop(name, None) for name in ("kind", "fingerprint", "version")}
    if own["kind"] != kind or not isinstance(own["version"], int):
        return None
    return Done(kind, str(own["fingerprint"]), own["version"], content)
