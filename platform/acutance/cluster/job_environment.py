"""The environment variables of a job: addresses of outputs, runs and data; never a key, a token or a password.

Everyone who sees a cluster's dashboard sees the variables of its jobs. So only names of an allow-list are taken, and an
address with a password is refused. Secrets belong in the environment in which the nodes are started.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from acutance import storage as storages
from acutance.config import limits
from acutance.errors import UserError
from acutance.parts.sources import CONSENT
from acutance.redact import holds_secret
from acutance.silence import DEFAULTS
from acutance.storage import patience
from acutance.weights import folders_named

TRACKING = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
"""Always set: a job records where a local command would record."""

ALLOWED = (
    *TRACKING,
    "ACUTANCE_DATA",
    "ACUTANCE_STUDIES",
    "ACUTANCE_WEIGHTS",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "GLOO_SOCKET_IFNAME",
    "NCCL_SOCKET_IFNAME",
)
"""What a job may be given by name."""

STOP = {"RAY_JOB_STOP_WAIT_TIME_S": "40"}
"""After so many seconds Ray kills a stopped job; a training gets 30 for its checkpoint (`compute.grace_seconds`)."""

FOLDERS = ("ACUTANCE_DATA", "ACUTANCE_WEIGHTS")


def quiet_environment() -> dict[str, str]:
    """Return the variables that other machines need: log levels, patience, limits and consent to code."""
    names = [*DEFAULTS, "ACUTANCE_DEBUG", patience.VARIABLE, limits.VARIABLE, CONSENT]
    return {name: os.environ[name] for name in names if name in os.environ}


def environment(storage: str, given: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables of a job: its `addresses`, the quiet settings of this process, and how long its end takes.

    Raises:
        UserError: see `addresses`.
    """
    own = {name: os.environ.get(name, seconds) for name, seconds in STOP.items()}
    return {**own, **quiet_environment(), **addresses(storage, given)}


def addresses(storage: str, given: Iterable[str] = ()) -> dict[str, str]:
    """Return where a job finds its data and leaves its outputs.

    Args:
        storage: storage root of the job's outputs; a local one is made absolute.
        given: `NAME=VALUE`, or `NAME` for the value that it has here; names of `ALLOWED`.

    Raises:
        UserError: when a name is not allowed or has no value, or an address holds credentials.
    """
    storages.filesystem(storage)  # refuses unknown schemes and credentials
    variables = {"ACUTANCE_STORAGE": storage if storages.is_remote(storage) else _absolute(storage)}
    found = {name: os.environ[name].strip() for name in TRACKING if os.environ.get(name, "").strip()}
    for name, value in {**found, **dict(map(_named, given))}.items():
        _refuse_secrets(name, value)
        variables[name] = _anywhere(name, value)
    return variables


def refuse_secret_words(command: Iterable[str]) -> None:
    """Refuse a command with a password in it: everyone can read the command of a job.

    Raises:
        UserError: without the word.
    """
    for position, word in enumerate(command, 1):
        if holds_secret(word):
            raise UserError(
                "an address with a password may not go into a job's command, where everyone can read it",
                where=f"word {position} of the command",
                fix="set it in the environment of the cluster's nodes",
            )


def _named(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if name not in ALLOWED:
        near = get_close_matches(name, ALLOWED, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            "this variable may not go into a job, where everyone can read it",
            where=f"--env {name}",
            fix=f"{hint}one of {', '.join(ALLOWED)} may; set others in the environment of the cluster's nodes",
        )
    value = value if sign else os.environ.get(name, "")
    if not value.strip():
        raise UserError("this variable has no value here", where=f"--env {name}", fix=f"give --env {name}=VALUE")
    return name, value.strip()


def _refuse_secrets(name: str, value: str) -> None:
    if not holds_secret(value):
        return
    fix = "set it, password and all, in the environment of the cluster's nodes and not here"
    if name in TRACKING:
        fix = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment of the cluster's nodes"
    raise UserError("an address with a password may not go into a job, where everyone can read it", where=name, fix=fix)


def _anywhere(name: str, value: str) -> str:
    """Make local paths absolute: a relative one would lie in the job's own folder, and vanish with it."""
    if value.startswith("sqlite:///"):
        return f"sqlite:///{_absolute(value.removeprefix('sqlite:///'))}"
    if name in FOLDERS:
        return os.pathsep.join(part if storages.is_remote(part) else _absolute(part) for part in _parts(name, value))
    return _absolute(value) if value.endswith(".journal") and not storages.is_remote(value) else value


def _parts(name: str, value: str) -> list[str]:
    """ACUTANCE_WEIGHTS may name several folders."""
    return folders_named(value) if name == "ACUTANCE_WEIGHTS" else [value]


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())
