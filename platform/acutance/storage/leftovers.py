"""Deletes old checkpoints of finished trainings, and what killed processes left in the storage."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime

from acutance import storage
from acutance.errors import DamagedError, UserError
from acutance.process import is_abandoned, this_process
from acutance.storage.done import FILES, read
from acutance.storage.outputs import stage_groups

KEPT_SECONDS = 7 * 24 * 3600.0
"""How long the last checkpoint of a finished training is kept, from which a longer training can continue."""

UPLOAD_SECONDS = 24 * 3600.0
"""An upload in parts that began so long ago belongs to a killed process."""

PROCESS_SECONDS = 30 * 24 * 3600.0
"""How long a folder of another machine's process is kept: whether that runs is not known here."""


def free_checkpoints(root: str) -> None:
    """Delete the last checkpoints of stages that were finished days ago, unless the stage asked to keep them."""
    note = f"/{FILES['stage']}"
    for group in stage_groups(root):
        found = storage.tree(group)
        for uri, state in found.items():
            if uri.endswith(note) and time.time() - state.modified > KEPT_SECONDS:
                folder = storage.join(uri.removesuffix(note), "checkpoints")
                files = {other for other in found if other.startswith(f"{folder}/")}
                with suppress(DamagedError):  # whoever needs that stage is told of it
                    for file in files - _kept(uri, folder) if files else ():
                        storage.delete(file)


def _kept(note: str, folder: str) -> set[str]:
    """Return the checkpoints in a folder that the settings of a finished stage ask to keep, as its note says."""
    done = read(note, "stage")
    steps = done.content.get("kept", []) if done else []
    return {storage.join(folder, f"step-{step:08d}.safetensors") for step in steps}


def owned_name(what: str) -> str:
    """Return a new folder name with the time and the process that makes it."""
    return f"{what}-{time.time():.0f}-{this_process().replace(' ', '-')}-{uuid.uuid4().hex[:8]}"


def free_folders(folder: str, what: str) -> None:
    """Delete the folders of an `owned_name` in a folder whose process has ended."""
    for name in storage.names(folder):
        begun, _, rest = name.removeprefix(f"{what}-").partition("-")
        process = " ".join(rest.split("-")[:3])
        if name.startswith(f"{what}-") and begun.isdigit() and is_abandoned(process, float(begun), PROCESS_SECONDS):
            storage.delete(storage.join(folder, name))


def free_uploads(root: str) -> None:
    """Abort old uploads in parts below an S3 prefix: their parts cost money and are not listed."""
    if not root.startswith("s3://"):
        return
    client = storage.s3_client()
    bucket, _, prefix = f"{root.removeprefix('s3://')}/".partition("/")
    with suppress(UserError), storage.s3_errors(root):  # this user may lack the right
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
            for upload in page.get("Uploads", []):
                if (datetime.now(UTC) - upload["Initiated"]).total_seconds() > UPLOAD_SECONDS:
                    client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
