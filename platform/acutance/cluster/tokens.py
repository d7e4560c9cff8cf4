"""Ray's token: whoever holds it can run code on a cluster, so it is sent when there is one and kept private.

Ray starts local clusters with token authentication, but writes the token readable for everybody, and its
clients send a token only when RAY_AUTH_MODE says so.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from pathlib import Path

log = logging.getLogger(__name__)
_warned: set[Path] = set()


def token_file() -> Path:
    """Return where Ray looks for the token."""
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(given) if given else Path.home() / ".ray" / "auth_token"


def create_token() -> None:
    """Make a token for a new cluster, in a file that only its owner can read.

    Where no file can be written (a container with a read-only home) the token lives in this process's
    environment, which the cluster it starts inherits.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    path, token = token_file(), secrets.token_hex(32)
    try:
        _write_private(path, token)
    except OSError:
        if path.is_file():  # made before, or just now by another command
            _warn_if_others_can_read(path)
        else:
            os.environ["RAY_AUTH_TOKEN"] = token


def _write_private(path: Path, token: str) -> None:
    """Write the file atomically and only if there is none: another command may do the same at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()


def use_token() -> None:
    """Make Ray's clients in this process send the token where there is one and RAY_AUTH_MODE is not set."""
    if "RAY_AUTH_MODE" in os.environ:
        return
    path = token_file()
    if not os.environ.get("RAY_AUTH_TOKEN") and not path.is_file():
        return
    _warn_if_others_can_read(path)
    os.environ["RAY_AUTH_MODE"] = "token"
    if "ray" in sys.modules:  # Ray read its settings when it was imported
        from ray._raylet import Config  # type: ignore[attr-defined]

        Config.initialize("")


def _warn_if_others_can_read(path: Path) -> None:
    if path in _warned or not path.is_file() or not path.stat().st_mode & 0o077:
        return
    _warned.add(path)
    log.warning("warning: others on this machine can read Ray's token; to do: chmod 600 %s", path)
