"""Provenance: the user's name and the commit of this software."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """Return the commit of this package's checkout, `-dirty` where files differ; None outside a checkout."""
    git = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent)]
    try:
        # An installed copy may lie inside somebody else's checkout: only a file that git knows counts.
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", "__init__.py"], check=True, capture_output=True, timeout=10
        )
        described = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(described, check=True, capture_output=True, timeout=10, text=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def user() -> str:
    """Return the user's name on this system."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"uid {os.getuid()}"
