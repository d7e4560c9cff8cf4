"""Where outputs lie: in folders named for people, each with the first characters of the fingerprint of what it holds.

    PIPELINE/STAGE-1a2b3c4d             a trained stage
    campaigns/STUDY/trial-3-1a2b3c4d    the stage that a trial trained
    shards/DATA-1a2b3c4d                a shard set
    evaluations/NAME-1a2b3c4d           models measured beside one another

The fingerprint says what the work is; the name says who did it first. Finished work is found under any name: by the
end of its folder's name, and then by the whole fingerprint in its note. So a stage that two pipelines share is trained
once, and a trial takes what a pipeline or another campaign has trained. Of work that is not finished each has its own
folder; a stage is trained by one process at a time all the same, since its lease is named by its fingerprint alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from acutance.storage.done import Kind, is_done, note_of, read
from acutance.storage.objects import folders, is_remote, join, names

DIGITS = 8
"""Of a fingerprint, at the end of a folder's name."""

CAMPAIGNS = "campaigns"

DEFAULT_STORAGE = "outputs"

NO_STAGES = {"beginnings", "evaluations", "inventory", "leases", "mlartifacts", "models", "ray", "runs", "shards"}
"""Folders of a storage root that hold no stages, and need not be looked through."""


def storage_root(given: str | None) -> str:
    """Return the storage root: as given, else ACUTANCE_STORAGE, else ./outputs; a local one absolute."""
    root = given or os.environ.get("ACUTANCE_STORAGE") or DEFAULT_STORAGE
    return root.rstrip("/") if is_remote(root) else str(Path(root).absolute())


def folder_of(
    kind: Kind, parent: str, name: str, fingerprint: str, among: Callable[[], Iterable[str]] | None = None
) -> str:
    """Return the folder of some work: where it is done, else `parent`/NAME-1a2b3c4d.

    Args:
        name: for people; a path or URI counts by its last part.
        among: returns URIs of further folders in which it may have been done; default: `parent` alone.

    Raises:
        UserError: when other work lies there, whose fingerprint begins alike.
    """
    own = join(parent, f"{readable(name)}-{fingerprint[:DIGITS]}")
    if is_done(kind, own, fingerprint):
        return own
    return done_folder(kind, among() if among else [parent], fingerprint) or own


def done_folder(kind: Kind, parents: Iterable[str], fingerprint: str) -> str | None:
    """Return the folder in which some work is done, whatever it is called; None where there is none."""
    for parent in parents:
        for name in names(parent):
            if name.endswith(f"-{fingerprint[:DIGITS]}"):
                folder = join(parent, name)
                note = read(note_of(kind, folder), kind)
                if note is not None and note.fingerprint == fingerprint:
                    return folder
    return None


def stage_folder(root: str, group: str, name: str, fingerprint: str) -> str:
    """Return the folder of a stage; see `folder_of`.

    Args:
        group: the folder below the storage root that it belongs to, such as `quickstart` or `campaigns/STUDY`.
    """
    return folder_of("stage", join(root, group), name, fingerprint, lambda: stage_groups(root))


def stage_is_done(root: str, fingerprint: str) -> bool:
    """Return whether any pipeline or campaign has trained a stage."""
    return done_folder("stage", stage_groups(root), fingerprint) is not None


def stage_groups(root: str) -> list[str]:
    """Return the URIs of the folders below a storage root that hold stages: of pipelines and of campaigns."""
    pipelines = [join(root, name) for name in folders(root) if name not in {*NO_STAGES, CAMPAIGNS}]
    return [*pipelines, *(join(root, CAMPAIGNS, name) for name in folders(join(root, CAMPAIGNS)))]


def readable(name: str) -> str:
    """Return what is left of a name as part of a path: letters, digits, dots and dashes, 40 of them at most."""
    return re.sub(r"[^\w.-]+", "-", PurePosixPath(name).name).strip("-.")[-40:] or "unnamed"
