"""What finished trainings and killed processes leave in the storage, freed by whoever comes next."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime

from acutance import storage
from acutance.errors import UserError
from acutance.process import is_left, this_process
from acutance.storage.done import FILES
from acutance.storage.outputs import stage_groups

KEPT_SECONDS = 7 * 24 * 3600.0
"""How long the last checkpoint of a finished training stays, from which a longer one can go on."""

UPLOAD_SECONDS = 24 * 3600.0
"""An upload in parts that was begun so long ago belongs to a process that was killed over it."""

PROCESS_SECONDS = 30 * 24 * 3600.0
"""How long a folder stays of a process on another machine, of which nobody here knows whether it lives."""


def free_checkpoints(root: str) -> None:
    """Delete the checkpoints of stages that were finished days ago."""
    note = f"/{FILES['stage']}"
    for group in stage_groups(root):
        found = storage.tree(group)
        for uri, state in found.items():
            if uri.endswith(note) and time.time() - state.modified > KEPT_SECONDS:
                kept = storage.join(uri.removesuffix(note), "checkpoints")
                if any(other.startswith(f"{kept}/") for other in found):
                    storage.delete(kept)


def owned_name(what: str) -> str:
    """Return a new name of a folder that tells when and by which process it was made."""
    return f"{what}-{time.time():.0f}-{this_process().replace(' ', '-')}-{uuid.uuid4().hex[:8]}"


def free_folders(folder: str, what: str) -> None:
    """Delete what is in a folder under an `owned_name` of a process that is gone."""
    for name in storage.names(folder):
        begun, _, rest = name.removeprefix(f"{what}-").partition("-")
        process = " ".join(rest.split("-")[:3])
        if name.startswith(f"{what}-") and begun.isdigit() and is_left(process, float(begun), PROCESS_SECONDS):
            storage.delete(storage.join(folder, name))


def free_uploads(root: str) -> None:
    """End the uploads in parts below an S3 prefix that processes were killed over: their parts cost, unseen."""
    if not root.startswith("s3://"):
        return
    client = storage.s3_client()
    bucket, _, prefix = f"{root.removeprefix('s3://')}/".partition("/")
    with suppress(UserError), storage.s3_errors(root):  # who may not do that leaves it to others
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
            for upload in page.get("Uploads", []):
                if (datetime.now(UTC) - upload["Initiated"]).total_seconds() > UPLOAD_SECONDS:
                    client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
