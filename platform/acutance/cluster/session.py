"""A folder for the Ray that a command starts on this machine: private, since its sockets and logs let in whoever can
write there, and short, since a socket's path may have 107 bytes only."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from acutance.console import say
from acutance.errors import UnreachableError, UserError
from acutance.process import is_abandoned, this_process
from acutance.storage.scratch import LEFT_SECONDS, scratch

LONGEST = 107 - len("/session_2026-11-30_14-51-34_123456_4194304/sockets/plasma_store")
"""Bytes of the folder's path: Ray puts its sockets so far below it."""

ELSEWHERE = ("/tmp", "/var/tmp")
"""Where the folder lies when the folder for temporary files has too long a path."""

PROCESS_FILE = "owner"
"""The file in it with the key of its process."""


@contextmanager
def session_folder() -> Iterator[Path]:
    """Make an empty folder for Ray's temporary files, private to this user, for the length of a `with` block.

    It is kept only where the block fails with UnreachableError, whose cause is in its logs. Those of killed processes
    are deleted.

    Raises:
        UserError: when no such folder can be made.
    """
    root = _root()
    _free(root)
    folder = Path(tempfile.mkdtemp(dir=root, prefix=""))  # no process number: containers may share the folder
    (folder / PROCESS_FILE).write_text(this_process())
    try:
        yield folder
    except UnreachableError:
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def require_loopback() -> None:
    """Make sure that this machine can talk to itself, which Ray would find out after minutes.

    Raises:
        UserError: when it cannot.
    """
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=2).close()
    except OSError as error:
        raise UserError(
            f"Ray cannot start on a machine that does not reach itself at 127.0.0.1: {error.strerror or error}",
            fix="bring its loopback interface up with IPv4 (ip link set lo up), or give --address of a cluster",
        ) from error


def _root() -> Path:
    """Return where this user's folders lie: below TMPDIR, or elsewhere if that is too long."""
    private = scratch()
    for place in (private, *(Path(place) / private.name for place in ELSEWHERE)):
        root = place / "ray"
        if len(os.fsencode(root / "12345678")) <= LONGEST and _is_made(place) and _is_made(root):
            if place != private:
                say(f"the path of {private.parent} is too long for Ray's sockets: its temporary files go to {root}")
            return root
    raise UserError(
        "Ray finds no folder for its temporary files whose path is short enough for its sockets",
        where=str(private),
        fix=f"set TMPDIR to a folder of this user's whose path has at most {LONGEST - 30} bytes",
    )


def _is_made(folder: Path) -> bool:
    """Make a folder that is private to this user; return whether that succeeded."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        folder.chmod(0o700)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _free(root: Path) -> None:
    """Delete abandoned folders, and earlier ones of this process: it has one Ray at a time."""
    for folder in root.iterdir():
        with suppress(OSError):  # another process was faster
            process = _process_of(folder)
            if process == this_process() or is_abandoned(process, folder.stat().st_mtime, LEFT_SECONDS):
                shutil.rmtree(folder, ignore_errors=True)


def _process_of(folder: Path) -> str:
    """Return the key of a folder's process; empty for a folder that is being made or deleted."""
    try:
        return (folder / PROCESS_FILE).read_text()
    except FileNotFoundError:
        return ""
